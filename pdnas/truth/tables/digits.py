"""The small benchmark of ``pdnas regress``: 729 cells, each trained on scikit-learn's digits.

Three of NAS-Bench-201's operations on six edges. This suite trained every cell three times
(:mod:`pdnas.regression.digits`); the table has a row a seed and cell: ``cell_id``, ``cell``,
``seed``, ``validation_accuracy`` and ``test_accuracy``. Training, validation and test images are
drawn at random, so they show the same writers: accuracies are higher than for new writers (a
support vector machine has 98.7 % in random halves, 96.9 % where the file's order divides them).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pdnas.space.cells import CellSpace
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.truth import cost
from pdnas.truth.tables.base import Floats, Integers, Truth, register

if TYPE_CHECKING:
    import pandas as pd

SPACE = CellSpace(("none", "skip_connect", "nor_conv_3x3"))
SEEDS = 3
_SKELETON = {"channels": 8, "cells_per_stage": 1, "stages": 1, "colours": 1}
COLUMNS = ("cell_id", "cell", "seed", "validation_accuracy", "test_accuracy")


@register
class Digits(Truth):
    """Every cell of the small benchmark and how good its three trainings made it."""

    name = "digits"
    title = "digits: one of three operations on each of six edges of a cell, 8x8 images"
    targets: ClassVar = {"digits": (0.9, 0.92, 0.93)}
    space: ClassVar = SPACE
    switches: ClassVar = dict.fromkeys(space.SWITCHES, space.options)
    isomorphic_share_trainings = True

    @classmethod
    def load(cls) -> Self:
        """Open the package's table.

        Raises:
            PdnasError: it is damaged.
        """
        return cls(by_cell(read_trainings(cls.path())))

    @classmethod
    def assemble(cls, *paths: Path) -> pd.DataFrame:
        """Cells are trained, not fetched.

        Raises:
            PdnasError: always.
        """
        raise PdnasError("the cells of digits are trained: run `pdnas regress --rebuild table`")

    @cached_property
    def names(self) -> list[str]:
        """Architecture strings."""
        return [SPACE.to_string(cell) for cell in SPACE.cells]

    def _find(self, text: str) -> int:
        """The row of a cell by its architecture string.

        Raises:
            PdnasError: it is no cell of these three operations.
        """
        return int(SPACE.ids(SPACE.from_string(text)))

    @property
    def _benchmark_cells(self) -> NDArray[np.int8]:
        return CellSpace().cells[SPACE.benchmark_ids()]

    @cached_property
    def parameters(self) -> Integers:
        """Trainable parameters, shape (729,)."""
        return cost.parameters(self._benchmark_cells, **_SKELETON)

    @cached_property
    def isomorphism_classes(self) -> Integers:
        """471 classes: operations that lead nowhere do not count. Each was trained once a seed."""
        canonical = SPACE.ids(SPACE.canonical_codes())
        return np.unique(canonical, return_inverse=True)[1].astype(np.int64)

    def accuracy(self, dataset: str | None = None) -> Floats:
        """Mean test accuracy of the three trainings, shape (729,)."""
        mean: Floats = self.trainings(dataset).mean(axis=0)
        return mean

    def trainings(self, dataset: str | None = None) -> Floats:
        """Test accuracies, shape (3, 729)."""
        self.known(dataset)
        return np.stack([self.column(f"test_{seed}") for seed in range(SEEDS)])

    def validation(self, dataset: str | None = None) -> Floats:
        """Mean validation accuracy of the three trainings, which are the whole ones: (729,)."""
        self.known(dataset)
        seeds = np.stack([self.column(f"validation_{seed}") for seed in range(SEEDS)])
        mean: Floats = seeds.mean(axis=0)
        return mean


def read_trainings(path: Path) -> pd.DataFrame:
    """The table as it lies on the disk, a row a seed and cell.

    Raises:
        PdnasError: the file is missing or damaged, or lacks a cell.
    """
    table = files.read_table(path)
    complete = set(COLUMNS) <= set(table)
    if not complete or not (table.groupby("seed")["cell_id"].nunique() == len(SPACE)).all():
        raise PdnasError(f"{path} lacks cells or columns; run `pdnas regress --rebuild table`")
    return table


def by_cell(table: pd.DataFrame) -> pd.DataFrame:
    """A row a cell: ``validation_SEED`` and ``test_SEED``."""
    wide = table.pivot(
        index="cell_id", columns="seed", values=["validation_accuracy", "test_accuracy"]
    )
    wide.columns = [f"{column[0].partition('_')[0]}_{column[1]}" for column in wide.columns]
    return wide.sort_index().reset_index(drop=True)
