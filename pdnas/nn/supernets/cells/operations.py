"""The operations of an edge, and the ways to compute them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdnas.nn.supernets.categorical.batchnorm import normalised, normalised_products
from pdnas.nn.supernets.categorical.credit import product
from pdnas.nn.supernets.categorical.mixture import as_images, as_rows
from pdnas.support.errors import PdnasError


def conv_op(channels: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """The benchmark's nor_conv: ReLU, convolution without bias, BatchNorm."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class AveragePool(nn.Module):
    """``AvgPool2d(3, 1, 1, count_include_pad=False)`` as a depthwise convolution.

    On a CPU, for few channels, that takes a third of the time (benchmarks/).
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return _summed(x) / _inside(*x.shape[1:], x.dtype, x.device)

    def transposed(self, slope: Tensor) -> Tensor:
        """The gradient of the input, for that of the output."""
        return _summed(slope / _inside(*slope.shape[1:], slope.dtype, slope.device))


def _summed(x: Tensor) -> Tensor:
    """Sums of 3x3 pixels."""
    channels = x.shape[1]
    return F.conv2d(x, x.new_ones(channels, 1, 3, 3), padding=1, groups=channels)


@cache
def _inside(
    channels: int, height: int, width: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """How many of the 3x3 pixels around each lie within the image, (1, channels, height, width).

    It says so for every channel, since dividing pixel by pixel would be slow where channels are
    few.
    """
    ones = torch.ones(1, channels, height, width, dtype=dtype, device=device)
    return _summed(ones).contiguous(memory_format=torch.channels_last)


def make_operation(name: str, channels: int) -> nn.Module:
    """One operation of an edge; ``none`` has no module, since it adds nothing to its node."""
    match name:
        case "skip_connect":
            return nn.Identity()
        case "nor_conv_1x1":
            return conv_op(channels, channels, 1)
        case "nor_conv_3x3":
            return conv_op(channels, channels, 3)
        case "avg_pool_3x3":
            return AveragePool()
    raise PdnasError(f"no operation {name!r} in NAS-Bench-201's cell space")


def convolved(
    operation: nn.Sequential, rectified: Tensor, cells_per_batch: int | None = None
) -> Tensor:
    """What a :func:`conv_op` gives for its input after the ReLU; see :func:`normalised`."""
    _, convolution, norm = operation
    return normalised(norm, convolution(rectified), cells_per_batch)


def applied(operation: nn.Module, x: Tensor, cells_per_batch: int | None = None) -> Tensor:
    """What an operation gives, with BatchNorm as in :func:`normalised`."""
    if cells_per_batch is None or not isinstance(operation, nn.Sequential):
        return operation(x)
    return convolved(operation, F.relu(x), cells_per_batch)


def products(
    operations: Sequence[nn.Module],
    slope: Tensor,
    sources: Sequence[Tensor],
    rectified: Sequence[Tensor],
    shared: bool,
) -> Tensor:
    """Products of each row of a slope and what operations of one name would add there.

    No output is made: a pool passes the slope back instead, and a BatchNorm is a scale and an
    offset of its channel's product.

    Args:
        operations: one for each source.
        slope: (rows, ...).
        sources: rows of the nodes before, each of the same shape.
        rectified: the same after the ReLU, as images.
        shared: as in :func:`normalised_products`.

    Returns:
        (sources, rows).
    """
    kind = operations[0]
    if isinstance(kind, nn.Sequential):
        own = len(slope) if shared else None
        outputs = [
            as_rows(operation.get_submodule("1")(x), own)
            for operation, x in zip(operations, rectified, strict=True)
        ]
        norms = [operation.get_submodule("2") for operation in operations]
        return normalised_products(norms, torch.stack(outputs), slope, shared)
    if isinstance(kind, AveragePool):
        back = as_rows(kind.transposed(as_images(slope)))
        slope = back.view_as(slope)
    return torch.stack([product(slope, source) for source in sources])
