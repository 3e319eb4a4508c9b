"""Posteriors and candidates as files: safetensors with what they are as metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pdnas.space.candidates import Candidates
from pdnas.space.categorical import CategoricalSpace
from pdnas.space.cells import CellSpace
from pdnas.space.macro import MacroSpace
from pdnas.space.posterior import CategoricalPosterior, ChannelPosterior, Posterior
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_tensors, write_tensors

_KINDS = {CellSpace: "cells", MacroSpace: "nasbench-macro"}
"""What a file says of a distribution over one-of-many switches."""


def _space(metadata: Mapping[str, Any]) -> CategoricalSpace:
    if metadata["kind"] == _KINDS[CellSpace]:
        return CellSpace(tuple(metadata["operations"]))
    return MacroSpace()


def save_posterior(
    path: Path, posterior: Posterior, provenance: Mapping[str, Any], owner: str | None = None
) -> None:
    """Write a distribution and its provenance."""
    if isinstance(posterior, ChannelPosterior):
        kind: dict[str, Any] = {"kind": "channels", "gates": list(posterior.drop)}
        tensors: dict[str, Tensor] = {}
        for name, drop in posterior.drop.items():
            tensors |= {f"{name}.drop": drop, f"{name}.sizes": posterior.group_sizes[name]}
    else:
        assert isinstance(posterior, CategoricalPosterior)
        space = posterior.space
        kind = {"kind": _KINDS[type(space)]}
        if isinstance(space, CellSpace):
            kind["operations"] = list(space.operations)
        tensors = {"probabilities": posterior.conditionals.squeeze(1)}
    write_tensors(path, tensors, {**kind, "provenance": dict(provenance)}, owner)


def load_posterior(path: Path, owner: str | None = None) -> Posterior:
    """Read a posterior of any kind.

    Raises:
        PdnasError: the file is missing, damaged, another run's than ``owner``, or no posterior.
    """
    tensors, metadata = read_tensors(path, owner)
    try:
        if metadata.get("kind") == "channels":
            gates = metadata["gates"]
            return ChannelPosterior(
                {name: tensors[f"{name}.drop"] for name in gates},
                {name: tensors[f"{name}.sizes"] for name in gates},
            )
        if metadata.get("kind") in _KINDS.values():
            return CategoricalPosterior(tensors["probabilities"], _space(metadata))
    except (KeyError, TypeError, ValueError) as error:
        raise PdnasError(f"{path} holds no whole distribution; search again") from error
    raise PdnasError(f"{path} is no posterior; make one with `pdnas search`")


def trajectory_table(epochs: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """A posterior's marginals as they were after each epoch, from 0, in one table."""
    numbered = [marginals.assign(epoch=epoch) for epoch, marginals in enumerate(epochs)]
    columns = ["epoch", "gate", "group", "option", "probability", "size"]
    return pd.concat(numbered, ignore_index=True)[columns]


def save_candidates(
    path: Path, candidates: Candidates, metadata: Mapping[str, Any], owner: str | None = None
) -> None:
    """Write candidates; Boolean masks take one bit each."""
    masks = {name: rows for name, rows in candidates.choices.items() if rows.dtype == torch.bool}
    packed = {
        name: torch.from_numpy(np.packbits(rows.numpy(), axis=1)) if name in masks else rows
        for name, rows in candidates.choices.items()
    }
    bits = {name: rows.shape[1] for name, rows in masks.items()}
    write_tensors(path, packed, {**metadata, "kind": "candidates", "bits": bits}, owner)


def load_candidates(path: Path, owner: str | None = None) -> tuple[Candidates, dict[str, Any]]:
    """Candidates and the metadata saved with them.

    Raises:
        PdnasError: the file is missing, damaged, another run's than ``owner``, or holds no
            candidates.
    """
    tensors, metadata = read_tensors(path, owner)
    if metadata.get("kind") != "candidates":
        raise PdnasError(f"{path} holds no candidates; make them with `pdnas sample`")
    try:
        bits = metadata.pop("bits")
        choices = {
            name: torch.from_numpy(
                np.unpackbits(rows.numpy(), axis=1, count=bits[name]).astype(bool)
            )
            if name in bits
            else rows
            for name, rows in tensors.items()
        }
        (_,) = {len(rows) for rows in choices.values()}  # as many rows in each
    except (KeyError, TypeError, ValueError) as error:
        raise PdnasError(f"{path} holds no whole candidates; sample them again") from error
    return Candidates(choices), metadata
