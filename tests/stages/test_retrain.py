"""The chosen candidate's end: what is trained, what it is tested on, and what is reported."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pdnas.data.sets import INFO
from pdnas.nn.supernets import ChannelSupernet
from pdnas.runs import kept
from pdnas.runs.distributions import load_candidates, save_posterior
from pdnas.runs.run import Run
from pdnas.space.cells import CELL, CellSpace
from pdnas.space.posterior import ChannelPosterior
from pdnas.spec.gates import GateConfig
from pdnas.spec.names import JudgedSource, RetrainMode
from pdnas.spec.training import TrainingConfig
from pdnas.stages import retrain as module
from pdnas.stages.materials import loader_of, trained_supernet
from pdnas.stages.rank import rank_run
from pdnas.stages.retrain import choose, retrain_run
from pdnas.stages.sample import sample_run
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json
from pdnas.train.fit import Session, TrainingData
from pdnas.train.state import TrainingState

from .conftest import CPU, plainly


def test_full_is_the_whole_supernet_whatever_the_posterior_drops(
    guided: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(guided, tmp_path / "run")
    run = Run.load(folder)
    learned = run.posterior()
    assert isinstance(learned, ChannelPosterior)
    dropping = ChannelPosterior.constant(learned, 0.9)
    save_posterior(folder / "posterior.safetensors", dropping, {}, run.identity)
    record = retrain_run(run, choose(run, "full"), "none", CPU)
    assert record["parameters"] == run.record["supernet_parameters"]


@pytest.mark.parametrize("mode", ["none", "finetune"])
def test_top5_accuracy_where_there_are_many_classes(
    guided: Path, monkeypatch: pytest.MonkeyPatch, mode: RetrainMode
) -> None:
    run = Run.load(guided)
    assert retrain_run(run, choose(run, "posterior"), mode, CPU)["test_top5_accuracy"] is None
    monkeypatch.setitem(INFO, "digits", replace(INFO["digits"], top5=True))
    record = retrain_run(run, choose(run, "posterior"), mode, CPU)
    assert record["test_accuracy"] < record["test_top5_accuracy"] <= 1
    if mode == "none":  # by hand, on the network that was judged
        supernet = trained_supernet(run, CPU)
        candidates, _ = load_candidates(guided / "candidates-posterior.safetensors")
        right = 0
        with torch.no_grad(), supernet.candidate(candidates[record["candidate"]]):
            for x, y in loader_of(run, "test", CPU).epoch(0):
                order = supernet(x).argsort(dim=1, descending=True)
                right += sum(int(label in row[:5]) for row, label in zip(order, y, strict=True))
        assert record["test_top5_accuracy"] == right / record["test_images"]


@pytest.mark.parametrize("mode", ["finetune", "scratch"])
def test_what_trains_on_is_the_candidate(
    guided: Path, monkeypatch: pytest.MonkeyPatch, mode: RetrainMode
) -> None:
    """With the settings of ``retrain`` from the inherited weights, or as the search from anew."""
    given: dict[str, Any] = {}

    def fit(
        supernet: ChannelSupernet,
        data: TrainingData,
        training: TrainingConfig,
        gates: GateConfig,
        session: Session,
    ) -> TrainingState:
        given.update(training=training, images=data.loader.examples)
        given["weights"] = {name: x.clone() for name, x in supernet.state_dict().items()}
        given["masks"] = {
            name: layer.gate.keep_mask for name, layer in supernet.gated_layers().items()
        }
        return TrainingState(supernet, training, gates, batches=1)

    monkeypatch.setattr(module, "fit", fit)
    run = Run.load(guided)
    record = retrain_run(run, choose(run, "posterior"), mode, CPU)
    _, choice = run.candidate("posterior", None)
    assert record["candidate"] == read_json(guided / "ranking-posterior.json")["best"]
    for name, mask in choice.items():
        assert torch.equal(given["masks"][name].squeeze(0).bool(), mask)
    settings, retrained = run.spec.training, run.spec.retrain
    if mode == "finetune":
        assert retrained is not None
        settings = settings.model_copy(update=dict(retrained))
        assert (settings.epochs, settings.learning_rate) == (1, 0.01)
    assert given["training"] == settings
    assert given["images"] == 200
    inherited = load_file(guided / "weights.safetensors")["classifier.weight"]
    assert torch.equal(given["weights"]["classifier.weight"], inherited) == (mode == "finetune")


def test_the_winner_is_tested_on_the_test_images(raced: Run) -> None:
    everything = plainly(raced)
    rank_run(everything, "posterior", CPU)
    record = retrain_run(everything, choose(everything, "posterior"), "none", CPU)
    number, choice = everything.candidate("posterior", None)
    supernet = trained_supernet(raced, CPU)
    accuracy = {}
    for part in ("validation", "test"):
        with torch.no_grad(), supernet.candidate(choice):
            right = [
                supernet(x).argmax(dim=1) == y for x, y in loader_of(raced, part, CPU).epoch(0)
            ]
        accuracy[part] = torch.cat(right).double().mean().item()
    assert accuracy["test"] != accuracy["validation"], "or one could stand for the other"
    assert record["candidate"] == number
    assert record["test_accuracy"] == pytest.approx(accuracy["test"], abs=1e-12)
    assert record["validation_accuracy"] == pytest.approx(accuracy["validation"], abs=1e-12)
    assert record["test_images"] == 359


def test_a_given_candidate_has_a_result_of_its_own(guided: Path, tmp_path: Path) -> None:
    run = Run.load(shutil.copytree(guided, tmp_path / "run"))
    best = retrain_run(run, choose(run, "posterior"), "finetune", CPU)
    best_file = (run.folder / "result-posterior-finetune.json").read_bytes()
    number = best["candidate"]
    again = retrain_run(run, choose(run, "posterior", candidate=number), "finetune", CPU)
    for key in ("candidate", "validation_accuracy", "test_accuracy", "parameters"):
        assert again[key] == best[key], "the best one, given by its number"
    other = retrain_run(run, choose(run, "posterior", candidate=(number + 1) % 3), "finetune", CPU)
    assert other["candidate"] == (number + 1) % 3
    assert (run.folder / "result-posterior-finetune.json").read_bytes() == best_file
    for name in (number, other["candidate"]):
        path = run.folder / f"result-posterior-{name}-finetune.json"
        assert read_json(path)["candidate"] == name
        assert path not in run.records, "it is no part of a report"
        assert kept.result(run, choose(run, "posterior", name), "finetune") == read_json(path)
    sample_run(run, "posterior", 3, seed=7)
    chosen = choose(run, "posterior", number)
    assert kept.result(run, chosen, "finetune") is None, "another candidate by now"


CELL_TEXT = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"


def test_a_given_cell_needs_no_candidates(cells: Path) -> None:
    """Its file has the benchmark's cell id, whatever the order of the run's operations."""
    run = Run.load(cells)
    record = retrain_run(run, choose(run, "posterior", cell=CELL_TEXT), "none", CPU)
    space = CellSpace()
    number = int(space.ids(space.from_string(CELL_TEXT)))
    assert read_json(cells / f"result-cell-{number}-none.json")["cell"] == CELL_TEXT
    assert record["candidate"] is None
    supernet = trained_supernet(run, CPU)
    choice = {CELL: torch.tensor([0, 2, 1, 1, 0, 2], dtype=torch.int8)}
    with torch.no_grad(), supernet.candidate(choice):
        right = [supernet(x).argmax(dim=1) == y for x, y in loader_of(run, "test", CPU).epoch(0)]
    assert record["test_accuracy"] == pytest.approx(torch.cat(right).double().mean().item())
    scratch = retrain_run(run, choose(run, "posterior", cell=CELL_TEXT), "scratch", CPU)
    assert scratch["cell"] == CELL_TEXT
    assert scratch["parameters"] == record["parameters"]


@pytest.mark.parametrize(
    ("kind", "source", "given", "words"),
    [
        ("guided", "posterior", {"cell": CELL_TEXT}, "has no cells"),
        ("guided", "posterior", {"candidate": 3}, "choose 0 to 2"),
        ("guided", "posterior", {"candidate": -1}, "no candidate -1"),
        ("guided", "uniform", {"candidate": 0}, "candidates-uniform"),
        ("guided", "full", {"candidate": 0}, "no candidate"),
        ("cells", "posterior", {"cell": "|none~0|"}, "no cell"),
        ("cells", "posterior", {"cell": CELL_TEXT.replace("none", "avg_pool_3x3")}, "no cell"),
        ("cells", "posterior", {"cell": CELL_TEXT, "candidate": 0}, "give one"),
    ],
)
def test_what_a_run_does_not_hold_is_refused(
    request: pytest.FixtureRequest,
    kind: str,
    source: JudgedSource,
    given: dict[str, Any],
    words: str,
) -> None:
    run = Run.load(request.getfixturevalue(kind))
    before = sorted(run.folder.iterdir())
    with pytest.raises(PdnasError, match=words):
        choose(run, source, **given)
    assert sorted(run.folder.iterdir()) == before
