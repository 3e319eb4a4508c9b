"""Spaces of one-of-many switches, without torch: some switches that choose among the same options.

An architecture is written as codes, the position of each switch's option, in the switches' order;
its number is what these codes are as digits, the first the most significant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.support.errors import PdnasError


class CategoricalSpace(ABC):
    """All ways to set the switches."""

    KEY: ClassVar[str]
    """What the codes are called among a candidate's choices."""
    ARCHITECTURE: ClassVar[str]
    """What people call one architecture."""
    OPTION: ClassVar[str]
    """What they call one option."""
    HEAVIEST: ClassVar[str]
    """The option with the most arithmetic."""
    SWITCHES: ClassVar[tuple[str, ...]]
    """Names of the switches."""
    ORDER: ClassVar[tuple[int, ...]]
    """Of the switches, where each depends on the one before it (``gates.dependence: chain``)."""

    @property
    @abstractmethod
    def options(self) -> tuple[str, ...]:
        """What every switch chooses among."""

    @property
    def gates(self) -> tuple[str, ...]:
        """What the switches are called beside gates of other supernets."""
        return self.SWITCHES

    def __len__(self) -> int:
        return len(self.options) ** len(self.SWITCHES)

    @cached_property
    def codes(self) -> NDArray[np.int8]:
        """Every architecture, shape (len(self), switches), row i being the one with number i."""
        grids = np.indices((len(self.options),) * len(self.SWITCHES), dtype=np.int8)
        return np.ascontiguousarray(grids.reshape(len(self.SWITCHES), -1).T)

    def checked(self, codes: ArrayLike) -> NDArray[np.int64]:
        """Codes as int64, shape (..., switches).

        Raises:
            PdnasError: they are not one for each switch, or one is no option's code.
        """
        found, last = np.asarray(codes), len(self.options) - 1
        known = found.dtype.kind in "iu" and found.shape[-1:] == (len(self.SWITCHES),)
        if not known or ((found < 0) | (found > last)).any():
            raise PdnasError(
                f"a {self.ARCHITECTURE} is {len(self.SWITCHES)} whole {self.OPTION} codes from 0 "
                f"to {last}; found {np.array2string(found, threshold=12)}"
            )
        return found.astype(np.int64)

    def ids(self, codes: ArrayLike) -> NDArray[np.int64]:
        """Numbers of architectures of shape (..., switches).

        Raises:
            PdnasError: as :meth:`checked`.
        """
        places = np.arange(len(self.SWITCHES) - 1, -1, -1, dtype=np.int64)
        return self.checked(codes) @ len(self.options) ** places

    def canonical_codes(self) -> NDArray[np.int8]:
        """Every architecture as the first of those that a supernet computes alike, (n, switches).

        Here all differ.
        """
        return self.codes

    def equal_ids(self) -> NDArray[np.int64]:
        """Of each architecture, the first that gives the same with the same weights, (n,).

        Here all differ.
        """
        return np.arange(len(self))

    def benchmark_ids(self) -> NDArray[np.int64]:
        """Row of each architecture in the benchmark's table, shape (len(self),)."""
        return np.arange(len(self))

    @abstractmethod
    def to_string(self, codes: ArrayLike) -> str:
        """How people write one architecture.

        Raises:
            PdnasError: as :meth:`checked`.
        """

    @abstractmethod
    def from_string(self, text: str) -> NDArray[np.int8]:
        """The codes of an architecture that is written so.

        Raises:
            PdnasError: the text is no architecture of this space.
        """


def pair_features(space: CategoricalSpace) -> NDArray[np.float64]:
    """One-hot options of every switch and every pair of switches, shape (n, features).

    S · K + S · (S - 1) / 2 · K² features for S switches of K options: a switch's pair with itself
    stands for the switch.
    """
    one_hot = (space.codes[..., None] == np.arange(len(space.options))).astype(np.float64)
    first, second = np.triu_indices(len(space.SWITCHES))
    pairs = one_hot[:, first, :, None] * one_hot[:, second, None, :]
    flat: NDArray[np.float64] = pairs.reshape(len(space), -1)
    return flat[:, flat.any(axis=0)]
