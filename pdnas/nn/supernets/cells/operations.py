"""The operations of an edge, and the ways to compute them."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pdnas.nn.supernets.categorical.batchnorm import normalised, with_running_statistics
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
        channels, height, width = x.shape[1:]
        kernel = x.new_ones(channels, 1, 3, 3)
        total = F.conv2d(x, kernel, padding=1, groups=channels)
        inside = F.conv2d(x.new_ones(1, 1, height, width), kernel[:1], padding=1)
        return total / inside


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


def evaluated(operation: nn.Sequential, rectified: Tensor) -> Tensor:
    """As :func:`convolved`, with running statistics also while the network trains."""
    _, convolution, norm = operation
    return with_running_statistics(convolution, norm, rectified)


def applied(operation: nn.Module, x: Tensor, cells_per_batch: int | None = None) -> Tensor:
    """What an operation gives, with BatchNorm as in :func:`normalised`."""
    if cells_per_batch is None or not isinstance(operation, nn.Sequential):
        return operation(x)
    return convolved(operation, F.relu(x), cells_per_batch)
