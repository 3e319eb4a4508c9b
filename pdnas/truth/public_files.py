"""NAS-Bench-201's ground truth from small public files.

Two hold accuracies after 200 epochs and after 12. Others hold CIFAR-10's accuracies seed by seed,
the seconds of a training, and what devices take for an image.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from pdnas.space.cells import CellSpace
from pdnas.spec.names import TruthData
from pdnas.support.errors import PdnasError
from pdnas.support.unpickle import ListedUnpickler
from pdnas.truth.columns import (
    ENERGIES,
    LATENCIES,
    SEEDS,
    TEST_IMAGES,
    accuracy_fractions,
    rows_of_cells,
    tabulate,
)
from pdnas.truth.counts import read_csv, right_answers

if TYPE_CHECKING:
    import pandas as pd

_CSV_COLUMNS: dict[TruthData, str] = {
    "cifar10": "CIFAR10TestAccuracy200Epochs",
    "cifar100": "CIFAR100TestAccuracy200Epochs",
    "imagenet16_120": "ImageNetTestAccuracy200Epochs",
}
_PICKLE_PREFIX: dict[TruthData, str] = {
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "imagenet16_120": "imagenet",
}
_FRAME = frozenset(
    {
        ("builtins", "slice"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.numeric", "_frombuffer"),
        ("pandas.core.frame", "DataFrame"),
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.base", "_new_Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas.core.internals.managers", "BlockManager"),
    }
)
"""What the one pickled data frame that we need names."""


class _Inert:
    """Stands in for whatever a pickle names: keeps what it is given and runs nothing."""

    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> Self:
        self = super().__new__(cls)
        self.args = args
        self.state = None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _decode_array(pickled: _Inert) -> NDArray[Any]:
    """The array behind numpy's two pickled forms: a list of objects, or a typed buffer."""
    if pickled.state is not None:  # _reconstruct, then state (version, shape, dtype, fortran, list)
        _, shape, _, _, items = pickled.state
        return np.array(items, dtype=object).reshape(shape)
    buffer, dtype, shape, order = pickled.args  # _frombuffer
    type_name, byte_order = dtype.args[0], dtype.state[1]
    array: NDArray[Any] = np.frombuffer(buffer, dtype=np.dtype(byte_order + type_name))
    return array.reshape(shape, order=order)


def read_pickled_frame(path: Path) -> dict[str, NDArray[Any]]:
    """Columns of a pickled pandas frame, read without running anything the file asks for.

    pandas' own classes are not used: their internals change between versions, and a pickle may
    call whatever it names. Names are checked against a fixed list and replaced by inert records.

    Raises:
        PdnasError: the file names anything else, or is not such a frame.
    """
    try:
        with path.open("rb") as file:
            frame = ListedUnpickler(file, _FRAME, stand_in=_Inert).load()
        _, blocks, names, _ = frame.state["_data"].state
        columns: dict[str, NDArray[Any]] = {}
        for block, labels in zip(blocks, names, strict=True):
            labels_of_block = _decode_array(labels.args[1]["data"])
            columns |= dict(zip(labels_of_block, _decode_array(block), strict=True))
        return columns
    except pickle.UnpicklingError as error:
        raise PdnasError(f"{path} is refused or damaged ({error}); fetch it again") from error
    except (AttributeError, EOFError, LookupError, OSError, TypeError, ValueError) as error:
        raise PdnasError(f"{path} is not the expected pickled frame; fetch it again") from error


def accuracies(csv: Path, pickled: Path) -> pd.DataFrame:
    """The table without :data:`~pdnas.truth.columns.MEASURED`, from the two first files.

    Args:
        csv: ``nats_bench.csv``, 200-epoch accuracies; its row number is the benchmark's index.
        pickled: ``mini-bench-arch-cell-accs.pd``, 12-epoch accuracies.

    Raises:
        PdnasError: a file is damaged: columns or cells missing, accuracies that cannot be.
    """
    import pandas as pd

    try:
        final = pd.read_csv(csv)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise PdnasError(f"{csv} is not a readable CSV table; fetch it again") from error
    short = read_pickled_frame(pickled)
    space = CellSpace()
    rows = rows_of_cells(_column(final, "ArchitectureString", csv), csv, space)
    short_rows = rows_of_cells(_column(short, "cellstr", pickled), pickled, space)
    found = {
        f"test_200_{name}": accuracy_fractions(_column(final, column, csv), csv)[rows]
        for name, column in _CSV_COLUMNS.items()
    }
    for split, suffix in (("validation", "val"), ("test", "test")):
        for name, prefix in _PICKLE_PREFIX.items():
            percent = _column(short, f"{prefix}-{suffix}", pickled)
            found[f"{split}_12_{name}"] = accuracy_fractions(percent, pickled)[short_rows]
    return tabulate(rows, found)


