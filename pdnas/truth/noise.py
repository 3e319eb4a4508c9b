"""How good a ground truth is itself: other trainings would have given other accuracies.

A measured accuracy y is taken as the architecture's expected accuracy θ and independent normal
noise, y = θ + N(0, s²). How large s is, a truth's single trainings say, else what networks that
should be equal differ by (an upper bound). How the θ are distributed, a deconvolution says; with
it, each θ has a posterior given its y. From these follow how many architectures reach a target by
luck, and tables of new trainings: θ from its posterior, then noise again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from pdnas.support.statistics import finite_or_none, kendall_tau
from pdnas.truth.sampling import Floats
from pdnas.truth.tables import Truth

Integers = NDArray[np.int64]

TOP = 0.1
"""The share of architectures that are the best ones, where a tau is about them."""

TWO_SIDED_95 = 1.96
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""

DRAWS = 50
"""Pairs of tables of new trainings, where nobody asks for another number."""

_ITERATIONS = 50
_GRID = 200


@dataclass(frozen=True)
class Noise:
    """How far new trainings would move each accuracy; shapes (n,).

    Args:
        source: what it was estimated from.
        squares: squared deviations of an architecture, summed.
        freedom: how many independent ones these are.
        level: accuracies that decide how large it is.
        single: standard deviation of one training there (of the mean, where only that is known).
        trainings: how many of them an accuracy is the mean of.
        groups: architectures of one number share their trainings.
    """

    source: str
    squares: Floats
    freedom: Floats
    level: Floats
    single: Floats
    trainings: Integers
    groups: Integers

    def at(self, accuracy: Floats) -> Floats:
        """Standard deviation of one training of architectures that good, of any shape."""
        level, first = np.unique(self.level, return_index=True)
        return np.interp(accuracy, level, self.single[first])

    def pooled(self, chosen: NDArray[np.bool_]) -> float:
        """Standard deviation among ``chosen`` architectures; NaN if nothing is known of them."""
        freedom = float(self.freedom[chosen].sum())
        return float(np.sqrt(self.squares[chosen].sum() / freedom)) if freedom else float("nan")


def best_tenth(accuracy: Floats) -> NDArray[np.bool_]:
    """Which architectures are among the best tenth."""
    return np.asarray(accuracy >= np.quantile(accuracy, 1 - TOP))


def by_level(level: Floats, squares: Floats, freedom: Floats) -> Floats:
    """Standard deviation as a smooth function of a level, shape (n,).

    It is pooled over the fiftieth of the architectures (30 at least) whose levels are nearest in
    rank, since better networks have less noise.
    """
    n = level.size
    window = min(n, max(30, n // 50))
    order = np.argsort(level, kind="stable")
    sums = [np.concatenate([[0.0], np.cumsum(each[order])]) for each in (squares, freedom)]
    first = np.clip(np.arange(n) - window // 2, 0, n - window)
    own, free = (each[first + window] - each[first] for each in sums)
    variance = np.divide(own, free, out=np.zeros(n), where=free > 0)
    found = np.empty(n)
    found[order] = np.sqrt(np.maximum(variance, 0))
    return found


def pairwise_residual(sizes: tuple[int, ...], values: Floats) -> tuple[Floats, Floats, int]:
    """What pairs of switches explain of a value of all combinations, and what they do not.

    Args:
        sizes: options of each switch.
        values: shape (Π sizes,), the last switch changing fastest.

    Returns:
        the fitted values of the additive model with pairwise interactions and the residuals, shape
        of ``values``, and the residuals' degrees of freedom.
    """
    whole = values.reshape(sizes)
    axes = range(len(sizes))

    def margin(*kept: int) -> Floats:
        others = tuple(axis for axis in axes if axis not in kept)
        return np.asarray(whole.mean(axis=others, keepdims=True))

    mean = margin()
    mains = [margin(axis) - mean for axis in axes]
    fitted = mean + sum(mains)
    freedom = whole.size - 1 - sum(size - 1 for size in sizes)
    for one, other in combinations(axes, 2):
        fitted = fitted + margin(one, other) - mains[one] - mains[other] - mean
        freedom -= (sizes[one] - 1) * (sizes[other] - 1)
    fitted = np.broadcast_to(fitted, sizes).reshape(-1)
    return fitted, values - fitted, freedom


@lru_cache(maxsize=16)
def noise_of(truth: Truth, dataset: str) -> Noise:
    """The noise of a truth's accuracies on a data set.

    Raises:
        PdnasError: the truth does not know the data set.
    """
    accuracy, trainings = truth.accuracy(dataset), truth.trainings(dataset)
    classes, n = truth.isomorphism_classes, len(truth)
    groups = np.arange(n)
    if trainings is not None:
        known = (~np.isnan(trainings)).sum(axis=0)
        squares = np.nansum((trainings - np.nanmean(trainings, axis=0)) ** 2, axis=0)
        freedom = (known - 1).astype(np.float64)
        single = by_level(accuracy, squares, freedom)
        if truth.isomorphic_share_trainings and classes is not None:
            groups = classes
        source = "single trainings"
        return Noise(source, squares, freedom, accuracy, single, known, groups)
    if classes is not None:
        size = np.bincount(classes)[classes]
        mean = (np.bincount(classes, accuracy) / np.bincount(classes))[classes]
        squares, freedom = (accuracy - mean) ** 2, 1 - 1 / size
        level, source = mean, "isomorphic architectures"
    else:
        sizes = tuple(len(options) for options in truth.switches.values())
        fitted, residual, free = pairwise_residual(sizes, accuracy)
        squares, freedom = residual**2, np.full(n, free / n)
        level, source = fitted, "residual of pairwise interactions"
    single = by_level(level, squares, freedom)
    # Chosen by their accuracies, those with a large residual are chosen: the level's is unbiased.
    ones = np.ones(n)
    source = f"{source} (upper bound)"
    return Noise(source, single**2, ones, level, single, ones.astype(np.int64), groups)


@dataclass(frozen=True)
class Deconvolved:
    """What each expected accuracy may be, given the measured one.

    Args:
        grid: accuracies that are possible, ascending, shape (g,).
        posterior: probability of each, for each distinct accuracy and number of trainings, (u, g).
        rows: which of these pairs an architecture has, shape (n,).
    """

    grid: Floats
    posterior: Floats
    rows: Integers

    def mean(self) -> Floats:
        """Expected accuracy of another training, shape (n,)."""
        means: Floats = (self.posterior @ self.grid)[self.rows]
        return means

    def below(self, target: float) -> Floats:
        """Probability that the expected accuracy is below the target, shape (n,)."""
        below: Floats = self.posterior[:, self.grid < target].sum(axis=1)[self.rows]
        return below

    def draw(self, rng: Generator, chosen: Integers, count: int) -> Floats:
        """Expected accuracies of ``chosen`` architectures, independently, (count, chosen)."""
        drawn = np.empty((count, chosen.size))
        cumulative = np.cumsum(self.posterior, axis=1)
        rows = self.rows[chosen]
        order = np.argsort(rows, kind="stable")
        kinds, first = np.unique(rows[order], return_index=True)
        for kind, members in zip(kinds, np.split(order, first[1:]), strict=True):
            places = rng.random((count, members.size)) * cumulative[kind, -1]
            drawn[:, members] = self.grid[np.searchsorted(cumulative[kind], places)]
        return drawn


def deconvolve(
    accuracy: Floats,
    deviation: Callable[[Floats], Floats],
    trainings: Integers | None = None,
    iterations: int = _ITERATIONS,
) -> Deconvolved:
    """The distribution of expected accuracies, and each one's posterior (Richardson-Lucy).

    The distribution lives on a grid, quantiles of the measured accuracies and finer among the best
    tenth. It starts as the measured one; each step is one of expectation-maximisation (Richardson
    1972, Lucy 1974). Few steps keep it smooth.

    Args:
        accuracy: measured, shape (n,); a hundredth of a point is as good as exact.
        deviation: of one training, by expected accuracy.
        trainings: how many an accuracy is the mean of, shape (n,); by default one.
        iterations: steps.
    """
    known = np.ones(accuracy.size) if trainings is None else trainings
    top = best_tenth(accuracy)
    low, high = accuracy[top].min(), accuracy.max()
    spread = float(np.median(deviation(accuracy[top]) / np.sqrt(known[top])))
    step = max(spread / 4, float(high - low) / 1000, 1e-6)
    fine = np.arange(low - 12 * step, high + 8 * step, step)
    grid = np.unique([*np.quantile(accuracy, np.linspace(0, 1, _GRID)), *fine])
    edges = (grid[1:] + grid[:-1]) / 2
    prior = np.bincount(np.searchsorted(edges, accuracy), minlength=grid.size) / accuracy.size
    prior = np.maximum(prior, 1e-12)

    pairs = np.stack([accuracy.round(4), known], axis=1)
    distinct, rows, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    value, number = distinct[:, :1], distinct[:, 1:]
    scale = np.maximum(deviation(grid), 1e-5) / np.sqrt(number)
    logs = -0.5 * ((value - grid) / scale) ** 2 - np.log(scale)
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))  # else 0 where noise is tiny
    for _ in range(iterations):
        posterior = likelihood * prior
        posterior /= posterior.sum(axis=1, keepdims=True)
        prior = counts @ posterior / accuracy.size
    return Deconvolved(grid, posterior, rows.reshape(-1).astype(np.int64))


@lru_cache(maxsize=16)
def deconvolved(truth: Truth, dataset: str) -> Deconvolved:
    """The deconvolution of a truth's accuracies on a data set."""
    noise = noise_of(truth, dataset)
    return deconvolve(truth.accuracy(dataset), noise.at, noise.trainings)


