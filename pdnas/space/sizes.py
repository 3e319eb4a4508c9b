"""NATS-Bench's size space without torch: five widths, names, enumeration and parameters.

A network is a fixed skeleton in which five widths are free (Dong et al., "NATS-Bench", TPAMI 2021):
a 3x3 convolution to c0; a cell c0 to c0; a residual block c0 to c1; a cell c1 to c2; a residual
block c2 to c3; a cell c3 to c4; a linear layer. Each width is one of :data:`WIDTHS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.support.errors import PdnasError

WIDTHS = tuple(range(8, 65, 8))
"""The channels that a width may have, ascending."""

LARGEST = WIDTHS[-1]
"""Channels of every width of the largest network."""

NAMES = ("c0", "c1", "c2", "c3", "c4")
"""The free widths, from the image to the classifier."""

PROJECTED = ((1, 2), (3, 4))
"""Widths that enter and leave a cell whose skip is a 1x1 convolution, unless they are equal."""


@dataclass(frozen=True)
class SizeSpace:
    """All 32 768 networks; a network's row is the benchmark's index."""

    def __len__(self) -> int:
        return len(WIDTHS) ** len(NAMES)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The widths of every network, shape (32768, 5), in lexicographic order."""
        places = np.indices((len(WIDTHS),) * len(NAMES)).reshape(len(NAMES), -1).T
        return np.ascontiguousarray(np.array(WIDTHS, dtype=np.int64)[places])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every network as the benchmark writes it: ``64:64:56:64:24``."""
        return tuple(":".join(map(str, counts)) for counts in self.counts.tolist())

    def rows(self, counts: ArrayLike) -> NDArray[np.int64]:
        """Rows of networks with the widths ``counts``, shape (..., 5).

        Raises:
            PdnasError: a network has not five widths, or one that the space does not.
        """
        given = np.asarray(counts)
        if given.shape[-1:] != (len(NAMES),) or not np.isin(given, WIDTHS).all():
            raise PdnasError(
                f"a network is {len(NAMES)} widths of {', '.join(map(str, WIDTHS))}; found "
                f"{np.array2string(given, threshold=12)}"
            )
        powers = len(WIDTHS) ** np.arange(len(NAMES))[::-1]
        return np.searchsorted(WIDTHS, given) @ powers

    def row(self, name: str) -> int:
        """The row of a network by its name.

        Raises:
            PdnasError: the name is no network of the space; says what is wrong with it.
        """
        parts = name.strip().split(":")
        known = set(map(str, WIDTHS))
        wrong = next((part for part in parts if part not in known), None)
        if len(parts) != len(NAMES):
            problem = f"it has {len(parts)} widths and not {len(NAMES)}"
        elif wrong is not None:
            problem = f"{wrong!r} is none of {', '.join(map(str, WIDTHS))}"
        else:
            return int(self.rows([int(part) for part in parts]))
        raise PdnasError(f"{name!r} is no network: {problem}; write it like {self.names[-1]!r}")

    def parameters(self, classes: int) -> NDArray[np.int64]:
        """Parameters of every network with so many classes, shape (32768,)."""
        return parameters(self.counts, classes)


def parameters(counts: ArrayLike, classes: int, colours: int = 3) -> NDArray[np.int64]:
    """Parameters of the space's networks with any widths.

    Args:
        counts: widths, whole numbers, shape (..., 5).
        classes: number of classes.
        colours: channels of an image.
    """
    widths = np.moveaxis(np.asarray(counts, dtype=np.int64), -1, 0)
    total = projected_parameters(widths, widths**2, classes, colours)
    for entering, leaving in PROJECTED:
        i, o = widths[entering], widths[leaving]
        total = total - np.where(i == o, i * o + 2 * o, 0)
    return np.asarray(total)


def projected_parameters(
    widths: Iterable[Any], squares: Iterable[Any], classes: int, colours: int
) -> Any:
    """Parameters of the skeleton in which the cells of :data:`PROJECTED` project all their inputs.

    It is linear in each width and in each square. So independent random widths have the expectation
    that this gives for the expectations of the widths and of their squares.

    Args:
        widths: five numbers, or arrays or tensors of one shape.
        squares: their squares, likewise.
    """
    c0, c1, c2, c3, c4 = widths
    s0, s1, s2, s3, s4 = squares
    stem = (9 * colours + 2) * c0
    first = 45 * s0 + 10 * c0 + 10 * c0 * c1 + 9 * s1 + 4 * c1  # a cell, then a residual block
    second = 19 * c1 * c2 + 27 * s2 + 12 * c2 + 10 * c2 * c3 + 9 * s3 + 4 * c3
    third = 19 * c3 * c4 + 27 * s4 + 12 * c4
    return stem + first + second + third + (2 + classes) * c4 + classes