def seeds(path: Path) -> NDArray[np.int16]:
    """Right answers of single trainings on CIFAR-10, shape (3, 15625), -1 where there is none.

    Args:
        path: ``nb2_test_acc_cf10.p``: percent, one to three for each cell's six operation codes.

    Raises:
        PdnasError: it asks for code, or is another file.
    """
    space = CellSpace()
    try:
        with path.open("rb") as file:
            found = ListedUnpickler(file, ()).load()
        percent = np.full((SEEDS, len(space)), np.nan)
        rows = space.ids(np.array(list(found)))
        for row, values in zip(rows.tolist(), found.values(), strict=True):
            percent[: len(values), row] = values
    except pickle.UnpicklingError as error:
        raise PdnasError(f"{path} is refused or damaged ({error}); fetch it again") from error
    except (AttributeError, EOFError, OSError, PdnasError, TypeError, ValueError) as error:
        raise PdnasError(f"{path} is not the expected pickle of seeds; fetch it again") from error
    if np.isnan(percent[0]).any():
        raise PdnasError(f"{path} lacks cells; fetch it again")
    return right_answers(percent, TEST_IMAGES, path)


def training_seconds(path: Path, benchmark_index: NDArray[np.integer]) -> NDArray[np.float32]:
    """Seconds of a whole training, shape (15625,), cell-id order.

    Args:
        path: ``…_perfmetrics.txt``: index, test accuracy, seconds an epoch, seconds in all.
        benchmark_index: of each cell.

    Raises:
        PdnasError: it is another file.
    """
    try:
        found = np.loadtxt(path)
    except (ValueError, OSError) as error:
        raise PdnasError(f"{path} is not a readable table; fetch it again") from error
    cells = len(benchmark_index)
    if found.shape != (cells, 4) or not np.array_equal(found[:, 0], np.arange(cells)):
        raise PdnasError(f"{path} lacks cells or columns; fetch it again")
    if not (found[:, 3] > 0).all():  # NaN fails as well
        raise PdnasError(f"{path} has a training that takes no time; fetch it again")
    return found[benchmark_index, 3].astype(np.float32)


def devices(path: Path) -> dict[str, NDArray[np.float32]]:
    """Latency and energy of every cell on every device, NaN where missing: the table's columns.

    Args:
        path: ``hw_cifar10.csv``: a cell is six operation numbers in NASLib's encoding.

    Raises:
        PdnasError: it is another file.
    """
    space = CellSpace()
    kinds = [("latency", LATENCIES), ("energy", ENERGIES)]
    theirs = {f"{kind}_{each}": f"{each}_{kind}" for kind, known in kinds for each in known}
    table = read_csv(path, ("net", *theirs.values()), len(space))
    rows = [int(space.ids(space.from_numbers(str(net), "naslib"))) for net in table["net"]]
    if sorted(rows) != list(range(len(space))):
        raise PdnasError(f"{path} has a cell twice; fetch it again")
    columns = {}
    for ours, name in theirs.items():
        values = np.empty(len(space), dtype=np.float32)
        try:
            values[rows] = table[name].to_numpy(np.float32)
        except (TypeError, ValueError) as error:
            raise PdnasError(f"{path} has in {name} what is no number; fetch it again") from error
        columns[ours] = np.where(values == -1, np.float32("nan"), values)
    return columns


def assemble(
    csv: Path, pickled: Path, by_seed: Path, seconds: Path, seconds_imagenet16: Path, hardware: Path
) -> pd.DataFrame:
    """The whole table; :mod:`pdnas.truth.columns` has its columns.

    Raises:
        PdnasError: a file is damaged.
    """
    table = accuracies(csv, pickled)
    order = table["benchmark_index"].to_numpy()
    for seed, right in enumerate(seeds(by_seed)):
        table[f"right_cifar10_{seed}"] = right
    table["training_seconds_cifar10"] = training_seconds(seconds, order)
    table["training_seconds_imagenet16_120"] = training_seconds(seconds_imagenet16, order)
    for name, values in devices(hardware).items():
        table[name] = values
    return table


def _column(table: pd.DataFrame | dict[str, NDArray[Any]], name: str, path: Path) -> Any:
    if name not in table:
        raise PdnasError(f"{path} lacks the column {name}; fetch it again")
    return table[name]
