"""How many samples does a distribution over cells save? Exact arithmetic, no Monte Carlo.

Every cell a has a known probability q(a) and a known true accuracy acc(a), so everything follows
by enumeration. Cells are drawn independently, with replacement. Probabilities and accuracies are
float64 arrays of one entry a cell; accuracies are fractions.

With S(t) = Σ_{acc(a) > t} q(a), the mass above t, the best of n samples has the distribution
function (1 - S(t))^n, always computed as exp(n · log1p(-S)): exact for tiny masses and large n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.space.cells import OPERATIONS, CellSpace
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.support.statistics import confidence_interval, finite_or_none, geometric_interval
from pdnas.truth.table import DATASETS, Dataset, GroundTruth

Floats = NDArray[np.float64]

TARGETS: dict[Dataset, tuple[float, ...]] = {
    "cifar10": (0.93, 0.935, 0.94),
    "cifar100": (0.695, 0.705, 0.72),
    "imagenet16_120": (0.43, 0.445, 0.46),
}
"""CIFAR-10's usual targets, and on the other two the round numbers that are about as rare."""

ROUND_NUMBERS = (10, 100, 1000)
"""Numbers of samples that the curves have beside those of an even grid, since tables quote them."""

QUANTILES = (0.05, 0.5, 0.95)
"""Levels at which the best of n is reported."""

_MASS_TOLERANCE = 1e-6


def _distribution(probabilities: ArrayLike, *aligned: ArrayLike) -> tuple[Floats, ...]:
    """``probabilities`` scaled to sum to exactly 1, and the arrays that go with them, checked."""
    q = np.asarray(probabilities, dtype=np.float64)
    others = [np.asarray(values, dtype=np.float64) for values in aligned]
    if q.ndim != 1 or any(values.shape != q.shape for values in others):
        raise PdnasError("probabilities and what belongs to them must be arrays of equal length")
    if not (q >= 0).all() or abs(float(q.sum()) - 1) > _MASS_TOLERANCE:
        raise PdnasError(f"probabilities must be non-negative and sum to 1, not {q.sum():.6g}")
    if not all(np.isfinite(values).all() for values in others):
        raise PdnasError("accuracies and scores must be finite numbers")
    return (q / q.sum(), *others)


def uniform(cells: int) -> Floats:
    """The uniform distribution over ``cells`` cells."""
    return np.full(cells, 1 / cells)


def mass_at_least(probabilities: ArrayLike, accuracy: ArrayLike, targets: ArrayLike) -> Floats:
    """Σ_{acc(a) ≥ t} q(a) for each target t, shape of ``targets``."""
    q, acc = _distribution(probabilities, accuracy)
    wanted = np.asarray(targets, dtype=np.float64)
    order = np.argsort(-acc, kind="stable")
    # Summed from the top, so that small masses of good cells keep all their digits.
    mass = np.concatenate([[0.0], np.cumsum(q[order])])
    reached: Floats = mass[np.searchsorted(-acc[order], -wanted, side="right")]
    return np.minimum(reached, 1.0)


def expected_samples(probabilities: ArrayLike, accuracy: ArrayLike, target: float) -> float:
    """Expected number of samples until one reaches ``target``: 1 / Σ_{acc(a) ≥ target} q(a).

    The number of draws is geometric. Infinite if no mass lies at the target or above.
    """
    mass = float(mass_at_least(probabilities, accuracy, target))
    return 1 / mass if mass > 0 else float("inf")


def mean_accuracy(probabilities: ArrayLike, accuracy: ArrayLike) -> float:
    """Expected true accuracy of one sample, Σ q(a) acc(a)."""
    q, acc = _distribution(probabilities, accuracy)
    return float(q @ acc)


def mode_accuracy(probabilities: ArrayLike, accuracy: ArrayLike) -> float:
    """True accuracy of the most probable cell; the mean over all of them where several tie."""
    q, acc = _distribution(probabilities, accuracy)
    return float(acc[q == q.max()].mean())


