"""How well the evidence of short trainings of cells by themselves ranks a ground truth.

Cells are a stratified sample: their good ones are few, and a uniform sample would hold none. Each
cell stands for ``weight`` cells, so what is said here is about the whole space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from pdnas.spec.alone import AloneStudy, final_steps
from pdnas.spec.selection import judged_by
from pdnas.support.errors import PdnasError
from pdnas.support.statistics import finite_or_none
from pdnas.truth.noise import best_tenth, retrained
from pdnas.truth.sampling import Floats
from pdnas.truth.tables import Truth

if TYPE_CHECKING:
    import pandas as pd

Integers = NDArray[np.int64]

SHARE = 0.01
"""The share of the space that a distribution made from evidence is as wide as."""

RESAMPLES = 1000
"""Of the cells, for an interval."""

_HALVINGS = 50
_LOG_TEMPERATURES = (-20.0, 20.0)


@dataclass(frozen=True)
class Sample:
    """Cells of a truth, drawn without replacement within strata; shapes (cells,).

    Args:
        ids: their rows in the truth.
        strata: the number of each one's stratum.
        weights: how many architectures each stands for.
    """

    ids: Integers
    strata: Integers
    weights: Floats


def stratified_sample(
    accuracy: Floats, bounds: Sequence[float], counts: Sequence[int], seed: int
) -> Sample:
    """Cells drawn uniformly within strata of true accuracy.

    Args:
        accuracy: of all cells, shape (n,).
        bounds: accuracies between the strata, ascending; one fewer than ``counts``.
        counts: cells of each stratum, from the worst one to the best.
        seed: the sample is a function of it.

    Raises:
        PdnasError: a stratum has fewer cells, or bounds and counts do not fit.
    """
    if len(bounds) != len(counts) - 1 or list(bounds) != sorted(set(bounds)):
        raise PdnasError("strata need ascending bounds, one fewer than there are counts")
    stratum = np.searchsorted(np.asarray(bounds), accuracy, side="right")
    rng, chosen, weights = np.random.default_rng(seed), [], []
    for number, count in enumerate(counts):
        members = np.flatnonzero(stratum == number)
        if not 1 <= count <= members.size:
            raise PdnasError(
                f"stratum {number + 1} has {members.size} cells; ask for 1 to {members.size} of "
                f"them, not {count}"
            )
        chosen.append(np.sort(rng.choice(members, count, replace=False)))
        weights.append(np.full(count, members.size / count))
    ids = np.concatenate(chosen)
    return Sample(ids, stratum[ids], np.concatenate(weights))


def weighted_tau(one: Floats, other: Floats, weights: Floats) -> Floats:
    """Kendall's tau-b where each pair counts as often as its cells stand for; NaN: no order.

    Args:
        one, other: shape (cells,).
        weights: shape (..., cells).

    Returns:
        shape (...).
    """
    first, second = (np.sign(each[:, None] - each[None, :]) for each in (one, other))

    def over_pairs(terms: Floats) -> Floats:
        return np.asarray(((weights @ terms) * weights).sum(axis=-1))

    square = over_pairs(first**2) * over_pairs(second**2)
    with np.errstate(invalid="ignore"):
        return np.asarray(over_pairs(first * second) / np.sqrt(square))


def tempered(evidence: Floats, weights: Floats, share: float = SHARE) -> Floats:
    """The probability of each cell's part of the space under q ∝ exp(evidence / temperature).

    The temperature is that with which the entropy of q is log(share · n): it is as uncertain as a
    uniform distribution over this share of the space.

    Args:
        evidence: shape (cells,).
        weights: shape (..., cells).
        share: above 1/n; what the sample cannot resolve is as close as it can be.

    Returns:
        shape (..., cells).
    """
    goal = np.log(share * weights.sum(axis=-1))
    behind = evidence - np.where(weights > 0, evidence, -np.inf).max(axis=-1, keepdims=True)
    # Of several sets of weights, each has its own best cell; what it does not hold stays at 0.
    behind = np.minimum(behind, 0)

    def at(logs: Floats) -> tuple[Floats, Floats]:
        each = np.exp(behind / np.exp(logs)[..., None])
        each = each / (weights * each).sum(axis=-1, keepdims=True)
        entropy = -(weights * xlogy(each, each)).sum(axis=-1)
        return weights * each, entropy

    low, high = (np.full(goal.shape, end) for end in _LOG_TEMPERATURES)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        narrow = at(middle)[1] < goal
        low, high = np.where(narrow, middle, low), np.where(narrow, high, middle)
    return at(high)[0]


WORST = -1e100
"""Evidence of a training that went wrong: as bad as can be, and finite."""


def evidence_at(table: pd.DataFrame, step: int, checkpoints: Sequence[int]) -> dict[str, Floats]:
    """What can be said of each training after so many steps, (rows,) each; higher is better.

    Returns:
        ``loss_sum``: minus the mean of the losses so far; ``loss_end``: of their last quarter;
        ``validation_loss`` (minus it) and ``validation_accuracy`` where the step is a checkpoint.
    """
    losses = np.stack(table["losses"].tolist())[:, :step]
    found = {
        "loss_sum": -losses.mean(axis=1),
        "loss_end": -losses[:, -final_steps(step) :].mean(axis=1),
    }
    if step in checkpoints:
        place = list(checkpoints).index(step)
        judged = {
            name: np.stack(table[column].tolist())[:, place]
            for name, column in (
                ("validation_loss", "validation_losses"),
                ("validation_accuracy", "validation_accuracies"),
            )
        }
        found["validation_loss"] = -judged["validation_loss"]
        found["validation_accuracy"] = judged["validation_accuracy"]
    return {name: np.nan_to_num(each, nan=WORST, neginf=WORST) for name, each in found.items()}


@dataclass(frozen=True)
class Worth:
    """What a sample's evidence is worth: the statistics that have an interval.

    Args:
        sample: the cells.
        accuracy: true accuracies of these, shape (cells,).
        short: their validation accuracies after a short training, shape (cells,).
        top: which are of the best tenth of all cells, shape (cells,).
        targets: true accuracies to reach.
        reference: minus the validation losses of a longer training, shape (cells,); None: none.
    """

    sample: Sample
    accuracy: Floats
    short: Floats
    top: NDArray[np.bool_]
    targets: Sequence[float]
    reference: Floats | None = None

    def of(self, evidence: Floats, counts: Floats) -> dict[str, Floats]:
        """The statistics if each cell were there so many times.

        Args:
            evidence: shape (cells,).
            counts: shape (..., cells).

        Returns:
            by statistic, shape (...): ``tau`` and ``tau_top`` with the true accuracies of all
            cells and of the best tenth, ``tau_short`` with the validation accuracies,
            ``tau_reference`` with the reference, and for each target how many times fewer samples
            :func:`tempered` needs than uniform sampling.
        """
        weights, top = counts * self.sample.weights, self.top
        q = tempered(evidence, weights)
        uniform = weights / weights.sum(axis=-1, keepdims=True)
        found = {
            "tau": weighted_tau(evidence, self.accuracy, weights),
            "tau_top": weighted_tau(evidence[top], self.accuracy[top], weights[..., top]),
            "tau_short": weighted_tau(evidence, self.short, weights),
        }
        if self.reference is not None:
            found["tau_reference"] = weighted_tau(evidence, self.reference, weights)
        for target in self.targets:
            reached = self.accuracy >= target
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = q[..., reached].sum(axis=-1) / uniform[..., reached].sum(axis=-1)
            found[f"speedup_{100 * target:g}"] = ratio
        return found

    def intervals(
        self, evidence: Floats, resamples: int = RESAMPLES, seed: int = 0
    ) -> dict[str, dict[str, float | None]]:
        """Each statistic with its 95 % interval, percentiles over resamples within strata."""
        rng, strata = np.random.default_rng(seed), self.sample.strata
        counts = np.zeros((resamples, strata.size))
        for number in np.unique(strata):
            places = np.flatnonzero(strata == number)
            even = np.full(places.size, 1 / places.size)
            counts[:, places] = rng.multinomial(places.size, even, size=resamples)
        whole, drawn = self.of(evidence, np.ones(strata.size)), self.of(evidence, counts)
        found = {}
        for name, value in whole.items():
            known = drawn[name][~np.isnan(drawn[name])]
            ends = np.percentile(known, (2.5, 97.5)) if known.size else (np.nan, np.nan)
            numbers = zip(("estimate", "low", "high"), (value, *ends), strict=True)
            found[name] = {key: finite_or_none(float(number)) for key, number in numbers}
        return found


def ceiling(
    truth: Truth, dataset: str, sample: Sample, draws: int = 50
) -> tuple[float | None, float | None]:
    """The tau that no evidence can be expected to beat: of the cells, and of their best tenth.

    It is that of expected accuracies with those that new trainings would measure; None where these
    are too few cells to be in an order.
    """
    taus = []
    drawn, tables = retrained(truth, dataset, draws)
    for expected, measured in zip(drawn, tables[:, 0], strict=True):
        top = best_tenth(measured)[sample.ids]
        one, other, weights = expected[sample.ids], measured[sample.ids], sample.weights
        taus.append(
            [
                float(weighted_tau(one, other, weights)),
                float(weighted_tau(one[top], other[top], weights[top])),
            ]
        )
    every, best = (
        float(known.mean()) if (known := each[~np.isnan(each)]).size else None
        for each in np.transpose(taus)
    )
    return every, best


def steps_of(study: AloneStudy, variant: str) -> list[int]:
    """The numbers of steps that are looked at: halvings of all of them, and the checkpoints."""
    config = study.config(variant)
    halvings = {config.steps >> power for power in range(5)} - {0}
    return sorted(halvings | set(config.checkpoints))


def compare(
    study: AloneStudy,
    trained: pd.DataFrame,
    sample: Sample,
    truth: Truth,
    resamples: int = RESAMPLES,
) -> list[dict[str, Any]]:
    """What the evidence of every variant is worth after every number of steps, ready for JSON.

    Seeds count as one training of so many times the cost, and evidence is their mean.

    Returns:
        a record for each variant, number of steps and kind of evidence: ``variant``, ``seeds``,
        ``steps``, ``evidence``, ``seconds`` of a cell (processor time, judging included where the
        evidence needs it) and the statistics of :meth:`Worth.of`, each with its interval.
    """
    dataset = judged_by(study.dataset)
    accuracy, short = truth.accuracy(dataset), truth.validation(dataset)
    assert short is not None
    ids = sample.ids
    top, targets = best_tenth(accuracy)[ids], truth.targets[dataset]
    runs = {
        variant: [of_seed.set_index("cell_id").loc[ids] for _, of_seed in rows.groupby("seed")]
        for variant, rows in trained.groupby("variant")
    }
    reference = None
    if study.reference:
        last = [
            np.stack(each["validation_losses"].tolist())[:, -1] for each in runs[study.reference]
        ]
        reference = -np.mean(last, axis=0)
    worth = Worth(sample, accuracy[ids], short[ids], top, targets, reference)
    found = []
    for variant in study.variants:
        config, by_seed = study.config(variant), runs[variant]
        training, judging = (
            float(np.mean(sum(each[column] for each in by_seed)))
            for column in ("training_seconds", "validation_seconds")
        )
        for steps in steps_of(study, variant):
            seconds = training * steps / config.steps
            kinds = [evidence_at(each, steps, config.checkpoints) for each in by_seed]
            for kind in kinds[0]:
                judged = kind.startswith("validation")
                evidence = np.mean([each[kind] for each in kinds], axis=0)
                found.append(
                    {
                        "variant": variant,
                        "seeds": len(by_seed),
                        "steps": steps,
                        "evidence": kind,
                        "seconds": seconds + judged * judging / max(len(config.checkpoints), 1),
                        **worth.intervals(evidence, resamples),
                    }
                )
    return found
