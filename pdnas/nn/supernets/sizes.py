"""The skeleton of NATS-Bench's size space (:mod:`pdnas.space.sizes`), whose widths are searched.

All layers that read a width share its gate: one drop probability, and one mask of a candidate or
image. The operations are those of the benchmark: ReLU-Conv-BN; a residual block whose shortcut is a
2x2 average pool and a 1x1 convolution without BatchNorm; BatchNorm and ReLU before the classifier.

A cell between two widths may skip its input unchanged where they are equal, as in the benchmark.
In a supernet it is always projected by a 1x1 convolution with BatchNorm, since even equally many
kept channels are other ones. Nothing else tells a candidate from the space's network of its widths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GatedConv2d, GatedLinear, SharedGate
from pdnas.nn.supernets.base import ChannelSupernet
from pdnas.nn.supernets.registry import register
from pdnas.space.posterior import ChannelPosterior
from pdnas.space.sizes import LARGEST, NAMES, projected_parameters
from pdnas.spec.supernets import NatsBenchSizeConfig


def relu_conv_norm(reads: SharedGate, outputs: SharedGate, stride: int = 1) -> nn.Sequential:
    """ReLU-Conv3x3-BN from one width to another."""
    convolution = GatedConv2d(
        reads.channels, outputs.channels, 3, stride=stride, padding=1, relu=True, shared=reads
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs.channels))


class Cell(nn.Module):
    """3x3; 3x3 after two inputs; two 3x3 and the skip: nodes 1, 2 and 3 of four."""

    def __init__(self, reads: SharedGate, width: SharedGate, project: bool) -> None:
        super().__init__()
        self.conv01 = relu_conv_norm(reads, width)
        self.conv02 = relu_conv_norm(reads, width)
        self.conv12 = relu_conv_norm(width, width)
        self.conv13 = relu_conv_norm(width, width)
        self.conv23 = relu_conv_norm(width, width)
        self.skip: nn.Module = nn.Identity()
        if project:
            projection = GatedConv2d(reads.channels, width.channels, 1, shared=reads)
            self.skip = nn.Sequential(projection, nn.BatchNorm2d(width.channels))

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv01(x)
        second = self.conv02(x) + self.conv12(first)
        return self.skip(x) + self.conv13(first) + self.conv23(second)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a pooled and projected shortcut; halves the resolution."""

    def __init__(self, reads: SharedGate, width: SharedGate) -> None:
        super().__init__()
        self.conv_a = relu_conv_norm(reads, width, stride=2)
        self.conv_b = relu_conv_norm(width, width)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2), GatedConv2d(reads.channels, width.channels, 1, shared=reads)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.conv_b(self.conv_a(x))


@register(NatsBenchSizeConfig)
class SizeSupernet(ChannelSupernet):
    """The skeleton with five widths, gates on each: a supernet, or one network of the space.

    Args:
        widths: channels of c0 to c4.
        in_channels: channels of an image.
        classes: number of classes.
        project: whether a cell between two widths projects its input where they are equal, too.
        share: of the channels of the network that it stands for.
    """

    def __init__(
        self,
        widths: Iterable[int],
        in_channels: int,
        classes: int,
        *,
        project: bool = True,
        share: float = 1.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.classes, self.share = in_channels, classes, share
        self.c0, self.c1, self.c2, self.c3, self.c4 = (SharedGate([width]) for width in widths)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, self.c0.channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.c0.channels),
        )

        def cell(reads: SharedGate, width: SharedGate) -> Cell:
            return Cell(reads, width, project or reads.channels != width.channels)

        self.body = nn.Sequential(
            Cell(self.c0, self.c0, project=False),
            ResidualBlock(self.c0, self.c1),
            cell(self.c1, self.c2),
            ResidualBlock(self.c2, self.c3),
            cell(self.c3, self.c4),
        )
        self.norm = nn.BatchNorm2d(self.c4.channels)
        self.classifier = GatedLinear(self.c4.channels, classes, shared=self.c4)

    @classmethod
    def of(cls, config: NatsBenchSizeConfig, in_channels: int, classes: int) -> Self:
        widths = [config.width] * len(NAMES)
        return cls(widths, in_channels, classes, share=config.width / LARGEST)

    def forward(self, x: Tensor) -> Tensor:
        self.draw_switches(x)
        x = self.norm(self.body(self.stem(x)))
        return self.classifier(torch.relu(x).mean(dim=(2, 3)))

    def parameters_with(self, drop: Mapping[str, Tensor]) -> Tensor:
        """Expected parameters of the space's network with the kept widths, a scalar.

        Cells between two widths count as projecting, also where equally many channels are kept.
        """
        return self._expected(drop, 1)

    def expected_size(self) -> Tensor:
        """Expected parameters of the network that it stands for, a scalar with a gradient.

        A channel of a share, such as a quarter, stands for four that are dropped independently.
        """
        return self._expected(self._present_drop(), 1 / self.share)

    def _expected(self, drop: Mapping[str, Tensor], copies: float) -> Tensor:
        """With so many channels in place of each."""
        keep = [1 - drop[name] for name in NAMES]
        widths = [copies * each.sum() for each in keep]
        variances = [copies * (each * (1 - each)).sum() for each in keep]
        squares = [w**2 + variance for w, variance in zip(widths, variances, strict=True)]
        expected: Tensor = projected_parameters(widths, squares, self.classes, self.in_channels)
        return expected

    def matching_drop_probability(self, posterior: ChannelPosterior) -> float:
        from scipy.optimize import brentq

        target = self.expected_parameters(posterior)

        def excess(drop: float) -> float:
            constant = ChannelPosterior.constant(posterior, drop)
            return self.expected_parameters(constant) - target

        found: float = brentq(excess, 0.0, 1.0, xtol=1e-14)
        return found
