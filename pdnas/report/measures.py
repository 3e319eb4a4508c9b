"""What was measured, from the records of a collection's runs: estimates over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pdnas.report.collect import Collection
from pdnas.report.formats import NOT_RUN
from pdnas.runs.run import Run
from pdnas.spec import selection
from pdnas.spec.names import RetrainMode
from pdnas.spec.roles import source_of
from pdnas.support.statistics import Interval, confidence_interval

if TYPE_CHECKING:
    import pandas as pd


def estimate(values: Iterable[float | None]) -> Interval | str:
    """Mean and 95 % interval of what was measured, or "not run"."""
    known = [value for value in values if value is not None and not np.isnan(value)]
    return confidence_interval(known) if known else NOT_RUN


def bounds(interval: Interval) -> tuple[float, float, float]:
    """Estimate, low and high, the bounds falling on the estimate where there is no interval."""
    if np.isnan(interval.low):
        return interval.estimate, interval.estimate, interval.estimate
    return interval.estimate, interval.low, interval.high


def measured(
    collection: Collection, study: str, variant: str | None, mode: RetrainMode
) -> pd.DataFrame:
    """Rows, one a seed, of a variant's chosen candidate; none where there is no such variant."""
    rows = collection.measurements
    source = variant and source_of(collection.scale.spec(study, variant))
    of_variant = (rows["study"] == study) & (rows["variant"] == variant)
    return rows[of_variant & (rows["source"] == source) & (rows["mode"] == mode)]


def by_seed(
    collection: Collection,
    study: str,
    variant: str | None,
    mode: RetrainMode = "none",
    column: str = "test_error",
) -> dict[int, float]:
    """One column of what was :func:`measured`, by seed; without seeds that lack it."""
    rows = measured(collection, study, variant, mode).dropna(subset=[column])
    return {int(seed): float(v) for seed, v in zip(rows["seed"], rows[column], strict=True)}


def mean_validation_error(runs: Sequence[Run], source: str) -> dict[int, float]:
    """The mean validation error (percent) of all ranked candidates, by seed."""
    return {
        run.seed: 100 * (1 - float(ranking["validation_accuracy"].mean()))
        for run in runs
        if (ranking := run.ranking(source)) is not None
    }


def minus(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
    """Differences of the seeds that both have."""
    return {seed: first[seed] - second[seed] for seed in first if seed in second}


def total_minutes(rows: pd.DataFrame) -> pd.Series[float]:
    """Wall time of all stages, a value a row of the measurements."""
    stages = [name for name in rows.columns if name.endswith("_seconds")]
    return rows[stages].astype(float).sum(axis="columns") / 60


def by_candidates(collection: Collection, study: str) -> dict[int, str]:
    """The guided variant and those that differ in the number of candidates, by it; fewest first."""
    counts = selection.sweep(collection.scale, study, "candidates.count")
    found = {count: variant for variant, count in counts.items() if collection.find(study, variant)}
    return dict(sorted(found.items()))


def most_candidates(collection: Collection, study: str) -> str | None:
    """The variant of :func:`by_candidates` that drew most; the guided one where none was run."""
    found = by_candidates(collection, study).values()
    return next(reversed(found), collection.roles[study].guided)
