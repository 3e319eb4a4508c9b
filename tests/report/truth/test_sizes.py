"""The study of the size space: its table, figures and claims, from records of exact numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from PIL import Image

from pdnas.report import catalogue
from pdnas.report.claims import claims
from pdnas.report.collect import Collection, collect
from pdnas.report.formats import NOT_RUN, Column, text
from pdnas.report.truth.sizes import SAMPLERS, bands
from pdnas.space.posterior import ChannelPosterior
from pdnas.space.sizes import NAMES
from pdnas.spec import products
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json
from pdnas.support.statistics import Interval, confidence_interval
from pdnas.truth.noise import quality
from pdnas.truth.sizes import Inputs, Ranked, judge
from pdnas.truth.tables import open_truth

from ..conftest import Tree, provenance

SCALE = """
description: Numbers made up for tests
studies:
  sizes:
    target: truths
    seeds: [0, 1, 2]
    base:
      data: {name: cifar10, train: 1000, validation: 200}
      supernet: {name: natsbench-size, width: 16}
      training: {epochs: 2, batch: 50, learning_rate: 0.1}
      gates: {length_scale2: 0, size_prior: 0.1}
      candidates: {count: 20}
    variants:
      small: {candidates: {band: [90000, 110000]}}
      middle: {candidates: {band: [180000, 220000]}}
