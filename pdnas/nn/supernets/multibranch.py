"""The 3-branch ResNet of shake-shake (Gastaldi 2017): SupNet-M and SupNet-MI of the paper.

Three stages of residual blocks; a block adds two residual paths ReLU-Conv3x3-BN-ReLU-Conv3x3-BN to
its skip connection, or, as in shake-shake and in PGNAS's release, a random mean of the two, which
becomes their plain mean in evaluation. Neither changes parameters or candidates. SupNet-M is width
96 with 4 blocks a stage (26.19 M parameters), SupNet-MI width 160 (72.70 M). Every convolution but
the stem is gated: the stem's input channels are colours, and the classifier is no convolution.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GatedConv2d
from pdnas.nn.noise import DrawsNoise
from pdnas.nn.supernets.base import ChannelSupernet
from pdnas.nn.supernets.layers import FactorizedReduction
from pdnas.nn.supernets.registry import register
from pdnas.spec.names import BranchMerge
from pdnas.spec.supernets import MultiBranchConfig

STEM_CHANNELS = 16


def residual_path(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """ReLU-Conv3x3-BN-ReLU-Conv3x3-BN; the first convolution carries the stride."""
    layers = {  # numbered as if each ReLU were a layer of its own
        "1": GatedConv2d(inputs, outputs, 3, stride=stride, padding=1, relu=True),
        "2": nn.BatchNorm2d(outputs),
        "4": GatedConv2d(outputs, outputs, 3, padding=1, relu=True),
        "5": nn.BatchNorm2d(outputs),
    }
    return nn.Sequential(OrderedDict(layers))


class Shortcut(FactorizedReduction):
    """The skip connection where width or resolution changes; begins with ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.relu(x))


class ShakeShake(DrawsNoise):
    """A random convex combination for each image, in evaluation the mean (Gastaldi 2017).

    The weights of the forward pass and those of the backward pass are drawn independently,
    uniformly from 0 to 1; the shapes are (images, channels, height, width).
    """

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        if not self.training:
            # The expectation of the weights, also for a candidate that lacks one of the paths: its
            # BatchNorm has left a constant in the other's place.
            return (first + second) * 0.5

        def draw(images: int) -> Tensor:
            return torch.rand((2, images, 1, 1, 1), device=first.device, dtype=first.dtype)

        forward, backward = self.for_images(len(first), draw, dim=1)
        gradient = torch.lerp(second, first, backward)
        return gradient + (torch.lerp(second, first, forward) - gradient).detach()


class MultiBranchBlock(nn.Module):
    """Skip connection plus two residual paths, added up or merged by shake-shake."""

    def __init__(self, inputs: int, outputs: int, stride: int, merge: BranchMerge) -> None:
        super().__init__()
        self.branch1 = residual_path(inputs, outputs, stride)
        self.branch2 = residual_path(inputs, outputs, stride)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else Shortcut(inputs, outputs, stride)
        self.shake = ShakeShake() if merge == "shake-shake" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.shake is None:
            return self.skip(x) + self.branch1(x) + self.branch2(x)
        merged = self.shake(self.branch1(x), self.branch2(x))
        return self.skip(x) + merged


@register(MultiBranchConfig)
class MultiBranchSupernet(ChannelSupernet):
    """The 3-branch ResNet.

    Args:
        width: channels of the first stage; the second and third have twice and four times as many.
        blocks: blocks in each stage.
        in_channels: channels of an image.
        classes: number of classes.
        merge: how a block joins its two residual paths.
    """

    def __init__(
        self, width: int, blocks: int, in_channels: int, classes: int, merge: BranchMerge = "sum"
    ) -> None:
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
                layers.append(MultiBranchBlock(channels, outputs, stride, merge))
                channels = outputs
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        self.draw_switches(x)
        x = self.stages(self.stem_norm(self.stem(x)))
        return self.classifier(torch.relu(x).mean(dim=(2, 3)))
