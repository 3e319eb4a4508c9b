"""NAS-Bench-201's table: opening it and 10 000 look-ups, against the authors' packages."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Aim, Effort, Measure, quantity, ratio
from pdnas.space.cells import CellSpace
from pdnas.support.files import read_table, write_table
from pdnas.support.timing import paired_times
from pdnas.truth import official
from pdnas.truth.columns import tabulate

# The tests know how to write small archives of the real format.
from tests.truth.test_official import Cell, benchmark, write_file, write_folder

COLUMN = "test_200_cifar10"
Writer = Callable[[Path, list[str], list[Cell]], Path]
WRITERS: dict[str, Writer] = {"nas-bench-201": write_file, "nats-bench": write_folder}


def ground_truth(effort: Effort) -> list[Measure]:
    """Open and look up, on a file of the same content.

    The archives hold fifty different results, of trainings of three epochs. The real ones hold
    those of 15 625 cells with every epoch, gigabytes, which the packages open more slowly.
    """
    space = CellSpace(("nor_conv_3x3", "skip_connect")) if effort.tiny else CellSpace()
    names, cells, _ = benchmark(space, effort.choose(50, 2))
    ids = np.random.default_rng(0).integers(len(space), size=effort.choose(10_000, 20)).tolist()
    measures = []
    with tempfile.TemporaryDirectory() as folder:
        archives = {
            package: write(Path(folder), names, cells) for package, write in WRITERS.items()
        }
        rows, columns = official.read(archives["nas-bench-201"], space)
        path = Path(folder, "table.parquet")
        write_table(path, _table(space, rows, columns))
        size = float(read_table(path).memory_usage(deep=True).sum())
        numbers = rows[ids].tolist()
        for package, archive in archives.items():
            times = paired_times(
                partial(_look_up_in_package, archive, numbers),
                partial(_look_up_in_table, path, ids),
                2,
            )
            part = f"ground truth: open and {len(ids)} look-ups, {package}"
            aim = Aim(100, least=True)
            measures.append(ratio(part, f"the package {package}", times, aim=aim, note=NOTE))
    memory = quantity(
        "ground truth: memory of the table", "–", [size / 1e6], "MB", aim=Aim(50, least=False)
    )
    return [*measures, memory]


NOTE = "archives with 50 different results and 3 epochs a training; the real ones open more slowly"


def _table(space: CellSpace, rows: Any, columns: dict[str, Any]) -> Any:
    if len(space) == len(CellSpace()):
        return tabulate(rows, columns)
    import pandas as pd

    return pd.DataFrame(columns)


def _look_up_in_table(path: Path, ids: list[int]) -> float:
    accuracy = read_table(path)[COLUMN].to_numpy()  # what NasBench201.load() and accuracy() do
    return sum(float(accuracy[cell]) for cell in ids)


def _look_up_in_package(archive: Path, numbers: list[int]) -> float:
    api = official.open_archive(archive)
    facts = (api.get_more_info(n, "cifar10", hp="200", is_random=False) for n in numbers)
    return sum(each["test-accuracy"] for each in facts)
