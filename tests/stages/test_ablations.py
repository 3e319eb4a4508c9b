"""Ablations from a configuration alone run through every stage and change what they should."""

import copy
import json
import shutil

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from pdnas.runs.distributions import load_candidates, save_posterior
from pdnas.runs.run import Run, share_supernet
from pdnas.space.posterior import ChannelPosterior
from pdnas.spec.scale import SCALES, load_scale
from pdnas.stages import retrain as retrain_module
from pdnas.stages.materials import loader_of, trained_supernet
from pdnas.stages.rank import rank_run
from pdnas.stages.retrain import retrain_run
from pdnas.stages.sample import sample_run
from pdnas.stages.search import search_run
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json
from pdnas.train.state import TrainingState

CPU = torch.device("cpu")
ABLATIONS = {
    "guided": {},
    "initial": {"gates": {"initial": 0.5}},
    "examples": {"gates": {"examples": 500_000}},
    "official-form": {"gates": {"form": "official"}},
    "constant-prior": {"gates": {"prior": "constant"}},
    "batch-noise": {"gates": {"noise": "batch"}},
    "temperature": {"gates": {"temperature": "2/3"}},
    "shake-shake": {"supernet": {"merge": "shake-shake"}},
    "steps": {"training": {"schedule": {"name": "steps", "milestones": [1]}}},
    "warm-restarts": {"training": {"schedule": {"name": "warm-restarts", "period": 1}}},
    "weight-decay": {"training": {"weight_decay": 0.01}},
    "recalibrated": {"candidates": {"batchnorm": "recalibrated"}},
}


TERMS = ("prior_term", "entropy_term")


def times(prior, entropy):
    """The terms of the first epoch, against those of ``guided``; its weights hardly differ yet."""

    def hold(own, common):
        found = [own[name] / common[name] for name in TERMS]
        return found == pytest.approx([prior, entropy], rel=0.15)

    return hold


EXPECTED = {
    "examples": times(200 / 500_000, 200 / 500_000),
    "official-form": times(2, 1),
    "constant-prior": times(1 / 0.9, 1),
    "initial": times(0.5 / 0.9, 0.693 / 0.325),  # entropies in nats of a half and of a tenth
    "temperature": times(1, 1),
    "shake-shake": times(1, 1),
}


@pytest.fixture(scope="module")
def scale(tmp_path_factory):
    """The smoke scale's multibranch study with two short epochs, and every ablation a variant."""
    content = yaml.safe_load((SCALES / "smoke.yaml").read_text())
    study = content["studies"]["multibranch"]
    base = copy.deepcopy(study["base"])
    base["data"] |= {"train": 200, "validation": 100, "test": 100}
    base["training"]["epochs"] = 2
    base["candidates"]["count"] = 3
    content["studies"] = {"multibranch": {"seeds": [0], "base": base, "variants": ABLATIONS}}
    path = tmp_path_factory.mktemp("scale") / "ablations.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_scale(str(path))


def stages(scale, variant, out):
    """Search to fine-tuning; returns the run's folder."""
    search_run(
        scale.spec("multibranch", variant),
        scale="ablations",
        study="multibranch",
        variant=variant,
        seed=0,
        out=out,
        device=CPU,
    )
    run = Run.load(out)
    sample_run(run, "posterior", run.spec.candidates.count, 0)
    rank_run(run, "posterior", CPU)
    retrain_run(run, "posterior", "finetune", CPU)
    return out


@pytest.fixture(scope="module")
def guided(scale, tmp_path_factory):
    return stages(scale, "guided", tmp_path_factory.mktemp("guided"))


@pytest.mark.parametrize("variant", [name for name in ABLATIONS if name != "guided"])
def test_each_ablation_runs_and_changes_what_it_should(scale, guided, variant, tmp_path):
    folder = stages(scale, variant, tmp_path)
    ours, theirs = (load_file(path / "weights.safetensors") for path in (folder, guided))
    assert ours.keys() == theirs.keys()
    assert all(bool(torch.isfinite(value).all()) for value in ours.values())
    same = all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert same == (variant == "recalibrated")  # which acts on judging alone
    results, losses = [], []
    for path in (folder, guided):
        results.append(json.loads((path / "result-posterior-finetune.json").read_text()))
        losses.append(list(pd.read_parquet(path / "ranking-posterior.parquet")["validation_loss"]))
    assert 0 <= results[0]["test_accuracy"] <= 1
    assert losses[0] != losses[1]
    first = [pd.read_parquet(path / "history.parquet").iloc[0] for path in (folder, guided)]
    own, common = ({name: row[name] for name in TERMS} for row in first)
    expect = EXPECTED.get(variant)
    assert expect is None or expect(own, common), (own, common)


