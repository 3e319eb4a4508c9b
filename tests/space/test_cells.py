"""Cells: their ids in the run's space and in the benchmark's, strings, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from pdnas.space.cells import ENCODINGS, OPERATIONS, CellSpace
from pdnas.spec.names import Encoding
from pdnas.support.errors import PdnasError

SMALL = CellSpace(("skip_connect", "nor_conv_3x3", "none"))


@pytest.mark.parametrize("space", [CellSpace(), SMALL, CellSpace(OPERATIONS[::-1])])
def test_benchmark_ids_name_the_same_cells(space: CellSpace) -> None:
    everything = CellSpace()
    ids = space.benchmark_ids()
    assert len(set(ids.tolist())) == len(space)
    for cell in np.random.default_rng(0).integers(len(space), size=50):
        assert everything.to_string(everything.cells[ids[cell]]) == space.to_string(
            space.cells[cell]
        )


def test_benchmark_ids_of_the_benchmark_are_its_own() -> None:
    assert np.array_equal(CellSpace().benchmark_ids(), np.arange(15_625))
    with pytest.raises(PdnasError, match="no operation 'sep_conv_3x3'"):
        CellSpace(("none", "sep_conv_3x3")).benchmark_ids()


@pytest.mark.parametrize(
    "cell",
    [[-1] * 6, [0, 0, 0, 0, 0, 5], [0, 0, 0, 0, 0, 3.9], [0] * 5, [0] * 7, [True] * 6, [], 3],
)
def test_what_is_no_cell_is_refused(cell: Any) -> None:
    for action in (CellSpace().to_string, CellSpace().ids):
        with pytest.raises(PdnasError, match="a cell is 6 whole operation codes from 0 to 4"):
            action(cell)


def test_codes_of_a_smaller_space() -> None:
    with pytest.raises(PdnasError, match="codes from 0 to 2"):
        SMALL.ids(np.full((4, 6), 3))
    with pytest.raises(PdnasError, match="one cell has one string"):
        SMALL.to_string(np.zeros((2, 6), dtype=int))


def test_encodings_are_those_that_commands_know() -> None:
    assert set(ENCODINGS) == set(get_args(Encoding))
    assert SMALL.from_numbers("111110", "autodl").tolist() == [0] * 5 + [2]
    with pytest.raises(PdnasError, match="operations of no cell here: nor_conv_1x1"):
        SMALL.from_numbers("222222", "autodl")


def test_records_of_an_earlier_version() -> None:
    path = Path("scores.json")
    CellSpace().require_benchmark_ids({}, path)
    SMALL.require_benchmark_ids({"operations": list(SMALL.operations)}, path)
    with pytest.raises(PdnasError, match="earlier version"):
        SMALL.require_benchmark_ids({}, path)
