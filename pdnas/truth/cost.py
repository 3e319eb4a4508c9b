"""Parameters and FLOPs of NAS-Bench-201 networks in closed form.

The skeleton (Dong and Yang, "NAS-Bench-201", ICLR 2020, section 2 and figure 1): 3x3 convolution
from 3 to C channels and BatchNorm; three stages of N cells at widths C, 2C, 4C and at full, half
and quarter resolution; before the second and third stage a residual block of stride 2 (two
ReLU-conv3x3-BN, shortcut of 2x2 average pooling and a 1x1 convolution without BatchNorm);
BN-ReLU, global average pooling, linear layer with bias. ``nor_conv_kxk`` is ReLU-conv-BN; no
convolution has a bias, every BatchNorm has scale and shift.

Every edge counts, also one whose result is never used: that is how the benchmark counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pdnas.space.cells import OPERATIONS

_KERNEL_AREA = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
_STAGE_WIDTHS = (1, 2, 4)  # in units of C


def _convolutions(cells: NDArray[np.integer], kernel: str) -> NDArray[np.int64]:
    """How many of each cell's edges are ``kernel``, shape (...)."""
    return np.asarray((cells == OPERATIONS.index(kernel)).sum(axis=-1), dtype=np.int64)


def parameters(
    cells: NDArray[np.integer],
    channels: int = 16,
    cells_per_stage: int = 5,
    classes: int = 10,
    stages: int = 3,
    colours: int = 3,
) -> NDArray[np.int64]:
    """Trainable parameters of the network of each cell.

    Args:
        cells: operation codes, shape (..., 6).
        channels: C, width of the first stage.
        cells_per_stage: N.
        classes: outputs of the linear layer.
        stages: the first of the benchmark's three that there are.
        colours: channels of an image.

    Returns:
        Counts, shape (...). The benchmark's own: 73 306 (all none) to 1 531 546 (all 3x3).
    """
    widths = _STAGE_WIDTHS[:stages]
    stem = 9 * colours * channels + 2 * channels
    blocks = 0
    for factor in widths[1:]:
        wide = factor * channels
        narrow = wide // 2
        blocks += 9 * narrow * wide + 9 * wide * wide + narrow * wide + 4 * wide
    last = widths[-1] * channels
    head = 2 * last + last * classes + classes
    total = np.full(cells.shape[:-1], stem + blocks + head, dtype=np.int64)
    for kernel, area in _KERNEL_AREA.items():
        one_cell_a_stage = sum(
            area * (factor * channels) ** 2 + 2 * factor * channels for factor in widths
        )
        total += _convolutions(cells, kernel) * cells_per_stage * one_cell_a_stage
    return total


def flops(
    cells: NDArray[np.integer],
    channels: int = 16,
    cells_per_stage: int = 5,
    classes: int = 10,
    image_size: int = 32,
) -> NDArray[np.int64]:
    """What the benchmark calls FLOPs: multiply-adds of convolutions and of the linear layer.

    The linear layer's bias counts one an output; BatchNorm, ReLU, pooling and additions count
    nothing.

    Args:
        cells: operation codes, shape (..., 6).
        channels: C, width of the first stage.
        cells_per_stage: N.
        classes: outputs of the linear layer.
        image_size: side of the square input in pixels, a multiple of 4 (32 on CIFAR, 16 on
            ImageNet16-120).

    Returns:
        Counts, shape (...). The benchmark's own on CIFAR-10: 7 783 050 to 220 119 690.
    """
    pixels = image_size**2
    stem = 27 * channels * pixels
    blocks = 0
    for factor in _STAGE_WIDTHS[1:]:
        wide = factor * channels
        narrow = wide // 2
        blocks += (9 * narrow * wide + 9 * wide * wide + narrow * wide) * pixels // factor**2
    head = _STAGE_WIDTHS[-1] * channels * classes + classes
    total = np.full(cells.shape[:-1], stem + blocks + head, dtype=np.int64)
    for kernel, area in _KERNEL_AREA.items():
        # Twice the width at half the resolution: every stage costs the same.
        one_cell_a_stage = len(_STAGE_WIDTHS) * area * channels**2 * pixels
        total += _convolutions(cells, kernel) * cells_per_stage * one_cell_a_stage
    return total
