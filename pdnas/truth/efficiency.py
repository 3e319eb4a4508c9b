"""The sample efficiency of a distribution over cells: what ``efficiency.json`` says.

Records are as in docs/files.md, ready for JSON: what is not finite is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pdnas.space.cells import OPERATIONS, CellSpace
from pdnas.spec.names import TruthData
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.support.provenance import Stopwatch, provenance, run_identity
from pdnas.support.statistics import (
    confidence_interval,
    expected_draws,
    expected_draws_over_seeds,
    finite_or_none,
    geometric_interval,
    kendall_tau,
)
from pdnas.truth.columns import DATASETS, TARGETS
from pdnas.truth.sampling import (
    QUANTILES,
    Floats,
    accuracy_quantiles_of_chosen,
    entropy,
    expected_accuracy_of_chosen,
    mass_at_least,
    mean_accuracy,
    mode_accuracy,
    normalised,
    uniform,
)
from pdnas.truth.table import GroundTruth

ROUND_NUMBERS = (10, 100, 1000)
"""Numbers of samples that the curves have beside those of an even grid, since tables quote them."""


def _targets(q: Floats, accuracy: Floats, targets: Sequence[float]) -> list[dict[str, Any]]:
    """What it takes to reach each target, for q and for uniform sampling."""
    masses = mass_at_least(q, accuracy, targets).tolist()
    uniform_masses = mass_at_least(uniform(q.size), accuracy, targets).tolist()
    return [
        {
            "target": target,
            "mass": mass,
            "expected_samples": finite_or_none(expected_draws(mass)),
            "uniform_mass": base,
            "uniform_expected_samples": finite_or_none(expected_draws(base)),
            "speedup": mass / base if base else None,
        }
        for target, mass, base in zip(targets, masses, uniform_masses, strict=True)
    ]


def _curves(q: Floats, scores: Floats, accuracy: Floats) -> dict[str, list[float]]:
    """The best by score of n samples, for q and for uniform sampling."""
    grid = np.geomspace(1, q.size, 61).round().astype(np.int64)
    draws = np.unique([*grid, *(n for n in ROUND_NUMBERS if n <= q.size)])
    curves: dict[str, list[float]] = {"n": draws.tolist()}
    for prefix, drawn_from in (("", q), ("uniform_", uniform(q.size))):
        expected = expected_accuracy_of_chosen(drawn_from, scores, accuracy, draws)
        quantiles = accuracy_quantiles_of_chosen(drawn_from, scores, accuracy, draws)
        curves[f"{prefix}expected"] = expected.tolist()
        for level, values in zip(QUANTILES, quantiles.T, strict=True):
            curves[f"{prefix}quantile_{round(100 * level):02d}"] = values.tolist()
    return curves


def dataset_efficiency(
    q: Floats, accuracy: Floats, targets: Sequence[float], scores: Floats | None = None
) -> dict[str, Any]:
    """The record of one distribution by any true accuracies; shapes (cells,).

    Args:
        q: probabilities.
        accuracy: true accuracies, fractions.
        targets: accuracies to reach.
        scores: one-shot scores; without them, what needs them is null.
    """
    best = float(accuracy.max())
    # Forty thresholds, multiples of half a point, up to the last one below the optimum.
    thresholds = (np.floor(best * 200) - np.arange(39, -1, -1)) / 200
    record: dict[str, Any] = {
        "mean_accuracy": mean_accuracy(q, accuracy),
        "uniform_mean_accuracy": float(accuracy.mean()),
        "mode_accuracy": mode_accuracy(q, accuracy),
        "best_accuracy": best,
        "targets": _targets(q, accuracy, targets),
        "mass_by_accuracy": {
            "threshold": thresholds.tolist(),
            "mass": mass_at_least(q, accuracy, thresholds).tolist(),
            "uniform_mass": mass_at_least(uniform(q.size), accuracy, thresholds).tolist(),
        },
        "best_of_n": _curves(q, accuracy, accuracy),
    }
    if scores is None:
        return record | dict.fromkeys(("chosen_of_n", "kendall_tau", "kendall_tau_top"))
    top = accuracy >= np.quantile(accuracy, 0.9)
    return record | {
        "chosen_of_n": _curves(q, scores, accuracy),
        "kendall_tau": finite_or_none(kendall_tau(scores, accuracy)),
        "kendall_tau_top": finite_or_none(kendall_tau(scores[top], accuracy[top])),
    }


def exact_efficiency(
    probabilities: ArrayLike,
    truth: GroundTruth,
    targets: Mapping[TruthData, Sequence[float]] = TARGETS,
    scores: Floats | None = None,
) -> dict[str, Any]:
    """The record of one distribution by the true accuracies on every data set.

    Args:
        probabilities: q over all 15 625 cells, cell-id order.
        truth: the benchmark's table.
        targets: accuracies to reach on each data set, as fractions.
        scores: one-shot scores of all cells, cell-id order.

    Raises:
        PdnasError: q is no distribution over the benchmark's cells, or the scores do not fit it.
    """
    q, _ = normalised(probabilities, truth.accuracy())
    mode, nats = int(np.argmax(q)), entropy(q)
    return {
        "cells": q.size,
        "entropy": nats,
        "effective_cells": float(np.exp(nats)),  # as many equally probable ones are as uncertain
        "mode": truth.column("cell")[mode],
        "mode_probability": float(q[mode]),
        "datasets": {
            name: dataset_efficiency(q, truth.accuracy(name), targets.get(name, ()), scores)
            for name in DATASETS
        },
    }


def summarise_seeds(records: Sequence[Mapping[str, Any]], level: float = 0.95) -> dict[str, Any]:
    """Several seeds of one search together, ready for JSON.

    Accuracies have Student's t interval; masses, sample counts and speed-ups, which differ by
    factors and are reciprocals of each other, the geometric one (:mod:`pdnas.support.statistics`).
    All records must have the same targets. Intervals end where a quantity does: a target takes one
    sample at least.
    """

    def mean(seeds: Sequence[Mapping[str, Any]], quantity: str) -> dict[str, Any]:
        return confidence_interval([seed[quantity] for seed in seeds], level).to_json()

    def reach(same: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        masses, base = [seed["mass"] for seed in same], same[0]["uniform_mass"]
        speedup = None
        if base:
            ratios = geometric_interval([mass / base for mass in masses], level)
            speedup = ratios.within(0, expected_draws(base)).to_json()
        return {
            "target": same[0]["target"],
            "mass": geometric_interval(masses, level).within(0, 1).to_json(),
            "expected_samples": expected_draws_over_seeds(masses, level).to_json(),
            "uniform_expected_samples": same[0]["uniform_expected_samples"],
            "speedup": speedup,
        }

    summary: dict[str, Any] = {"seeds": len(records), "datasets": {}}
    for name in records[0]["datasets"]:
        seeds = [record["datasets"][name] for record in records]
        summary["datasets"][name] = {
            "mean_accuracy": mean(seeds, "mean_accuracy"),
            "mode_accuracy": mean(seeds, "mode_accuracy"),
            "uniform_mean_accuracy": seeds[0]["uniform_mean_accuracy"],
            "targets": list(map(reach, zip(*(seed["targets"] for seed in seeds), strict=True))),
        }
    return summary


def write_efficiency(
    path: Path,
    record: Mapping[str, Any],
    run: Path,
    targets: Mapping[TruthData, Sequence[float]],
    stopwatch: Stopwatch,
) -> None:
    """Write ``efficiency.json``, marked as the run's if ``run`` has a record of its search."""
    made_by = run / "run.json"
    search = files.read_json(made_by) if made_by.is_file() else {}
    config = {"targets": {name: list(values) for name, values in targets.items()}}
    written = {**record, "provenance": provenance(config, search.get("seed"), stopwatch)}
    files.write_json(path, written, run_identity(search) if search else None)


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
    ids = np.arange(len(CellSpace()))
    if {"cell_id", "score"} <= set(table):
        table = table.sort_values("cell_id")
        if np.array_equal(table["cell_id"], ids) and np.isfinite(table["score"]).all():
            return table["score"].to_numpy(np.float64)
    raise PdnasError(
        f"{path} must have the columns cell_id and score, and a finite score of each cell 0 to "
        f"{ids[-1]} once; score the cells again"
    )
