"""One-shot scores of all cells: equal to judging the cells one by one."""

import copy
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy
from typer.testing import CliRunner

from pdnas.commands.app import app
from pdnas.nn.supernets.categorical.scoring import folded
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.cells.scoring import blocks, score_alone, score_block
from pdnas.runs.run import Run
from pdnas.space.cells import CELL, CellSpace
from pdnas.spec.scale import load_scale
from pdnas.stages import score
from pdnas.stages.materials import loader_of, trained_supernet
from pdnas.stages.score import score_run
from pdnas.stages.search import search_run
from pdnas.support.files import read_table

CPU = torch.device("cpu")
SMALL = CellSpace(("nor_conv_3x3", "none", "skip_connect"))  # not in the benchmark's order


def trained_alike(space: CellSpace, cells: int = 2) -> NasBench201Supernet:
    """A supernet in evaluation mode whose BatchNorm statistics and offsets are not at birth."""
    torch.manual_seed(0)
    net = NasBench201Supernet(4, cells, space, in_channels=3, classes=10).double()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.5)
    for kernel in net.gated_weights():
        torch.nn.init.normal_(kernel, std=0.2)
    return net.eval()


def alone(
    net: NasBench201Supernet, cell: NDArray[np.integer], x: Tensor, y: Tensor
) -> tuple[float, float]:
    with torch.no_grad(), net.candidate({CELL: torch.from_numpy(cell.astype(np.int8))}):
        logits = net(x)
    return (logits.argmax(1) == y).double().mean().item(), cross_entropy(logits, y).item()


@pytest.mark.parametrize("space", [CellSpace(), SMALL], ids=["five", "three"])
def test_scores_are_those_of_the_cells_one_by_one(space: CellSpace) -> None:
    net = trained_alike(space)
    x, y = torch.randn(70, 3, 8, 8, dtype=torch.float64), torch.randint(10, (70,))
    batches = list(zip(x.split(50), y.split(50), strict=True))
    rng = np.random.default_rng(0)
    every = blocks(space)
    for number in rng.choice(len(every), 3, replace=False):
        table = score_block(folded(net), every[number], batches)
        assert table["cell_id"].tolist() == space.ids(every[number]).tolist()
        for row in rng.choice(len(table), 5):
            accuracy, loss = alone(net, every[number][row], x, y)
            assert table["score"][row] == pytest.approx(accuracy)
            assert table["loss"][row] == pytest.approx(loss, rel=1e-9)


def test_canonical_cells_compute_the_same() -> None:
    net = trained_alike(CellSpace())
    x, y = torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.randint(10, (6,))
    canonical = net.space.canonical_codes()
    changed = np.flatnonzero((canonical != net.space.cells).any(axis=1))
    assert len(np.unique(canonical, axis=0)) == 12_204 + 1
    for cell in np.random.default_rng(1).choice(changed, 20):
        one, other = (alone(net, cells[cell], x, y) for cells in (net.space.cells, canonical))
        assert one == pytest.approx(other, rel=1e-12)


def test_cells_that_count_as_one_compute_the_same() -> None:
    assert len(np.unique(CellSpace().equal_ids())) == 8_452
    space = CellSpace(("none", "skip_connect", "nor_conv_1x1", "avg_pool_3x3"))
    net = folded(trained_alike(space, cells=1))
    batch = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randint(10, (2,))
    of_prefixes = [score_block(net, part, [batch])["loss"] for part in np.split(space.cells, 4**3)]
    losses = np.concatenate(of_prefixes)
    assert losses == pytest.approx(losses[space.equal_ids()], rel=1e-9)


def test_scores_in_bfloat16_are_nearly_those_in_float32() -> None:
    net = trained_alike(SMALL).float()
    batches = [(torch.randn(40, 3, 8, 8), torch.randint(10, (40,)))]
    cells = blocks(SMALL)[-1]
    exact = score_block(net, cells, batches)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = score_block(net, cells, batches)
    assert not rounded["loss"].equals(exact["loss"])
    assert rounded["loss"].to_numpy() == pytest.approx(exact["loss"].to_numpy(), rel=0.02)