"""
FIGURES = ("size-widths", "size-samples")
BANDS = {"small": (90_000, 110_000), "middle": (180_000, 220_000)}


@pytest.fixture(scope="module")
def records() -> dict[tuple[str, int], dict[str, Any]]:
    """What three seeds are worth in two bands; 20 networks of each source were ranked."""
    truth, found = open_truth("natsbench-size"), {}
    for variant, keep in (("small", 0.35), ("middle", 0.52)):
        for seed in range(3):
            rng = np.random.default_rng(seed)
            drop = {name: torch.tensor([1 - keep + rng.normal(0, 0.05)]) for name in NAMES}
            learned = ChannelPosterior(drop, {name: torch.tensor([16]) for name in NAMES})
            rows = rng.integers(len(truth), size=(3, 20))
            ranked = {
                source: Ranked(own, truth.accuracy()[own] + rng.normal(0, 0.01, 20))
                for source, own in zip(("posterior", "random", "uniform"), rows, strict=True)
            }
            found[variant, seed] = judge(Inputs(learned, BANDS[variant], ranked), truth, draws=2)
    return found


@pytest.fixture
def nothing(tmp_path: Path) -> Tree:
    path = tmp_path / "tiny.yaml"
    path.write_text(SCALE, encoding="utf-8")
    return Tree(tmp_path / "runs", str(path))


@pytest.fixture
def collection(nothing: Tree, records: dict[tuple[str, int], dict[str, Any]]) -> Collection:
    for (variant, seed), record in records.items():
        path = nothing.search("sizes", variant, seed)
        config = {"band": list(BANDS[variant])}
        made = {**provenance(1.0), "config": config}
        write_json(path / "sizes.json", {**record, "provenance": made})
    return collect(nothing.scale_name, nothing.folder)


def rows_of(collection: Collection) -> list[dict[str, Any]]:
    made = catalogue.table("truths", collection)
    keys = [column.key for column in made.columns]
    return [dict(zip(keys, row, strict=True)) for row in made.rows]


def test_table(collection: Collection, records: dict[tuple[str, int], dict[str, Any]]) -> None:
    rows = rows_of(collection)
    assert len(rows) == 2 * 3 * 4
    assert [row["band"] for row in rows[::12]] == ["90–110 k", "180–220 k"]
    assert {row["searched_on"] for row in rows} == {"CIFAR-10"}
    guided, one, uniform, largest = rows[12:16]
    assert {row["dataset"] for row in rows[12:16]} == {"CIFAR-10"}
    own = [records["middle", seed]["samplers"] for seed in range(3)]
    facts = [
        [each[name]["datasets"]["cifar10"] for name in ("posterior", "random")] for each in own
    ]
    differences = [100 * (a["mean_accuracy"] - b["mean_accuracy"]) for a, b in facts]
    gain, expected = guided["ours_above_one_p"], confidence_interval(differences)
    assert (gain.estimate, gain.high) == pytest.approx((expected.estimate, expected.high))
    assert gain.count == 3
    assert one["ours_above_one_p"] is one["ours_p_holm"] is None
    alone = scipy.stats.ttest_1samp(differences, 0).pvalue
    assert alone <= guided["ours_p_holm"] <= 6 * alone, "six tests in the table"
    needed = [a["top"]["expected_samples"] for a, _ in facts]
    assert guided["ours_samples_top"].estimate == pytest.approx(np.exp(np.log(needed).mean()))
    ratio = uniform["ours_samples_top"] / guided["ours_samples_top"].estimate
    assert guided["ours_speedup_top"].estimate == pytest.approx(ratio)
    noisy = guided["ours_retrained_top"]
    assert isinstance(noisy, Interval)
    assert noisy.low < noisy.estimate < noisy.high
    assert uniform["ours_speedup_top"] is None
    assert uniform["ours_mean_accuracy_pct"] == pytest.approx(90.67, abs=0.01)
    assert largest["ours_chosen_10_pct"] is None
    chosen = [
        100 * records["middle", seed]["ranked"]["uniform"]["datasets"]["cifar10"]["expected"][3]
        for seed in range(3)
    ]
    assert uniform["ours_chosen_10_pct"] == confidence_interval(chosen)


def test_nothing_was_run(nothing: Tree, tmp_path: Path) -> None:
    empty = collect(nothing.scale_name, nothing.folder)
    assert [row["ours_seeds"] for row in rows_of(empty)] == [NOT_RUN] * len(SAMPLERS)
    for name in FIGURES:
        catalogue.draw(name, empty, tmp_path)
        assert pd.read_csv(tmp_path / f"{name}.csv")["status"].tolist() == ["not run"]
    assert list(claims(empty)) == []


@pytest.mark.parametrize("name", FIGURES)
def test_figure(name: str, collection: Collection, tmp_path: Path) -> None:
    catalogue.draw(name, collection, tmp_path)
    with Image.open(tmp_path / f"{name}.png") as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    own = collect(collection.asked, collection.folder, products.FIGURES[name].studies)
    drawn = catalogue.figure(name, own)
    assert drawn is not None
    pd.testing.assert_frame_equal(
        drawn.data, pd.read_csv(tmp_path / f"{name}.csv"), check_exact=False, rtol=1e-6
    )


def test_figures_hold_the_means_over_seeds(
    collection: Collection, records: dict[tuple[str, int], dict[str, Any]]
) -> None:
    drawn = catalogue.figure("size-widths", collection)
    assert drawn is not None
    own = drawn.data[(drawn.data["band"] == "90–110 k") & (drawn.data["networks"] == "guided")]
    widths = [records["small", seed]["widths"]["posterior"] for seed in range(3)]
    assert own["width"].tolist() == pytest.approx(np.mean(widths, axis=0).tolist())
    drawn = catalogue.figure("size-samples", collection)
    assert drawn is not None
    first = drawn.data[drawn.data["n"] == 1]
    guided = first[(first["networks"] == "guided") & (first["dataset"] == "cifar10")]
    for band, shown in zip(bands(collection), guided["best_pct"], strict=True):
        assert shown == pytest.approx(np.mean(band.mean("posterior", "cifar10")))


def test_variants_of_one_band_are_told_apart(
    nothing: Tree, records: dict[tuple[str, int], dict[str, Any]]
) -> None:
    path = Path(nothing.scale_name)
    racing = "      racing: {candidates: {band: [90000, 110000], ranking: racing}}\n"
    path.write_text(SCALE + racing, encoding="utf-8")
    for variant, of in {"small": "small", "middle": "middle", "racing": "small"}.items():
        made = {**provenance(1.0), "config": {"band": list(BANDS[of])}}
        record = {**records[of, 0], "provenance": made}
        write_json(nothing.search("sizes", variant, 0) / "sizes.json", record)
    found = collect(nothing.scale_name, nothing.folder)
    labels = list(dict.fromkeys(row["band"] for row in rows_of(found)))
    assert labels == ["90–110 k (sizes/small)", "180–220 k", "90–110 k (sizes/racing)"]
    assert [band.title.splitlines()[2:] for band in bands(found)] == [
        ["(sizes/small)"],
        [],
        ["(sizes/racing)"],
    ]


def test_claims(collection: Collection) -> None:
    found = list(claims(collection))
    assert [each.study for each in found] == ["sizes/small"] * 2 + ["sizes/middle"] * 2
    gain = confidence_interval(bands(collection)[0].gain("cifar10"))
    assert found[0].measured == f"{text(gain, Column('', ''))} points"
    assert found[0].paper == "guided is better"
    assert "uniform sampling" in found[1].question


def test_a_record_of_another_band_is_refused(collection: Collection) -> None:
    path = collection.runs[0].folder / "sizes.json"
    record = read_json(path)
    record["provenance"]["config"] = {"band": [1, 2]}
    write_json(path, record)
    with pytest.raises(PdnasError, match=r"made with candidates\.band = \[1, 2\], but the scale"):
        collect(collection.asked, collection.folder)


def test_how_good_the_truths_are(nothing: Tree, tmp_path: Path) -> None:
    catalogue.draw("truth-noise", collect(nothing.scale_name, nothing.folder), tmp_path)
    data = pd.read_csv(tmp_path / "truth-noise.csv").set_index(["truth", "dataset"])
    assert len(data) == 8
    known = quality(open_truth("nasbench-macro"), "cifar10")
    row = data.loc["nasbench-macro", "cifar10"]
    assert row["deviation_all_points"] == pytest.approx(100 * known["deviation"]["all"])
    assert row["tau_ceiling_best_tenth"] == pytest.approx(known["tau_ceiling"]["best_tenth"])
    assert row["by_luck_3"] == pytest.approx(known["targets"][2]["by_luck"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.234567, "1.23"),
        (1234.5, "1234"),
        (3.5e7, "3.5e+07"),
        (0.000123, "0.000123"),
        (float("inf"), "∞"),
    ],
)
def test_significant_digits(value: float, shown: str) -> None:
    assert text(value, Column("", "", digits=3)) == shown
