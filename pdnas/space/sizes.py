"""NATS-Bench's size space without torch: five widths, names, enumeration and parameters.

A network is a fixed skeleton in which five widths are free (Dong et al., "NATS-Bench", TPAMI 2021):
a 3x3 convolution to c0; a cell c0 to c0; a residual block c0 to c1; a cell c1 to c2; a residual
block c2 to c3; a cell c3 to c4; a linear layer. Each width is one of :data:`WIDTHS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    from pdnas.space.posterior import ChannelPosterior

WIDTHS = tuple(range(8, 65, 8))
"""The channels that a width may have, ascending."""

LARGEST = WIDTHS[-1]
"""Channels of every width of the largest network."""

NAMES = ("c0", "c1", "c2", "c3", "c4")
"""The free widths, from the image to the classifier."""

CLASSES = 10
"""Of CIFAR-10, whose networks' parameters a band is about, whatever they are judged by."""

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


def rounded(kept: ArrayLike, channels: int = LARGEST) -> NDArray[np.int64]:
    """The width of the space that so many kept channels stand for, shape as ``kept``.

    It is the multiple of 8 that is nearest to kept · 64 / channels, of two the larger, and at
    least 8.

    Args:
        kept: whole numbers from 0 to ``channels``.
        channels: of the supernet's width, of which 64 is a multiple.
    """
    step = WIDTHS[0]
    share = np.asarray(kept, dtype=np.int64) * (LARGEST // channels)
    return np.maximum((share + step // 2) // step * step, step)


def kept_channels(widths: ArrayLike, channels: int) -> NDArray[np.int64]:
    """How many of a supernet's channels stand for widths of the space, shape as ``widths``.

    Args:
        widths: of :data:`WIDTHS`.
        channels: of the supernet's width, of which 64 is a multiple.

    Raises:
        PdnasError: the supernet is too narrow to tell the space's widths apart.
    """
    if channels % len(WIDTHS):
        raise PdnasError(
            f"{channels} channels cannot tell the space's {len(WIDTHS)} widths apart; search with "
            f"a width that is a multiple of {len(WIDTHS)}"
        )
    return np.asarray(widths, dtype=np.int64) * channels // LARGEST


def width_probabilities(drop: float, channels: int = LARGEST) -> NDArray[np.float64]:
    """Probability of each of :data:`WIDTHS` if channels are dropped independently, shape (8,).

    Kept channels are binomial; :func:`rounded` says which width they stand for.

    Args:
        drop: drop probability of every channel.
        channels: of the supernet's width: 64, or a share of it that stands for 64.
    """
    kept = np.arange(channels + 1)
    ways = np.array([comb(channels, each) for each in kept.tolist()], dtype=np.float64)
    of_kept = ways * (1 - drop) ** kept * drop ** (channels - kept)
    places = np.searchsorted(WIDTHS, rounded(kept, channels))
    probabilities = np.zeros(len(WIDTHS))
    np.add.at(probabilities, places, of_kept)
    return probabilities


def posterior_probabilities(drop: ArrayLike, channels: int = LARGEST) -> NDArray[np.float64]:
    """Probability of every network of the space under five drop probabilities, shape (32768,).

    Args:
        drop: drop probabilities of the widths c0 to c4, shape (5,).
        channels: see :func:`width_probabilities`.

    Raises:
        PdnasError: they are not five probabilities.
    """
    given = np.asarray(drop, dtype=np.float64)
    if given.shape != (len(NAMES),) or not ((given >= 0) & (given <= 1)).all():
        raise PdnasError(f"five drop probabilities from 0 to 1 are needed, not {given}")
    joint = np.ones(1)
    for each in given:
        joint = np.outer(joint, width_probabilities(each, channels)).ravel()
    return joint / joint.sum()


def network_probabilities(
    posterior: ChannelPosterior, channels: int = LARGEST
) -> NDArray[np.float64]:
    """What a posterior of the space's supernet says of the space's networks, shape (32768,).

    Args:
        posterior: its gates are c0 to c4.
        channels: see :func:`width_probabilities`; a supernet of fewer has the same probabilities
            for each of the 64 channels that it stands for.

    Raises:
        PdnasError: it is another supernet's.
    """
    if set(posterior.drop) != set(NAMES):
        raise PdnasError(
            f"the size space's supernet has gates {', '.join(NAMES)}, not "
            f"{', '.join(posterior.drop)}; use a run of natsbench-size"
        )
    return posterior_probabilities([float(posterior.drop[name]) for name in NAMES], channels)


def one_drop_probabilities(
    expected: float, classes: int, channels: int = LARGEST
) -> NDArray[np.float64]:
    """The distribution of one drop probability for all widths that has so large networks.

    Args:
        expected: parameters to expect, between those of the space's smallest and largest network.

    Raises:
        PdnasError: no network of the space is so small, or so large.
    """
    from scipy.optimize import brentq

    sizes = SizeSpace().parameters(classes)
    if not sizes[0] < expected < sizes[-1]:
        raise PdnasError(
            f"the space has networks of {sizes[0]} to {sizes[-1]} parameters; none are expected "
            f"to have {expected:g}"
        )

    def of(drop: float) -> NDArray[np.float64]:
        return posterior_probabilities([drop] * len(NAMES), channels)

    return of(brentq(lambda drop: float(of(drop) @ sizes) - expected, 0.0, 1.0, xtol=1e-14))


def source_probabilities(
    posterior: ChannelPosterior, source: str, band: Sequence[int]
) -> NDArray[np.float64]:
    """What candidates of a source are drawn from within a band of parameters, shape (32768,).

    It is the posterior; the distribution of one drop probability for all widths with the
    posterior's expected parameters; or the same probability of every network: given the band.

    Args:
        source: ``posterior``, ``random`` or ``uniform``.
        band: fewest and most parameters.

    Raises:
        PdnasError: the posterior is another supernet's, or the source has nothing in the band.
    """
    kept = within(band)
    if source == "uniform":
        return uniform(kept)
    learned = network_probabilities(posterior)
    if source == "random":
        expected = float(learned @ SizeSpace().parameters(CLASSES))
        return restricted(one_drop_probabilities(expected, CLASSES), kept)
    return restricted(learned, kept)


def within(band: Sequence[int]) -> NDArray[np.bool_]:
    """Which networks have so many parameters, fewest and most included, shape (32768,)."""
    low, high = band
    sizes = SizeSpace().parameters(CLASSES)
    return np.asarray((sizes >= low) & (sizes <= high))


def restricted(probabilities: ArrayLike, kept: ArrayLike) -> NDArray[np.float64]:
    """A distribution given that the network is one of ``kept``, a Boolean mask.

    Raises:
        PdnasError: it has none of them.
    """
    inside = np.where(kept, probabilities, 0.0)
    if not inside.sum() > 0:
        raise PdnasError("the distribution has no network in this band; choose a wider one")
    return np.asarray(inside / inside.sum())


def uniform(kept: ArrayLike) -> NDArray[np.float64]:
    """Every network of ``kept``, a Boolean mask, equally likely, and no other."""
    return restricted(np.ones(np.shape(kept)), kept)


def largest(sizes: ArrayLike, kept: ArrayLike, count: int) -> NDArray[np.float64]:
    """The ``count`` largest networks of ``kept`` equally likely; of equals, the first."""
    inside = np.where(kept, sizes, -1)
    chosen = np.argsort(-inside, kind="stable")[:count]
    mask = np.zeros(len(inside), dtype=bool)
    mask[chosen] = inside[chosen] >= 0
    return uniform(mask)


def best_drop(
    values: ArrayLike, kept: ArrayLike, expected: float, classes: int, starts: int = 6
) -> NDArray[np.float64]:
    """The five drop probabilities whose networks have the highest mean value, shape (5,).

    No search with a probability a width can do better, so this is the ceiling of what guidance can
    gain over one probability for all. Found by SLSQP from that one and from points around it.

    Args:
        values: of every network, such as true accuracies, shape (32768,).
        kept: the networks that count, a Boolean mask.
        expected: parameters that the networks have in the mean, within 0.1 % of it.
        starts: how many descents.
    """
    from scipy.optimize import brentq, minimize
    from scipy.special import expit, logit

    sizes, scores = SizeSpace().parameters(classes), np.asarray(values, dtype=np.float64)
    spread = float(np.ptp(scores[np.asarray(kept)])) or 1.0

    def excess(logits: NDArray[np.float64]) -> float:
        return float(posterior_probabilities(expit(logits)) @ sizes) / expected - 1

    def loss(logits: NDArray[np.float64]) -> float:
        return -float(restricted(posterior_probabilities(expit(logits)), kept) @ scores) / spread

    one = brentq(lambda drop: excess(np.full(len(NAMES), logit(drop))), 1e-9, 1 - 1e-9)
    best = np.full(len(NAMES), logit(one))
    rng = np.random.default_rng(0)
    for number in range(starts):
        start = best if number == 0 else logit(one) + 0.7 * rng.standard_normal(len(NAMES))
        found = minimize(loss, start, method="SLSQP", constraints=[{"type": "eq", "fun": excess}]).x
        if abs(excess(found)) < 1e-3 and loss(found) < loss(best):
            best = found
    return np.asarray(expit(best))
