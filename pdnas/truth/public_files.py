"""The ground truth from two small public files: accuracies after 200 epochs, and after 12."""

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
from pdnas.truth.columns import accuracy_fractions, rows_of_cells, tabulate

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


def assemble(csv: Path, pickled: Path) -> pd.DataFrame:
    """The table, from the two public files; :mod:`pdnas.truth.columns` has its columns.

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
    accuracies = {
        f"test_200_{name}": accuracy_fractions(_column(final, column, csv), csv)[rows]
        for name, column in _CSV_COLUMNS.items()
    }
    for split, suffix in (("validation", "val"), ("test", "test")):
        for name, prefix in _PICKLE_PREFIX.items():
            percent = _column(short, f"{prefix}-{suffix}", pickled)
            accuracies[f"{split}_12_{name}"] = accuracy_fractions(percent, pickled)[short_rows]
    return tabulate(rows, accuracies)


def _column(table: pd.DataFrame | dict[str, NDArray[Any]], name: str, path: Path) -> Any:
    if name not in table:
        raise PdnasError(f"{path} lacks the column {name}; fetch it again")
    return table[name]
