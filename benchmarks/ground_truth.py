"""NAS-Bench-201's table: opening it and 10 000 look-ups, against the authors' packages."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Aim, Effort, Measure, paired_times, quantity, ratio
from pdnas.artefacts import read_table, write_table
from pdnas.cells import CellSpace
from pdnas.nasbench import official
from pdnas.nasbench.table import tabulate

# The tests know how to write small archives of the real format.
from tests.nasbench.test_official import Cell, benchmark, write_file, write_folder

COLUMN = "test_200_cifar10"
Writer = Callable[[Path, list[str], list[Cell]], Path]
PACKAGES: dict[str, tuple[str, Writer]] = {
    "nas-bench-201": ("nas_201_api", write_file),
    "nats-bench": ("nats_bench", write_folder),
}


def ground_truth(effort: Effort) -> list[Measure]:
    """Open and look up, on a file of the same content.

    The archives hold fifty different results (the real ones 15 625 cells' own, gigabytes), and
    pickles store equal ones once: the packages open the real archives more slowly than these.
    """
    space = CellSpace(("nor_conv_3x3", "skip_connect")) if effort.tiny else CellSpace()
    names, cells, _ = benchmark(space, effort.choose(50, 2))
    ids = np.random.default_rng(0).integers(len(space), size=effort.choose(10_000, 20)).tolist()
    measures = []
    size = 0.0
    for package, (_, write) in PACKAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            archive = write(Path(folder), names, cells)
            rows, columns = official.read(archive, space)
            path = Path(folder, "table.parquet")
            write_table(path, _table(space, rows, columns))
            size = float(read_table(path).memory_usage(deep=True).sum())
            numbers = rows[ids].tolist()
            times = paired_times(
                lambda: _look_up_in_package(archive, numbers),  # noqa: B023
                lambda: _look_up_in_table(path, ids),  # noqa: B023
                2,
            )
        part = f"ground truth: open and {len(ids)} look-ups"
        note = "an archive with 50 different results; the real ones open more slowly"
        measures.append(ratio(part, package, times, aim=Aim(100, least=True), note=note))
    memory = quantity(
        "ground truth: memory of the table", "–", [size / 1e6], "MB", aim=Aim(50, least=False)
    )
    return [*measures, memory]


def _table(space: CellSpace, rows: Any, columns: dict[str, Any]) -> Any:
    if len(space) == len(CellSpace()):
        return tabulate(rows, columns)
    import pandas as pd

    return pd.DataFrame(columns)


def _look_up_in_table(path: Path, ids: list[int]) -> float:
    accuracy = read_table(path)[COLUMN].to_numpy()  # what GroundTruth.load() and accuracy() do
    return sum(float(accuracy[cell]) for cell in ids)


def _look_up_in_package(archive: Path, numbers: list[int]) -> float:
    api = official._open(archive)
    facts = (api.get_more_info(n, "cifar10", hp="200", is_random=False) for n in numbers)
    return sum(each["test-accuracy"] for each in facts)
