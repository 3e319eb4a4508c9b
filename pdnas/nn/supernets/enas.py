"""The network of the cell that ENAS's micro search found: SupNet-E and SupNet-EI of the paper.

The construction is that of ENAS (Pham et al., ICML 2018, section 2.4) as its released code builds
the final network, which PGNAS's release extends by gates. A cell reads the outputs of the two cells
before it; two of the cells, placed at thirds of the depth, halve the resolution and double the
filters. SupNet-E has 15 layers and 36 filters, SupNet-EI 72; the two reducing cells come on top of
the layers, so both have 17 cells.

Which weights carry gates, as in PGNAS's release:

* every 1x1 convolution: calibrations, factorised reductions, and the pointwise half of a separable
  convolution. Depthwise and pointwise halves follow each other directly, so together they are one
  convolution whose kernel slice for input channel k is their product m_k[o] = point[o, k] depth[k];
  switching off the pointwise half's input channel k removes exactly that slice. One gate therefore
  serves both halves. Its prior energy is that of the pointwise weights; the depthwise kernel
  counts as ungated for weight decay, and as part of the slice for parameter counts.
* the classifier, whose gate takes the place of ENAS's dropout in front of it.

Drop-path (Larsson et al. 2017) is ENAS's: separable convolutions and pools are dropped for single
images, with a probability that grows in proportion to the cell's number.

Unlike in PGNAS's release, the stem has none (its input channels are colours, as in
:mod:`pdnas.nn.supernets.multibranch`), nor has the auxiliary head, which is no part of a candidate.

Parameters (10 classes, BatchNorm and auxiliary head included): 4 389 220 with 36 filters and
15 371 560 with 72; tests/supernets/test_enas.py has the arithmetic. The paper reports 4.6 and 15.3
million.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GatedConv2d, GatedLinear
from pdnas.nn.supernets.base import ChannelSupernet
from pdnas.nn.supernets.layers import FactorizedReduction, StochasticDepth
from pdnas.nn.supernets.registry import register
from pdnas.spec.supernets import EnasConfig
from pdnas.support.errors import PdnasError

NORMAL_CELL = (0, 2, 0, 0, 0, 4, 0, 1, 0, 4, 1, 1, 1, 0, 0, 1, 0, 2, 1, 1)
"""ENAS's normal cell: for each node x's input, x's operation, y's input, y's operation."""

REDUCTION_CELL = (1, 0, 1, 0, 0, 3, 0, 2, 1, 1, 3, 1, 1, 0, 0, 4, 0, 3, 1, 1)
"""ENAS's reduction cell, written alike."""

CELL_INPUTS = 2  # values 0 and 1 of a cell are its inputs, the older one first; nodes count from 2


