"""BatchNorm where architectures share a batch, and where an option is only considered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdnas.nn.supernets.categorical.credit import refuse_second_derivative


def normalised(norm: nn.Module, x: Tensor, per_batch: int | None) -> Tensor:
    """BatchNorm, with the statistics of the images of each architecture if they share any.

    Args:
        x: (images, channels, height, width); the images of each of ``per_batch`` architectures
            follow one another.
        per_batch: None: BatchNorm as usual. A number: running statistics stay as they are.
    """
    if per_batch is None:
        return norm(x)
    assert isinstance(norm, nn.BatchNorm2d)
    pixels = x.permute(0, 2, 3, 1).to(norm.weight.dtype)
    lines = pixels.reshape(per_batch, -1, x.shape[3] * x.shape[1])
    out = _Normalised.apply(lines, norm.weight, norm.bias, norm.eps)
    return out.view_as(pixels).permute(0, 3, 1, 2).to(x.dtype)


class _Normalised(torch.autograd.Function):
    """BatchNorm of each group of images by itself, for images that lie channels last.

    What is the same for all pixels is repeated along a line of them: so narrow features, too, fill
    the processor's vectors. That makes it three times as fast as torch's own (docs/speed.md).
    """

    @staticmethod
    def forward(ctx: Any, lines: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        """``lines``: (groups, lines, pixels of a line times channels)."""
        mean = _pixels(lines, weight).mean(dim=1)
        centred = lines - _along(mean, lines)
        some = _pixels(centred, weight)
        scale = torch.rsqrt(torch.linalg.vecdot(some, some, dim=1) / some.shape[1] + eps)
        ctx.save_for_backward(centred, scale, weight)
        return torch.addcmul(_along(bias[None], lines), centred, _along(scale * weight, lines))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("images that share an architecture", "set gates.noise to image")
        centred, scale, weight = ctx.saved_tensors
        some = _pixels(slope, weight)
        total = some.sum(dim=1)
        along = scale * torch.linalg.vecdot(some, _pixels(centred, weight), dim=1)
        size = scale * weight
        of_pixel = -size / some.shape[1]
        passed = torch.addcmul(_along(of_pixel * total, slope), slope, _along(size, slope))
        passed.addcmul_(centred, _along(of_pixel * scale * along, slope))
        return passed, along.sum(dim=0), total.sum(dim=0), None


def _pixels(lines: Tensor, weight: Tensor) -> Tensor:
    """(groups, pixels, channels)."""
    return lines.view(len(lines), -1, len(weight))


def _along(channels: Tensor, lines: Tensor) -> Tensor:
    """(groups, channels), repeated for the pixels of a line."""
    return channels.repeat(1, lines.shape[2] // channels.shape[1])[:, None]


def normalised_products(
    norms: Sequence[nn.Module], x: Tensor, slope: Tensor, shared: bool
) -> Tensor:
    """Products of each row of a slope with the output of a BatchNorm, which is not computed.

    Args:
        norms: several, for each its own features.
        x: features, (norms, rows, ..., channels).
        slope: (rows, ..., channels).
        shared: a row is all images of an architecture, whose statistics BatchNorm takes; else an
            image, and BatchNorm takes its running statistics: images that did not choose an option
            have no part in its batch.

    Returns:
        (norms, rows).
    """

    def of_norms(name: str) -> Tensor:
        return torch.stack([getattr(norm, name).detach() for norm in norms])[:, None]

    x, slope = x.flatten(2, -2), slope.flatten(1, -2).to(x.dtype)
    along, total = torch.linalg.vecdot(x, slope, dim=2), slope.sum(dim=1)
    if shared:
        mean = x.mean(dim=2)
        variance = torch.linalg.vecdot(x, x, dim=2) / x.shape[2] - mean.square()
    else:
        mean, variance = of_norms("running_mean"), of_norms("running_var")
    scale = of_norms("weight") * torch.rsqrt(variance.clamp(min=0) + norms[0].eps)
    return (scale * (along - mean * total) + of_norms("bias") * total).sum(dim=2)


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
