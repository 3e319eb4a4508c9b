"""NAS-Bench-201's network as a supernet whose images each take a cell of their own.

Skeleton (Dong and Yang, ICLR 2020, section 2): a 3x3 stem, three stages of cells separated by
residual blocks that halve the resolution, BN-ReLU, average pool, classifier; all cells of the
network are alike. Its switches are the edges of the cell
(:mod:`pdnas.nn.supernets.categorical.network`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GateSettings
from pdnas.nn.supernets.categorical.batchnorm import normalised
from pdnas.nn.supernets.categorical.mixture import NOTHING, Mixture, find_routes
from pdnas.nn.supernets.categorical.network import CategoricalSupernet
from pdnas.nn.supernets.cells.mixture import CellMixture
from pdnas.nn.supernets.cells.operations import applied, conv_op
from pdnas.nn.supernets.registry import register
from pdnas.space.cells import CellSpace
from pdnas.spec.names import SharedKernels
from pdnas.spec.supernets import NasBench201Config


class Reduction(nn.Module):
    """The residual block between stages: half the resolution, twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_op(channels, 2 * channels, 3, stride=2), conv_op(2 * channels, 2 * channels, 3)
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(channels, 2 * channels, 1, bias=False)
        )

    def forward(self, x: Tensor, cells_per_batch: int | None = None) -> Tensor:
        """``cells_per_batch`` as in :class:`Mixture`."""
        body = x
        for operation in self.body:
            body = applied(operation, body, cells_per_batch)
        return self.shortcut(x) + body


@register(NasBench201Config)
class NasBench201Supernet(CategoricalSupernet):
    """NAS-Bench-201's skeleton over all cells of a space.

    Args:
        channels: C, channels of the first stage (16 in the benchmark).
        cells_per_stage: N, cells in each stage (5 in the benchmark).
        space: the operations to choose from.
        in_channels: channels of an image.
        classes: number of classes.
        stages: stages of cells; each but the first halves the resolution (3 in the benchmark).
        kernels: how those of the operations begin.
    """

    space: CellSpace

    def __init__(
        self,
        channels: int,
        cells_per_stage: int,
        space: CellSpace,
        in_channels: int,
        classes: int,
        stages: int = 3,
        kernels: SharedKernels = "identity",
    ) -> None:
        super().__init__(space)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        layers: list[nn.Module] = []
        for stage in range(stages):
            if stage:
                layers.append(Reduction(channels))
                channels *= 2
            layers += [CellMixture(channels, space.operations) for _ in range(cells_per_stage)]
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, classes)
        self.configure_gates(GateSettings())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        # Begun as skip connections, all operations speak of the same features and a cell fits what
        # follows it from the first step on; from random kernels no ranking emerges for ten epochs
        # (docs/nasbench201.md).
        if kernels == "identity":
            for kernel in self.gated_weights():
                nn.init.dirac_(kernel)
        self._identity: Tensor | None
        self.register_buffer("_identity", torch.zeros(()) if kernels == "fading" else None)

    @classmethod
    def of(cls, config: Any, in_channels: int, classes: int) -> Self:
        space = CellSpace(config.operations)
        cells, stages = config.cells_per_stage, config.stages
        return cls(config.channels, cells, space, in_channels, classes, stages, config.kernels)

    @torch.no_grad()
    def set_identity(self, share: float) -> None:
        if self._identity is not None:
            for kernel in self.gated_weights():
                kernel += (share - self._identity) * nn.init.dirac_(torch.empty_like(kernel))
            self._identity.fill_(share)

    def forward_cells(self, x: Tensor, cells: Tensor) -> Tensor:
        """Logits of several cells for the same images, with the batch statistics of each.

        Args:
            x: (images, channels, height, width).
            cells: operation codes, shape (cells, 6).

        Returns:
            shape (cells, images, classes).
        """
        routes = find_routes(cells, self.space.operations)
        convolution, norm = self.stem
        features = normalised(norm, convolution(x), 1).repeat(len(cells), 1, 1, 1)
        logits = self.through_layers(
            features, lambda cell, x: cell(x, routes, None, len(cells)), len(cells)
        )
        return logits.unflatten(0, (len(cells), len(x)))

    def through_layers(
        self,
        x: Tensor,
        through: Callable[[Mixture, Tensor], Tensor],
        per_batch: int | None = None,
        first: int = 0,
    ) -> Tensor:
        for layer in list(self.layers)[first:]:
            x = through(layer, x) if isinstance(layer, Mixture) else layer(x, per_batch)
        norm, relu = self.head
        x = relu(normalised(norm, x, per_batch))
        return self.classifier(x.mean(dim=(2, 3)))

    def parts(self, switch: int, option: str) -> list[nn.Module]:
        if option == NOTHING:
            return []
        cells = [layer for layer in self.layers if isinstance(layer, CellMixture)]
        return [cell.operation(switch, option) for cell in cells]
