"""One-shot scores of every cell of a space: validation accuracy with the supernet's weights.

A loop over cells would compute the same things again and again. Here the stem and the first cell's
shared parts are computed once for all cells that have them in common, many cells go through the
rest of the network as one batch, in which an operation sees all images of all cells that chose it,
and cells that differ only where nothing can be seen of it are scored once.

Where candidates get BatchNorm statistics of their own (``candidates.batchnorm: recalibrated``), so
do cells here, and nothing can be shared: what a layer does depends on the whole cell.
"""

from __future__ import annotations

import shutil
from copy import deepcopy
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pdnas.nn.supernets.nasbench201 import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    CellMixture,
    NasBench201Supernet,
    Outputs,
    Routes,
    convolved,
)
from pdnas.runs.run import EVALUATION_BATCH, Run
from pdnas.space.cells import EDGES, CellSpace
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, read_table, write_json, write_table
from pdnas.support.progress import Progress
from pdnas.support.provenance import Stopwatch, fingerprint, provenance
from pdnas.train.device import autocast

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


def canonical_cells(space: CellSpace) -> NDArray[np.int8]:
    """Every cell with the operations that lead nowhere set to ``none``, shape (cells, 6).

    A node whose outgoing edges are all ``none`` is not seen by the output, whatever leads to it.
    (A node that nothing *enters* is seen: BatchNorm's offset leaves it.)
    """
    cells = space.cells.copy()
    if "none" not in space.operations:
        return cells
    none = space.operations.index("none")
    for node in (2, 1):
        leaving = [edge for edge, (source, _) in enumerate(EDGES) if source == node]
        entering = [edge for edge, (_, target) in enumerate(EDGES) if target == node]
        unseen = (cells[:, leaving] == none).all(axis=1)
        cells[np.ix_(unseen, entering)] = none
    return cells


def folded(supernet: NasBench201Supernet) -> NasBench201Supernet:
    """A copy for evaluation, each BatchNorm part of the convolution before it.

    Outputs are equal but for rounding; BatchNorm's pass over every output is saved.
    """
    copied = deepcopy(supernet).eval()
    for block in copied.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for place, (layer, after) in enumerate(pairwise(block)):
            if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                block[place], block[place + 1] = fuse_conv_bn_eval(layer, after), nn.Identity()
    return copied


def _last_outputs(
    cell: CellMixture, prefix: NDArray[np.int8], x: Tensor
) -> list[list[Tensor | None]]:
    """What each operation (None: ``none``) of edges 0→3, 1→3 and 2→3 gives for all of ``x``."""
    nodes = [x, torch.zeros_like(x), torch.zeros_like(x)]
    outputs: Outputs = {}
    for source, node in enumerate(nodes):
        outputs |= cell.outputs(node, source, partial(convolved, cells=None))
        for edge, code in enumerate(prefix):
            if EDGES[edge][0] == source and (out := outputs[edge][code]) is not None:
                nodes[EDGES[edge][1]] += out
    return [outputs[edge] for edge in range(_SUFFIX.start, _SUFFIX.stop)]


def _through_cell(cell: CellMixture, prefix: NDArray[np.int8], routes: Routes, x: Tensor) -> Tensor:
    """The last node of a cell of which rows of ``x`` differ in the edges that lead there.

    Args:
        prefix: operation codes of the other edges.
        routes: which rows take what, by edge.
    """
    nodes = [x, torch.zeros_like(x), torch.zeros_like(x)]
    rectified: dict[int, Tensor] = {}
    for edge, code in enumerate(prefix):
        source, target = EDGES[edge]
        if (name := cell.operations[code]) == "none":
            continue
        operation = cell.operation(edge, name)
        if isinstance(operation, nn.Sequential):
            if source not in rectified:
                rectified[source] = relu(nodes[source])
            nodes[target] += convolved(operation, rectified[source], None)
        else:
            nodes[target] += operation(nodes[source])
    # Channels last, an image is one contiguous row.
    last = torch.zeros_like(x).permute(CHANNELS_LAST)
    for edge in range(_SUFFIX.start, _SUFFIX.stop):
        images = nodes[EDGES[edge][0]].permute(CHANNELS_LAST)
        for name, rows in routes[edge].items():
            # Few rows at a time: they, and what becomes of them, stay in the processor's cache.
            taking = images.index_select(0, rows).permute(CHANNELS_FIRST)
            operation = cell.operation(edge, name)
            if isinstance(operation, nn.Sequential):
                out = convolved(operation, taking.relu_(), None)
            else:
                out = operation(taking)
            last.index_add_(0, rows, out.permute(CHANNELS_LAST))
    return last.permute(CHANNELS_FIRST)


