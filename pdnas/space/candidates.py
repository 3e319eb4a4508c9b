"""Architectures: one *choice*, and *candidates*, which are many choices stacked.

A choice maps a name to a tensor: each gated layer's to a Boolean keep mask, or that of a space of
one-of-many switches to a code for each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdnas.space.categorical import CategoricalSpace
from pdnas.support.errors import PdnasError

Choice = Mapping[str, Tensor]

_SAME = "use candidates of the same supernet"


@dataclass(frozen=True, repr=False)
class Candidates:
    """A batch of architectures.

    Attributes:
        choices: for each switch, a tensor whose row i belongs to candidate i: Boolean keep masks of
            shape (candidates, channels), or int8 codes of shape (candidates, switches).
    """

    choices: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.choices.values())))

    def __repr__(self) -> str:
        return f"<{len(self)} candidates: {', '.join(self.choices)}>"

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

    def check_codes(self, space: CategoricalSpace) -> None:
        """Raise unless these are the codes of architectures of ``space``."""
        self._check_switches([space.KEY])
        codes, switches, options = self.choices[space.KEY], len(space.SWITCHES), len(space.options)
        integers = not codes.is_floating_point() and codes.dtype != torch.bool
        fits = integers and codes.shape[1:] == (switches,)
        if not fits or not bool(((codes >= 0) & (codes < options)).all()):
            raise PdnasError(
                f"switch {space.KEY!r} needs {switches} codes below {options}; {_SAME}"
            )

    def _check_switches(self, switches: Iterable[str]) -> None:
        """Raise unless the choices are of exactly ``switches``; names the first difference."""
        odd = sorted(set(self.choices) ^ set(switches))
        if odd:
            where = "this supernet" if odd[0] in self.choices else "the candidates"
            raise PdnasError(f"switch {odd[0]!r} is not in {where}; {_SAME}")
