"""ResNet-50 with parallel kernel sizes: SupNet-R-50 of the paper (supplement, section 1.2).

Every 3x3 convolution of ResNet-50 becomes four parallel ones of extent 1x1, 3x3, 5x5 and 9x9, a
quarter of the maps each, concatenated; the 5x5 is a 3x3 kernel and the 9x9 a 5x5 kernel with one
pixel left out between taps. All else is ResNet-50 as torchvision builds it: the stride of a stage's
first block is on the parallel convolutions, not on the 1x1 before them.

Gates: one for each block and kernel size, on the input channels of that one parallel convolution,
so 16 x 4 gates with one drop probability each. This is the paper's rule, "one probability for a
layer and kernel size", applied where the network has kernel sizes to choose from. It is also what
the released script for counting parameters reads from checkpoints of the authors' own run: drop
probabilities of ``bottleneck_2/kernel_size_{1,3,5,9}`` and of nothing else. Stem, 1x1 convolutions,
shortcuts and classifier are as in any ResNet-50.

Parameters (1000 classes): the plain network has 25 557 032, of which 9 S = 11 317 248 in 3x3
kernels, with S = Σ width² over the blocks = 1 257 472. The parallel kernels have
(1 + 9 + 9 + 25)/4 S = 11 S, so SupNet-R-50 has 25 557 032 + 2 S = 28 071 976. The paper reports
44.0 million, which no set of kernel sizes at a quarter of the maps gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GatedConv2d
from pdnas.nn.supernets.base import ChannelSupernet
from pdnas.nn.supernets.registry import register
from pdnas.spec.supernets import ResNetConfig
from pdnas.support.errors import PdnasError

EXPANSION = 4
"""Channels that leave a bottleneck block for each channel inside it."""

SIZE_AND_DILATION = {1: (1, 1), 3: (3, 1), 5: (3, 2), 9: (5, 2)}
"""Extent of a kernel in pixels → taps a side, and pixels from one tap to the next."""


class MultiKernelConv2d(nn.Module):
    """Parallel gated convolutions of several extents, each with an equal share of the outputs.

    Args:
        inputs: input channels, all of which every convolution reads.
        outputs: output channels, in the order of ``kernels``.
        stride: of every convolution; an input of n pixels a side gives ⌈n / stride⌉.
        kernels: extents in pixels, keys of :data:`SIZE_AND_DILATION`.

    Raises:
        PdnasError: the outputs cannot be shared out equally.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, kernels: Sequence[int]) -> None:
        super().__init__()
        if outputs % len(kernels):
            raise PdnasError(
                f"{outputs} channels cannot be shared out among {len(kernels)} kernel sizes; "
                f"choose a width that is a multiple of {len(kernels)}"
            )
        for extent in kernels:
            size, dilation = SIZE_AND_DILATION[extent]
            convolution = GatedConv2d(
                inputs,
                outputs // len(kernels),
                size,
                stride=stride,
                padding=extent // 2,
                dilation=dilation,
            )
            self.add_module(f"kernel{extent}", convolution)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([convolution(x) for convolution in self.children()], dim=1)


class MultiKernelBottleneck(nn.Module):
    """ResNet's bottleneck block: 1x1 to ``width``, parallel kernels, 1x1 to 4 ``width``, plus skip.

    With the kernels (3,) it is the original block.
    """

    def __init__(self, inputs: int, width: int, stride: int, kernels: Sequence[int]) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = MultiKernelConv2d(width, width, stride, kernels)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


@register(ResNetConfig)
class MultiKernelResNetSupernet(ChannelSupernet):
    """ResNet with parallel kernel sizes.

    Args:
        width: channels of the stem, and inside the first stage's blocks; each further stage has
            twice as many. A multiple of the number of kernels.
        blocks: blocks in each stage; every stage but the first halves the resolution, which the
            stem has divided by 4.
        kernels: extents of the parallel kernels, of 1, 3, 5 and 9 pixels; (3,) is plain ResNet.
        in_channels: channels of an image.
        classes: number of classes.

    Raises:
        PdnasError: the width is no multiple of the number of kernels.
    """

    def __init__(
        self,
        width: int,
        blocks: Sequence[int],
        kernels: Sequence[int],
        in_channels: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages = []
        channels = width
        for stage, count in enumerate(blocks):
            inside = width * 2**stage
            layers = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(MultiKernelBottleneck(channels, inside, stride, kernels))
                channels = EXPANSION * inside
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        self.draw_switches(x)
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(self.stages(x).mean(dim=(2, 3)))
