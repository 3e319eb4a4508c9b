"""Mean and deviation of images, channel by channel, from exact counts of their levels."""

from __future__ import annotations

import torch
from torch import Tensor


def channel_counts(images: Tensor) -> Tensor:
    """How often each channel has each level.

    Args:
        images: (N, C, H, W) uint8.

    Returns:
        (C, 256) int64; those of parts of the images add up.
    """
    counts = [channel.flatten().bincount(minlength=256) for channel in images.unbind(1)]
    return torch.stack(counts)


def channel_statistics(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, as fractions of 255.

    Args:
        counts: (C, 256), of :func:`channel_counts`.

    Returns:
        two float64 tensors of shape (C,).
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    shares = counts.double() / counts.sum(dim=1, keepdim=True)
    mean = shares @ levels
    return mean, (shares @ levels.square() - mean.square()).sqrt()
