"""A search without a supernet: cells are trained alone, the posterior is fitted to their evidence.

Rounds alternate with fits: the first cells are drawn uniformly, those of a later round from the
posterior that all rounds before it made. A cell's evidence is minus the mean loss of the last
quarter of its steps, on images that it had not seen (:mod:`pdnas.stages.alone`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdnas.data.batches import epoch_seed
from pdnas.data.splits import make_splits
from pdnas.runs import layout
from pdnas.runs.distributions import save_posterior, trajectory_table
from pdnas.runs.journal import Journal
from pdnas.runs.tasks import rows_of
from pdnas.space.cells import CellSpace
from pdnas.space.fitted import fitted_posterior
from pdnas.space.posterior import CategoricalPosterior
from pdnas.spec.alone import AloneConfig, final_steps
from pdnas.spec.spec import Spec
from pdnas.stages.alone import train_alone
from pdnas.support.errors import PdnasError, Unfinished
from pdnas.support.files import write_json, write_table
from pdnas.support.provenance import Stopwatch, fingerprint, provenance, run_identity

MOST_DRAWS = 1 << 20
"""Cells that are drawn at most in search of new ones."""

TRAININGS = 1_000_000
"""Where the numbers begin that trainings have their seeds of; below are those of rounds."""


@dataclass(frozen=True)
class AloneResult:
    """The posterior of each round, and what it was fitted to.

    Attributes:
        posteriors: uniform first, then after each round.
        trainings: a row a cell: ``round`` (from 1), ``cell_id``, ``evidence``, ``cpu_seconds``.
        stopwatch: interrupted calls included.
    """

    spec: Spec
    seed: int
    posteriors: Sequence[CategoricalPosterior]
    trainings: pd.DataFrame
    stopwatch: Stopwatch

    def trajectory(self) -> pd.DataFrame:
        """The switches' probabilities, a row a round, gate and option; round 0 is uniform."""
        return trajectory_table(posterior.marginals() for posterior in self.posteriors)

    def write(self, out: Path, **names: str) -> dict[str, Any]:
        """Write a run's folder; returns the record written to ``run.json``.

        Args:
            names: ``scale``, ``study`` and ``variant``, which the record carries.
        """
        spec = self.spec.model_dump(mode="json")
        made = provenance({"spec": spec, "seed": self.seed}, self.seed, self.stopwatch)
        record: dict[str, Any] = {
            **names,
            "seed": self.seed,
            "spec": spec,
            "cells_trained": len(self.trainings),
            "provenance": made,
        }
        owner = run_identity(record)
        write_table(out / layout.SPLITS, make_splits(self.spec.data), owner)
        write_table(out / layout.HISTORY, self.trainings, owner)
        write_table(out / layout.TRAJECTORY, self.trajectory(), owner)
        save_posterior(out / layout.POSTERIOR, self.posteriors[-1], made, owner)
        write_json(out / layout.RUN, record)
        return record


def alone_search_run(
    spec: Spec, *, seed: int, out: Path, deadline: float | None = None, **names: str
) -> dict[str, Any]:
    """Search and write the run's folder; goes on after the cells that a killed call finished.

    Args:
        out: the run's folder.
        deadline: time of ``time.monotonic`` after which no further cell is begun.
        names: ``scale``, ``study`` and ``variant``, which the record carries.

    Returns:
        the record written to ``run.json``.

    Raises:
        PdnasError: missing data, or no room for the results.
        Unfinished: the deadline came first.
    """
    identity = fingerprint({"spec": spec.model_dump(mode="json"), "seed": seed})
    journal = Journal(out / layout.journal("alone", identity))
    description = f"search {names['study']}/{names['variant']} seed {seed}"
    result = alone_search(spec, seed, journal, description, deadline)
    record = result.write(out, **names)
    journal.remove()
    return record


def alone_search(
    spec: Spec,
    seed: int,
    journal: Journal,
    description: str = "search",
    deadline: float | None = None,
) -> AloneResult:
    """Draw cells, train each alone, fit the posterior; round by round.

    Args:
        journal: of the cells that are trained; those in it are not trained again.

    Raises:
        Unfinished: the deadline came first.
    """
    settings, config, space = spec.alone, spec.alone_config, spec.space
    assert settings is not None
    assert config is not None
    assert space is not None
    posteriors = [CategoricalPosterior.uniform(space)]
    tasks: list[tuple[Any, ...]] = []
    drawn = np.empty((0, len(space.SWITCHES)), np.int8)
    for number, count in enumerate(settings.rounds, 1):
        drawn = np.concatenate([drawn, new_codes(posteriors[-1], drawn, count, seed, number)])
        tasks += [
            (config, number, codes.tolist(), epoch_seed(seed, TRAININGS + place), deadline)
            for place, codes in enumerate(drawn[len(tasks) :], len(tasks))
        ]
        rows = rows_of(_row, tasks, 1, journal, description, sum(settings.rounds))
        posteriors.append(fitted_posterior(drawn, rows["evidence"], space, settings.share))
    return AloneResult(spec, seed, posteriors, rows, journal.stopwatch)


def new_codes(
    posterior: CategoricalPosterior,
    known: NDArray[np.int8],
    count: int,
    seed: int,
    number: int,
) -> NDArray[np.int8]:
    """The first cells of a draw that compute something that no cell before them does.

    Args:
        known: codes of cells that were trained already, shape (n, switches).
        number: of the round, from 1.

    Returns:
        shape (``count``, switches).

    Raises:
        PdnasError: so many cells are not left, or the posterior is too narrow to meet them.
    """
    space, draws = posterior.space, count
    canonical = space.ids(space.canonical_codes())
    if count > np.unique(canonical).size - len(known):
        raise PdnasError(f"alone.rounds: fewer than {count} cells are left for round {number}")
    while draws <= max(count, MOST_DRAWS):
        drawn = posterior.sample(draws, epoch_seed(seed, number)).choices[space.KEY].numpy()
        computed = canonical[space.ids(drawn)]
        fresh = ~np.isin(computed, canonical[space.ids(known)])
        places = np.sort(np.unique(computed, return_index=True)[1])
        places = places[fresh[places]]
        if len(places) >= count:
            return np.asarray(drawn[places[:count]])
        draws *= 2
    raise PdnasError(
        f"alone.share: the posterior is too narrow to meet {count} new cells in round {number}; "
        "let it be larger"
    )


def _row(
    config: AloneConfig, number: int, codes: Sequence[int], seed: int, deadline: float | None
) -> dict[str, Any]:
    """One training; with kernels and batches of its own, what they add is noise between cells."""
    if deadline is not None and time.monotonic() > deadline:
        raise Unfinished(f"stopped before the next cell of round {number}")
    space = CellSpace()
    cell_id = int(space.ids(codes))
    computed = space.canonical_codes()[cell_id].tolist()
    evidence = -fmean(train_alone(config, computed, seed)["losses"][-final_steps(config.steps) :])
    # A training that went wrong is as bad as can be.
    evidence = evidence if math.isfinite(evidence) else -math.inf
    return {"round": number, "cell_id": cell_id, "evidence": evidence}