def luck(accuracy: Floats, found: Deconvolved, target: float) -> dict[str, float]:
    """How many architectures reach a target, and how many of them by luck, in expectation.

    Returns:
        ``reached``; ``by_luck``: reached, and expected to be below; ``missed``: the other way.
    """
    reached, below = accuracy >= target, found.below(target)
    return {
        "target": target,
        "reached": int(reached.sum()),
        "by_luck": float(below[reached].sum()),
        "missed": float((1 - below[~reached]).sum()),
    }


def retrained(
    truth: Truth, dataset: str, draws: int, tables: int = 1, seed: int = 0
) -> tuple[Floats, Floats]:
    """Expected accuracies that may be the true ones, and what new trainings would measure then.

    Architectures that share their trainings share both.

    Args:
        draws: of expected accuracies.
        tables: of new trainings, for each of these.

    Returns:
        expected accuracies (draws, n), and measured ones (draws, tables, n).
    """
    rng = np.random.default_rng(seed)
    noise, found = noise_of(truth, dataset), deconvolved(truth, dataset)
    _, first, group = np.unique(noise.groups, return_index=True, return_inverse=True)
    expected = found.draw(rng, first, draws)
    deviation = noise.at(expected) / np.sqrt(noise.trainings[first])
    errors = deviation[:, None] * rng.standard_normal((draws, tables, first.size))
    measured = np.clip(expected[:, None] + errors, 0, 1)
    return expected[:, group], measured[..., group]


