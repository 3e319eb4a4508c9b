"""What samples from a distribution over cells are worth: exact arithmetic, no Monte Carlo.

Every cell a has a known probability q(a) and a known true accuracy acc(a), so everything follows
by enumeration. Cells are drawn independently, with replacement. Probabilities and accuracies are
float64 arrays of one entry a cell; accuracies are fractions.

With S(t) = Σ_{acc(a) > t} q(a), the mass above t, the best of n samples has the distribution
function (1 - S(t))^n, always computed as exp(n · log1p(-S)): exact for tiny masses and large n.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.support.errors import PdnasError, first_line

Floats = NDArray[np.float64]

QUANTILES = (0.05, 0.5, 0.95)
"""Levels at which the best of n is reported."""

_MASS_TOLERANCE = 1e-6
_ROUNDING = 1e-10


def real_numbers(values: ArrayLike) -> Floats:
    """An array of float64 of what may be an array of another library.

    Raises:
        PdnasError: it holds complex or masked numbers, or is a tensor that needs a gradient.
        TypeError, ValueError: it holds no numbers.
    """
    if np.ma.is_masked(values):
        raise PdnasError("masked entries are no numbers; fill them, as .filled(0) does")
    try:
        array = np.asarray(values)
    except RuntimeError as error:  # of torch, which says what to do
        raise PdnasError(f"this is no plain array of numbers: {first_line(error)}") from error
    if np.iscomplexobj(array):
        raise PdnasError("complex numbers are no probabilities or accuracies; take their real part")
    return array.astype(np.float64, copy=False)


def normalised(probabilities: ArrayLike, *aligned: ArrayLike) -> tuple[Floats, ...]:
    """``probabilities`` scaled to sum to exactly 1, and the arrays that go with them, checked."""
    q, *others = (real_numbers(values) for values in (probabilities, *aligned))
    if q.ndim != 1 or any(values.shape != q.shape for values in others):
        raise PdnasError("probabilities and what belongs to them must be arrays of equal length")
    wrong = np.flatnonzero(~(q >= 0))  # NaN is wrong as well
    if wrong.size:
        said = f"entry {wrong[0]} (counted from 0) is {q[wrong[0]]:.6g}"
        raise PdnasError(f"probabilities must be non-negative, and {said}")
    if abs(float(q.sum()) - 1) > _MASS_TOLERANCE:
        raise PdnasError(f"probabilities must sum to 1, not {q.sum():.6g}")
    if not all(np.isfinite(values).all() for values in others):
        raise PdnasError("accuracies and scores must be finite numbers")
    return (q / q.sum(), *others)


def uniform(cells: int) -> Floats:
    """The uniform distribution over ``cells`` cells."""
    return np.full(cells, 1 / cells)


def mass_at_least(probabilities: ArrayLike, accuracy: ArrayLike, targets: ArrayLike) -> Floats:
    """Σ_{acc(a) ≥ t} q(a) for each target t, shape of ``targets``.

    A target that was computed, such as 93.9 / 100, may lie a rounding above the one that is meant.
    """
    q, acc = normalised(probabilities, accuracy)
    wanted = np.asarray(targets, dtype=np.float64) - _ROUNDING
    order = np.argsort(-acc, kind="stable")
    # Summed from the top, so that small masses of good cells keep all their digits.
    mass = np.concatenate([[0.0], np.cumsum(q[order])])
    reached: Floats = mass[np.searchsorted(-acc[order], -wanted, side="right")]
    return np.minimum(reached, 1.0)


def mean_accuracy(probabilities: ArrayLike, accuracy: ArrayLike) -> float:
    """Expected true accuracy of one sample, Σ q(a) acc(a)."""
    q, acc = normalised(probabilities, accuracy)
    return float(q @ acc)


def mode_accuracy(probabilities: ArrayLike, accuracy: ArrayLike) -> float:
    """True accuracy of the most probable cell; the mean over all of them where several tie."""
    q, acc = normalised(probabilities, accuracy)
    return float(acc[q == q.max()].mean())


def entropy(probabilities: ArrayLike) -> float:
    """Shannon entropy -Σ q log q in nats."""
    (q,) = normalised(probabilities)
    positive = q[q > 0]
    return max(0.0, float(-(positive * np.log(positive)).sum()))


def _draws(n: ArrayLike) -> NDArray[np.int64]:
    draws = np.atleast_1d(np.asarray(n, dtype=np.int64))
    if draws.ndim != 1 or (draws < 1).any():
        raise PdnasError("the number of samples must be 1 or more")
    return draws


def _levels(q: Floats, key: Floats, *values: Floats) -> tuple[Floats, ...]:
    """Cells with mass, grouped by equal ``key``, in ascending order of it.

    Returns, one entry a group: the key, the mass strictly above it, and the q-weighted mean of
    each of ``values``.
    """
    possible = q > 0
    q, values = q[possible], tuple(each[possible] for each in values)
    keys, group = np.unique(key[possible], return_inverse=True)
    mass = np.bincount(group, weights=q)
    at_or_above = np.cumsum(mass[::-1])[::-1]
    above = np.clip(np.append(at_or_above[1:], 0.0), 0.0, 1.0)
    means = (np.bincount(group, weights=q * each) / mass for each in values)
    return (keys, above, *means)


def expected_accuracy_of_chosen(
    probabilities: ArrayLike, scores: ArrayLike, accuracy: ArrayLike, n: ArrayLike
) -> Floats:
    """Expected true accuracy of the cell with the highest score among n independent samples.

    With the cells in ascending order of score and G_r the mass of the ranks up to r, the best is
    of rank r with probability G_r^n - G_{r-1}^n, so the expectation is, summed by parts,

        A_R - Σ_{r<R} G_r^n (A_{r+1} - A_r),

    A_r the true accuracy of rank r. Cells of equal score share a rank; if several of them lead,
    any rule that does not look at which cells they are (first drawn, or at random) picks one with
    probability proportional to q, so A_r is their q-weighted mean.

    Args:
        probabilities: q, shape (cells,).
        scores: one-shot scores, shape (cells,); the higher, the better.
        accuracy: true accuracies, shape (cells,).
        n: numbers of samples, shape (m,) or a scalar, each ≥ 1.

    Returns:
        Shape (m,).

    Raises:
        PdnasError: lengths differ, q is no distribution, a number is not finite, or n < 1.
    """
    q, score, acc = normalised(probabilities, scores, accuracy)
    draws = _draws(n)
    _, above, mean = _levels(q, score, acc)
    with np.errstate(divide="ignore"):  # all mass, but for rounding, above a level: log 0 = -inf
        log_mass = np.log1p(-above[:-1])
    steps = np.diff(mean)
    expected = np.empty(draws.size)
    for start in range(0, draws.size, 256):  # 256 rows of all cells: 30 MB, not 2 GB
        rows = slice(start, start + 256)
        expected[rows] = mean[-1] - np.exp(draws[rows, None] * log_mass) @ steps
    return expected


def accuracy_quantiles_of_chosen(
    probabilities: ArrayLike,
    scores: ArrayLike,
    accuracy: ArrayLike,
    n: ArrayLike,
    levels: Sequence[float] = QUANTILES,
) -> Floats:
    """Quantiles of the true accuracy of the cell with the highest score among n samples.

    The rank r of the best score has probability G_r^n - G_{r-1}^n, and cell a of that rank is the
    chosen one in a share q(a) / Σ_rank q of these cases (see :func:`expected_accuracy_of_chosen`).
    The quantile at level p is the smallest accuracy t such that the cells with acc(a) ≤ t are
    chosen with probability p or more.

    Args:
        probabilities, scores, accuracy, n: as for :func:`expected_accuracy_of_chosen`.
        levels: probabilities p in (0, 1), shape (k,).

    Returns:
        Shape (m, k).

    Raises:
        PdnasError: as :func:`expected_accuracy_of_chosen`, or a level outside (0, 1).
    """
    q, score, acc = normalised(probabilities, scores, accuracy)
    draws = _draws(n)
    if not all(0 < level < 1 for level in levels):
        raise PdnasError("levels of quantiles lie between 0 and 1")
    _, above = _levels(q, score)
    with np.errstate(divide="ignore"):  # log 0 = -inf below the lowest rank
        log_mass = np.log1p(-np.append(1.0, above))
    possible = np.flatnonzero(q > 0)
    order = possible[np.argsort(acc[possible], kind="stable")]
    rank = np.searchsorted(np.unique(score[possible]), score[order])
    share = q[order] / np.bincount(rank, weights=q[order])[rank]
    quantiles = np.empty((draws.size, len(levels)))
    for start in range(0, draws.size, 256):  # as above
        rows = slice(start, start + 256)
        lead = np.diff(np.exp(draws[rows, None] * log_mass), axis=1)
        reached = (lead[:, rank] * share).cumsum(axis=1)
        for column, level in enumerate(levels):
            # The margin keeps rounding from skipping an accuracy that reaches the level exactly.
            first = (reached < level * (1 - 1e-9)).sum(axis=1)
            quantiles[rows, column] = acc[order[first]]
    return quantiles
