"""DenseNet with gates grouped by source: SupNet-D-121 of the paper (supplement, section 1.2).

The network is DenseNet-BC (Huang et al., CVPR 2017) as torchvision builds it, layer names included:
dense blocks of layers BN-ReLU-Conv1x1-BN-ReLU-Conv3x3, each of which reads everything that the
block's input and its earlier layers have produced; between blocks a transition BN-ReLU-Conv1x1 and
average pool. SupNet-D-121 has 6, 12, 24 and 16 layers a block; 169 and 201 differ in these alone.

Gates are on both convolutions of every layer and on the transitions' (121: 2 x 58 + 3 = 119). The
input channels of a layer's 1x1 convolution and of a transition fall into groups by the layer that
produced them, the block's input first, with one drop probability each: layer i of a block has i
groups, its 3x3 convolution one. The official log of a SupNet-D-121 search prints the same gates in
the same order; it calls gate NAME ``module.NAME.p_logit``. Stem and classifier carry no gates.

The stem is one 7x7 convolution. The code as released has three 3x3 convolutions in its place, but
the search had not: of the two released logs of fine-tuning the chosen candidate, the one named 7x7
starts at that candidate's accuracy (73.43 %), the one named 3x3 at chance.

Parameters (1000 classes): 7 978 856, 14 149 480 and 20 013 928. The 6.6 million of the paper's
Table 8 are kernels of gated convolutions alone: of the 6 860 800 there, the last epoch of the log
keeps 6.60 million in expectation. With stem, BatchNorm and classifier it is 7.72 million.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GatedConv2d
from pdnas.nn.supernets.base import ChannelSupernet
from pdnas.nn.supernets.registry import register
from pdnas.spec.supernets import DenseNetConfig

BOTTLENECK = 4
"""Channels between the two convolutions of a layer, in multiples of the growth rate."""


class DenseLayer(nn.Module):
    """BN-ReLU-Conv1x1-BN-ReLU-Conv3x3, which adds ``growth`` channels to what its block has.

    Args:
        sources: channels of the block's input, then of each earlier layer of the block.
        growth: channels that this layer produces.
    """

    def __init__(self, sources: Sequence[int], growth: int) -> None:
        super().__init__()
        inputs, inside = sum(sources), BOTTLENECK * growth
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = GatedConv2d(inputs, inside, 1, relu=True, group_sizes=sources)
        self.norm2 = nn.BatchNorm2d(inside)
        self.conv2 = GatedConv2d(inside, growth, 3, padding=1, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.norm2(self.conv1(self.norm1(x))))


class DenseBlock(nn.Module):
    """Dense layers; the output is the input and what every layer produced, concatenated."""

    def __init__(self, inputs: int, layers: int, growth: int) -> None:
        super().__init__()
        for layer in range(layers):
            sources = [inputs, *[growth] * layer]
            self.add_module(f"denselayer{layer + 1}", DenseLayer(sources, growth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


def transition(sources: Sequence[int], outputs: int) -> nn.Sequential:
    """BN-ReLU-Conv1x1 and an average pool that halves the resolution; sources as in a layer."""
    inputs = sum(sources)
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            conv=GatedConv2d(inputs, outputs, 1, relu=True, group_sizes=sources),
            pool=nn.AvgPool2d(2, stride=2),
        )
    )


@register(DenseNetConfig)
class DenseNetSupernet(ChannelSupernet):
    """DenseNet-BC, which halves the channels in its transitions.

    Args:
        layers: dense layers in each block.
        growth: channels that a layer produces; the stem has twice as many.
        in_channels: channels of an image. Its sides must be of 2^(blocks + 1) - 3 pixels or more.
        classes: number of classes.
    """

    def __init__(self, layers: Sequence[int], growth: int, in_channels: int, classes: int) -> None:
        super().__init__()
        channels = 2 * growth
        self.features = nn.Sequential(
            OrderedDict(
                conv0=nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
                norm0=nn.BatchNorm2d(channels),
                relu0=nn.ReLU(),
                pool0=nn.MaxPool2d(3, stride=2, padding=1),
            )
        )
        for number, count in enumerate(layers, start=1):
            block = DenseBlock(channels, count, growth)
            self.features.add_module(f"denseblock{number}", block)
            sources = [channels, *[growth] * count]
            channels = sum(sources)
            if number < len(layers):
                shrink = transition(sources, channels // 2)
                self.features.add_module(f"transition{number}", shrink)
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        self.draw_switches(x)
        return self.classifier(torch.relu(self.features(x)).mean(dim=(2, 3)))
