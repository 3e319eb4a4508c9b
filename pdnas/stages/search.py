"""Supernet search: train weights and switches together, and keep what they became.

A specification that asks for cells trained alone is searched in :mod:`pdnas.stages.alone_search`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pdnas.data.batches import Loader
from pdnas.data.dataset import Contents, Statistics
from pdnas.data.sets import dataset
from pdnas.data.splits import make_splits
from pdnas.nn.gates import GateSettings
from pdnas.nn.supernets import Supernet
from pdnas.runs import layout
from pdnas.runs.distributions import save_posterior, trajectory_table
from pdnas.runs.run import Run, require_like
from pdnas.spec.names import Part
from pdnas.spec.spec import Spec
from pdnas.stages.alone_search import alone_search_run
from pdnas.stages.materials import (
    make_loader,
    make_supernet,
    matching_drop_probability,
    training_data,
)
from pdnas.support import distributed
from pdnas.support.errors import PdnasError
from pdnas.support.files import write_json, write_table, write_tensors
from pdnas.support.provenance import (
    code_version,
    fingerprint,
    is_committed,
    provenance,
    run_identity,
)
from pdnas.train.checkpoint import Checkpoints
from pdnas.train.fit import SHORT, Session, TrainingData, fit
from pdnas.train.state import TrainingState


@dataclass(frozen=True)
class Inputs:
    """What a search is made from.

    Attributes:
        splits: which image is in which part.
        drop: initial, or fixed, drop probability.
        classes: how many there are in the data.
        folders: the contents of the user's folder of images, if it is one.
        measured: what images are normalised with, where that is no published number.
    """

    spec: Spec
    seed: int
    device: torch.device
    splits: pd.DataFrame
    data: TrainingData
    drop: float
    classes: int
    folders: Contents | None = None
    measured: Statistics | None = None

    @classmethod
    def open(cls, spec: Spec, seed: int, device: torch.device, drop: float | None = None) -> Inputs:
        """Read the images of a specification.

        Args:
            drop: the drop probability that another run decides (:func:`match_drop`).

        Raises:
            PdnasError: bad input, or missing data.
        """
        if spec.gates.match is not None and drop is None:
            raise PdnasError(
                f"gates.match is {spec.gates.match!r}; give that variant's run with --match"
            )
        drop = spec.gates.initial if drop is None else drop
        splits = make_splits(spec.data)
        rows = distributed.rows(spec.training.batch)

        info = dataset(spec.data)
        statistics = info.statistics()

        def images(part: Part) -> Loader:
            return make_loader(
                spec,
                splits,
                part,
                device,
                seed=seed,
                train=True,
                rows=rows,
                statistics=statistics,
            )

        heldout = images("heldout") if spec.data.heldout else None
        data = training_data(spec.gates, images("train"), heldout)
        classes, folders = info.count_classes(), info.own_contents()
        measured = statistics if info.measure else None
        return cls(spec, seed, device, splits, data, drop, classes, folders, measured)

    @property
    def fixed_drop(self) -> float | None:
        """The drop probability where it is a fixed one."""
        return self.drop if self.spec.gates.mode == "fixed" and self.spec.space is None else None

    @property
    def own_data(self) -> dict[str, Any]:
        """What a record has to say of the data, where they are other than as published."""
        published = dataset(self.spec.data).classes
        own: dict[str, Any] = {"classes": self.classes} if self.classes != published else {}
        if self.folders:
            own["folders"] = self.folders
        if self.measured:
            mean, std = map(list, self.measured)
            own["normalisation"] = {"mean": mean, "std": std}
        return own

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result."""
        spec = self.spec.model_dump(mode="json")
        own = {"data": fingerprint(self.own_data)} if self.own_data else {}
        return {"spec": spec, "seed": self.seed, "drop": self.fixed_drop, **own}


