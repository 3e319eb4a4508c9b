"""NAS-Bench-Macro's network as a supernet: one of three blocks in each of eight layers.

Skeleton (Su et al., CVPR 2021): a 3x3 stem; three stages of 2, 3 and 3 layers, the first of each
with stride 2 and twice the channels; a 1x1 convolution, average pool, classifier. Its switches are
the layers (:mod:`pdnas.nn.supernets.categorical.network`).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from pdnas.nn.gates import GateSettings
from pdnas.nn.supernets.categorical.batchnorm import normalised
from pdnas.nn.supernets.categorical.mixture import Mixture
from pdnas.nn.supernets.categorical.network import CategoricalSupernet
from pdnas.nn.supernets.macro.blocks import LayerMixture, conv_norm
from pdnas.nn.supernets.registry import register
from pdnas.space.macro import STAGES, MacroSpace
from pdnas.spec.supernets import NasBenchMacroConfig

LAST = 40
"""Channels of the last convolution for each of the stem's (1280 in the benchmark)."""


@register(NasBenchMacroConfig)
class NasBenchMacroSupernet(CategoricalSupernet):
    """NAS-Bench-Macro's skeleton over all its networks.

    Args:
        channels: of the stem (32 in the benchmark).
        in_channels: channels of an image.
        classes: number of classes.
    """

    space: MacroSpace

    def __init__(self, channels: int, in_channels: int, classes: int) -> None:
        super().__init__(MacroSpace())
        last = LAST * channels
        self.stem = nn.Sequential(*conv_norm(in_channels, channels, 3), nn.ReLU())
        layers: list[LayerMixture] = []
        for count in STAGES:
            layers.append(LayerMixture(len(layers), channels, 2 * channels, stride=2))
            channels *= 2
            for _ in range(count - 1):
                layers.append(LayerMixture(len(layers), channels, channels, stride=1))
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(*conv_norm(channels, last), nn.ReLU())
        self.classifier = nn.Linear(last, classes)
        self.configure_gates(GateSettings())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        # Begun as copies of channels, all blocks of a layer speak of the same features, as the
        # operations of a cell do (docs/nasbench201.md).
        for kernel in self.gated_weights():
            outputs, inputs = kernel.shape[:2]
            nn.init.dirac_(kernel, groups=max(1, outputs // inputs))

    def through_layers(
        self,
        x: Tensor,
        through: Callable[[Mixture, Tensor], Tensor],
        per_batch: int | None = None,
        first: int = 0,
    ) -> Tensor:
        for layer in self.mixtures()[first:]:
            x = through(layer, x)
        convolution, norm, relu = self.head
        x = relu(normalised(norm, convolution(x), per_batch))
        return self.classifier(x.mean(dim=(2, 3)))

    def parts(self, switch: int, option: str) -> list[nn.Module]:
        layer = self.layers[switch]
        assert isinstance(layer, LayerMixture)
        return [layer.blocks[option]]