class SeparableConv2d(nn.Module):
    """ReLU, depthwise convolution, gated pointwise convolution, BatchNorm."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels,
            channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=channels,
            bias=False,
        )
        self.pointwise = GatedConv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.pointwise(self.depthwise(torch.relu(x))))


def conv_norm(inputs: int, outputs: int) -> nn.Sequential:
    """Gated 1x1 convolution and BatchNorm."""
    return nn.Sequential(
        OrderedDict(conv=GatedConv2d(inputs, outputs, 1), norm=nn.BatchNorm2d(outputs))
    )


def make_operation(code: int, channels: int, stride: int) -> nn.Module:
    """One of ENAS's five operations, by its number; padding keeps size / stride.

    All but the identity end with drop-path, off until :meth:`EnasSupernet.set_drop_path`.

    Raises:
        PdnasError: there is no operation of this number.
    """
    match code:
        case 0 | 1:  # separable convolution, applied twice
            size = (3, 5)[code]
            layers: dict[str, nn.Module] = {
                f"sep{size}x{size}_1": SeparableConv2d(channels, size, stride),
                f"sep{size}x{size}_2": SeparableConv2d(channels, size, 1),
            }
        case 2:
            layers = {"pool": nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)}
        case 3:
            layers = {"pool": nn.MaxPool2d(3, stride=stride, padding=1)}
        case 4:
            return nn.Identity() if stride == 1 else FactorizedReduction(channels, channels)
        case _:
            raise PdnasError(f"no operation {code} in an ENAS cell; they are numbered from 0 to 4")
    return nn.Sequential(OrderedDict(layers, drop_path=StochasticDepth(0.0)))


class Node(nn.Module):
    """The sum of two operations."""

    def __init__(self, x: nn.Module, y: nn.Module) -> None:
        super().__init__()
        self.x = x
        self.y = y

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.x(x) + self.y(y)


class Cell(nn.Module):
    """One cell; its output concatenates the values that none of its nodes reads.

    Args:
        numbers: four for each node, see :data:`NORMAL_CELL`. Both inputs must be read.
        older: channels of the output of the last cell but one.
        newer: channels of the output of the last cell.
        filters: channels of every value inside the cell.
        stride: 2 in a reduction cell; only operations that read the cell's inputs take it.
        halve_older: whether the older input has twice the resolution of the newer one.
    """

    def __init__(
        self,
        numbers: Sequence[int],
        older: int,
        newer: int,
        filters: int,
        *,
        stride: int,
        halve_older: bool,
    ) -> None:
        super().__init__()
        self.older = (FactorizedReduction if halve_older else conv_norm)(older, filters)
        self.newer = conv_norm(newer, filters)
        self.base = conv_norm(filters, filters)
        self.nodes = nn.ModuleDict()
        self.reads: list[tuple[int, int]] = []
        for node in range(len(numbers) // 4):
            x_input, x_code, y_input, y_code = numbers[4 * node : 4 * node + 4]
            operations = [
                make_operation(code, filters, stride if source < CELL_INPUTS else 1)
                for source, code in ((x_input, x_code), (y_input, y_code))
            ]
            self.nodes[str(CELL_INPUTS + node)] = Node(*operations)
            self.reads.append((x_input, y_input))
        read = {source for pair in self.reads for source in pair}
        self.loose_ends = sorted(set(range(CELL_INPUTS + len(self.reads))) - read)
        self.out_channels = len(self.loose_ends) * filters

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        newer = self.newer(torch.relu(newer))
        values = [self.older(torch.relu(older)), self.base(torch.relu(newer))]
        for node, (x, y) in zip(self.nodes.values(), self.reads, strict=True):
            values.append(node(values[x], values[y]))
        return torch.cat([values[end] for end in self.loose_ends], dim=1)


@register(EnasConfig)
class EnasSupernet(ChannelSupernet):
    """ENAS's network of its own best cells.

    Args:
        layers: normal cells; the two reduction cells come on top.
        filters: channels inside the first cells; doubled by each reduction cell.
        in_channels: channels of an image.
        classes: number of classes.
    """

    def __init__(self, layers: int, filters: int, in_channels: int, classes: int) -> None:
        super().__init__()
        channels = 3 * filters
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        third = layers // 3
        reductions = (third, 2 * third + 1)
        # The first cell after the last reduction feeds the auxiliary head.
        self.tapped = reductions[-1] + 1
        older = newer = channels
        self.cells = nn.ModuleList()
        for index in range(layers + len(reductions)):
            reduces = index in reductions
            filters = 2 * filters if reduces else filters
            cell = Cell(
                REDUCTION_CELL if reduces else NORMAL_CELL,
                older,
                newer,
                filters,
                stride=2 if reduces else 1,
                halve_older=index - 1 in reductions,
            )
            self.cells.append(cell)
            older, newer = newer, cell.out_channels
            if index == self.tapped:
                self.auxiliary = auxiliary_head(newer, classes)
        self.classifier = GatedLinear(newer, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._classify(self._maps(x)[0])

    def forward_training(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the classifier and of the auxiliary head, both of shape (images, classes).

        ENAS adds 0.4 times the cross-entropy of the second to that of the first. Its code leaves
        the head's own weights as they began, and so does PGNAS's; here they are trained.

        Raises:
            PdnasError: the images are too small for the head (16 pixels or fewer).
        """
        last, tapped = self._maps(x)
        if min(tapped.shape[2:]) < AUXILIARY_POOL:
            raise PdnasError(
                f"the auxiliary head of ENAS's network needs images of 17 x 17 pixels or more, "
                f"not {x.shape[2]} x {x.shape[3]}"
            )
        return self._classify(last), self.auxiliary(tapped)

    def set_drop_path(self, probability: float) -> None:
        """Drop operations of the last cell with ``probability``, of earlier ones in proportion."""
        for number, cell in enumerate(self.cells, start=1):
            for module in cell.modules():
                if isinstance(module, StochasticDepth):
                    module.p = probability * number / len(self.cells)

    def auxiliary_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.auxiliary.parameters())

    def _maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of the last cell and of the one that feeds the auxiliary head."""
        self.draw_switches(x)
        older = newer = tapped = self.stem_norm(self.stem(x))
        for index, cell in enumerate(self.cells):
            older, newer = newer, cell(older, newer)
            if index == self.tapped:
                tapped = newer
        return newer, tapped

    def _classify(self, x: Tensor) -> Tensor:
        return self.classifier(torch.relu(x).mean(dim=(2, 3)))

    def slice_parameters(self) -> dict[str, int]:
        """Parameters of one input channel's kernel slice, by gate, depthwise kernels included."""
        sizes = super().slice_parameters()
        for name, module in self.named_modules():
            if isinstance(module, SeparableConv2d):
                sizes[f"{name}.pointwise"] += module.depthwise.weight[0].numel()
        return sizes


AUXILIARY_POOL = 5


def auxiliary_head(channels: int, classes: int) -> nn.Sequential:
    """ENAS's auxiliary classifier, on maps of (channels, height, width), 5 x 5 or larger.

    CIFAR's 32 x 32 pixels have become 8 x 8 here, of which the pool leaves 2 x 2; hence the size of
    the second convolution.
    """
    return nn.Sequential(
        nn.ReLU(),
        nn.AvgPool2d(AUXILIARY_POOL, stride=3),
        nn.Conv2d(channels, 128, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(128, 768, 2, bias=False),
        nn.BatchNorm2d(768),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(768, classes, bias=False),
    )