@lru_cache(maxsize=4)
def retrained_pairs(truth: Truth, dataset: str, draws: int) -> Floats:
    """Two tables of new trainings for each draw of expected accuracies, shape (draws, 2, n)."""
    return retrained(truth, dataset, draws, 2)[1]


def noise_interval(
    measured: Mapping[str, Any], q: Floats, pairs: Floats, targets: ArrayLike
) -> dict[str, dict[str, float | None]]:
    """The interval that the noise of the truth leaves to the efficiency to a target.

    The logarithm of a mass has the variance σ² over new trainings of the same expected accuracies:
    half of the mean squared difference of two tables. The interval is the measured value times
    exp(±1.96 σ). The distribution must not have been made from the truth's own accuracies.

    Args:
        measured: ``mass``, ``expected_samples``, ``uniform_expected_samples`` and ``speedup``.
        q: probabilities, shape (n,).
        pairs: accuracies of new trainings, shape (draws, 2, n).
        targets: the accuracy to reach, or that of each table, shape (draws, 2).

    Returns:
        of each of these ``low`` and ``high``; null where one has no value, or where no
        architecture with mass reaches the target in some of the tables. No speed-up is above the
        samples that uniform sampling takes.
    """
    reached = pairs >= np.broadcast_to(np.asarray(targets), pairs.shape[:2])[..., None]
    with np.errstate(divide="ignore"):  # log 0 = -inf is meant
        own, uniform = np.log(reached @ q), np.log(reached.mean(axis=2))
    with np.errstate(invalid="ignore"):
        spreads = {
            "mass": pair_spread(own),
            "expected_samples": pair_spread(own),
            "uniform_expected_samples": pair_spread(uniform),
            "speedup": pair_spread(own - uniform),
        }
    most, least = {"mass": 1.0}, {"expected_samples": 1.0, "uniform_expected_samples": 1.0}
    intervals = {}
    for name, spread in spreads.items():
        value = measured[name]
        ends = (np.nan, np.nan)
        if value:
            ends = factor_ends(value, spread, least.get(name, 0.0), most.get(name, np.inf))
        if name == "uniform_expected_samples" and np.isfinite(ends[1]):
            most["speedup"] = ends[1]
        intervals[name] = dict(zip(("low", "high"), map(finite_or_none, ends), strict=True))
    return intervals


