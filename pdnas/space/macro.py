"""NAS-Bench-Macro's space: one of three blocks in each of eight layers (Su et al., CVPR 2021).

A network is written as its eight codes, ``02012100``: ``0`` is an identity, ``1`` a MobileNetV2
block of expansion 3 and kernel 3, ``2`` one of expansion 6 and kernel 5.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.space.categorical import CategoricalSpace
from pdnas.support.errors import PdnasError

STAGES = (2, 3, 3)
"""Layers of each stage; the first of a stage halves the resolution and doubles the channels."""

LAYERS = sum(STAGES)


class MacroSpace(CategoricalSpace):
    """All 6 561 networks."""

    KEY: ClassVar = "blocks"
    ARCHITECTURE: ClassVar = "network"
    OPTION: ClassVar = "block"
    HEAVIEST: ClassVar = "2"
    SWITCHES: ClassVar = tuple(f"layer{number}" for number in range(LAYERS))
    ORDER: ClassVar = tuple(range(LAYERS))

    @property
    def options(self) -> tuple[str, ...]:
        return ("0", "1", "2")

    def to_string(self, codes: ArrayLike) -> str:
        found = self.checked(codes)
        if found.ndim != 1:
            raise PdnasError(f"one network has one name, not {len(found)} networks")
        return "".join(map(str, found.tolist()))

    def from_string(self, text: str) -> NDArray[np.int8]:
        text = text.strip()
        if len(text) != LAYERS or not set(text) <= set(self.options):
            raise PdnasError(
                f"{text!r} is no network of NAS-Bench-Macro; write {LAYERS} digits from 0 to 2, "
                "like 02012100"
            )
        return np.array(list(map(int, text)), dtype=np.int8)
