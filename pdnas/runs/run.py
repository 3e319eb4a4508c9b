"""A run: the folder of one supernet search and all that follows from it (docs/files.md)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic import ValidationError

from pdnas.data.batches import ALL_ROWS, Loader
from pdnas.data.dataset import DatasetInfo
from pdnas.data.loaders import build_loader
from pdnas.data.sets import INFO
from pdnas.nn.gates import GateSettings
from pdnas.nn.supernets import Supernet, build
from pdnas.runs.distributions import load_candidates, load_posterior
from pdnas.space.candidates import CELL, Candidates, Choice
from pdnas.space.cells import CellSpace
from pdnas.space.posterior import Posterior
from pdnas.spec.scale import Scale
from pdnas.spec.spec import Spec
from pdnas.spec.supernets import NasBench201Config
from pdnas.support.errors import PdnasError
from pdnas.support.files import (
    read_json,
    read_table,
    read_tensors,
    write_json,
    write_table,
    write_tensors,
)
from pdnas.support.provenance import run_identity

EVALUATION_BATCH = 500

SEARCHED = ("splits", "history", "trajectory"), ("weights", "posterior")
"""What a search leaves besides its record: tables and tensors."""


@dataclass(frozen=True)
class Run:
    """A finished search, read from its folder."""

    folder: Path
    scale: str
    study: str
    variant: str
    seed: int
    spec: Spec
    record: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Read ``run.json``.

        Raises:
            PdnasError: there is no finished search in this folder.
        """
        path = folder / "run.json"
        if not path.is_file():
            raise PdnasError(f"no finished search in {folder}; run `pdnas search` with --out there")
        record = read_json(path)
        try:
            return cls(
                folder,
                record["scale"],
                record["study"],
                record["variant"],
                record["seed"],
                Spec.model_validate(record["spec"]),
                record,
            )
        except (KeyError, ValidationError) as error:
            raise PdnasError(f"{path} is no run record of this version; search again") from error

    @property
    def identity(self) -> str:
        """The owner of this run's files; one of another run's is refused."""
        return run_identity(self.record)

    @property
    def dataset(self) -> DatasetInfo:
        return INFO[self.spec.data.name]

    def under(self, scale: Scale) -> Run:
        """The same run with what follows the search as ``scale`` has it now.

        Raises:
            PdnasError: the scale has no such variant, or another search for it.
        """
        spec = scale.spec(self.study, self.variant)
        if not self.spec.searches_like(spec):
            raise PdnasError(f"{self.folder} is another search than this scale's; search again")
        return replace(self, spec=spec)

    def cell_string(self, choice: Choice) -> str | None:
        """A candidate's architecture string; None where candidates are no cells."""
        supernet = self.spec.supernet
        if not isinstance(supernet, NasBench201Config):
            return None
        return CellSpace(supernet.operations).to_string(choice[CELL].numpy())

    def posterior(self) -> Posterior:
        return load_posterior(self.folder / "posterior.safetensors", self.identity)

    def candidates(self, source: str) -> tuple[Candidates, dict[str, Any]]:
        """All candidates drawn from ``source``, and the metadata saved with them."""
        return load_candidates(self.folder / f"candidates-{source}.safetensors", self.identity)

    def candidate(self, source: str, number: int | None) -> tuple[int, Choice]:
        """One of the candidates drawn from ``source``: its number and what it chooses.

        Args:
            source: ``posterior``, ``random`` or ``uniform``.
            number: from 0; None: the best of the ranking.

        Raises:
            PdnasError: there is no such candidate, or the ranking is of other candidates.
        """
        candidates, _ = self.candidates(source)
        if number is None:
            number = self._best(source)
        if not 0 <= number < len(candidates):
            raise PdnasError(
                f"no candidate {number} in candidates-{source}.safetensors; choose 0 to "
                f"{len(candidates) - 1}"
            )
        return number, candidates[number]

    def candidates_sha256(self, source: str) -> str:
        """The SHA-256 of the file of candidates, which a ranking keeps as its own subject."""
        path = self.folder / f"candidates-{source}.safetensors"
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def _best(self, source: str) -> int:
        path = self.folder / f"ranking-{source}.json"
        ranking = read_json(path, self.identity)
        if ranking.get("candidates_sha256") not in (None, self.candidates_sha256(source)):
            raise PdnasError(f"{path} is of other candidates than there are now; rank them again")
        best = ranking.get("best")
        if not isinstance(best, int):
            raise PdnasError(f"{path} names no best candidate; rank them again")
        return best

    def supernet(self, device: torch.device) -> Supernet:
        """The trained supernet, in evaluation mode.

        Raises:
            PdnasError: the weights are missing, damaged, or another supernet's.
        """
        path = self.folder / "weights.safetensors"
        weights, _ = read_tensors(path, self.identity)
        network = make_supernet(self.spec, device)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise PdnasError(f"{path} holds another supernet's weights; search again") from error
        return network.eval()

    def loader(
        self, part: str, device: torch.device, *, train: bool = False, rows: slice = ALL_ROWS
    ) -> Loader:
        """Batches of ``train``, ``validation`` or ``test``, or the given rows of each."""
        splits: pd.DataFrame = read_table(self.folder / "splits.parquet", self.identity)
        return build_loader(
            self.spec.data,
            part,
            splits,
            batch=self.spec.training.batch if train else EVALUATION_BATCH,
            device=device,
            train=train,
            seed=self.seed,
            rows=rows,
        )


def share_supernet(run: Run, spec: Spec, *, variant: str, out: Path) -> dict[str, Any]:
    """Make ``out`` a run of another variant with the supernet of ``run``: no second search.

    Returns:
        the record written to ``run.json``: that of ``run``, whose provenance the supernet keeps.

    Raises:
        PdnasError: the variant's search is another one, or the files could not be copied.
    """
    if not run.spec.searches_like(spec):
        raise PdnasError(
            f"{run.folder} holds another search than {variant}'s; only variants that differ in "
            "candidates or retrain alone share a supernet"
        )
    record = {
        **run.record,
        "variant": variant,
        "spec": spec.model_dump(mode="json"),
        "searched_by": run.variant,
    }
    owner = run_identity(record)
    tables, tensors = SEARCHED
    for name in tables:
        path = f"{name}.parquet"
        write_table(out / path, read_table(run.folder / path, run.identity), owner)
    for name in tensors:
        path = f"{name}.safetensors"
        write_tensors(out / path, *read_tensors(run.folder / path, run.identity), owner)
    write_json(out / "run.json", record)
    return record


def make_supernet(spec: Spec, device: torch.device) -> Supernet:
    """A freshly initialised supernet of a specification, channels last."""
    info = INFO[spec.data.name]
    network = build(spec.supernet, info.channels, len(info.classes))
    # What its distribution can represent decides the shape of its logits, so of a file of weights.
    network.configure_gates(GateSettings(dependence=spec.gates.dependence))
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