def entropy(probabilities: ArrayLike) -> float:
    """Shannon entropy -Σ q log q in nats."""
    (q,) = _distribution(probabilities)
    positive = q[q > 0]
    return max(0.0, float(-(positive * np.log(positive)).sum()))


def effective_cells(probabilities: ArrayLike) -> float:
    """exp(entropy): the number of equally probable cells that would be as uncertain."""
    return float(np.exp(entropy(probabilities)))


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


def expected_accuracy_of_best(
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
    q, score, acc = _distribution(probabilities, scores, accuracy)
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


def expected_best(probabilities: ArrayLike, accuracy: ArrayLike, n: ArrayLike) -> Floats:
    """Expected true accuracy of the truly best of n independent samples, shape (m,).

    What a perfect ranking would choose; n is a scalar or of shape (m,).
    """
    return expected_accuracy_of_best(probabilities, accuracy, accuracy, n)


def accuracy_quantiles_of_best(
    probabilities: ArrayLike,
    scores: ArrayLike,
    accuracy: ArrayLike,
    n: ArrayLike,
    levels: Sequence[float] = QUANTILES,
) -> Floats:
    """Quantiles of the true accuracy of the cell with the highest score among n samples.

    The rank r of the best score has probability G_r^n - G_{r-1}^n, and cell a of that rank is the
    chosen one in a share q(a) / Σ_rank q of these cases (see :func:`expected_accuracy_of_best`).
    The quantile at level p is the smallest accuracy t such that the cells with acc(a) ≤ t are
    chosen with probability p or more.

    Args:
        probabilities: q, shape (cells,).
        scores: one-shot scores, shape (cells,); the higher, the better.
        accuracy: true accuracies, shape (cells,).
        n: numbers of samples, shape (m,) or a scalar, each ≥ 1.
        levels: probabilities p in (0, 1), shape (k,).

    Returns:
        Shape (m, k).

    Raises:
        PdnasError: as :func:`expected_accuracy_of_best`, or a level outside (0, 1).
    """
    q, score, acc = _distribution(probabilities, scores, accuracy)
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


def best_quantiles(
    probabilities: ArrayLike, accuracy: ArrayLike, n: ArrayLike, levels: Sequence[float] = QUANTILES
) -> Floats:
    """Quantiles of the best true accuracy among n independent samples, shape (m, k).

    What a perfect ranking would choose; n is a scalar or of shape (m,), ``levels`` of shape (k,).
    """
    return accuracy_quantiles_of_best(probabilities, accuracy, accuracy, n, levels)


def kendall_tau(scores: ArrayLike, accuracy: ArrayLike) -> float:
    """Kendall's tau-b (ties counted as neither) between two arrays of equal length.

    NaN where one of them is constant: it orders nothing.
    """
    from scipy.stats import kendalltau

    return float(kendalltau(scores, accuracy).statistic)


@dataclass(frozen=True)
class Target:
    """What it takes to reach one accuracy. Sample counts are inf, speed-up 0, without any mass."""

    target: float
    mass: float
    expected_samples: float
    uniform_mass: float
    uniform_expected_samples: float
    speedup: float
    """Expected samples under the uniform distribution / under this one (NaN if both are inf)."""


@dataclass(frozen=True)
class DatasetEfficiency:
    """Sample efficiency of one distribution by one data set's true accuracies."""

    mean_accuracy: float
    uniform_mean_accuracy: float
    mode_accuracy: float
    best_accuracy: float
    """Of all cells: the optimum."""
    targets: tuple[Target, ...]
    mass_by_accuracy: dict[str, list[float]]
    best_of_n: dict[str, list[float]]
    """Of the truly best of n samples."""
    chosen_of_n: dict[str, list[float]] | None
    """Of the one with the highest one-shot score among n samples; None without scores."""
    kendall_tau: float | None
    """Kendall's tau-b between scores and true accuracies of all cells; None without scores."""
    kendall_tau_top: float | None
    """The same among the truly best tenth of all cells."""


@dataclass(frozen=True)
class Efficiency:
    """Everything ``efficiency.json`` says about one distribution over the cells."""

    cells: int
    entropy: float
    effective_cells: float
    mode: str
    mode_probability: float
    datasets: dict[Dataset, DatasetEfficiency]

    def to_json(self) -> dict[str, Any]:
        """As in docs/files.md; what is not finite becomes null."""
        record: dict[str, Any] = _jsonable(asdict(self))
        return record


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _jsonable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(each) for each in value]
    return finite_or_none(value) if isinstance(value, float) else value


