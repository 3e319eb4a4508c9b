"""One-shot scores of every cell of a run's space, computed and kept block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from pdnas.data.batches import Batch
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.cells.scoring import (
    GPU_IMAGES_AT_ONCE,
    GPU_ROWS_AT_ONCE,
    IMAGES_AT_ONCE,
    ROWS_AT_ONCE,
    blocks,
    folded,
    score_alone,
    score_block,
)
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
    """What cells are scored with.

    Attributes:
        supernet: the trained one.
        images: all together, and their labels.
        training: for its precision.
        alone: each cell has BatchNorm statistics of its own.
    """

    supernet: NasBench201Supernet
    images: Batch
    training: TrainingConfig
    alone: bool = False

    @classmethod
    def open(cls, run: Run, images: int | None, device: torch.device) -> Inputs:
        """Read a run's weights and validation images.

        Args:
            images: how many to use; None: all of them.

        Raises:
            PdnasError: the run's supernet has no cells, or there are not so many images.
        """
        supernet = trained_supernet(run, device)
        if not isinstance(supernet, NasBench201Supernet):
            raise PdnasError(f"{run.folder} is no run of nasbench201; only cells can all be scored")
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
    """Score every cell of a run's space; writes ``scores.parquet`` and ``scores.json``.

    A killed call goes on after the last block that it finished.

    Args:
        images: how many validation images to use; None: all of them.

    Returns:
        the record written to ``scores.json``.

    Raises:
        PdnasError: the run's supernet has no cells, or more images are asked for than there are.
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
        "operations": list(space.operations),
        "distinct_cells": len(np.unique(space.canonical_codes(), axis=0)),
        "best": int(table["cell_id"][table["score"].argmax()]),
        "provenance": provenance(config, run.seed, journal.stopwatch),
    }
    run.write(layout.SCORES, table)
    run.write(layout.SCORES_RECORD, record)
    journal.remove()
    return record


def score(inputs: Inputs, journal: Journal | None = None, description: str = "") -> pd.DataFrame:
    """Score every cell of a supernet's space, those that compute the same once.

    Args:
        journal: keeps each block of cells, so that a killed call goes on where it was.
        description: what is being done, for people.

    Returns:
        a row a cell, in the order of the benchmark's ids: ``cell_id`` (that id), ``score``
        (accuracy), ``loss`` (docs/files.md).
    """
    journal = journal or Journal()
    supernet, (x, y) = inputs.supernet, inputs.images
    on_gpu = x.device.type == "cuda"
    rows_at_once = GPU_ROWS_AT_ONCE if on_gpu else ROWS_AT_ONCE
    images_at_once = GPU_IMAGES_AT_ONCE if on_gpu else IMAGES_AT_ONCE
    if inputs.alone:
        score_cells, images_at_once = score_alone, EVALUATION_BATCH
    else:
        score_cells, supernet = score_block, folded(supernet)
    batches = list(zip(x.split(images_at_once), y.split(images_at_once), strict=True))
    space, todo, done = supernet.space, blocks(supernet.space), len(journal.rows)
    progress = Progress(description, len(todo), done, quiet=not description)
    with progress, autocast(x.device, inputs.training):
        for cells in todo[done:]:
            table = score_cells(supernet, cells, batches, rows_at_once)
            journal.append({str(name): values.tolist() for name, values in table.items()})
            progress.advance()
    distinct = pd.concat(map(pd.DataFrame, journal.rows)).set_index("cell_id")
    table = distinct.loc[space.ids(space.canonical_codes())].reset_index(drop=True)
    table.insert(0, "cell_id", space.benchmark_ids())
    return table.sort_values("cell_id", ignore_index=True)
