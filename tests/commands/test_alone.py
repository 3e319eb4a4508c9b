"""``pdnas nasbench alone``: a table and its summary, resumed after a kill, never overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

from pdnas.commands.app import app
from pdnas.spec.alone import AloneStudy
from pdnas.spec.scale import load_scale, read_model
from pdnas.stages import alone
from pdnas.stages.search import search_run
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, read_table

pytestmark = pytest.mark.slow

STUDY = {
    "sample": {"bounds": [0.94], "counts": [3, 2]},
    "seeds": [0],
    "base": {
        "dataset": "digits",
        "train": 100,
        "supernet": {"name": "nasbench201", "channels": 4, "cells": 1},
        "steps": 4,
        "batch": 10,
        "learning_rate": 0.1,
    },
    "variants": {"random": {}, "identity": {"kernels": "identity"}},
}


def call(*arguments: object) -> Result:
    words = ["nasbench", "alone", *map(str, arguments)]
    return CliRunner().invoke(app, words, catch_exceptions=False)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PDNAS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    return path


def test_a_killed_study_goes_on_and_a_finished_one_is_kept(
    tmp_path: Path, study: Path, kill_at: Callable[[Any, str, int], list[Any]]
) -> None:
    out, calls = tmp_path / "alone.parquet", kill_at(alone, "train_alone", 7)
    assert call(study, "--out", out).exit_code != 0
    assert not out.exists()
    assert "tau" in call(study, "--out", out).output
    assert len(calls) == 10 + 1, "only the killed one is trained again"
    table, record = read_table(out), read_json(out.with_suffix(".json"))
    assert table.groupby("variant").size().to_dict() == {"random": 5, "identity": 5}
    assert [len(losses) for losses in table["losses"]] == [4] * 10
    assert (record["cells"], record["judged_by"]) == (5, "cifar10")
    assert "trained on digits, judged by accuracies on cifar10" in call(study, "--out", out).output
    assert record["provenance"]["cpu_seconds"] > 0
    assert 0 < record["tau_ceiling"]["all"] <= 1
    assert not list((tmp_path / "cache").rglob("alone-*"))
    figure = tmp_path / "drawn.png"
    said = call(study, "--out", out, "--json", "--figure", figure).output
    assert json.loads(said)["evidence"] == record["evidence"]
    assert len(calls) == 11, "it was finished"
    assert figure.is_file()
    drawn = pd.read_csv(figure.with_suffix(".csv"))
    ends = [each for each in record["evidence"] if each["evidence"] == "loss_end"]
    assert drawn["steps"].tolist() == [each["steps"] for each in ends]
    assert drawn["tau_low"].tolist() == pytest.approx([each["tau"]["low"] for each in ends])


def test_another_study_does_not_take_its_place(tmp_path: Path, study: Path) -> None:
    out = tmp_path / "alone.parquet"
    out.write_text("mine")
    with pytest.raises(PdnasError, match=r"alone\.parquet is there already.*--force"):
        call(study, "--out", out)
    out.unlink()
    call(study, "--out", out)
    for changes in ({"seeds": [1]}, {"variants": {"random": {}}}):
        study.write_text(yaml.safe_dump(STUDY | changes))
        with pytest.raises(PdnasError, match=r"is finished, with .*--force"):
            call(study, "--out", out)
    with pytest.raises(PdnasError, match=r"must end in \.parquet"):
        call(study, "--out", tmp_path / "alone.csv")
    with pytest.raises(PdnasError, match=r"cannot read .*nowhere\.yaml"):
        call(tmp_path / "nowhere.yaml", "--out", out)


def test_two_processes_train_the_same(tmp_path: Path, study: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    call(study, "--out", one)
    call(study, "--out", two, "--jobs", 2)
    same = ["variant", "seed", "cell_id", "losses"]
    assert read_table(one)[same].to_json() == read_table(two)[same].to_json()


CONFIG = Path(__file__).parents[2] / "config"


def test_the_study_that_chooses_looks_at_no_truth() -> None:
    """Cells are drawn from one stratum, so uniformly, and held against a longer training."""
    asked = read_model(CONFIG / "alone-choice.yaml", AloneStudy)
    assert not asked.sample.bounds
    assert asked.reference is not None
    longest = max(asked.variants, key=lambda variant: asked.config(variant).steps)
    assert asked.reference == longest


def test_the_projects_own_study_is_sound() -> None:
    asked = read_model(CONFIG / "alone.yaml", AloneStudy)
    assert {asked.config(variant).kernels for variant in asked.variants} == {"random", "identity"}
    assert {asked.config(variant).supernet.cells for variant in asked.variants} == {1, 2, 3, 5}


def test_weights_of_another_search_are_other_trainings(
    tmp_path: Path, study: Path, kill_at: Callable[[Any, str, int], list[Any]]
) -> None:
    """A folder may hold another supernet by the time that a killed study goes on."""
    smoke = load_scale("smoke").spec("nasbench201", "guided")
    parts = {
        "data": smoke.data.model_copy(update={"train": 100, "validation": 0}),
        "supernet": AloneStudy.model_validate(STUDY).config("random").supernet,
        "training": smoke.training.model_copy(update={"epochs": 1, "batch": 50}),
        "gates": smoke.gates.model_copy(update={"warmup_epochs": 0}),
    }
    supernet = tmp_path / "supernet"

    def search(seed: int) -> None:
        spec, names = smoke.model_copy(update=parts), {"scale": "s", "study": "s", "variant": "v"}
        search_run(spec, **names, seed=seed, out=supernet, device=torch.device("cpu"))

    inherits = {"inherit": str(supernet)}
    study.write_text(yaml.safe_dump(STUDY | {"variants": {"inherits": inherits}}))
    out, calls = tmp_path / "alone.parquet", kill_at(alone, "train_alone", 3)
    search(0)
    assert call(study, "--out", out).exit_code != 0
    search(1)
    call(study, "--out", out)
    assert len(calls) == 3 + 5, "what was trained of the first supernet counts no more"
    search(0)
    with pytest.raises(PdnasError, match=r"is finished, with searches\..*supernet"):
        call(study, "--out", out)