def _reach(q: Floats, accuracy: Floats, targets: Sequence[float]) -> tuple[Target, ...]:
    masses = mass_at_least(q, accuracy, targets).tolist()
    uniform_masses = mass_at_least(uniform(q.size), accuracy, targets).tolist()
    return tuple(
        Target(
            target=target,
            mass=mass,
            expected_samples=1 / mass if mass else float("inf"),
            uniform_mass=base,
            uniform_expected_samples=1 / base if base else float("inf"),
            speedup=mass / base if base else float("nan"),
        )
        for target, mass, base in zip(targets, masses, uniform_masses, strict=True)
    )


def _curves(q: Floats, scores: Floats, accuracy: Floats) -> dict[str, list[float]]:
    """What ``best_of_n`` and ``chosen_of_n`` hold: by score, for q and for uniform sampling."""
    grid = np.geomspace(1, q.size, 61).round().astype(np.int64)
    draws = np.unique([*grid, *(n for n in ROUND_NUMBERS if n <= q.size)])
    curves: dict[str, list[float]] = {"n": draws.tolist()}
    for prefix, distribution in (("", q), ("uniform_", uniform(q.size))):
        expected = expected_accuracy_of_best(distribution, scores, accuracy, draws)
        quantiles = accuracy_quantiles_of_best(distribution, scores, accuracy, draws)
        curves[f"{prefix}expected"] = expected.tolist()
        for level, values in zip(QUANTILES, quantiles.T, strict=True):
            curves[f"{prefix}quantile_{round(100 * level):02d}"] = values.tolist()
    return curves


def _by_dataset(
    q: Floats, accuracy: Floats, targets: Sequence[float], scores: Floats | None
) -> DatasetEfficiency:
    base = uniform(q.size)
    best = float(accuracy.max())
    # Forty thresholds, multiples of half a point, up to the last one below the optimum.
    thresholds = (np.floor(best * 200) - np.arange(39, -1, -1)) / 200
    top = accuracy >= np.quantile(accuracy, 0.9)
    return DatasetEfficiency(
        mean_accuracy=mean_accuracy(q, accuracy),
        uniform_mean_accuracy=float(accuracy.mean()),
        mode_accuracy=mode_accuracy(q, accuracy),
        best_accuracy=best,
        targets=_reach(q, accuracy, targets),
        mass_by_accuracy={
            "threshold": thresholds.tolist(),
            "mass": mass_at_least(q, accuracy, thresholds).tolist(),
            "uniform_mass": mass_at_least(base, accuracy, thresholds).tolist(),
        },
        best_of_n=_curves(q, accuracy, accuracy),
        chosen_of_n=None if scores is None else _curves(q, scores, accuracy),
        kendall_tau=None if scores is None else kendall_tau(scores, accuracy),
        kendall_tau_top=None if scores is None else kendall_tau(scores[top], accuracy[top]),
    )


def efficiency(
    probabilities: ArrayLike,
    truth: GroundTruth,
    targets: Mapping[Dataset, Sequence[float]] = TARGETS,
    scores: Floats | None = None,
) -> Efficiency:
    """The whole record for one distribution.

    Args:
        probabilities: q over all 15 625 cells, cell-id order.
        truth: the benchmark's table.
        targets: accuracies to reach on each data set, as fractions.
        scores: one-shot scores of all cells, cell-id order, for ``chosen_of_n``.

    Raises:
        PdnasError: q is no distribution over the benchmark's cells, or the scores do not fit it.
    """
    q, _ = _distribution(probabilities, truth.accuracy())
    mode = int(np.argmax(q))
    space = CellSpace()
    return Efficiency(
        cells=q.size,
        entropy=entropy(q),
        effective_cells=effective_cells(q),
        mode=space.to_string(space.cells[mode]),
        mode_probability=float(q[mode]),
        datasets={
            name: _by_dataset(q, truth.accuracy(name), tuple(targets.get(name, ())), scores)
            for name in DATASETS
        },
    )


