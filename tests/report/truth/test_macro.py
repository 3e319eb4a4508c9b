"""The study of NAS-Bench-Macro: its table, figures and claim, from records of exact numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pdnas.report import catalogue
from pdnas.report.claims import claims
from pdnas.report.collect import Collection, collect
from pdnas.report.formats import NOT_RUN
from pdnas.space.macro import MacroSpace
from pdnas.space.posterior import CategoricalPosterior
from pdnas.spec import products
from pdnas.support.files import write_json, write_table
from pdnas.support.statistics import Interval, geometric_interval
from pdnas.truth import rivals
from pdnas.truth.macro import Inputs, judge
from pdnas.truth.tables import open_truth

from ..conftest import Tree, provenance

SCALE = """
description: Numbers made up for tests
studies:
  macro:
    target: truths
    labels: {posterior: guided ones}
    seeds: [0, 1, 2]
    score_images: 60
    base:
      data: {name: cifar10, train: 1000, validation: 200}
      supernet: {name: nasbench-macro, channels: 8}
      training: {epochs: 2, batch: 50, learning_rate: 0.1}
      gates: {length_scale2: 0}
      candidates: {count: 20}
    variants:
      posterior: {}
      spos: {gates: {mode: fixed}}
"""
FIGURES = ("macro-samples", "macro-blocks")


@pytest.fixture(scope="module")
def records() -> dict[tuple[str, int], dict[str, Any]]:
    """Three seeds of a posterior that likes large blocks, scored at random, and uniform ones."""
    truth, space, found = open_truth("nasbench-macro"), MacroSpace(), {}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        learned = torch.from_numpy(rng.dirichlet((1, 4, 8), 8))
        scores = truth.accuracy() + rng.normal(0, 0.02, len(truth))
        posterior = CategoricalPosterior(learned, space)
        found["posterior", seed] = judge(Inputs(posterior, scores), truth, draws=2)
        uniform = CategoricalPosterior.uniform(space)
        found["spos", seed] = judge(Inputs(uniform, scores), truth, draws=2)
    return found


@pytest.fixture
def nothing(tmp_path: Path) -> Tree:
    path = tmp_path / "tiny.yaml"
    path.write_text(SCALE, encoding="utf-8")
    return Tree(tmp_path / "runs", str(path))


@pytest.fixture
def collection(nothing: Tree, records: dict[tuple[str, int], dict[str, Any]]) -> Collection:
    for (variant, seed), record in records.items():
        path = nothing.search("macro", variant, seed)
        made = {**provenance(1.0), "config": {"images": 60}}
        write_json(path / "macro.json", {**record, "provenance": made})
    truth = open_truth("nasbench-macro")
    for folder, name in (("nasbench-macro", "evolution"), (".", "random")):
        trace, record = rivals.compete(name, truth, "cifar10", range(30), 110)
        path = nothing.folder / "rivals" / folder / f"{name}.parquet"
        write_table(path, trace)
        write_json(path.with_suffix(".json"), record)
    return collect(nothing.scale_name, nothing.folder)


def rows_of(collection: Collection) -> list[dict[str, Any]]:
    made = catalogue.table("macro", collection)
    keys = [column.key for column in made.columns]
    return [dict(zip(keys, row, strict=True)) for row in made.rows]


def test_table(collection: Collection, records: dict[tuple[str, int], dict[str, Any]]) -> None:
    uniform, guided, spos, evolution = rows_of(collection)
    assert [row["method"] for row in (uniform, guided, spos, evolution)] == [
        "uniform sampling",
        "guided ones",
        "spos",
        "evolution",
    ]
    own = [records["posterior", seed]["datasets"]["cifar10"] for seed in range(3)]
    to_93 = [each["targets"][2]["expected_samples"] for each in own]
    assert guided["ours_to_930"].estimate == pytest.approx(geometric_interval(to_93).estimate)
    top = [each["top"] for each in own]
    ratio = uniform["ours_to_top"] / geometric_interval([1 / each["mass"] for each in top]).estimate
    assert guided["ours_speedup_top"].estimate == pytest.approx(ratio)
    noisy = guided["ours_retrained_top"]
    assert isinstance(noisy, Interval)
    assert noisy.low < noisy.estimate < noisy.high
    assert uniform["ours_to_930"] == pytest.approx(spos["ours_to_930"])
    assert uniform["ours_to_930"] == pytest.approx(546.75)
    assert uniform["ours_mean_accuracy_pct"] == pytest.approx(90.25, abs=0.01)
    hundred = [each["chosen_of_n"] for each in own]
    chosen = [100 * each["expected"][each["n"].index(100)] for each in hundred]
    assert guided["ours_chosen_100_pct"].estimate == pytest.approx(np.mean(chosen))
    assert guided["ours_kendall_tau"].estimate == pytest.approx(
        np.mean([each["kendall_tau"] for each in own])
    )
    assert (guided["ours_seeds"], evolution["ours_seeds"]) == (3, 30)
    assert evolution["what"] == "queries"
    assert 1 < evolution["ours_to_920"].estimate < 20
    assert evolution["ours_speedup_top"] is None


def test_nothing_was_run(nothing: Tree, tmp_path: Path) -> None:
    empty = collect(nothing.scale_name, nothing.folder)
    (row,) = rows_of(empty)
    assert row["ours_to_930"] == row["ours_seeds"] == NOT_RUN
    for name in FIGURES:
        catalogue.draw(name, empty, tmp_path)
        assert pd.read_csv(tmp_path / f"{name}.csv")["status"].tolist() == ["not run"]
    assert list(claims(empty)) == []


def test_figures(
    collection: Collection,
    records: dict[tuple[str, int], dict[str, Any]],
    tmp_path: Path,
) -> None:
    for name in FIGURES:
        catalogue.draw(name, collection, tmp_path)
    samples = pd.read_csv(tmp_path / "macro-samples.csv")
    assert samples["method"].unique().tolist() == [
        "uniform sampling",
        "guided ones",
        "evolution (table)",
    ]
    assert samples["target_pct"].unique().tolist() == pytest.approx([92, 92.5, 93, 92.81])
    blocks = pd.read_csv(tmp_path / "macro-blocks.csv")
    own = blocks[blocks["networks"] == "guided ones"]
    shares = np.mean([records["posterior", seed]["blocks"]["posterior"] for seed in range(3)], 0)
    drawn = own.pivot(index="layer", columns="block", values="probability_pct").to_numpy()
    np.testing.assert_allclose(drawn, 100 * shares)
    best = blocks[blocks["networks"] == "best 1 %"].groupby("layer")["probability_pct"].sum()
    np.testing.assert_allclose(best, 100)


def test_the_claim(collection: Collection, records: dict[tuple[str, int], dict[str, Any]]) -> None:
    (claim,) = claims(collection)
    ratios = [
        records["posterior", seed]["datasets"]["cifar10"]["top"]["speedup"] for seed in (0, 1, 2)
    ]
    assert "best 1 % of NAS-Bench-Macro" in claim.question
    assert claim.interval.estimate == pytest.approx(geometric_interval(ratios).estimate)


def test_products() -> None:
    names = {product.name for product in products.TABLES.values() if product.target == "truths"}
    assert "macro" in names
    drawn = {product.name for product in products.FIGURES.values() if product.target == "truths"}
    assert set(FIGURES) <= drawn
