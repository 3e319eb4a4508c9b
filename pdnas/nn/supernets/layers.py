"""Layers that several supernets share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GatedConv2d
from pdnas.nn.noise import DrawsNoise


class FactorizedReduction(nn.Module):
    """Another width and a lower resolution without losing pixels.

    Two 1x1 convolutions of half the width on pixels picked with the stride, the second pick shifted
    by one pixel to the lower right, concatenated and normalised.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 2) -> None:
        super().__init__()
        self.stride = stride
        self.conv = GatedConv2d(inputs, outputs // 2, 1)
        self.conv_shifted = GatedConv2d(inputs, outputs - outputs // 2, 1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        step = self.stride
        shifted = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        # An average pool of size 1 only picks pixels, and so does a strided slice.
        here, there = x[:, :, ::step, ::step], shifted[:, :, ::step, ::step]
        return self.norm(torch.cat([self.conv(here), self.conv_shifted(there)], dim=1))


class StochasticDepth(DrawsNoise):
    """Drop-path: in training, an image's input becomes 0 with probability ``p``, else x / (1 - p).

    It is torchvision's module of this name in its mode "row". Importing that one would cost every
    command seconds, since torchvision imports torch's compiler.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        survival = 1 - self.p

        def draw(images: int) -> Tensor:
            return x.new_empty(images, *(1,) * (x.dim() - 1)).bernoulli_(survival)

        survives = self.for_images(len(x), draw)
        return x * (survives / survival if survival else survives)
