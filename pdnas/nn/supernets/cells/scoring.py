"""Scores of many cells with a supernet's weights: validation accuracy, computed together.

A loop over cells would compute the same things again and again. Here cells that compute the same
are scored once, and the stem and the first cell's parts are computed once for all cells that have
them in common.

Where candidates get BatchNorm statistics of their own (``candidates.batchnorm: recalibrated``), so
do cells here, and nothing can be shared: what a layer does depends on the whole cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdnas.nn.supernets.categorical.scoring import scores, sums
from pdnas.nn.supernets.cells.mixture import CellMixture
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.cells.operations import convolved
from pdnas.space.cells import CellSpace

IMAGES_AT_ONCE, GPU_IMAGES_AT_ONCE = 30, 2000
"""Of one cell: 1 MB for 8 channels of 32x32 pixels, which a processor's cache holds."""
ROWS_AT_ONCE, GPU_ROWS_AT_ONCE = 500, 10_000
"""Pairs of a cell and an image in one batch, where each cell has statistics of its own."""

_PREFIX = 3
"""Edges that lead to nodes 1 and 2, the first of all; the others lead to the output."""


def _last_outputs(cell: CellMixture, prefix: Sequence[str], x: Tensor) -> list[list[Tensor | None]]:
    """What each operation (None: ``none``) of edges 0→3, 1→3 and 2→3 gives for all of ``x``."""
    return [
        cell.outputs(node, [edge], convolved)[edge]
        for edge, node in enumerate(cell.nodes(x, prefix), start=_PREFIX)
    ]


def _logits(supernet: NasBench201Supernet, cells: NDArray[np.int8], x: Tensor) -> Tensor:
    """Logits of the cells of one block, shape (cells, images, classes)."""
    options, first = supernet.space.options, supernet.layers[0]
    assert isinstance(first, CellMixture)
    stem = supernet.stem(x)
    outputs = _last_outputs(first, [options[code] for code in cells[0, :_PREFIX]], stem)

    def logits(codes: list[int]) -> Tensor:
        names = [options[code] for code in codes]
        features = torch.zeros_like(stem)
        for given, code in zip(outputs, codes[_PREFIX:], strict=True):
            if (out := given[code]) is not None:
                features += out
        return supernet.through_layers(features, lambda cell, x: cell.alone(x, names), first=1)

    return torch.stack([logits(codes) for codes in cells.tolist()])


def blocks(space: CellSpace) -> list[NDArray[np.int8]]:
    """The distinct cells, shape (cells, 6) each, by the operations leading to nodes 1 and 2."""
    distinct = space.codes[np.unique(space.equal_ids())]
    _, block = np.unique(distinct[:, :_PREFIX], axis=0, return_inverse=True)
    return [distinct[block.ravel() == number] for number in range(block.max() + 1)]


@torch.no_grad()
def score_block(
    supernet: NasBench201Supernet,
    cells: NDArray[np.int8],
    batches: list[tuple[Tensor, Tensor]],
) -> pd.DataFrame:
    """Scores of the cells of one block, in its order: see :func:`scores`."""
    of_batches = [sums(_logits(supernet, cells, x), y) for x, y in batches]
    return scores(supernet.space.ids(cells), of_batches, batches)


@torch.no_grad()
def score_alone(
    supernet: NasBench201Supernet,
    cells: NDArray[np.int8],
    batches: list[tuple[Tensor, Tensor]],
    rows_at_once: int = ROWS_AT_ONCE,
) -> pd.DataFrame:
    """Scores as those of :func:`score_block`, but each cell has BatchNorm statistics of its own.

    They are those of each batch that it is judged on; the supernet's stay as they are.
    """
    at_once = max(1, rows_at_once // len(batches[0][0]))
    chosen = torch.from_numpy(cells).to(batches[0][0].device).split(at_once)
    of_batches = [
        sums(torch.cat([supernet.forward_cells(x, some) for some in chosen]), y) for x, y in batches
    ]
    return scores(supernet.space.ids(cells), of_batches, batches)
