"""Scores of all of NAS-Bench-Macro's networks with a supernet's weights.

Networks that begin alike share what their first layers give, so the whole space costs little more
than its last layers. That holds with running BatchNorm statistics and with those of the images that
are judged, which the layers before decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdnas.nn.supernets.categorical.batchnorm import normalised
from pdnas.nn.supernets.categorical.scoring import scores, sums
from pdnas.nn.supernets.macro.blocks import way
from pdnas.nn.supernets.macro.network import NasBenchMacroSupernet
from pdnas.space.macro import LAYERS, MacroSpace

BEGINNING = 4
"""Layers that the networks of a block have in common."""


def blocks(space: MacroSpace) -> list[NDArray[np.int8]]:
    """All networks, shape (81, 8) each, by the blocks of their first layers."""
    return np.split(space.codes, len(space.options) ** BEGINNING)


ROWS_AT_ONCE = 500
"""Pairs of a network and an image in one batch: small ones take as long to start as to compute."""


@torch.no_grad()
def score_block(
    supernet: NasBenchMacroSupernet,
    codes: NDArray[np.int8],
    batches: list[tuple[Tensor, Tensor]],
    alone: bool,
    rows_at_once: int = ROWS_AT_ONCE,
) -> pd.DataFrame:
    """Scores of the networks of one block.

    Args:
        alone: each network has BatchNorm statistics of its own, those of each batch that it is
            judged on; the supernet's stay as they are.
        rows_at_once: pairs of a network and an image that go through at once, if they are more than
            one network's.

    Returns:
        see :func:`scores`.
    """
    beginning = codes[0, :BEGINNING].tolist()
    walk = _Walk(supernet, beginning, alone, rows_at_once)
    of_batches = [sums(walk.logits(x), y) for x, y in batches]
    return scores(supernet.space.ids(codes), of_batches, batches)


@dataclass(frozen=True)
class _Walk:
    """All networks that begin alike: side by side where they are few, else one after the other.

    Rows are pairs of a network and an image, the images of a network one after the other.
    """

    supernet: NasBenchMacroSupernet
    beginning: Sequence[int]
    alone: bool
    rows_at_once: int

    def logits(self, x: Tensor) -> Tensor:
        """Of all networks for images (images, channels, height, width): (n, images, classes)."""
        convolution, norm, relu = self.supernet.stem
        return self._onwards(relu(normalised(norm, convolution(x), self._groups(1))), 1, 0)

    def _groups(self, networks: int) -> int | None:
        return networks if self.alone else None

    def _onwards(self, x: Tensor, networks: int, layer: int) -> Tensor:
        """The same of the input of a layer, (images · networks, ...)."""
        groups = self._groups(networks)
        if layer == LAYERS:
            out = self.supernet.through_layers(x, lambda _, same: same, groups, first=LAYERS)
            return out.unflatten(0, (networks, -1))
        names = self.supernet.space.options
        if layer < len(self.beginning):
            names = (names[self.beginning[layer]],)
        blocks = [block for name in names for block in self.supernet.parts(layer, name)]
        given = [block(x, way(groups)) for block in blocks]
        if len(blocks) * len(x) <= self.rows_at_once:
            rows = torch.stack([out.unflatten(0, (networks, -1)) for out in given], dim=1)
            return self._onwards(rows.flatten(0, 2), networks * len(blocks), layer + 1)
        parts = [self._onwards(out, networks, layer + 1) for out in given]
        return torch.stack([part.unflatten(0, (networks, -1)) for part in parts], 1).flatten(0, 2)
