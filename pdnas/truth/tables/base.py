"""What every ground truth offers: all architectures of a space, and how good each truly is.

A truth is one module of this folder and one Parquet table beside it, whose ``.json`` names its
sources. Accuracies are fractions; rows are the architectures, in the order of their numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from pdnas.space.categorical import CategoricalSpace
from pdnas.support import files
from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Class = TypeVar("Class", bound="type[Truth]")

FOLDER = Path(__file__).parent
"""Where the package's tables lie."""

_TRUTHS: dict[str, type[Truth]] = {}


class Truth(ABC):
    """Every architecture of a space and how good it truly is; its number is its row.

    Args:
        table: the module's own columns, a row an architecture.

    Raises:
        PdnasError: the table has another number of rows than the space.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    targets: ClassVar[Mapping[str, tuple[float, ...]]]
    """Data sets, and for each the accuracies that are asked for if nobody names others."""
    switches: ClassVar[Mapping[str, tuple[str, ...]]]
    """What is chosen, and among which options; architectures are all combinations."""
    space: ClassVar[CategoricalSpace | None] = None
    """The switches as a space that supernets and searches know, its numbers being rows; None: no
    supernet has it."""
    sources: ClassVar[tuple[str, ...]] = ()
    """Downloads that :meth:`assemble` takes, by their names in :mod:`pdnas.data.sources`."""
    devices: ClassVar[tuple[str, ...]] = ()
    """Where latency was measured."""
    isomorphic_share_trainings: ClassVar[bool] = False
    """Whether isomorphic architectures were trained once, or each by itself."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        if len(table) != len(self):
            raise PdnasError(
                f"the ground-truth table of {self.name} has {len(table)} rows instead of "
                f"{len(self)}; install pdnas anew"
            )

    @classmethod
    def path(cls) -> Path:
        """The package's table."""
        return FOLDER / f"{cls.name}.parquet"

    @classmethod
    def load(cls) -> Self:
        """Open the package's table.

        Raises:
            PdnasError: it is damaged.
        """
        return cls(files.read_table(cls.path()))

    @classmethod
    def assemble(cls, *paths: Path) -> pd.DataFrame:
        """The table from its public files, in the order of :attr:`sources`.

        Raises:
            PdnasError: a file is damaged, or the table is made in another way.
        """
        raise PdnasError(f"the table of {cls.name} comes from no public file")

    def __len__(self) -> int:
        return int(np.prod([len(options) for options in self.switches.values()]))

    @cached_property
    def codes(self) -> NDArray[np.int8]:
        """Position of each architecture's option of each switch, shape (n, switches)."""
        sizes = [len(options) for options in self.switches.values()]
        grids = np.indices(sizes, dtype=np.int8)
        return np.ascontiguousarray(grids.reshape(len(sizes), -1).T)

    @cached_property
    @abstractmethod
    def names(self) -> list[str]:
        """How each architecture is written, n strings."""

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each name."""
        return {name: row for row, name in enumerate(self.names)}

    def find(self, text: str) -> int:
        """The row of the architecture that a person's ``text`` means.

        Raises:
            PdnasError: it is none, or no text.
        """
        if not isinstance(text, str):
            raise PdnasError(
                f"{text!r} is no text; write an architecture of {self.name} like {self.names[-1]!r}"
            )
        return self._find(text.strip())

    def _find(self, text: str) -> int:
        """As :meth:`find`, of a text without space around it."""
        if text in self.rows:
            return self.rows[text]
        close = get_close_matches(text, self.names[:: max(1, len(self) // 4096)], 1)
        hint = f"; write it like {(close or self.names[-1:])[0]}"
        raise PdnasError(f"{text!r} is no architecture of {self.name}{hint}")

    def column(self, name: str) -> NDArray[Any]:
        """One column of the table, shape (n,).

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

    @property
    def datasets(self) -> tuple[str, ...]:
        """Data sets on which all architectures are known."""
        return tuple(self.targets)

    def known(self, dataset: str | None) -> str:
        """The data set of this name, by default the first.

        Raises:
            PdnasError: the truth does not know it.
        """
        if dataset is None:
            return self.datasets[0]
        if dataset not in self.datasets:
            raise PdnasError(f"no ground truth for {dataset!r}; choose {', '.join(self.datasets)}")
        return dataset

    @property
    @abstractmethod
    def parameters(self) -> Integers:
        """Trainable parameters of the network for the first data set, shape (n,)."""

    @property
    def multiply_adds(self) -> Integers | None:
        """Of the network for the first data set, shape (n,); None: unknown."""
        return None

    @abstractmethod
    def accuracy(self, dataset: str | None = None) -> Floats:
        """True accuracy, the mean of all trainings that are known, shape (n,).

        Raises:
            PdnasError: the truth does not know the data set.
        """

    def trainings(self, dataset: str | None = None) -> Floats | None:
        """Accuracies seed by seed, shape (seeds, n), NaN where unknown; None: all are unknown."""
        self.known(dataset)
        return None

    def validation(self, dataset: str | None = None) -> Floats | None:
        """Validation accuracy after a short training, what a search sees, shape (n,)."""
        self.known(dataset)
        return None

    def signal(self, dataset: str | None = None) -> Floats:
        """What a search of the table sees of each architecture, shape (n,).

        Validation accuracy after a short training; where nobody knows that, the test accuracy of
        the first training, which is also a part of the true accuracy.
        """
        validation, trainings = self.validation(dataset), self.trainings(dataset)
        if validation is not None:
            return validation
        return self.accuracy(dataset) if trainings is None else trainings[0]

    def training_seconds(self, dataset: str | None = None) -> Floats | None:
        """What one whole training takes, shape (n,)."""
        self.known(dataset)
        return None

    def latency(self, device: str) -> Floats:
        """Milliseconds an image, NaN where unknown, shape (n,).

        Raises:
            PdnasError: nobody has measured on this device.
        """
        if device not in self.devices:
            known = ", ".join(self.devices) or "none"
            raise PdnasError(f"{self.name} knows no latency on {device!r}; it knows {known}")
        return self.column(f"latency_{device}").astype(np.float64)

    @property
    def isomorphism_classes(self) -> Integers | None:
        """Class of each architecture, equal where networks are the same; None: all differ."""
        return None

    def facts(self, row: int) -> dict[str, Any]:
        """Everything known about one architecture, ready for JSON; null is unknown."""
        work, classes = self.multiply_adds, self.isomorphism_classes
        alike = None if classes is None else int((classes == classes[row]).sum())
        return {
            "truth": self.name,
            "row": row,
            "name": self.names[row],
            "parameters": int(self.parameters[row]),
            "multiply_adds": None if work is None else int(work[row]),
            "isomorphic": alike,
            "datasets": {name: self._facts_on(name, row) for name in self.datasets},
            "latency_ms": {device: _known(self.latency(device)[row]) for device in self.devices},
        }

    def _facts_on(self, dataset: str, row: int) -> dict[str, Any]:
        accuracy, trainings = self.accuracy(dataset), self.trainings(dataset)
        seeds = [] if trainings is None else [each for each in trainings[:, row] if each == each]
        validation, seconds = self.validation(dataset), self.training_seconds(dataset)
        return {
            "accuracy": float(accuracy[row]),
            "rank": int((accuracy > accuracy[row]).sum()) + 1,
            "trainings": list(map(float, seeds)),
            "validation": None if validation is None else float(validation[row]),
            "training_seconds": None if seconds is None else _known(seconds[row]),
        }


def _known(value: np.floating[Any]) -> float | None:
    """A measured number without the noise of its storage as ``float32``; None for NaN."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def register(truth: Class) -> Class:
    """Make a class a truth that commands know by its name."""
    _TRUTHS[truth.name] = truth
    return truth


def registered() -> Mapping[str, type[Truth]]:
    """Every truth by its name."""
    return _TRUTHS
