"""Scores of many cells with a supernet's weights: validation accuracy, computed together.

A loop over cells would compute the same things again and again. Here the stem and the first cell's
shared parts are computed once for all cells that have them in common, many cells go through the
rest of the network as one batch, in which an operation sees all images of all cells that chose it,
and cells that differ only where nothing can be seen of it are scored once.

Where candidates get BatchNorm statistics of their own (``candidates.batchnorm: recalibrated``), so
do cells here, and nothing can be shared: what a layer does depends on the whole cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdnas.nn.supernets.categorical.mixture import CHANNELS_LAST, Mixture, Routes, find_routes
from pdnas.nn.supernets.categorical.scoring import sums
from pdnas.nn.supernets.cells.mixture import CellMixture
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.cells.operations import convolved
from pdnas.space.cells import CellSpace

IMAGES_AT_ONCE = 30
"""Of one cell. It divides the 60 of `laptop`, so that no small rest is left over."""
ROWS_AT_ONCE = 500
"""Pairs of a cell and an image in one batch: 16 MB for 8 channels of 32x32 pixels. On a CPU larger
batches fall out of its caches and take longer (docs/speed.md); the scores are the same."""
GPU_IMAGES_AT_ONCE, GPU_ROWS_AT_ONCE = 200, 10_000
"""On a GPU, whose time goes into starting kernels as long as batches are small: 0.65 GB for the
benchmark's 16 channels in float32, and a cell holds about ten of that."""

_PREFIX, _SUFFIX = slice(0, 3), slice(3, 6)
# EDGES are ordered by target: the first three lead to nodes 1 and 2, the others to the output.


def _last_outputs(cell: CellMixture, prefix: Sequence[str], x: Tensor) -> list[list[Tensor | None]]:
    """What each operation (None: ``none``) of edges 0→3, 1→3 and 2→3 gives for all of ``x``."""
    return [
        cell.outputs(node, [edge], convolved)[edge]
        for edge, node in enumerate(cell.nodes(x, prefix), start=_SUFFIX.start)
    ]


def _through_cell(cell: CellMixture, x: Tensor, prefix: Sequence[str], routes: Routes) -> Tensor:
    """The last node of a cell of which rows of ``x`` differ in the edges that lead there.

    Args:
        prefix: operations of the other edges.
        routes: which rows take what, by edge of those that lead there.
    """
    last = torch.zeros_like(x).permute(CHANNELS_LAST.to_rows)
    nodes = cell.nodes(x, prefix)
    for edge, (node, route) in enumerate(zip(nodes, routes, strict=True), start=_SUFFIX.start):
        images = node.permute(CHANNELS_LAST.to_rows)
        for name, rows in route.items():
            # Few rows at a time: they, and what becomes of them, stay in the processor's cache.
            taking = images.index_select(0, rows).permute(CHANNELS_LAST.to_images)
            operation = cell.operation(edge, name)
            if isinstance(operation, nn.Sequential):
                out = convolved(operation, taking.relu_())
            else:
                out = operation(taking)
            last.index_add_(0, rows, out.permute(CHANNELS_LAST.to_rows))
    return last.permute(CHANNELS_LAST.to_images)


def _score_cells(
    supernet: NasBench201Supernet,
    prefix: Sequence[str],
    suffixes: Tensor,
    first: list[list[Tensor | None]],
) -> Tensor:
    """Logits of cells that share the operations which lead to nodes 1 and 2.

    Args:
        supernet: in evaluation mode.
        prefix: operations of edges 0→1, 0→2 and 1→2.
        suffixes: codes of edges 0→3, 1→3 and 2→3, shape (cells, 3).
        first: :func:`_last_outputs` of the network's first cell.

    Returns:
        Shape (cells, images, classes).
    """
    some = next(out for outputs in first for out in outputs if out is not None)
    images = len(some)
    # Rows go cell by cell: all images of the first cell, then all of the second, ... One cell's are
    # summed at a time, while they are in the processor's cache. Channels last, as the layers want
    # them.
    features = some.new_zeros(len(suffixes) * images, *some.shape[1:])
    features = features.to(memory_format=torch.channels_last)
    for rows, codes in zip(features.split(images), suffixes.tolist(), strict=True):
        for outputs, code in zip(first, codes, strict=True):
            if (out := outputs[code]) is not None:
                rows += out
    taken = suffixes.repeat_interleave(images, dim=0).to(some.device)
    routes = find_routes(taken, supernet.space.operations)

    def through(cell: Mixture, x: Tensor) -> Tensor:
        assert isinstance(cell, CellMixture)
        return _through_cell(cell, x, prefix, routes)

    logits = supernet.through_layers(features, through, first=1)
    return logits.unflatten(0, (len(suffixes), images))


def blocks(space: CellSpace) -> list[NDArray[np.int8]]:
    """The distinct cells, shape (cells, 6) each, by the operations leading to nodes 1 and 2."""
    distinct = np.unique(space.canonical_codes(), axis=0)
    _, block = np.unique(distinct[:, _PREFIX], axis=0, return_inverse=True)
    return [distinct[block.ravel() == number] for number in range(block.max() + 1)]


@torch.no_grad()
def score_block(
    supernet: NasBench201Supernet,
    cells: NDArray[np.int8],
    batches: list[tuple[Tensor, Tensor]],
    rows_at_once: int = ROWS_AT_ONCE,
) -> pd.DataFrame:
    """Scores of the cells of one block.

    Args:
        rows_at_once: pairs of a cell and an image in one batch.

    Returns:
        columns ``cell_id`` (in the supernet's own space), ``score`` (accuracy) and ``loss`` (mean
        cross-entropy) on the images of ``batches``.
    """
    first = supernet.layers[0]
    assert isinstance(first, CellMixture)
    prefix = [supernet.space.operations[code] for code in cells[0, _PREFIX]]
    suffixes = torch.from_numpy(np.ascontiguousarray(cells[:, _SUFFIX]))
    step = max(1, rows_at_once // len(batches[0][0]))
    images = sum(len(y) for _, y in batches)
    correct, loss = np.zeros(len(cells)), np.zeros(len(cells))
    for x, y in batches:
        outputs = _last_outputs(first, prefix, supernet.stem(x))
        for start in range(0, len(cells), step):
            now = slice(start, start + step)
            logits = _score_cells(supernet, prefix, suffixes[now], outputs)
            right, nll = sums(logits, y).cpu().numpy()
            correct[now] += right
            loss[now] += nll
    ids = supernet.space.ids(cells)
    return pd.DataFrame({"cell_id": ids, "score": correct / images, "loss": loss / images})


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
    device = batches[0][0].device
    images = sum(len(y) for _, y in batches)
    parts = []
    for some in torch.from_numpy(cells).split(max(1, rows_at_once // len(batches[0][0]))):
        chosen = some.to(device)
        of_batches = [sums(supernet.forward_cells(x, chosen), y) for x, y in batches]
        parts.append(torch.stack(of_batches).sum(dim=0))
    score, mean_loss = (torch.cat(parts, dim=1) / images).cpu().numpy()
    ids = supernet.space.ids(cells)
    return pd.DataFrame({"cell_id": ids, "score": score, "loss": mean_loss})