def factor_ends(
    value: float, spread: float, least: float = 0.0, most: float = np.inf
) -> tuple[float, float]:
    """Ends of the 95 % interval of a value whose logarithm has this deviation; NaN: unknown.

    Args:
        least, most: between which the value lies in any case.
    """
    if not np.isfinite(spread):
        return np.nan, np.nan
    factor = float(np.exp(TWO_SIDED_95 * spread))
    return max(value / factor, least), min(value * factor, most)


def pair_spread(logs: Floats) -> float:
    """Standard deviation between two of the same, from pairs (draws, 2); not finite: unknown."""
    return float(np.sqrt(np.mean((logs[:, 0] - logs[:, 1]) ** 2) / 2))


def tau_of_trainings(trainings: Floats, accuracy: Floats) -> tuple[float, float]:
    """Kendall's tau-b between two trainings, the mean over pairs: of all, and of the best tenth.

    Args:
        trainings: shape (seeds, n), NaN where unknown; a pair counts where both are known.
        accuracy: the mean, which decides who is among the best tenth, shape (n,).
    """
    taus = []
    for one, other in combinations(trainings, 2):
        both = ~np.isnan(one + other)
        top = both & best_tenth(accuracy)
        taus.append([kendall_tau(one[chosen], other[chosen]) for chosen in (both, top)])
    every, best = np.mean(taus, axis=0).tolist()
    return every, best


def tau_ceiling(truth: Truth, dataset: str, draws: int = 10, seed: int = 0) -> tuple[float, float]:
    """The tau that the expected accuracies themselves would have with the truth.

    No score can be expected to do better. Of all architectures, and of the best tenth of the truth.
    """
    taus = []
    drawn, tables = retrained(truth, dataset, draws, seed=seed)
    for expected, measured in zip(drawn, tables[:, 0], strict=True):
        top = best_tenth(measured)
        taus.append([kendall_tau(expected, measured), kendall_tau(expected[top], measured[top])])
    every, best = np.mean(taus, axis=0).tolist()
    return every, best


def quality(truth: Truth, dataset: str) -> dict[str, Any]:
    """How good a truth is on a data set, ready for JSON.

    Returns:
        ``source`` of what is known of the noise; ``deviation``: standard deviation of one training
        of ``all`` architectures, of the ``best_tenth`` and of those that reach each target (of the
        mean, where no single training is known); ``tau_trainings`` between two trainings and
        ``tau_ceiling``, each of ``all`` and the ``best_tenth``; ``targets``: see :func:`luck`;
        ``best``: the best accuracy, and the one to expect of it in another training.
    """
    accuracy, noise = truth.accuracy(dataset), noise_of(truth, dataset)
    found, trainings = deconvolved(truth, dataset), truth.trainings(dataset)
    targets = truth.targets[dataset]
    chosen = {"all": np.ones(len(truth), dtype=bool), "best_tenth": best_tenth(accuracy)}
    chosen |= {f"{target:g}": accuracy >= target for target in targets}
    between = (np.nan, np.nan) if trainings is None else tau_of_trainings(trainings, accuracy)
    ceiling = tau_ceiling(truth, dataset)
    best = int(accuracy.argmax())
    taus = {"tau_trainings": between, "tau_ceiling": ceiling}
    return {
        "truth": truth.name,
        "dataset": dataset,
        "source": noise.source,
        "deviation": {name: finite_or_none(noise.pooled(each)) for name, each in chosen.items()},
        **{
            name: dict(zip(("all", "best_tenth"), map(finite_or_none, pair), strict=True))
            for name, pair in taus.items()
        },
        "targets": [luck(accuracy, found, target) for target in targets],
        "best": {
            "name": truth.names[best],
            "accuracy": float(accuracy[best]),
            "expected_again": float(found.mean()[best]),
        },
    }
