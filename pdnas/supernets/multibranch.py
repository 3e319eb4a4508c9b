"""The 3-branch ResNet of shake-shake (Gastaldi 2017): SupNet-M and SupNet-MI of the paper.

Three stages of residual blocks; a block adds two residual paths ReLU-Conv3x3-BN-ReLU-Conv3x3-BN to
its skip connection. SupNet-M is width 96 with 4 blocks a stage (26.19 M parameters), SupNet-MI
width 160 (72.70 M). Every convolution but the stem is gated: the stem's input channels are colours,
and the classifier is no convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pdnas.gates import GatedConv2d
from pdnas.supernets.base import ChannelSupernet

STEM_CHANNELS = 16


def residual_path(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """ReLU-Conv3x3-BN-ReLU-Conv3x3-BN; the first convolution carries the stride."""
    return nn.Sequential(
        nn.ReLU(),
        GatedConv2d(inputs, outputs, 3, stride=stride, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        GatedConv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
    )


class ShiftedShortcut(nn.Module):
    """The skip connection where width or resolution changes.

    ReLU, then two 1x1 convolutions of half the width on pixels picked with the stride, the second
    pick shifted by one pixel to the lower right, concatenated and normalised.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = GatedConv2d(inputs, outputs // 2, 1)
        self.conv_shifted = GatedConv2d(inputs, outputs - outputs // 2, 1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        step = self.stride
        shifted = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        # An average pool of size 1 only picks pixels, and so does a strided slice.
        here, there = x[:, :, ::step, ::step], shifted[:, :, ::step, ::step]
        return self.norm(torch.cat([self.conv(here), self.conv_shifted(there)], dim=1))


class MultiBranchBlock(nn.Module):
    """Skip connection plus two residual paths, added up."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch1 = residual_path(inputs, outputs, stride)
        self.branch2 = residual_path(inputs, outputs, stride)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else ShiftedShortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.branch1(x) + self.branch2(x)


class MultiBranchSupernet(ChannelSupernet):
    """The 3-branch ResNet.

    Args:
        width: channels of the first stage; the second and third have twice and four times as many.
        blocks: blocks in each stage.
        in_channels: channels of an image.
        classes: number of classes.
    """

    def __init__(self, width: int, blocks: int, in_channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, STEM_CHANNELS, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(STEM_CHANNELS)
        stages = []
        channels = STEM_CHANNELS
        for stage in range(3):
            outputs = width * 2**stage
            layers = []
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(MultiBranchBlock(channels, outputs, stride))
                channels = outputs
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem_norm(self.stem(x)))
        return self.classifier(torch.relu(x).mean(dim=(2, 3)))
