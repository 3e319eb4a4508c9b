"""Variants from a configuration alone run through every stage and change what they should."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from pdnas.runs.run import Run, share_supernet
from pdnas.spec.scale import Scale
from pdnas.stages.rank import rank_run
from pdnas.stages.sample import sample_run
from pdnas.support.errors import PdnasError

from .conftest import ABLATIONS, CPU, stages

TERMS = ("prior_term", "entropy_term")
Hold = Callable[[dict[str, float], dict[str, float]], bool]


def times(prior: float, entropy: float) -> Hold:
    """The terms of the first epoch, against those of ``guided``; its weights hardly differ yet."""

    def hold(own: dict[str, float], common: dict[str, float]) -> bool:
        found = [own[name] / common[name] for name in TERMS]
        return bool(found == pytest.approx([prior, entropy], rel=0.15))

    return hold


EXPECTED = {
    "examples": times(200 / 500_000, 200 / 500_000),
    "official-form": times(2, 1),
    "constant-prior": times(1 / 0.9, 1),
    "initial": times(0.5 / 0.9, 0.693 / 0.325),  # entropies in nats of a half and of a tenth
    "temperature": times(1, 1),
    "shake-shake": times(1, 1),
}


@pytest.mark.parametrize("variant", [name for name in ABLATIONS if name != "guided"])
def test_each_ablation_runs_and_changes_what_it_should(
    scale: Scale, guided: Path, variant: str, tmp_path: Path
) -> None:
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


def test_a_variant_of_judging_alone_takes_the_supernet(
    scale: Scale, guided: Path, tmp_path: Path
) -> None:
    spec = scale.spec("multibranch", "recalibrated")
    names = {"scale": "mine", "study": "multibranch", "variant": "recalibrated", "seed": 0}
    record = share_supernet(Run.load(guided), spec, names, tmp_path / "run")
    run = Run.load(tmp_path / "run")
    assert (run.variant, run.spec, run.record) == ("recalibrated", spec, record)
    assert (record["searched_by"], record["provenance"]["seed"]) == ("guided", 0)
    for name in ("weights", "posterior"):
        taken, trained = (load_file(path / f"{name}.safetensors") for path in (run.folder, guided))
        assert taken.keys() == trained.keys()
        assert all(torch.equal(taken[key], trained[key]) for key in taken)
    for name in ("splits", "history", "trajectory"):
        tables = [pd.read_parquet(path / f"{name}.parquet") for path in (run.folder, guided)]
        pd.testing.assert_frame_equal(tables[0], tables[1])
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
        share_supernet(Run.load(guided), other, names | {"variant": "initial"}, tmp_path / "other")
    for name, wrong in {"seed": 1, "study": "wide"}.items():
        with pytest.raises(PdnasError, match=f"is of {name} .*, not {wrong}; give the run of that"):
            share_supernet(Run.load(guided), spec, names | {name: wrong}, tmp_path / "other")
    assert not (tmp_path / "other").exists()
