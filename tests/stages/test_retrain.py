"""The chosen candidate's end: what is trained, what it is tested on, and what is reported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pdnas.nn.supernets import ChannelSupernet
from pdnas.runs.distributions import load_candidates, save_posterior
from pdnas.runs.run import Run
from pdnas.space.posterior import ChannelPosterior
from pdnas.spec.gates import GateConfig
from pdnas.spec.names import RetrainMode
from pdnas.spec.training import TrainingConfig
from pdnas.stages import retrain as module
from pdnas.stages.materials import loader_of, trained_supernet
from pdnas.stages.rank import rank_run
from pdnas.stages.retrain import retrain_run
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
    record = retrain_run(run, "full", "none", CPU)
    assert record["parameters"] == run.record["supernet_parameters"]


@pytest.mark.parametrize("mode", ["none", "finetune"])
def test_top5_accuracy_where_there_are_many_classes(
    guided: Path, monkeypatch: pytest.MonkeyPatch, mode: RetrainMode
) -> None:
    run = Run.load(guided)
    assert retrain_run(run, "posterior", mode, CPU)["test_top5_accuracy"] is None
    monkeypatch.setattr(module, "MANY_CLASSES", 10)
    record = retrain_run(run, "posterior", mode, CPU)
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
    record = retrain_run(run, "posterior", mode, CPU)
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
    record = retrain_run(everything, "posterior", "none", CPU)
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
