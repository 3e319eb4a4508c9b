"""Layers that several supernets share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pdnas.gates import GatedConv2d


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
