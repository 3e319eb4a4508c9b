"""The columns of NAS-Bench-201's table of ground truth, whatever source it is built from.

One row a cell, in the order of cell ids of ``CellSpace()``:

=============================== ==================================================================
``cell``                        architecture string
``benchmark_index``             the benchmark's number of the architecture
``operation_0_1`` … ``_2_3``    operation code (position in ``OPERATIONS``) of each edge
``isomorphism_class``           0 … 6465; see :func:`pdnas.truth.isomorphism.canonical_form`
``parameters``, ``flops``       at C = 16, N = 5, 10 classes; see :mod:`pdnas.truth.cost`
``test_200_DATASET``            test accuracy after 200 epochs, mean of the benchmark's seeds
``validation_12_DATASET``       validation accuracy after 12 epochs, mean of two seeds on CIFAR-10,
                                one seed elsewhere
``test_12_DATASET``             test accuracy after 12 epochs, one seed
``right_cifar10_0`` … ``_2``    right answers of single trainings (200 epochs) among CIFAR-10's
                                10 000 test images, -1 where the public file has no such training
``training_seconds_cifar10``,   what the whole training of 200 epochs takes; CIFAR-100 takes as
``…_imagenet16_120``            long as CIFAR-10
``latency_DEVICE``              milliseconds an image (HW-NAS-Bench, CIFAR-10), NaN where missing
``energy_DEVICE``               millijoules an image, likewise
=============================== ==================================================================

DEVICE is ``edgegpu``, ``raspi4``, ``edgetpu`` (4 699 cells are missing), ``pixel3``, ``eyeriss``
or ``fpga``; energy is known of the first and the last two. Seconds, latency and energy are
``float32``. A table from the benchmark's own archive lacks all columns of :data:`MEASURED`.

DATASET is one of ``cifar10``, ``cifar100``, ``imagenet16_120``; accuracies are fractions, rounded
to 1e-8 (the sources carry float noise such as 93.66000000000001, which must not decide whether a
cell reaches a target).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.space.cells import EDGES, CellSpace
from pdnas.spec.names import TruthData
from pdnas.support.errors import PdnasError
from pdnas.truth import cost
from pdnas.truth.isomorphism import isomorphism_classes

if TYPE_CHECKING:
    import pandas as pd

DATASETS: tuple[TruthData, ...] = get_args(TruthData)

TARGETS: dict[TruthData, tuple[float, ...]] = {
    "cifar10": (0.93, 0.935, 0.94),
    "cifar100": (0.695, 0.705, 0.72),
    "imagenet16_120": (0.43, 0.445, 0.46),
}
"""CIFAR-10's usual targets, and on the other two the round numbers that are about as rare."""

TEST_IMAGES = 10_000
"""Of CIFAR-10."""

SEEDS = 3
"""Trainings of a cell at most."""

LATENCIES = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
ENERGIES = ("edgegpu", "eyeriss", "fpga")

MEASURED = (
    *(f"right_cifar10_{seed}" for seed in range(SEEDS)),
    *(f"training_seconds_{name}" for name in ("cifar10", "imagenet16_120")),
    *(f"latency_{device}" for device in LATENCIES),
    *(f"energy_{device}" for device in ENERGIES),
)
"""Columns that the table has from further public files."""


def rows_of_cells(strings: ArrayLike, path: Path, space: CellSpace) -> NDArray[np.int64]:
    """Row of each cell in a file that lists architecture strings, shape (cells,), cell-id order.

    Raises:
        PdnasError: a cell of ``space`` is missing from the file, or the file has another.
    """
    rows = {text: row for row, text in enumerate(np.asarray(strings, dtype=object))}
    try:
        order = [rows.pop(space.to_string(cell)) for cell in space.cells]
    except KeyError as error:
        raise PdnasError(f"{path} lacks the cell {error.args[0]}; fetch it again") from error
    if rows:
        raise PdnasError(f"{path} has an unknown cell {next(iter(rows))!r}; fetch it again")
    return np.array(order, dtype=np.int64)


def accuracy_fractions(percent: ArrayLike, path: Path) -> NDArray[np.float64]:
    """Accuracies of a file as fractions rounded to 1e-8.

    Raises:
        PdnasError: a value is no number, or none between 0 and 100 %.
    """
    try:
        values = np.asarray(percent, dtype=np.float64) / 100
    except (TypeError, ValueError) as error:
        raise PdnasError(f"{path} has an accuracy that is no number; fetch it again") from error
    if not ((values >= 0) & (values <= 1)).all():  # NaN fails as well
        raise PdnasError(f"{path} has an accuracy outside 0 to 100 %; fetch it again")
    return values.round(8)


def tabulate(
    benchmark_index: NDArray[np.integer], accuracies: Mapping[str, NDArray[np.float64]]
) -> pd.DataFrame:
    """The table from what a source knows of each cell; everything else follows from the cell.

    Args:
        benchmark_index: the benchmark's number of each cell, shape (15625,), cell-id order.
        accuracies: the columns of accuracies, fractions, shape (15625,) each, cell-id order.
    """
    import pandas as pd

    space = CellSpace()
    columns: dict[str, Any] = {
        "cell": [space.to_string(cell) for cell in space.cells],
        "benchmark_index": benchmark_index.astype(np.int32),
    }
    for (source, target), codes in zip(EDGES, space.cells.T, strict=True):
        columns[f"operation_{source}_{target}"] = codes
    columns["isomorphism_class"] = isomorphism_classes()
    columns["parameters"] = cost.parameters(space.cells)
    columns["flops"] = cost.flops(space.cells)
    return pd.DataFrame({**columns, **accuracies})
