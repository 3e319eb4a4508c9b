"""One-shot scores of every cell of a run's space, computed and kept block by block."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pandas as pd
import torch

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
from pdnas.runs.run import EVALUATION_BATCH, Run
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, read_table, write_json, write_table
from pdnas.support.progress import Progress
from pdnas.support.provenance import Stopwatch, fingerprint, provenance
from pdnas.train.device import autocast


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
    on_gpu = device.type == "cuda"
    rows_at_once = GPU_ROWS_AT_ONCE if on_gpu else ROWS_AT_ONCE
    images_at_once = GPU_IMAGES_AT_ONCE if on_gpu else IMAGES_AT_ONCE
    if alone:
        images_at_once = EVALUATION_BATCH
    batches = list(zip(x.split(images_at_once), y.split(images_at_once), strict=True))

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
    table = distinct.loc[space.ids(space.canonical_cells())].reset_index(drop=True)
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
