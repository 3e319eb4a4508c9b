"""What any distribution over a ground truth's architectures is worth, exactly.

The record is like ``efficiency.json`` (docs/files.md). It may be about a band of parameters only:
then the distribution is conditioned on the band, and uniform sampling is uniform in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.space.cells import CellSpace
from pdnas.spec.names import TruthData
from pdnas.support.errors import PdnasError
from pdnas.truth.columns import DATASETS, TARGETS
from pdnas.truth.efficiency import dataset_efficiency, reaching
from pdnas.truth.noise import DRAWS, noise_interval, retrained_pairs
from pdnas.truth.sampling import Floats, entropy, normalised, uniform
from pdnas.truth.tables import Truth
from pdnas.truth.tables.nasbench201 import NasBench201

NEAR = 0.005
"""How far below the best accuracy counts as near it."""

TOP = 0.01
"""The share of architectures that are the top."""

Band = tuple[float, float]
"""Fewest and most parameters."""


def band_rows(truth: Truth, parameters: Band | None) -> NDArray[np.int64]:
    """Rows of the architectures whose parameters lie in a band, ends included.

    Raises:
        PdnasError: there is none.
    """
    if parameters is None:
        return np.arange(len(truth))
    low, high = parameters
    if not low <= high:  # NaN fails as well
        raise PdnasError(
            f"a band goes from fewest to most parameters, not from {low:g} to {high:g}"
        )
    rows = np.flatnonzero((truth.parameters >= low) & (truth.parameters <= high))
    if not rows.size:
        raise PdnasError(
            f"no architecture of {truth.name} has {low:g} to {high:g} parameters; they have "
            f"{truth.parameters.min()} to {truth.parameters.max()}"
        )
    return rows


def goals(accuracy: Floats) -> dict[str, float]:
    """Accuracies that every space has: near the best, and of the top; fractions."""
    return {
        "near_best": round(float(accuracy.max()) - NEAR, 8),
        "top": float(np.quantile(accuracy, 1 - TOP, method="higher")),
    }


def measure(
    truth: Truth,
    probabilities: ArrayLike,
    *,
    parameters: Band | None = None,
    only: NDArray[np.int64] | None = None,
    targets: Mapping[str, Sequence[float]] | None = None,
    datasets: Sequence[str] | None = None,
    scores: Floats | None = None,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """The record of one distribution, ready for JSON.

    Args:
        truth: which architectures, and how good each is.
        probabilities: of its rows, shape (n,).
        parameters: the band that the record is about; by default all architectures.
        only: rows of the truth that it is about, those in the band; by default all.
        targets: accuracies to reach by data set, fractions; by default those of the truth.
        datasets: what the record is about; by default all of the truth.
        scores: one-shot scores of all rows, shape (n,), for ``chosen_of_n`` and its taus.
        draws: pairs of tables of new trainings that the interval of the truth's noise comes from.

    Returns:
        ``truth``, ``parameters`` (null, or the ends of the band), ``mass_in_band`` (before it was
        conditioned), ``cells`` (architectures in the band), ``entropy``, ``effective_cells``,
        ``mode``, ``mode_probability``, ``mean_parameters``, ``uniform_mean_parameters``; and by
        data set what ``efficiency.json`` has, with ``near_best`` (within half a point of the
        band's best) and ``top`` (its best hundredth), each like one of ``targets``. These all have
        ``retrained``, the interval that the noise of the truth leaves
        (:func:`pdnas.truth.noise.noise_interval`), and ``training_hours`` and
        ``uniform_training_hours``, what training the expected samples takes; null: unknown.

    Raises:
        PdnasError: it is no distribution over the truth, the band is empty or has no mass, or a
            target is no fraction.
    """
    q, _ = normalised(probabilities, np.zeros(len(truth)))
    rows = band_rows(truth, parameters)
    if only is not None:
        rows = only[np.isin(only, rows)]
    mass = float(q[rows].sum())
    if not mass > 0:
        raise PdnasError("the distribution has nothing in this band of parameters")
    inside, sizes = q[rows] / mass, truth.parameters[rows]
    mode, nats = int(np.argmax(inside)), entropy(inside)
    asked = {**truth.targets, **(targets or {})}
    record: dict[str, Any] = {
        "truth": truth.name,
        "parameters": None if parameters is None else list(parameters),
        "mass_in_band": min(mass, 1.0),
        "cells": rows.size,
        "entropy": nats,
        "effective_cells": float(np.exp(nats)),
        "mode": truth.names[int(rows[mode])],
        "mode_probability": float(inside[mode]),
        "mean_parameters": float(inside @ sizes),
        "uniform_mean_parameters": float(sizes.mean()),
        "datasets": {},
    }
    for name in truth.datasets if datasets is None else datasets:
        accuracy = truth.accuracy(name)[rows]
        wanted = goals(accuracy)
        ends = dict(zip(wanted, reaching(inside, accuracy, list(wanted.values())), strict=True))
        judged = None if scores is None else scores[rows]
        facts = {**dataset_efficiency(inside, accuracy, asked[name], judged), **ends}
        _add_hours(facts, inside, truth.training_seconds(name), rows)
        pairs = retrained_pairs(truth, name, draws)[..., rows]
        for each in facts["targets"]:
            each["retrained"] = noise_interval(each, inside, pairs, each["target"])
        new = [[goals(table) for table in pair] for pair in pairs]
        for end in wanted:
            asks = [[each[end] for each in pair] for pair in new]
            facts[end]["retrained"] = noise_interval(facts[end], inside, pairs, asks)
        record["datasets"][name] = facts
    return record


def exact_efficiency(
    probabilities: ArrayLike,
    truth: NasBench201,
    targets: Mapping[TruthData, Sequence[float]] = TARGETS,
    scores: Floats | None = None,
    space: CellSpace = CellSpace(),
    draws: int = DRAWS,
) -> dict[str, Any]:
    """:func:`measure` of a distribution over the cells of a space of its own.

    All it says is about these cells: uniform sampling too chooses from them only.

    Args:
        probabilities: q over the cells of ``space``, in their order.
        truth: the benchmark's table.
        targets: accuracies to reach on each data set, as fractions.
        scores: one-shot scores of these cells.
        space: the cells that can be drawn, the benchmark's 15 625 by default.
        draws: see :func:`measure`.

    Returns:
        ``operations`` of the space, and the record.

    Raises:
        PdnasError: q is no distribution over these cells, the scores do not fit it, or a target is
            no fraction.
    """
    ids = space.benchmark_ids()
    q, _ = normalised(probabilities, ids)
    every, scored = np.zeros(len(truth)), None
    every[ids] = q
    if scores is not None:
        scored = np.full(len(truth), np.nan)
        scored[ids] = scores
    wanted: dict[str, Sequence[float]] = {name: targets.get(name, ()) for name in DATASETS}
    record = measure(truth, every, only=ids, targets=wanted, scores=scored, draws=draws)
    return {"operations": list(space.operations), **record}


def _add_hours(
    facts: dict[str, Any], q: Floats, seconds: Floats | None, rows: NDArray[np.int64]
) -> None:
    """What the expected samples to each target take to train, by Wald's identity."""
    for each in (*facts["targets"], facts["near_best"], facts["top"]):
        for prefix, drawn_from in (("", q), ("uniform_", uniform(q.size))):
            samples = each[f"{prefix}expected_samples"]
            hours = None
            if samples is not None and seconds is not None:
                hours = float(samples * (drawn_from @ seconds[rows]) / 3600)
            each[f"{prefix}training_hours"] = hours


def by_latency(
    truth: Truth,
    probabilities: ArrayLike,
    device: str,
    *,
    only: NDArray[np.int64] | None = None,
    dataset: str | None = None,
    targets: Sequence[float] | None = None,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """The same within each quartile of latency, ready for JSON.

    Latency is known without training, so samples of another quartile cost nothing: in each the
    distribution is conditioned on it. Architectures of unknown latency are in none.

    Args:
        truth, probabilities: as for :func:`measure`.
        device: one of the truth's.
        only: rows that the quartiles consist of, by default all.
        dataset: by default its first.
        targets: fractions; by default the truth's.
        draws: as for :func:`measure`.

    Returns:
        ``device``, ``dataset`` and ``quartiles``, fast to slow: ``latency`` (milliseconds, least
        and most), ``cells``, ``mass``, ``mean_accuracy`` and ``uniform_mean_accuracy`` (null
        without mass), ``best_accuracy``, ``targets`` as in :func:`measure` (null without mass).

    Raises:
        PdnasError: as :func:`measure`, or the truth knows no latency on the device.
    """
    q, _ = normalised(probabilities, np.zeros(len(truth)))
    name, latency = truth.known(dataset), truth.latency(device)
    accuracy, wanted = truth.accuracy(name), targets or truth.targets[name]
    pairs = retrained_pairs(truth, name, draws)
    rows = np.arange(len(truth)) if only is None else only
    known = rows[np.isfinite(latency[rows])]
    if not known.size:
        raise PdnasError(f"latency on {device} is known of none of these architectures")
    ends = np.quantile(latency[known], (0.25, 0.5, 0.75))
    quartile = np.searchsorted(ends, latency[known], side="left")
    found = []
    for number in range(4):
        rows = known[quartile == number]
        if not rows.size:  # many are equally fast
            continue
        mass, own = float(q[rows].sum()), accuracy[rows]
        record: dict[str, Any] = {
            "latency": [float(latency[rows].min()), float(latency[rows].max())],
            "cells": rows.size,
            "mass": mass,
            "mean_accuracy": None,
            "uniform_mean_accuracy": float(own.mean()),
            "best_accuracy": float(own.max()),
            "targets": None,
        }
        if mass > 0:
            inside = q[rows] / mass
            record["mean_accuracy"] = float(inside @ own)
            record["targets"] = [
                {
                    **each,
                    "retrained": noise_interval(each, inside, pairs[..., rows], each["target"]),
                }
                for each in reaching(inside, own, wanted)
            ]
        found.append(record)
    return {"device": device, "dataset": name, "quartiles": found}
