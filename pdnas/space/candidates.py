"""Architectures: one *choice*, and *candidates*, which are many choices stacked.

A choice maps each switch's name to a tensor: a Boolean keep mask for a gated layer, six operation
codes for a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdnas.space.cells import EDGES
from pdnas.support.errors import PdnasError

Choice = Mapping[str, Tensor]

CELL = "cell"
"""The name of the one switch of a NAS-Bench-201 supernet."""

_SAME = "use candidates of the same supernet"


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

    def distinct(self) -> tuple[Candidates, NDArray[np.int64]]:
        """Those that differ, in the order of their first appearance.

        Returns:
            them, and which of them each candidate equals, shape (candidates,).
        """
        joined = torch.cat([rows.flatten(1) for rows in self.choices.values()], dim=1)
        places: dict[bytes, int] = {}
        equal = [places.setdefault(row.tobytes(), len(places)) for row in joined.cpu().numpy()]
        first = np.unique(equal, return_index=True)[1].tolist()
        kept = {name: rows[first] for name, rows in self.choices.items()}
        return Candidates(kept), np.array(equal)

    def check_masks(self, channels: Mapping[str, int]) -> None:
        """Raise unless these are Boolean masks for exactly the gates of a supernet.

        Args:
            channels: input channels of each gate, by its name.
        """
        self._check_switches(channels)
        for name, width in channels.items():
            mask = self.choices[name]
            if mask.dtype != torch.bool:
                raise PdnasError(f"gate {name}: masks must be Boolean, not {mask.dtype}")
            if mask.shape[1:] != (width,):
                raise PdnasError(
                    f"gate {name} has {width} input channels, the mask {mask.shape[-1]}; {_SAME}"
                )

    def check_cells(self, operations: int) -> None:
        """Raise unless these are cells whose operation codes are below ``operations``."""
        self._check_switches([CELL])
        codes = self.choices[CELL]
        integers = not codes.is_floating_point() and codes.dtype != torch.bool
        fits = integers and codes.shape[1:] == (len(EDGES),)
        if not fits or not bool(((codes >= 0) & (codes < operations)).all()):
            raise PdnasError(
                f"switch {CELL!r} needs {len(EDGES)} codes below {operations}; {_SAME}"
            )

    def _check_switches(self, switches: Iterable[str]) -> None:
        """Raise unless the choices are of exactly ``switches``; names the first difference."""
        odd = sorted(set(self.choices) ^ set(switches))
        if odd:
            where = "this supernet" if odd[0] in self.choices else "the candidates"
            raise PdnasError(f"switch {odd[0]!r} is not in {where}; {_SAME}")