@pytest.mark.parametrize("rows_at_once", [1, 60])
def test_a_cell_scored_alone_has_the_statistics_of_its_own_images(rows_at_once: int) -> None:
    net = trained_alike(SMALL)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    batches = [(torch.randn(n, 3, 8, 8).double(), torch.randint(10, (n,))) for n in (30, 20)]
    cells = blocks(SMALL)[-1][:3]
    table = score_alone(net, cells, batches, rows_at_once)
    assert not any(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    for row, cell in enumerate(cells):
        own = copy.deepcopy(net).train()
        found = [alone(own, cell, x, y) for x, y in batches]
        accuracy, loss = np.average(found, axis=0, weights=(30, 20))
        assert table["cell_id"][row] == SMALL.ids(cell)
        assert table["score"][row] == pytest.approx(accuracy)
        assert table["loss"][row] == pytest.approx(loss, rel=1e-9)
    assert table["loss"].to_numpy() != pytest.approx(score_block(net, cells, batches)["loss"])


def test_blocks_hold_every_distinct_cell_once() -> None:
    parts = blocks(SMALL)
    everything = np.concatenate(parts)
    assert np.array_equal(np.sort(SMALL.ids(everything)), np.unique(SMALL.equal_ids()))
    assert len(everything) == len(np.unique(everything, axis=0))
    for part in parts:
        assert (part[:, :3] == part[0, :3]).all()


def test_a_run_is_scored_and_goes_on_after_a_kill(
    tmp_path: Path, kill_at: Callable[[Any, str, int], list[Any]]
) -> None:
    spec = load_scale("smoke").spec("nasbench201", "guided")
    supernet = spec.supernet.model_copy(update={"operations": SMALL.operations, "channels": 2})
    training = spec.training.model_copy(update={"epochs": 3})
    spec = spec.model_copy(update={"supernet": supernet, "training": training})
    names = {"scale": "smoke", "study": "nasbench201", "variant": "guided"}
    search_run(spec, **names, seed=0, out=tmp_path, device=torch.device("cpu"))
    run = Run.load(tmp_path)

    kill_at(score, "score_block", 5)
    with pytest.raises(KeyboardInterrupt):
        score_run(run, 60, torch.device("cpu"))
    record = score_run(run, 60, torch.device("cpu"))
    table = read_table(tmp_path / "scores.parquet")
    assert list(table.columns) == ["cell_id", "score", "loss"]
    ids = SMALL.benchmark_ids()
    assert table["cell_id"].tolist() == sorted(ids)
    assert record["best"] == table["cell_id"][table["score"].argmax()]
    assert record["operations"] == list(SMALL.operations)
    assert not list(tmp_path.glob("checkpoint*"))
    # Of validation images: one of the cells, judged by hand on those that were taken.
    x, y = (
        torch.cat(part) for part in zip(*loader_of(run, "validation", CPU).epoch(0), strict=True)
    )
    taken = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:60]
    net, score_of = trained_supernet(run, CPU), table.set_index("cell_id")["score"]
    for cell in (int(np.flatnonzero(ids == record["best"])[0]), 5, 300):
        choice = torch.from_numpy(SMALL.cells[cell])
        with torch.no_grad(), net.candidate({CELL: choice}):
            right = (net(x[taken]).argmax(dim=1) == y[taken]).double().mean().item()
        assert score_of[ids[cell]] == pytest.approx(right)
    assert score_of.max() > 0.2, "a network that tells nothing apart is right on any images"

    score_run(run, 60, torch.device("cpu"))
    pd.testing.assert_frame_equal(table, read_table(tmp_path / "scores.parquet"))

    words = ["nasbench", "score", str(tmp_path), "--images"]
    done = CliRunner().invoke(app, [*words, "60"])
    assert done.stdout.startswith("finished already: scored")
    done = CliRunner().invoke(app, [*words, "50"])
    assert re.search("images 60 and not 50.*--force", str(done.exception))
    pd.testing.assert_frame_equal(table, read_table(tmp_path / "scores.parquet"))
    done = CliRunner().invoke(app, [*words, "50", "--force"])
    assert done.stdout.startswith("scored")

    candidates = spec.candidates.model_copy(update={"batchnorm": "recalibrated"})
    own = dataclasses.replace(run, spec=spec.model_copy(update={"candidates": candidates}))
    record = score_run(own, 60, torch.device("cpu"))
    assert record["provenance"]["config"]["batchnorm"] == "recalibrated"
    assert not read_table(tmp_path / "scores.parquet")["loss"].equals(table["loss"])
