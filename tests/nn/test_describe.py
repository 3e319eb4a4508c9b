"""Sizes that `pdnas describe` tells, against the benchmark's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pdnas.nn.describe import describe
from pdnas.nn.subnet import multiply_adds
from pdnas.nn.supernets import build
from pdnas.nn.supernets.cells.operations import AveragePool
from pdnas.space.cells import CELL, OPERATIONS, CellSpace
from pdnas.spec.supernets import NasBench201Config
from pdnas.support.errors import PdnasError
from pdnas.truth import cost
from pdnas.truth.tables.nasbench201 import NasBench201

BIAS = 10
"""The benchmark counts one for each output of the linear layer."""


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_cell_of_one_operation_has_the_benchmark_s_multiply_adds(operation: str) -> None:
    space = CellSpace()
    cell = np.full(6, OPERATIONS.index(operation))
    name = space.to_string(cell)
    record = describe("nasbench201", width=None, cell=name, classes=None, size=None)
    assert record["multiply_adds"] == int(cost.flops(cell)) - BIAS
    truth = NasBench201.load()
    known = truth.cell_facts(truth.cell_id(name))
    assert known["multiply_adds"] == truth.multiply_adds[known["id"]] == record["multiply_adds"]
    assert record["parameters"] == int(cost.parameters(cell))


def test_mixed_cells_have_the_benchmark_s_multiply_adds() -> None:
    space = CellSpace()
    for number in np.random.default_rng(0).integers(len(space), size=5):
        cell = space.cells[number]
        name = space.to_string(cell)
        record = describe("nasbench201", width=8, cell=name, classes=100, size=16)
        flops = cost.flops(cell, channels=8, classes=100, image_size=16)
        assert record["multiply_adds"] == int(flops) - 100


def test_how_pooling_is_computed_changes_no_count() -> None:
    """A GPU pools, a CPU convolves."""
    network = build(NasBench201Config(name="nasbench201", channels=4, cells=2), 3, 10).eval()
    network.choose({CELL: torch.tensor([4, 4, 3, 4, 2, 4])})
    image = torch.zeros(1, 3, 16, 16)
    count = multiply_adds(network, image)
    pools = [module for module in network.modules() if isinstance(module, AveragePool)]
    for pool in pools:
        pool.forward = torch.nn.AvgPool2d(3, 1, 1)  # type: ignore[method-assign]
    assert pools
    assert multiply_adds(network, image) == count


@pytest.mark.parametrize("name", ["nasbench201", "natsbench-size"])
@pytest.mark.parametrize("size", [30, 31, 33])
def test_images_that_do_not_halve_are_refused(size: int, name: str) -> None:
    with pytest.raises(PdnasError, match=rf"halves images of {size} pixels .* a multiple of 4"):
        describe(name, width=2, cell=None, classes=None, size=size)


def test_the_size_space_has_a_gate_a_width() -> None:
    record = describe("natsbench-size", width=None, cell=None, classes=None, size=None)
    assert [(gate["name"], gate["size"]) for gate in record["gates"]] == [
        (name, 64) for name in ("c0", "c1", "c2", "c3", "c4")
    ]
    # Two cells project their input, which the space's network of equal widths skips unchanged.
    assert record["parameters"] == 713_674 + 2 * (64 * 64 + 2 * 64)


def test_the_next_multiple_is_described() -> None:
    record = describe("nasbench201", width=2, cell=None, classes=None, size=36)
    assert record["image"] == [3, 36, 36]


@pytest.mark.parametrize("width", [10**9, 10**30])
def test_a_huge_width_is_refused(width: int) -> None:
    with pytest.raises(PdnasError, match=r"supernet-m: width: .*less than or equal to 65536"):
        describe("m", width=width, cell=None, classes=None, size=None)
