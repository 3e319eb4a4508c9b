"""Supernet search: train weights and switches together, and keep what they became."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pdnas.data.loaders import build_loader
from pdnas.data.splits import make_splits
from pdnas.nn.gates import GateSettings
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import ChannelSupernet, Supernet
from pdnas.runs.distributions import load_posterior, save_posterior
from pdnas.runs.run import make_supernet
from pdnas.space.posterior import ChannelPosterior
from pdnas.spec.spec import Spec
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
from pdnas.train.fit import Session, TrainingData, fit
from pdnas.train.state import TrainingState


def search(
    spec: Spec,
    *,
    scale: str,
    study: str,
    variant: str,
    seed: int,
    out: Path,
    device: torch.device,
    match: Path | None = None,
    warm_ups: Path | None = None,
    deadline: float | None = None,
) -> dict[str, Any]:
    """Train a supernet and write its run folder; resumes where an earlier call was killed.

    Args:
        scale, study, variant: names that the record carries.
        out: the run's folder.
        match: run folder of the search whose expected parameter count decides the fixed drop
            probability (``gates.match`` of the specification).
        warm_ups: folder in which searches leave their warm-ups, and take one that was left by a
            search with the same and by the same code.
        deadline: time of ``time.monotonic`` by which to stop, with a checkpoint to go on from.

    Returns:
        the record written to ``run.json``.

    Raises:
        PdnasError: bad input, missing data, or no room for the results.
        Unfinished: the deadline came first.
    """
    if (spec.gates.match is None) != (match is None):
        raise PdnasError(
            f"gates.match is {spec.gates.match!r}; "
            + ("give that variant's run with --match" if match is None else "leave out --match")
        )
    torch.manual_seed(seed)
    supernet = make_supernet(spec, device)
    drop = _configure(supernet, spec, match)
    splits = make_splits(spec.data)

    def images(name: str) -> TrainingData:
        loader = build_loader(
            spec.data,
            name,
            splits,
            batch=spec.training.batch,
            device=device,
            train=True,
            seed=seed,
            rows=distributed.rows(spec.training.batch),
        )
        return TrainingData(loader, Objective.of(spec.gates, loader.examples))

    data = images("train")
    if spec.data.heldout:
        data = replace(data, heldout=images("heldout"))
    identity = {"spec": spec.model_dump(mode="json"), "seed": seed, "drop": drop}
    checkpoints = Checkpoints(out / "checkpoint", fingerprint(identity))
    fitted = fit(
        supernet,
        data,
        spec.training,
        spec.gates,
        Session(
            description=f"search {study}/{variant} seed {seed}",
            checkpoints=checkpoints,
            warm_up=_shared_warm_up(spec, seed, warm_ups),
            tensorboard=out / "tensorboard",
            deadline=deadline,
        ),
    )
    record: dict[str, Any] = {
        "scale": scale,
        "study": study,
        "variant": variant,
        "seed": seed,
        "spec": spec.model_dump(mode="json"),
        "supernet_parameters": supernet.parameter_count(),
        "fixed_drop_probability": drop,
        "warm_up_of": fitted.warm_up_of,
        "provenance": provenance(identity, seed, fitted.stopwatch),
    }
    if not distributed.is_first():
        return record
    owner = run_identity(record)
    write_table(out / "splits.parquet", splits, owner)
    write_table(out / "history.parquet", pd.DataFrame(fitted.history), owner)
    write_table(out / "trajectory.parquet", _trajectory(supernet, fitted), owner)
    write_tensors(out / "weights.safetensors", supernet.state_dict(), record["provenance"], owner)
    path = out / "posterior.safetensors"
    save_posterior(path, supernet.posterior(), record["provenance"], owner)
    write_json(out / "run.json", record)
    checkpoints.remove()
    return record


def _shared_warm_up(spec: Spec, seed: int, folder: Path | None) -> Checkpoints | None:
    """Where a search's warm-up is kept for others; None: nowhere.

    A commit is part of what it belongs to; what code without one would do, nobody could tell.
    """
    code = code_version()
    if folder is None or spec.warm_up is None or not is_committed(code):
        return None
    return Checkpoints(folder, fingerprint({"warm_up": spec.warm_up, "seed": seed, "code": code}))


def _configure(supernet: Supernet, spec: Spec, match: Path | None) -> float | None:
    """Set the gates; returns the drop probability where it is a fixed one."""
    gates = spec.gates
    drop = gates.initial
    if match is not None:
        like = load_posterior(match / "posterior.safetensors")
        if not isinstance(like, ChannelPosterior) or not isinstance(supernet, ChannelSupernet):
            raise PdnasError("gates.match needs a supernet with channel gates; leave it out here")
        drop = supernet.matching_drop_probability(like)
    supernet.configure_gates(GateSettings.of(gates, drop))
    return drop if gates.mode == "fixed" and isinstance(supernet, ChannelSupernet) else None


def _trajectory(supernet: Supernet, fitted: TrainingState) -> pd.DataFrame:
    """The rows of trajectory.parquet."""
    marginals = supernet.posterior().marginals()
    epochs = [
        marginals.assign(epoch=epoch, probability=probabilities.numpy())
        for epoch, probabilities in enumerate(fitted.trajectory)
    ]
    columns = ["epoch", "gate", "group", "option", "probability", "size"]
    return pd.concat(epochs, ignore_index=True)[columns]
