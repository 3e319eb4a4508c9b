"""Architectures: one *choice*, and *candidates*, which are many choices stacked.

A choice maps each switch's name to a tensor: a Boolean keep mask for a gated layer, six operation
codes for a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from pdnas.support.errors import PdnasError

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


def require_switches(candidates: Candidates, switches: Iterable[str]) -> None:
    """Raise unless the candidates choose exactly for ``switches``; names the first difference."""
    odd = sorted(set(candidates.choices) ^ set(switches))
    if odd:
        where = "this supernet" if odd[0] in candidates.choices else "the candidates"
        raise PdnasError(f"switch {odd[0]} is not in {where}; use candidates of the same supernet")
