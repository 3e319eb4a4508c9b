"""Is the method still as good as it was? The whole study on the small benchmark, in under a minute.

A few seeds of the real search and the real scoring are judged by the table of
:mod:`pdnas.regression.digits`. Each metric must lie in its stored interval: where, with the given
probability, the mean of as many new seeds lies, if they are drawn like those of the calibration
(``digits729/intervals.json``). The seeds of calibration and regression differ.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from pydantic import ValidationError

from pdnas.regression.digits import FOLDER, STUDY, specification
from pdnas.runs import layout
from pdnas.runs.journal import Journal
from pdnas.runs.run import Run
from pdnas.runs.tasks import cached_journal, quiet, rows_of, work_done
from pdnas.space.posterior import CategoricalPosterior
from pdnas.spec.spec import Spec
from pdnas.stages.score import score_run
from pdnas.stages.search import search_run
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json
from pdnas.support.statistics import kendall_tau, prediction_interval
from pdnas.truth.efficiency import load_scores
from pdnas.truth.sampling import (
    expected_accuracy_of_chosen,
    mass_at_least,
    mean_accuracy,
)
from pdnas.truth.tables.digits import Digits

SEEDS = range(4)
CALIBRATION_SEEDS = range(100, 120)
LEVEL = 0.999
"""Coverage of one metric's interval: of a thousand sound runs one leaves it."""

TOP = 0.05
"""Share of the cells that count as good."""

METRICS = {
    "speedup": f"samples to a cell of the best {TOP:.0%}, uniform / posterior (geometric mean)",
    "mean_accuracy": "true accuracy of one sample",
    "kendall_tau": "one-shot scores and true accuracies of all cells",
    "chosen_accuracy": "true accuracy of the candidate with the best one-shot score",
}
_LOGARITHMIC = {"speedup"}
"""Metrics whose seeds differ by factors."""


@dataclass(frozen=True)
class Verdict:
    """One metric: the mean over seeds and the interval in which it should lie."""

    mean: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        return self.low <= self.mean <= self.high  # NaN does not


def metrics(
    probabilities: ArrayLike, scores: ArrayLike, accuracy: ArrayLike, candidates: int
) -> dict[str, float]:
    """The numbers that are watched, exact for the given distribution and scores.

    Args:
        probabilities: of every cell, shape (cells,).
        scores: one-shot validation accuracies, shape (cells,).
        accuracy: true accuracies, shape (cells,).
        candidates: number of samples that are ranked by score.
    """
    target, good = top(accuracy)
    return {
        "speedup": float(mass_at_least(probabilities, accuracy, target)) / good,
        "mean_accuracy": mean_accuracy(probabilities, accuracy),
        "kendall_tau": kendall_tau(scores, accuracy),
        "chosen_accuracy": float(
            expected_accuracy_of_chosen(probabilities, scores, accuracy, candidates)[0]
        ),
    }


def top(accuracy: ArrayLike) -> tuple[float, float]:
    """What the good cells reach, and their share: above :data:`TOP` where cells are equally good.

    Args:
        accuracy: true accuracies, shape (cells,).
    """
    target = float(np.quantile(np.asarray(accuracy), 1 - TOP, method="higher"))
    return target, float(np.mean(np.asarray(accuracy) >= target))


def study(spec: Spec, seed: int, keep: Path | None = None) -> dict[str, float]:
    """The metrics of one seed: search, score every cell, compare with the truth.

    Args:
        keep: run folder to work in and to leave behind.
    """
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as temporary, quiet():
        folder = keep or Path(temporary)
        search_run(
            spec, scale=STUDY, study=STUDY, variant="guided", seed=seed, out=folder, device=device
        )
        run = Run.load(folder)
        score_run(run, None, device)
        posterior = run.posterior()
        assert isinstance(posterior, CategoricalPosterior)
        scores = load_scores(folder / layout.SCORES, posterior.space)
    truth = Digits.load().accuracy()
    return metrics(posterior.architecture_probabilities(), scores, truth, spec.candidates.count)


def run_seeds(
    spec: Spec, seeds: Sequence[int], jobs: int, journal: Journal | None = None
) -> pd.DataFrame:
    """What :func:`study` says of several seeds, a row each; those in the journal are done.

    Args:
        jobs: processes.
    """
    tasks = [(spec, seed) for seed in seeds]
    return rows_of(study, tasks, jobs, journal or Journal(), f"study on {STUDY}")


def calibrate(seeds: Sequence[int], jobs: int, folder: Path = FOLDER) -> None:
    """Run many seeds and write ``intervals.json``, from which the intervals follow.

    A killed call goes on after the seeds that it finished.
    """
    spec = specification("guided")
    config = spec.model_dump(mode="json")
    journal = cached_journal("intervals", config, seeds)
    measured = run_seeds(spec, seeds, jobs, journal)
    record = {
        "level": LEVEL,
        "seeds": list(seeds),
        "metrics": measured[list(METRICS)].to_dict("list"),
        "provenance": work_done(config, measured, journal),
    }
    write_json(folder / "intervals.json", record)
    journal.remove()


def load_calibration(folder: Path = FOLDER) -> dict[str, Any]:
    """What :func:`calibrate` wrote.

    Raises:
        PdnasError: it is missing or damaged, or was made with another specification.
    """
    path = folder / "intervals.json"
    record = read_json(path)
    try:
        same = Spec.model_validate(record["provenance"]["config"]) == specification("guided")
    except (KeyError, ValidationError):
        same = False
    if not same or set(record["metrics"]) != set(METRICS):
        raise PdnasError(
            f"{path} was made with another specification; run `pdnas regress --rebuild intervals`"
        )
    return record


def compare(
    measured: pd.DataFrame | Mapping[str, Sequence[float]], calibration: Mapping[str, Any]
) -> dict[str, Verdict]:
    """Hold the mean of each metric's seeds against its interval.

    Args:
        measured: a column of one number a seed, by metric.
        calibration: see :func:`load_calibration`.
    """
    verdicts = {}
    for name in METRICS:
        known = np.array(calibration["metrics"][name])
        new = np.array(measured[name])
        if name in _LOGARITHMIC:
            with np.errstate(divide="ignore"):  # a posterior without any mass there
                known, new = np.log(known), np.log(new)
        expected = prediction_interval(known, len(new), calibration["level"])
        numbers = np.array([new.mean(), expected.low, expected.high])
        verdicts[name] = Verdict(*(np.exp(numbers) if name in _LOGARITHMIC else numbers).tolist())
    return verdicts
