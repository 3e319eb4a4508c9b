"""Distributions over architectures: what a search learns and what candidates are drawn from.

A *choice* is one architecture: a mapping from switch name to a tensor (a Boolean keep mask for a
gated layer, six operation codes for a cell). *Candidates* are many choices stacked. A posterior
knows its marginals, draws candidates, gives their log-probability, and can be saved and loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdnas.artefacts import read_tensors, write_tensors
from pdnas.cells import EDGES, CellSpace
from pdnas.errors import PdnasError

Choice = Mapping[str, Tensor]

CELL = "cell"
"""The name of the one switch of a NAS-Bench-201 supernet."""


@dataclass(frozen=True)
class Candidates:
    """A batch of architectures.

    Attributes:
        choices: for each switch, a tensor whose row i belongs to candidate i: Boolean keep masks of
            shape (candidates, channels), or int8 operation codes of shape (candidates, 6).
    """

    choices: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.choices.values())))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: rows[index] for name, rows in self.choices.items()}

    def save(self, path: Path, metadata: Mapping[str, Any]) -> None:
        """Write to safetensors; Boolean masks take one bit each."""
        packed = {
            name: torch.from_numpy(np.packbits(rows.numpy(), axis=1))
            if rows.dtype == torch.bool
            else rows
            for name, rows in self.choices.items()
        }
        bits = {
            name: rows.shape[1] for name, rows in self.choices.items() if rows.dtype == torch.bool
        }
        write_tensors(path, packed, {**metadata, "kind": "candidates", "bits": bits})

    @classmethod
    def load(cls, path: Path) -> tuple[Candidates, dict[str, Any]]:
        """Candidates and the metadata saved with them.

        Raises:
            PdnasError: the file is missing, damaged, or holds no candidates.
        """
        tensors, metadata = read_tensors(path)
        if metadata.get("kind") != "candidates":
            raise PdnasError(f"{path} holds no candidates; make them with `pdnas sample`")
        bits = metadata.pop("bits")
        choices = {
            name: torch.from_numpy(
                np.unpackbits(rows.numpy(), axis=1, count=bits[name]).astype(bool)
            )
            if name in bits
            else rows
            for name, rows in tensors.items()
        }
        return cls(choices), metadata


class Posterior(ABC):
    """A distribution over the architectures of one supernet, in float64 on the CPU."""

    @abstractmethod
    def marginals(self) -> pd.DataFrame:
        """One row for each gate, group and option: ``gate``, ``group``, ``option``,
        ``probability`` and ``size`` (input channels in the group; 1 for an edge)."""

    @abstractmethod
    def sample(self, count: int, seed: int) -> Candidates:
        """Draw ``count`` independent candidates; equal seeds give equal candidates, and the first
        n of a larger draw are the candidates of a draw of n."""

    @abstractmethod
    def log_probability(self, candidates: Candidates) -> NDArray[np.float64]:
        """Natural logarithm of each candidate's probability, shape (candidates,).

        Raises:
            PdnasError: the candidates belong to another supernet; the switch is named.
        """

    @abstractmethod
    def entropy(self) -> float:
        """Entropy in nats."""

    @abstractmethod
    def mode(self) -> Candidates:
        """The single most probable architecture (of equals, the one that keeps more)."""

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]: ...

    @abstractmethod
    def _metadata(self) -> dict[str, Any]: ...

    def save(self, path: Path, provenance: Mapping[str, Any]) -> None:
        """Write the distribution and its provenance as safetensors."""
        write_tensors(path, self._tensors(), {**self._metadata(), "provenance": dict(provenance)})


class ChannelPosterior(Posterior):
    """Independent Bernoulli switches on the input channels of gated layers.

    Args:
        drop: drop probability of each group, shape (groups,), by gate name; values in [0, 1].
        group_sizes: input channels of each group, by gate name.
    """

    def __init__(self, drop: Mapping[str, Tensor], group_sizes: Mapping[str, Tensor]) -> None:
        self.drop = {name: value.double() for name, value in drop.items()}
        self.group_sizes = {name: group_sizes[name].long() for name in self.drop}
        for name, value in self.drop.items():
            if value.shape != self.group_sizes[name].shape:
                raise PdnasError(f"gate {name}: one drop probability is needed for each group")
            if not bool(((value >= 0) & (value <= 1)).all()):
                raise PdnasError(f"gate {name}: drop probabilities must lie between 0 and 1")

    @classmethod
    def constant(cls, like: ChannelPosterior, drop: float) -> ChannelPosterior:
        """The same gates with one fixed drop probability (the random baseline)."""
        rates = {name: torch.full_like(value, drop) for name, value in like.drop.items()}
        return cls(rates, like.group_sizes)

    def channel_drop(self, gate: str) -> Tensor:
        """Drop probability of each input channel of a gate, shape (channels,)."""
        return torch.repeat_interleave(self.drop[gate], self.group_sizes[gate])

    def marginals(self) -> pd.DataFrame:
        rows = [
            (name, group, "drop", float(p), int(size))
            for name, value in self.drop.items()
            for group, (p, size) in enumerate(zip(value, self.group_sizes[name], strict=True))
        ]
        return pd.DataFrame(rows, columns=["gate", "group", "option", "probability", "size"])

    def sample(self, count: int, seed: int) -> Candidates:
        channel_drop = torch.cat([self.channel_drop(name) for name in self.drop])
        generator = torch.Generator().manual_seed(seed)
        # One row a candidate, so that a longer draw begins with the shorter one's candidates.
        uniform = torch.rand(count, len(channel_drop), dtype=torch.float64, generator=generator)
        widths = [int(self.group_sizes[name].sum()) for name in self.drop]
        masks = torch.split(uniform >= channel_drop, widths, dim=1)
        return Candidates(dict(zip(self.drop, masks, strict=True)))

    def log_probability(self, candidates: Candidates) -> NDArray[np.float64]:
        total = torch.zeros(len(candidates), dtype=torch.float64)
        _require_switches(candidates, self.drop)
        for name in self.drop:
            drop, mask = self.channel_drop(name), candidates.choices[name]
            if mask.shape[1:] != drop.shape:
                raise PdnasError(
                    f"gate {name} has {len(drop)} input channels, the mask {mask.shape[-1]}; use "
                    "candidates of the same supernet"
                )
            total += torch.where(mask, torch.log1p(-drop), torch.log(drop)).sum(dim=1)
        return total.numpy()

    def entropy(self) -> float:
        total = 0.0
        for name in self.drop:
            p = self.channel_drop(name)
            total -= float((torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)).sum())
        return total

    def mode(self) -> Candidates:
        return Candidates({name: (self.channel_drop(name) <= 0.5)[None] for name in self.drop})

    def _tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}.{part}": value
            for name in self.drop
            for part, value in (("drop", self.drop[name]), ("sizes", self.group_sizes[name]))
        }

    def _metadata(self) -> dict[str, Any]:
        return {"kind": "channels", "gates": list(self.drop)}


class CellPosterior(Posterior):
    """One categorical distribution over operations for each edge of a NAS-Bench-201 cell.

    It is the distribution of independent Bernoulli switches on the operations of an edge, given
    that exactly one is on: probabilities proportional to the keep odds (1 - p)/p.

    Args:
        probabilities: shape (6, operations), rows adding up to 1.
        space: the cell space, which names the operations.
    """

    def __init__(self, probabilities: Tensor, space: CellSpace) -> None:
        self.probabilities = probabilities.double()
        self.space = space
        if self.probabilities.shape != (len(EDGES), len(space.operations)):
            raise PdnasError(
                f"a cell posterior needs {len(EDGES)} x {len(space.operations)} probabilities, not "
                f"{tuple(self.probabilities.shape)}"
            )
        sums = self.probabilities.sum(dim=1)
        if not (bool((self.probabilities >= 0).all()) and torch.allclose(sums, sums.new_ones(()))):
            raise PdnasError("a cell posterior's probabilities must add up to 1 on every edge")
        self.probabilities = self.probabilities / sums[:, None]

    @classmethod
    def uniform(cls, space: CellSpace) -> CellPosterior:
        """Every cell equally likely."""
        options = len(space.operations)
        return cls(torch.full((len(EDGES), options), 1 / options), space)

    def cell_probabilities(self) -> NDArray[np.float64]:
        """Probability of every cell of the space, in cell-id order, shape (len(space),)."""
        return np.exp(self._log_of(self.space.cells))

    def marginals(self) -> pd.DataFrame:
        rows = [
            (f"edge {source}>{target}", 0, operation, float(p), 1)
            for (source, target), edge in zip(EDGES, self.probabilities, strict=True)
            for operation, p in zip(self.space.operations, edge, strict=True)
        ]
        return pd.DataFrame(rows, columns=["gate", "group", "option", "probability", "size"])

    def sample(self, count: int, seed: int) -> Candidates:
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(count, len(EDGES), 1, dtype=torch.float64, generator=generator)
        # Inverse CDF; the last bound is left out, so rounding can never choose past the end.
        bounds = self.probabilities.cumsum(dim=1)[:, :-1]
        return Candidates({CELL: (uniform >= bounds).sum(dim=2).to(torch.int8)})

    def log_probability(self, candidates: Candidates) -> NDArray[np.float64]:
        _require_switches(candidates, {CELL: self.probabilities})
        cells = candidates.choices[CELL].numpy()
        options = len(self.space.operations)
        if cells.shape[1:] != (len(EDGES),) or ((cells < 0) | (cells >= options)).any():
            raise PdnasError(
                f"switch {CELL} needs {len(EDGES)} codes below {options}; use candidates of the "
                "same supernet"
            )
        return self._log_of(cells)

    def _log_of(self, cells: NDArray[np.integer]) -> NDArray[np.float64]:
        log = torch.log(self.probabilities).numpy()
        return log[np.arange(len(EDGES)), cells].sum(axis=1)

    def entropy(self) -> float:
        return -float(torch.xlogy(self.probabilities, self.probabilities).sum())

    def mode(self) -> Candidates:
        return Candidates({CELL: self.probabilities.argmax(dim=1).to(torch.int8)[None]})

    def _tensors(self) -> dict[str, Tensor]:
        return {"probabilities": self.probabilities}

    def _metadata(self) -> dict[str, Any]:
        return {"kind": "cells", "operations": list(self.space.operations)}


def load(path: Path) -> Posterior:
    """Read a posterior of either kind.

    Raises:
        PdnasError: the file is missing, damaged, or no posterior.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("kind") == "channels":
        gates = metadata["gates"]
        return ChannelPosterior(
            {name: tensors[f"{name}.drop"] for name in gates},
            {name: tensors[f"{name}.sizes"] for name in gates},
        )
    if metadata.get("kind") == "cells":
        return CellPosterior(tensors["probabilities"], CellSpace(tuple(metadata["operations"])))
    raise PdnasError(f"{path} is no posterior; make one with `pdnas search`")


def _require_switches(candidates: Candidates, switches: Mapping[str, Tensor]) -> None:
    """Raise unless the candidates choose exactly for ``switches``; names the first difference."""
    odd = sorted(set(candidates.choices) ^ set(switches))
    if odd:
        where = "this supernet" if odd[0] in candidates.choices else "the candidates"
        raise PdnasError(f"switch {odd[0]} is not in {where}; use candidates of the same supernet")