def load_probabilities(run: Path) -> Floats:
    """Probabilities that a run's posterior gives to all 15 625 cells, cell-id order.

    A posterior over fewer operations gives nothing to the cells that it cannot represent.

    Args:
        run: folder with ``posterior.safetensors``.

    Raises:
        PdnasError: no such file, or its distribution is none over NAS-Bench-201's cells.
    """
    from pdnas.runs.distributions import load_posterior
    from pdnas.space.posterior import CellPosterior

    path = run / "posterior.safetensors"
    loaded = load_posterior(path)
    if not isinstance(loaded, CellPosterior):
        raise PdnasError(f"{path} holds no distribution over cells; give a run of nasbench201")
    space = loaded.space
    if unknown := set(space.operations) - set(OPERATIONS):
        raise PdnasError(f"{path} has operations the benchmark lacks: {', '.join(sorted(unknown))}")
    codes = np.array([OPERATIONS.index(name) for name in space.operations], dtype=np.int8)
    everything = CellSpace()
    probabilities = np.zeros(len(everything))
    probabilities[everything.ids(codes[space.cells])] = loaded.cell_probabilities()
    return probabilities


def load_scores(path: Path) -> Floats:
    """One-shot scores of all 15 625 cells, cell-id order.

    Args:
        path: Parquet table with the columns ``cell_id`` and ``score``, a row a cell in any order.

    Raises:
        PdnasError: no such table, a cell without a finite score, or one with two.
    """
    table = files.read_table(path)
    cells = len(CellSpace())
    if not {"cell_id", "score"} <= set(table):
        raise PdnasError(f"{path} must have the columns cell_id and score; score the cells again")
    ids = table["cell_id"].to_numpy()
    if ids.size != cells or not np.array_equal(np.sort(ids), np.arange(cells)):
        raise PdnasError(f"{path} must have each cell 0 to {cells - 1} once; score the cells again")
    scores = np.empty(cells)
    scores[ids] = table["score"]
    if not np.isfinite(scores).all():
        raise PdnasError(f"{path} has a score that is no finite number; score the cells again")
    return scores


def summarise(records: Sequence[Efficiency], level: float = 0.95) -> dict[str, Any]:
    """Several seeds of one search together, ready for JSON.

    Accuracies have Student's t interval; masses, sample counts and speed-ups, which differ by
    factors and are reciprocals of each other, the geometric one (:mod:`pdnas.support.statistics`).
    All records must have the same targets. Intervals end where a quantity does: a target takes one
    sample at least.
    """

    def mean(values: Sequence[float]) -> dict[str, Any]:
        return confidence_interval(values, level).to_json()

    def geometric(values: Sequence[float], least: float, most: float) -> dict[str, Any]:
        return geometric_interval(values, level).within(least, most).to_json()

    summary: dict[str, Any] = {"seeds": len(records), "datasets": {}}
    for name in records[0].datasets:
        seeds = [record.datasets[name] for record in records]
        summary["datasets"][name] = {
            "mean_accuracy": mean([seed.mean_accuracy for seed in seeds]),
            "mode_accuracy": mean([seed.mode_accuracy for seed in seeds]),
            "uniform_mean_accuracy": seeds[0].uniform_mean_accuracy,
            "targets": [
                {
                    "target": same[0].target,
                    "mass": geometric([each.mass for each in same], 0, 1),
                    "expected_samples": geometric(
                        [each.expected_samples for each in same], 1, np.inf
                    ),
                    "uniform_expected_samples": finite_or_none(same[0].uniform_expected_samples),
                    "speedup": geometric(
                        [each.speedup for each in same], 0, same[0].uniform_expected_samples
                    )
                    if same[0].uniform_mass
                    else None,
                }
                for same in zip(*(seed.targets for seed in seeds), strict=True)
            ],
        }
    return summary