@dataclass(frozen=True)
class SearchResult:
    """A trained supernet, and how it came about."""

    inputs: Inputs
    supernet: Supernet
    fitted: TrainingState

    def trajectory(self) -> pd.DataFrame:
        """The switches' probabilities, a row an epoch, gate, group and option."""
        marginals = self.supernet.posterior().marginals()
        return trajectory_table(
            marginals.assign(probability=probabilities.numpy())
            for probabilities in self.fitted.trajectory
        )

    def write(self, out: Path, **names: str) -> dict[str, Any]:
        """Write a run's folder; returns the record written to ``run.json``.

        Args:
            names: ``scale``, ``study`` and ``variant``, which the record carries.
        """
        inputs, fitted = self.inputs, self.fitted
        record: dict[str, Any] = {
            **names,
            "seed": inputs.seed,
            "spec": inputs.spec.model_dump(mode="json"),
            "supernet_parameters": self.supernet.parameter_count(),
            "fixed_drop_probability": inputs.fixed_drop,
            **inputs.own_data,
            "warm_up_of": fitted.warm_up_of,
            "provenance": provenance(inputs.identity, inputs.seed, fitted.stopwatch),
        }
        if not distributed.is_first():
            return record
        owner, made = run_identity(record), record["provenance"]
        write_table(out / layout.SPLITS, inputs.splits, owner)
        write_table(out / layout.HISTORY, pd.DataFrame(fitted.history), owner)
        write_table(out / layout.TRAJECTORY, self.trajectory(), owner)
        write_tensors(out / layout.WEIGHTS, self.supernet.state_dict(), made, owner)
        save_posterior(out / layout.POSTERIOR, self.supernet.posterior(), made, owner)
        write_json(out / layout.RUN, record)
        return record


def search_run(
    spec: Spec,
    *,
    scale: str,
    study: str,
    variant: str,
    seed: int,
    out: Path,
    device: torch.device,
    drop: float | None = None,
    warm_ups: Path | None = None,
    deadline: float | None = None,
) -> dict[str, Any]:
    """Search and write the run's folder; resumes where an earlier call was killed.

    Args:
        scale, study, variant: names that the record carries.
        out: the run's folder.
        drop: the drop probability that another run decides (:func:`match_drop`).
        warm_ups: folder in which searches leave their warm-ups, and take one that was left by a
            search with the same and by the same code.
        deadline: time of ``time.monotonic`` by which to stop, with a checkpoint to go on from.

    Returns:
        the record written to ``run.json``.

    Raises:
        PdnasError: bad input, missing data, or no room for the results.
        Unfinished: the deadline came first.
    """
    if spec.alone is not None:
        names = {"scale": scale, "study": study, "variant": variant}
        return alone_search_run(spec, seed=seed, out=out, deadline=deadline, **names)
    inputs = Inputs.open(spec, seed, device, drop)
    checkpoints = Checkpoints(out / layout.CHECKPOINT, fingerprint(inputs.identity))
    session = Session(
        description=f"search {study}/{variant} seed {seed}",
        checkpoints=checkpoints,
        warm_up=_shared_warm_up(inputs, warm_ups),
        tensorboard=out / layout.TENSORBOARD,
        deadline=deadline,
    )
    record = search(inputs, session).write(out, scale=scale, study=study, variant=variant)
    if distributed.is_first():
        checkpoints.remove()
    return record


def search(inputs: Inputs, session: Session = SHORT) -> SearchResult:
    """Train a supernet and its switches.

    Args:
        session: where to leave checkpoints and logs, and when to stop.

    Raises:
        Unfinished: the session's deadline came first.
    """
    spec, gates = inputs.spec, inputs.spec.gates
    torch.manual_seed(inputs.seed)
    supernet = make_supernet(spec, inputs.device, inputs.classes)
    supernet.configure_gates(GateSettings.of(gates, inputs.drop))
    fitted = fit(supernet, inputs.data, spec.training, gates, session)
    return SearchResult(inputs, supernet, fitted)


def match_drop(spec: Spec, match: Path | None, names: Mapping[str, Any]) -> float | None:
    """The fixed drop probability with which the expected size is that of the run ``match``.

    Args:
        match: folder of the search that ``gates.match`` names; None: nothing is matched.
        names: ``study`` and ``seed`` of the search that is to be made.

    Raises:
        PdnasError: the specification matches no other search, or that one is missing, or is of
            another variant, study or seed.
    """
    if match is None:
        return None
    if spec.gates.match is None:
        raise PdnasError("gates.match is None; leave out --match")
    run, asked = Run.load(match), {**names, "variant": spec.gates.match}
    for name in ("study", "variant", "seed"):
        require_like(run, name, asked)
    classes = dataset(spec.data).count_classes()
    return matching_drop_probability(spec, run.posterior(), classes)


def _shared_warm_up(inputs: Inputs, folder: Path | None) -> Checkpoints | None:
    """Where a search's warm-up is kept for others; None: nowhere.

    A commit is part of what it belongs to; what code without one would do, nobody could tell.
    """
    code, warm_up = code_version(), inputs.spec.warm_up
    if folder is None or warm_up is None or not is_committed(code):
        return None
    belongs_to = {"warm_up": warm_up, "seed": inputs.seed, "code": code, **inputs.own_data}
    return Checkpoints(folder, fingerprint(belongs_to))