def _score_cells(
    supernet: NasBench201Supernet,
    prefix: NDArray[np.int8],
    suffixes: Tensor,
    first: list[list[Tensor | None]],
) -> Tensor:
    """Logits of cells that share the operations which lead to nodes 1 and 2.

    Args:
        supernet: in evaluation mode.
        prefix: operation codes of edges 0→1, 0→2 and 1→2.
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
    fixed = torch.from_numpy(prefix).expand(len(suffixes), -1)
    cells = torch.cat([fixed, suffixes], dim=1).repeat_interleave(images, dim=0)
    routes = supernet.routes(cells.to(some.device))
    for layer in supernet.layers[1:]:
        if isinstance(layer, CellMixture):
            features = _through_cell(layer, prefix, routes, features)
        else:
            features = layer(features)
    logits = supernet.classifier(supernet.head(features).mean(dim=(2, 3)))
    return logits.unflatten(0, (len(suffixes), images))


def blocks(space: CellSpace) -> list[NDArray[np.int8]]:
    """The distinct cells, shape (cells, 6) each, by the operations leading to nodes 1 and 2."""
    distinct = np.unique(canonical_cells(space), axis=0)
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
        columns ``cell_id``, ``score`` (accuracy) and ``loss`` (mean cross-entropy) on the images
        of ``batches``.
    """
    first = supernet.layers[0]
    assert isinstance(first, CellMixture)
    prefix, suffixes = cells[0, _PREFIX], torch.from_numpy(np.ascontiguousarray(cells[:, _SUFFIX]))
    step = max(1, rows_at_once // len(batches[0][0]))
    images = sum(len(y) for _, y in batches)
    correct, loss = np.zeros(len(cells)), np.zeros(len(cells))
    for x, y in batches:
        outputs = _last_outputs(first, prefix, supernet.stem(x))
        for start in range(0, len(cells), step):
            now = slice(start, start + step)
            logits = _score_cells(supernet, prefix, suffixes[now], outputs)
            right, nll = _sums(logits, y).cpu().numpy()
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
    sums = []
    for some in torch.from_numpy(cells).split(max(1, rows_at_once // len(batches[0][0]))):
        chosen = some.to(device)
        parts = [_sums(supernet.forward_cells(x, chosen), y) for x, y in batches]
        sums.append(torch.stack(parts).sum(dim=0))
    score, mean_loss = (torch.cat(sums, dim=1) / images).cpu().numpy()
    ids = supernet.space.ids(cells)
    return pd.DataFrame({"cell_id": ids, "score": score, "loss": mean_loss})


def _sums(logits: Tensor, y: Tensor) -> Tensor:
    """Right images and summed cross-entropy of each cell, shape (2, cells), float64.

    Args:
        logits: (cells, images, classes).
        y: labels, shape (images,).
    """
    labels = y.repeat(len(logits))
    nll = cross_entropy(logits.flatten(0, 1).double(), labels, reduction="none")
    right = (logits.argmax(dim=2) == y).sum(dim=1)
    return torch.stack([right.double(), nll.view(len(logits), -1).sum(dim=1)])


def score_run(run: Run, images: int | None, device: torch.device) -> dict[str, Any]:
    """Score every cell of a run's space; writes ``scores.parquet`` and ``scores.json``.

    A killed call goes on after the last block that it finished.

    Args:
        images: how many validation images to use; None: all of them.

    Returns:
        the record written to ``scores.json``.

    Raises:
        PdnasError: the run's supernet has no cells, or more images are asked for than there are.
    """
    trained = run.supernet(device)
    if not isinstance(trained, NasBench201Supernet):
        raise PdnasError(f"{run.folder} is no run of nasbench201; only cells can all be scored")
    alone = run.spec.candidates.batchnorm == "recalibrated"
    supernet = trained if alone else folded(trained)
    batches = list(run.loader("validation", device).epoch(0))
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    if images is not None:
        if not 1 <= images <= len(y):
            raise PdnasError(f"{images} images asked for; the run has {len(y)} for validation")
        # Validation images lie in the order of the data set's file; take some from all over it.
        chosen = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:images]
        x, y = x[chosen.to(device)], y[chosen.to(device)]
    at_once, rows_at_once = IMAGES_AT_ONCE, ROWS_AT_ONCE
    if device.type == "cuda":
        at_once, rows_at_once = GPU_IMAGES_AT_ONCE, GPU_ROWS_AT_ONCE
    if alone:
        at_once = EVALUATION_BATCH
    batches = list(zip(x.split(at_once), y.split(at_once), strict=True))

    config = {
        "images": len(y),
        "batchnorm": run.spec.candidates.batchnorm,
        "weights": run.record["provenance"]["finished"],
    }
    finished = run.folder / f"checkpoint-scores-{fingerprint(config)}"
    todo = blocks(supernet.space)
    files = [finished / f"block-{number:03d}.parquet" for number in range(len(todo))]
    done = sum(path.is_file() for path in files)
    stopwatch = Stopwatch(read_json(finished / "time.json") if done else None)
    title = f"score {run.study}/{run.variant} seed {run.seed}"
    with Progress(title, len(todo), done) as progress, autocast(device, run.spec.training):
        for path, cells in zip(files, todo, strict=True):
            if not path.is_file():
                write_json(finished / "time.json", stopwatch.read())
                if alone:
                    table = score_alone(supernet, cells, batches, rows_at_once)
                else:
                    table = score_block(supernet, cells, batches, rows_at_once)
                write_table(path, table)
                progress.advance()
    distinct = pd.concat([read_table(path) for path in files]).set_index("cell_id")
    space = supernet.space
    table = distinct.loc[space.ids(canonical_cells(space))].reset_index(drop=True)
    table.insert(0, "cell_id", np.arange(len(space)))
    record = {
        "images": len(y),
        "distinct_cells": len(distinct),
        "best": int(table["score"].to_numpy().argmax()),
        "provenance": provenance(config, run.seed, stopwatch),
    }
    write_table(run.folder / "scores.parquet", table, run.identity)
    write_json(run.folder / "scores.json", record, run.identity)
    shutil.rmtree(finished)
    return record
