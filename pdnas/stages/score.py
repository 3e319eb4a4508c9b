"""One-shot scores of every architecture of a run's space, computed and kept block by block.

Architectures are cells of NAS-Bench-201 or networks of NAS-Bench-Macro.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pdnas.data.batches import Batch
from pdnas.nn.supernets import CategoricalSupernet
from pdnas.nn.supernets.categorical.scoring import folded
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.cells.scoring import (
    GPU_IMAGES_AT_ONCE,
    GPU_ROWS_AT_ONCE,
    IMAGES_AT_ONCE,
    ROWS_AT_ONCE,
    blocks,
    score_alone,
    score_block,
)
from pdnas.nn.supernets.macro import scoring as macro
from pdnas.nn.supernets.macro.network import NasBenchMacroSupernet
from pdnas.runs import layout
from pdnas.runs.journal import Journal
from pdnas.runs.run import Run
from pdnas.spec.training import TrainingConfig
from pdnas.stages.materials import EVALUATION_BATCH, loader_of, trained_supernet
from pdnas.support.errors import PdnasError
from pdnas.support.progress import Progress
from pdnas.support.provenance import fingerprint, provenance
from pdnas.train.device import autocast


@dataclass(frozen=True)
class Inputs:
    """What architectures are scored with.

    Attributes:
        supernet: the trained one.
        images: all together, and their labels.
        training: for its precision.
        alone: each architecture has BatchNorm statistics of its own.
    """

    supernet: CategoricalSupernet
    images: Batch
    training: TrainingConfig
    alone: bool = False

    @classmethod
    def open(cls, run: Run, images: int | None, device: torch.device) -> Inputs:
        """Read a run's weights and validation images.

        Args:
            images: how many to use; None: all of them.

        Raises:
            PdnasError: the run's supernet has channel gates, or there are not so many images.
        """
        supernet = trained_supernet(run, device)
        if not isinstance(supernet, CategoricalSupernet):
            raise PdnasError(
                f"{run.folder} is no run of nasbench201 or nasbench-macro; only what these choose "
                "from can all be scored"
            )
        batches = loader_of(run, "validation", device).epoch(0)
        x, y = (torch.cat(part) for part in zip(*batches, strict=True))
        if images is not None:
            if not 1 <= images <= len(y):
                raise PdnasError(f"{images} images asked for; the run has {len(y)} for validation")
            # Validation images lie in the order of the data set's file; take some from all over it.
            chosen = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:images]
            x, y = x[chosen.to(device)], y[chosen.to(device)]
        alone = run.spec.candidates.batchnorm == "recalibrated"
        return cls(supernet, (x, y), run.spec.training, alone)


def score_run(run: Run, images: int | None, device: torch.device) -> dict[str, Any]:
    """Score every architecture of a run's space; writes ``scores.parquet`` and ``scores.json``.

    A killed call goes on after the last block that it finished.

    Args:
        images: how many validation images to use; None: all of them.

    Returns:
        the record written to ``scores.json``.

    Raises:
        PdnasError: the run's supernet has channel gates, or more images are asked for than there
            are.
    """
    inputs = Inputs.open(run, images, device)
    config = {
        "images": len(inputs.images[1]),
        "batchnorm": run.spec.candidates.batchnorm,
        "weights": run.provenance["finished"],
    }
    journal = Journal(run.folder / layout.journal("scores", fingerprint(config)))
    table = score(inputs, journal, f"score {run.study}/{run.variant} seed {run.seed}")
    space = inputs.supernet.space
    record = {
        "images": config["images"],
        "operations": list(space.options),
        "distinct_cells": len(np.unique(space.equal_ids())),
        "best": int(table["cell_id"][table["score"].argmax()]),
        "provenance": provenance(config, run.seed, journal.stopwatch),
    }
    run.write(layout.SCORES, table)
    run.write(layout.SCORES_RECORD, record)
    journal.remove()
    return record


Blocks = list[NDArray[np.int8]]
Score = Callable[[NDArray[np.int8], list[Batch]], pd.DataFrame]


def _plan(inputs: Inputs) -> tuple[Blocks, Score, int]:
    """What is scored together, how, and how many images go through at once."""
    supernet, alone = inputs.supernet, inputs.alone
    on_gpu = inputs.images[0].device.type == "cuda"
    images_at_once = GPU_IMAGES_AT_ONCE if on_gpu else IMAGES_AT_ONCE
    if alone:
        images_at_once = EVALUATION_BATCH
    else:
        supernet = folded(supernet)
    if isinstance(supernet, NasBenchMacroSupernet):
        score_networks = partial(macro.score_block, supernet, alone=alone)
        return macro.blocks(supernet.space), score_networks, images_at_once
    assert isinstance(supernet, NasBench201Supernet)
    score_cells = partial(score_block, supernet)
    if alone:
        rows_at_once = GPU_ROWS_AT_ONCE if on_gpu else ROWS_AT_ONCE
        score_cells = partial(score_alone, supernet, rows_at_once=rows_at_once)
    return blocks(supernet.space), score_cells, images_at_once


def score(inputs: Inputs, journal: Journal | None = None, description: str = "") -> pd.DataFrame:
    """Score every architecture of a supernet's space, those that compute the same once.

    Args:
        journal: keeps each block of architectures, so that a killed call goes on where it was.
        description: what is being done, for people.

    Returns:
        a row an architecture, in the order of the benchmark's ids: ``cell_id`` (that id), ``score``
        (accuracy), ``loss`` (docs/files.md).
    """
    journal = journal or Journal()
    todo, score_some, images_at_once = _plan(inputs)
    x, y = inputs.images
    batches = list(zip(x.split(images_at_once), y.split(images_at_once), strict=True))
    space, done = inputs.supernet.space, len(journal.rows)
    progress = Progress(description, len(todo), done, quiet=not description)
    with progress, autocast(x.device, inputs.training):
        for codes in todo[done:]:
            table = score_some(codes, batches)
            journal.append({str(name): values.tolist() for name, values in table.items()})
            progress.advance()
    distinct = pd.concat(map(pd.DataFrame, journal.rows)).set_index("cell_id")
    table = distinct.loc[space.equal_ids()].reset_index(drop=True)
    table.insert(0, "cell_id", space.benchmark_ids())
    return table.sort_values("cell_id", ignore_index=True)
