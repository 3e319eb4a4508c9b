"""BatchNorm where architectures share a batch, and where an option is only considered."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def normalised(norm: nn.Module, x: Tensor, per_batch: int | None) -> Tensor:
    """BatchNorm, with the statistics of the images of each architecture if they share any.

    Args:
        x: (images, channels, height, width); image i belongs to architecture i modulo
            ``per_batch``.
        per_batch: None: BatchNorm as usual. A number: running statistics stay as they are.
    """
    if per_batch is None:
        return norm(x)
    assert isinstance(norm, nn.BatchNorm2d)
    # In this order, the images of all architectures look like the channels of a smaller batch.
    as_channels = x.reshape(len(x) // per_batch, -1, *x.shape[2:])
    weight, bias = norm.weight.repeat(per_batch), norm.bias.repeat(per_batch)
    out = F.batch_norm(as_channels, None, None, weight, bias, training=True, eps=norm.eps)
    return out.view_as(x)


def with_running_statistics(convolution: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """A convolution and its BatchNorm, with running statistics also while the network trains.

    BatchNorm is then a scale and an offset of each channel, which the convolution takes over.
    """
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    kernel = convolution.weight * scale[:, None, None, None]
    offset = norm.bias - norm.running_mean * scale
    padding = convolution.padding
    return F.conv2d(x, kernel, offset, convolution.stride, padding, groups=convolution.groups)
