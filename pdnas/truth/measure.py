"""What any distribution over a ground truth's architectures is worth, exactly.

The record is like ``efficiency.json`` (docs/files.md). It may be about a band of parameters only:
then the distribution is conditioned on the band, and uniform sampling is uniform in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.support.errors import PdnasError
from pdnas.truth.efficiency import dataset_efficiency, reaching
from pdnas.truth.noise import after_retraining, retrained_tables
from pdnas.truth.sampling import Floats, entropy, normalised
from pdnas.truth.tables import Truth

NEAR = 0.005
"""How far below the best accuracy counts as near it."""

TOP = 0.01
"""The share of architectures that are the top."""

DRAWS = 100
"""Tables of new trainings."""

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
    targets: Mapping[str, Sequence[float]] | None = None,
    datasets: Sequence[str] | None = None,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """The record of one distribution, ready for JSON.

    Args:
        truth: which architectures, and how good each is.
        probabilities: of its rows, shape (n,).
        parameters: the band that the record is about; by default all architectures.
        targets: accuracies to reach by data set, fractions; by default those of the truth.
        datasets: what the record is about; by default all of the truth.
        draws: tables of new trainings that the interval of the truth's noise comes from.

    Returns:
        ``truth``, ``parameters`` (null, or the ends of the band), ``mass_in_band`` (before it was
        conditioned), ``cells`` (architectures in the band), ``entropy``, ``effective_cells``,
        ``mode``, ``mode_probability``, ``mean_parameters``, ``uniform_mean_parameters``; and by
        data set what ``efficiency.json`` has, with ``near_best`` (within half a point of the
        band's best) and ``top`` (its best hundredth), each like one of ``targets``. These all have
        ``retrained``, the interval that the noise of the truth leaves
        (:func:`pdnas.truth.noise.after_retraining`).

    Raises:
        PdnasError: it is no distribution over the truth, the band is empty or has no mass, or a
            target is no fraction.
    """
    q, _ = normalised(probabilities, np.zeros(len(truth)))
    rows = band_rows(truth, parameters)
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
        facts = {**dataset_efficiency(inside, accuracy, asked[name]), **ends}
        tables = retrained_tables(truth, name, draws)[:, rows]
        for each in facts["targets"]:
            each["retrained"] = after_retraining(inside, tables, [each["target"]] * draws)
        new = [goals(table) for table in tables]
        for end in wanted:
            facts[end]["retrained"] = after_retraining(inside, tables, [each[end] for each in new])
        record["datasets"][name] = facts
    return record
