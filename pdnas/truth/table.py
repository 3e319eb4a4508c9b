"""The ground truth of NAS-Bench-201: one compact table of all 15 625 cells, and looking things up.

The table is a Parquet file of the package; a record of its public sources lies beside it.
:mod:`pdnas.truth.columns` says what it holds, and :mod:`pdnas.truth.build` makes it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.space.cells import CellSpace
from pdnas.spec.names import Encoding
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.truth.columns import DATASETS

if TYPE_CHECKING:
    import pandas as pd

NASBENCH201 = "nasbench201"
"""The table's name, and that of its file."""

_TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Every cell of the benchmark and how good it truly is; a cell's id is its row."""

    table: pd.DataFrame

    def __post_init__(self) -> None:
        if len(self.table) != len(CellSpace()):
            raise PdnasError(
                f"the ground-truth table has {len(self.table)} rows instead of "
                f"{len(CellSpace())}; install pdnas anew"
            )

    @classmethod
    def load(cls) -> GroundTruth:
        """Open the package's table.

        Raises:
            PdnasError: it is damaged.
        """
        return cls(files.read_table(_TABLES / f"{NASBENCH201}.parquet"))

    def column(self, name: str) -> NDArray[Any]:
        """One column as an array of shape (15625,), cell-id order.

        Raises:
            PdnasError: the table has no such column.
        """
        if name not in self.table:
            raise PdnasError(
                f"the ground-truth table has no column {name!r}; it has "
                f"{', '.join(map(str, self.table))}"
            )
        values: NDArray[Any] = self.table[name].to_numpy()
        return values

    def accuracy(self, dataset: str = "cifar10") -> NDArray[np.float64]:
        """True accuracy of each cell: test, 200 epochs, as fractions, shape (15625,).

        Raises:
            PdnasError: ``dataset`` is none of :data:`DATASETS`.
        """
        return self._of_dataset("test_200", dataset)

    def validation_12(self, dataset: str = "cifar10") -> NDArray[np.float64]:
        """12-epoch validation accuracy, tabular search's usual signal, shape (15625,).

        Raises:
            PdnasError: ``dataset`` is none of :data:`DATASETS`.
        """
        return self._of_dataset("validation_12", dataset)

    def _of_dataset(self, measure: str, dataset: str) -> NDArray[np.float64]:
        if dataset not in DATASETS:
            raise PdnasError(f"no ground truth for {dataset!r}; choose {', '.join(DATASETS)}")
        return self.column(f"{measure}_{dataset}")

    def lookup(self, cells: ArrayLike) -> pd.DataFrame:
        """Everything known about some cells, a row each, in the order asked for.

        Args:
            cells: ids, shape (n,), or operation codes, shape (n, 6); repeats are allowed.

        Raises:
            PdnasError: an id or a code is no whole number or out of range.
        """
        asked = np.asarray(cells)
        if asked.size == 0:
            return self.table.iloc[:0]
        ids = CellSpace().ids(asked) if asked.ndim == 2 else asked
        last = len(self.table) - 1
        whole = ids.ndim == 1 and ids.dtype.kind in "iu"
        if not whole or ids.min() < 0 or ids.max() > last:
            raise PdnasError(
                f"cell ids are whole numbers from 0 to {last}, cells six codes each; found "
                f"{np.array2string(asked, threshold=12)}"
            )
        return self.table.take(ids)

    def cell_id(
        self, text: str, benchmark_index: bool = False, encoding: Encoding | None = None
    ) -> int:
        """The cell id that a person's ``text`` means.

        Args:
            text: an architecture string, a cell id, or six numbers of an encoding.
            benchmark_index: read a number as the benchmark's own index, not as a cell id.
            encoding: whose six operation numbers the text is.

        Raises:
            PdnasError: the text is none of these, or the number is out of range.
        """
        space, text = CellSpace(), text.strip()
        if encoding is not None:
            if benchmark_index:
                raise PdnasError("a benchmark index has no encoding; leave one of the two out")
            return int(space.ids(space.from_numbers(text, encoding)))
        if not text.isdecimal():
            return int(space.ids(space.from_string(text)))
        number = int(text)
        if text != str(number) or number >= len(self.table):
            raise PdnasError(
                f"{text} is no cell id; they go from 0 to {len(self.table) - 1}, without leading "
                "zeros. For six operation numbers name --encoding autodl or naslib"
            )
        if benchmark_index:
            return int(np.flatnonzero(self.column("benchmark_index") == number)[0])
        return number

    def facts(self, cell: int) -> dict[str, Any]:
        """Everything known about one cell, ready for JSON.

        The table's columns, and ``id``, ``isomorphic_cells`` (cells in its class, itself included)
        and ``rank_DATASET`` (1 = the best true accuracy; equal cells share the better rank).
        """
        row = self.lookup([cell]).to_dict("records")[0]
        classes = self.column("isomorphism_class")
        facts: dict[str, Any] = {"id": cell, **{str(name): value for name, value in row.items()}}
        facts["isomorphic_cells"] = int((classes == classes[cell]).sum())
        for name in DATASETS:
            accuracy = self.accuracy(name)
            facts[f"rank_{name}"] = int((accuracy > accuracy[cell]).sum()) + 1
        return facts
