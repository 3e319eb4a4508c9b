"""How a network and its images lie in memory."""

from __future__ import annotations

import torch
from torch import nn

FEWEST_CHANNELS = 4
"""Of a convolution's output, with which its backward pass is sound in the CPU library's channels
last."""


def memory_format(network: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last, which is faster; channels first for a very narrow network on a CPU.

    The CPU library's backward pass in channels last can end the process where a convolution without
    groups and with a kernel larger than 1x1 has fewer than 4 output channels.
    """
    narrow = any(
        isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and max(layer.kernel_size) > 1
        and layer.out_channels < FEWEST_CHANNELS
        for layer in network.modules()
    )
    first = device.type == "cpu" and narrow
    return torch.contiguous_format if first else torch.channels_last