def test_full_is_the_whole_supernet_whatever_the_posterior_drops(guided, tmp_path):
    folder = shutil.copytree(guided, tmp_path / "run")
    run = Run.load(folder)
    dropping = ChannelPosterior.constant(run.posterior(), 0.9)
    save_posterior(folder / "posterior.safetensors", dropping, {}, run.identity)
    record = retrain_run(run, "full", "none", CPU)
    assert record["parameters"] == run.record["supernet_parameters"]


def test_a_variant_of_judging_alone_takes_the_supernet(scale, guided, tmp_path):
    spec = scale.spec("multibranch", "recalibrated")
    record = share_supernet(Run.load(guided), spec, variant="recalibrated", out=tmp_path / "run")
    run = Run.load(tmp_path / "run")
    assert (run.variant, run.spec, run.record) == ("recalibrated", spec, record)
    assert (record["searched_by"], record["provenance"]["seed"]) == ("guided", 0)
    for name in ("weights", "posterior"):
        taken, trained = (load_file(path / f"{name}.safetensors") for path in (run.folder, guided))
        assert taken.keys() == trained.keys()
        assert all(torch.equal(taken[key], trained[key]) for key in taken)
    for name in ("splits", "history", "trajectory"):
        taken, trained = (
            pd.read_parquet(path / f"{name}.parquet") for path in (run.folder, guided)
        )
        pd.testing.assert_frame_equal(taken, trained)
    sample_run(run, "posterior", 3, 0)
    assert rank_run(run, "posterior", CPU)["batchnorm"] == "recalibrated"
    assert Run.load(guided).record.get("searched_by") is None

    assert Run.load(guided).under(scale) == Run.load(guided)
    more = scale.model_copy(deep=True)
    more.studies["multibranch"].base["candidates"]["count"] = 99
    assert Run.load(guided).under(more).spec.candidates.count == 99
    more.studies["multibranch"].base["training"]["epochs"] = 99
    with pytest.raises(PdnasError, match="another search than this scale's"):
        Run.load(guided).under(more)

    other = scale.spec("multibranch", "initial")
    with pytest.raises(PdnasError, match="another search than initial's"):
        share_supernet(Run.load(guided), other, variant="initial", out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("mode", ["none", "finetune"])
def test_top5_accuracy_where_there_are_many_classes(guided, monkeypatch, mode):
    run = Run.load(guided)
    assert retrain_run(run, "posterior", mode, CPU)["test_top5_accuracy"] is None
    monkeypatch.setattr(retrain_module, "MANY_CLASSES", 10)
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
def test_what_trains_on_is_the_candidate(guided, monkeypatch, mode):
    """With the settings of ``retrain`` from the inherited weights, or as the search from anew."""
    given = {}

    def fit(supernet, data, training, gates, session):
        given.update(training=training, images=data.loader.examples)
        given["weights"] = {name: x.clone() for name, x in supernet.state_dict().items()}
        given["masks"] = {
            name: layer.gate.keep_mask for name, layer in supernet.gated_layers().items()
        }
        return TrainingState(supernet, training, gates, batches=1)

    monkeypatch.setattr(retrain_module, "fit", fit)
    run = Run.load(guided)
    record = retrain_run(run, "posterior", mode, CPU)
    _, choice = run.candidate("posterior", None)
    assert record["candidate"] == read_json(guided / "ranking-posterior.json")["best"]
    for name, mask in choice.items():
        assert torch.equal(given["masks"][name].squeeze(0).bool(), mask)
    settings, retrained = run.spec.training, run.spec.retrain
    if mode == "finetune":
        settings = settings.model_copy(update=dict(retrained))
        assert (settings.epochs, settings.learning_rate) == (1, 0.01)
    assert given["training"] == settings
    assert given["images"] == 200
    inherited = load_file(guided / "weights.safetensors")["classifier.weight"]
    assert torch.equal(given["weights"]["classifier.weight"], inherited) == (mode == "finetune")
