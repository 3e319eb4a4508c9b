"""Intervals over seeds, and expectations of draws: what tables and figures of the suite share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided confidence interval.

    ``low`` and ``high`` are NaN where no interval exists: one seed, or an infinite value among
    the seeds.
    """

    estimate: float
    low: float
    high: float
    count: int
    level: float = 0.95

    def within(self, least: float = -np.inf, most: float = np.inf) -> Interval:
        """The part of the interval in which the quantity can lie at all."""
        low, high = np.clip([self.low, self.high], least, most).tolist()
        return replace(self, low=low, high=high)

    def to_json(self) -> dict[str, Any]:
        """``estimate``, ``low``, ``high`` (null where not finite), ``count`` and ``level``."""
        return {
            "estimate": finite_or_none(self.estimate),
            "low": finite_or_none(self.low),
            "high": finite_or_none(self.high),
            "count": self.count,
            "level": self.level,
        }


_ROUNDING = 1e-9
"""Of their size, by which equal numbers may differ."""


def finite_or_none(value: float) -> float | None:
    """JSON knows neither infinity nor NaN: both become null."""
    return float(value) if np.isfinite(value) else None


def _student_t(values: NDArray[np.float64], level: float) -> tuple[float, float, float]:
    from scipy.special import stdtrit  # lighter to import than scipy.stats

    if values.ndim != 1 or values.size == 0:
        raise ValueError("an interval needs a one-dimensional sample of at least one value")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    mean = float(values.mean())
    if values.size == 1 or not np.isfinite(values).all():
        return mean, float("nan"), float("nan")
    standard_error = float(values.std(ddof=1)) / np.sqrt(values.size)
    half_width = float(stdtrit(values.size - 1, 0.5 + level / 2)) * standard_error
    return mean, mean - half_width, mean + half_width


def confidence_interval(values: Sequence[float] | ArrayLike, level: float = 0.95) -> Interval:
    """Mean over seeds with Student's t interval, mean ± t_{(1+level)/2, n-1} · s / √n.

    Args:
        values: one number a seed, shape (n,), n ≥ 1; taken as independent and about normal.
        level: two-sided coverage.

    Raises:
        ValueError: no values, or a level outside (0, 1).
    """
    sample = np.asarray(values, dtype=np.float64)
    return Interval(*_student_t(sample, level), count=sample.size, level=level)


def mean_is_zero(values: Sequence[float] | ArrayLike) -> float:
    """Two-sided p of Student's t-test that the mean over seeds is 0.

    NaN of one seed, and of equal ones: few test images often give two seeds the same difference,
    which says nothing of how far others would lie apart.

    Args:
        values: one number a seed, such as a paired difference, shape (n,).
    """
    from scipy.special import stdtr

    sample = np.asarray(values, dtype=np.float64)
    if np.ptp(sample) <= _ROUNDING * np.abs(sample).max():
        return float("nan")
    t = abs(sample.mean()) / (sample.std(ddof=1) / np.sqrt(sample.size))
    return float(2 * stdtr(sample.size - 1, -t))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's method (1979), in the same order.

    Below a level α they are the rejections among which any is wrong with probability α at most,
    however the tests depend on each other. NaN, a test that could not be made, does not count.
    """
    tested = [number for number, p in enumerate(p_values) if not np.isnan(p)]
    corrected, largest = list(p_values), 0.0
    for done, number in enumerate(sorted(tested, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(tested) - done) * p_values[number]))
        corrected[number] = largest
    return corrected


def prediction_interval(values: Sequence[float] | ArrayLike, count: int, level: float) -> Interval:
    """Where the mean of m = ``count`` further seeds lies.

    The mean ± t_{(1+level)/2, n-1} · s · √(1/n + 1/m).

    Args:
        values: one number a seed, shape (n,), n ≥ 2; taken as independent and about normal.
        count: m, ≥ 1.
        level: two-sided coverage.

    Raises:
        ValueError: as :func:`confidence_interval`.
    """
    known = confidence_interval(values, level)
    half_width = (known.high - known.estimate) * np.sqrt(1 + known.count / count)
    low, high = known.estimate - half_width, known.estimate + half_width
    return Interval(known.estimate, float(low), float(high), known.count, level)


def geometric_interval(values: Sequence[float] | ArrayLike, level: float = 0.95) -> Interval:
    """Geometric mean over seeds, with Student's t interval of the logarithms taken back by exp.

    For ratios and other positive quantities whose seeds differ by factors: speed-ups, expected
    numbers of samples. The interval is never below zero, and that of 1/x is the reciprocal of
    that of x. A zero or infinite seed (a target that a posterior cannot reach) makes the estimate
    0 or inf and leaves no interval.

    Args:
        values: one non-negative number a seed, shape (n,), n ≥ 1; may hold 0 or inf.
        level: two-sided coverage.

    Raises:
        ValueError: no values, a negative or NaN value, or a level outside (0, 1).
    """
    sample = np.asarray(values, dtype=np.float64)
    if not (sample >= 0).all():
        raise ValueError("a geometric mean needs values that are positive (or 0, or inf)")
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0 = -inf is meant; see above
        mean, low, high = _student_t(np.log(sample), level)
    estimate, low, high = np.exp([mean, low, high]).tolist()
    return Interval(estimate, low, high, count=sample.size, level=level)


def expected_draws(probability: float) -> float:
    """Expected number of independent draws until an event of this probability happens."""
    return 1 / probability if probability else float("inf")


def expected_draws_over_seeds(probabilities: Iterable[float], level: float = 0.95) -> Interval:
    """Expected draws until an event happens that has each of these probabilities (one a seed).

    It takes one draw at least, whatever the logarithms' interval says.
    """
    return geometric_interval(list(map(expected_draws, probabilities)), level).within(least=1)


def expected_best_of_subset(values: ArrayLike, count: int) -> float:
    """Expected maximum of ``count`` of ``values`` drawn without replacement, exactly.

    With the values sorted, the i-th smallest of n is the maximum of k drawn with probability
    C(i-1, k-1) / C(n, k): it is drawn, and the other k-1 are among the i-1 below it.

    Raises:
        ValueError: ``count`` is none of 1 … n.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if not 1 <= count <= n:
        raise ValueError(f"cannot draw {count} of {n}")
    # Neighbouring binomials have a simple ratio: C(i, k-1) / C(i-1, k-1) = i / (i - k + 1).
    i = np.arange(count, n)
    logs = np.concatenate([[0.0], np.cumsum(np.log(i) - np.log(i - count + 1))])
    weights = np.exp(logs - logs[-1])
    return float(weights @ ordered[count - 1 :] / weights.sum())


def normal_scores(values: ArrayLike) -> NDArray[np.float64]:
    """Quantiles of the normal distribution that values have by their rank; equals share theirs.

    So one value far from all others weighs no more than it should. Shape as ``values``, (n,).
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    ranks = rankdata(values)
    return np.asarray(ndtri((ranks - 0.5) / ranks.size))


def kendall_tau(one: ArrayLike, other: ArrayLike) -> float:
    """Kendall's tau-b (ties counted as neither) between two arrays of equal length.

    NaN where one of them is constant: it orders nothing.
    """
    from scipy.stats import kendalltau

    return float(kendalltau(one, other).statistic)
