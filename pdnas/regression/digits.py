"""A small benchmark for continuous integration: 729 cells, each trained on scikit-learn's digits.

Three operations on six edges, a skeleton of one stage, a few hundred images of 8x8 pixels. Every
cell was trained from scratch with several seeds by this suite's own loop; the table is part of the
package, so the whole study runs on it without a download (:mod:`pdnas.regression.regress`).

``digits729/`` beside this module holds ``scale.yaml`` (variant ``truth``: how cells are trained;
``guided``: how the supernet is); the table is a ground truth (:mod:`pdnas.truth.tables.digits`).
Its test images are of the same writers as those for training: docs/truths.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from pdnas.data.batches import Loader
from pdnas.data.splits import make_splits
from pdnas.nn.gates import GateSettings
from pdnas.runs.tasks import cached_journal, quiet, rows_of, work_done
from pdnas.space.cells import CELL, CellSpace
from pdnas.spec.names import Part
from pdnas.spec.scale import load_scale
from pdnas.spec.spec import Spec
from pdnas.spec.supernets import NasBench201Config
from pdnas.stages.materials import make_loader, make_supernet, training_data
from pdnas.support.files import write_json, write_table
from pdnas.support.statistics import kendall_tau
from pdnas.train.evaluate import evaluate
from pdnas.train.fit import fit
from pdnas.truth.tables.digits import COLUMNS, Digits

FOLDER = Path(__file__).parent / "digits729"
STUDY = "digits729"
_CPU = torch.device("cpu")


def specification(variant: str) -> Spec:
    """``truth``: how a cell is trained from scratch; ``guided``: how the supernet is."""
    return load_scale(str(FOLDER / "scale.yaml")).spec(STUDY, variant)


def space_of(spec: Spec) -> CellSpace:
    """The cells that a specification chooses from."""
    assert isinstance(spec.supernet, NasBench201Config)
    return CellSpace(spec.supernet.operations)


@cache
def _loader(spec: Spec, part: Part, seed: int) -> Loader:
    splits = make_splits(spec.data)
    return make_loader(spec, splits, part, _CPU, seed=seed, train=part == "train")


def train_cell(spec: Spec, cell: NDArray[np.integer], seed: int) -> tuple[float, float]:
    """Validation and test accuracy of one cell trained from scratch, as fractions.

    Initial weights differ from cell to cell and seed to seed; the order of the images, from seed
    to seed.

    Args:
        cell: six operation codes.
    """
    identity = int(space_of(spec).ids(cell))
    weights_seed = np.random.SeedSequence([seed, identity]).generate_state(1, np.uint64)
    torch.manual_seed(int(weights_seed[0]))
    network = make_supernet(spec, _CPU)
    network.configure_gates(GateSettings("none"))
    network.begin_alone()
    images = _loader(spec, "train", seed)
    with network.candidate({CELL: torch.from_numpy(cell.astype(np.int8))}), quiet():
        fit(network, training_data(spec.gates, images), spec.training, spec.gates)
        validation, test = (
            evaluate(network, _loader(spec, part, 0), spec.training)[0]
            for part in ("validation", "test")
        )
    return validation, test


def _table_row(spec: Spec, cell_id: int, seed: int) -> dict[str, Any]:
    accuracies = train_cell(spec, space_of(spec).cells[cell_id], seed)
    row = dict(zip(("validation_accuracy", "test_accuracy"), accuracies, strict=True))
    return {"cell_id": cell_id, "seed": seed, **row}


def build_table(spec: Spec, seeds: Sequence[int], jobs: int, path: Path = Digits.path()) -> None:
    """Train every cell with every seed; writes the table, and its record in a ``.json`` beside it.

    Cells that differ only where nothing can be seen of it are trained once. A killed call goes on
    after the cells that it finished.

    Args:
        jobs: processes.
        path: the Parquet file, by default the package's.
    """
    space = space_of(spec)
    canonical = space.ids(space.canonical_codes())
    distinct = np.unique(canonical).tolist()
    config = spec.model_dump(mode="json")
    journal = cached_journal("table", config, seeds)
    title = f"train {len(distinct)} cells, {len(seeds)} seeds"
    tasks = [(spec, cell, seed) for seed in seeds for cell in distinct]
    trained = rows_of(_table_row, tasks, jobs, journal, title)
    table = pd.concat(
        [
            rows.set_index("cell_id").loc[canonical].assign(cell_id=np.arange(len(space)))
            for _, rows in trained.groupby("seed")
        ],
        ignore_index=True,
    )
    table["cell"] = [space.to_string(space.cells[number]) for number in table["cell_id"]]
    record = {
        "distinct_cells": len(distinct),
        "seeds": len(seeds),
        **agreement(by_seed(table)),
        "provenance": work_done(config, trained, journal),
    }
    write_table(path, table[list(COLUMNS)])
    write_json(path.with_suffix(".json"), record)
    journal.remove()


def by_seed(table: pd.DataFrame) -> NDArray[np.float64]:
    """The table's test accuracies as an array of shape (seeds, cells), cell-id order."""
    wide = table.pivot(index="seed", columns="cell_id", values="test_accuracy").sort_index(axis=1)
    return wide.to_numpy(np.float64)


def agreement(accuracies: ArrayLike) -> dict[str, Any]:
    """How far seeds agree on the order of cells, and what a perfect score could reach.

    Seed means are taken as truth plus independent noise. With r the mean correlation of two seeds,
    the reliability of the mean of k seeds is R = k r / (1 + (k - 1) r) (Spearman 1910, Brown 1910),
    and the correlation of the mean with the noiseless truth, the noise ceiling, is √R.

    Args:
        accuracies: shape (seeds, cells).

    Returns:
        ``quantiles`` of the cells' mean accuracies (0, 5, 25, 50, 75, 95 and 100 %);
        ``noise`` (standard deviation of one seed of one cell); ``kendall_tau`` and ``spearman``
        between two seeds, the mean over pairs; ``reliability`` and ``noise_ceiling`` of the means,
        of ranks.
    """
    from scipy.stats import spearmanr

    seeds = np.asarray(accuracies, dtype=np.float64)
    pairs = list(combinations(seeds, 2))
    rank_correlation = float(np.mean([spearmanr(a, b).statistic for a, b in pairs]))
    reliability = len(seeds) * rank_correlation / (1 + (len(seeds) - 1) * rank_correlation)
    levels = (0, 5, 25, 50, 75, 95, 100)
    quantiles = np.percentile(seeds.mean(axis=0), levels)
    return {
        "quantiles": dict(zip(map(str, levels), quantiles.round(4).tolist(), strict=True)),
        "noise": float(np.sqrt(seeds.var(axis=0, ddof=1).mean())),
        "kendall_tau": float(np.mean([kendall_tau(a, b) for a, b in pairs])),
        "spearman": rank_correlation,
        "reliability": reliability,
        "noise_ceiling": float(np.sqrt(max(reliability, 0.0))),
    }
