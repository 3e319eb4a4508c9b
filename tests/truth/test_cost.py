"""Closed forms against the benchmark's published extremes."""

from __future__ import annotations

import numpy as np
import pytest

from pdnas.space.cells import CellSpace
from pdnas.truth import cost

ALL_NONE, ALL_3X3 = np.zeros((1, 6), dtype=np.int8), np.full((1, 6), 3, dtype=np.int8)


@pytest.mark.parametrize(
    ("classes", "image_size", "parameters", "flops"),
    [  # smallest and largest of the benchmark: CIFAR-10, CIFAR-100, ImageNet16-120
        (10, 32, (73_306, 1_531_546), (7_783_050, 220_119_690)),
        (100, 32, (79_156, 1_537_396), (7_788_900, 220_125_540)),
        (120, 16, (80_456, 1_538_696), (1_953_400, 55_037_560)),
    ],
)
def test_published_extremes(
    classes: int, image_size: int, parameters: tuple[int, int], flops: tuple[int, int]
) -> None:
    extremes = np.concatenate([ALL_NONE, ALL_3X3])
    assert tuple(cost.parameters(extremes, classes=classes)) == parameters
    assert tuple(cost.flops(extremes, classes=classes, image_size=image_size)) == flops


def test_extremes_are_the_extremes() -> None:
    cells = CellSpace().cells
    for count, low, high in (
        (cost.parameters(cells), 73_306, 1_531_546),
        (cost.flops(cells), 7_783_050, 220_119_690),
    ):
        assert (count.min(), count.max()) == (low, high)


def test_only_convolutions_cost_and_every_edge_counts() -> None:
    space = CellSpace()
    dead = space.from_string("|none~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|none~2|")
    pools = np.array([1, 4, 1, 4, 1, 4])
    one = 5 * sum(width**2 + 2 * width for width in (16, 32, 64))
    assert cost.parameters(dead) - cost.parameters(ALL_NONE)[0] == one
    assert cost.flops(pools) == cost.flops(ALL_NONE)[0]


def test_other_skeletons() -> None:
    """Eight channels and one cell a stage, counted layer by layer by hand."""
    stem, head = 27 * 8 + 16, 64 + 32 * 10 + 10
    block = 9 * 8 * 16 + 9 * 16 * 16 + 8 * 16 + 64
    block += 9 * 16 * 32 + 9 * 32 * 32 + 16 * 32 + 128
    cells = 6 * sum(9 * width**2 + 2 * width for width in (8, 16, 32))
    assert cost.parameters(ALL_3X3, channels=8, cells_per_stage=1) == stem + block + cells + head
