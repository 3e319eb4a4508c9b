"""What a run over widths is worth in its band: by another formula, and from a run's folder."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from pdnas.commands.app import app
from pdnas.runs.distributions import save_posterior
from pdnas.runs.run import Run
from pdnas.space.candidates import Candidates
from pdnas.space.posterior import ChannelPosterior
from pdnas.space.sizes import NAMES, SizeSpace
from pdnas.spec.scale import load_scale
from pdnas.stages.sample import sample_run
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json
from pdnas.support.provenance import Stopwatch, provenance
from pdnas.truth.sizes import CHOSEN_OF, SOURCES, Inputs, Ranked, chosen, judge
from pdnas.truth.tables import open_truth

TRUTH, SPACE = open_truth("natsbench-size"), SizeSpace()
KEEP = (0.5, 0.6, 0.4, 0.7, 0.55)
BAND = (180_000, 220_000)
SCALE = """
description: Numbers made up for tests
studies:
  sizes:
    target: truths
    seeds: [3]
    base:
      data: {name: cifar10, train: 1000, validation: 200}
      supernet: {name: natsbench-size, width: 16}
      training: {epochs: 2, batch: 50, learning_rate: 0.1}
      gates: {length_scale2: 0, size_prior: 0.1}
      candidates: {count: 40, band: [180000, 220000]}
    variants:
      band: {}
"""


def learned() -> ChannelPosterior:
    drop = {name: torch.tensor([1 - keep]) for name, keep in zip(NAMES, KEEP, strict=True)}
    return ChannelPosterior(drop, {name: torch.tensor([16]) for name in NAMES})


@pytest.fixture
def scale(tmp_path: Path) -> str:
    path = tmp_path / "made-up.yaml"
    path.write_text(SCALE)
    return str(path)


@pytest.fixture
def run(tmp_path: Path, scale: str) -> Run:
    """A search with candidates of all sources, ranked by the networks' own size."""
    folder = tmp_path / "run"
    record = {
        "scale": "made-up",
        "study": "sizes",
        "variant": "band",
        "seed": 3,
        "spec": load_scale(scale).spec("sizes", "band").model_dump(mode="json"),
        "provenance": provenance({}, 3, Stopwatch()),
    }
    write_json(folder / "run.json", record)
    found = Run.load(folder)
    save_posterior(folder / "posterior.safetensors", learned(), {}, found.identity)
    for source in SOURCES:
        candidates = sample_run(found, source, 40, 3)
        kept = [candidates.choices[name].sum(dim=1).numpy() for name in NAMES]
        rows = SPACE.rows(4 * np.stack(kept, axis=1))
        score = SPACE.parameters(10)[rows] / 1e6
        found.write(f"ranking-{source}.parquet", pd.DataFrame({"validation_accuracy": score}))
        ranked = {"best": int(score.argmax()), "provenance": provenance({}, 3, Stopwatch())}
        sha256 = found.candidates_sha256(source)
        found.write(f"ranking-{source}.json", {**ranked, "candidates_sha256": sha256})
    return Run.load(folder)


def test_means_in_the_band_against_sampled_masks() -> None:
    """64 switches a width, networks outside the band thrown away."""
    record = judge(Inputs(learned(), BAND, {}), TRUTH, draws=2)
    generator = np.random.default_rng(0)
    kept = generator.binomial(64, KEEP, size=(60_000, 5))
    counts = np.maximum(8, 8 * np.floor(kept / 8 + 0.5).astype(int))
    rows = SPACE.rows(counts)
    sizes = SPACE.parameters(10)[rows]
    error = sizes.std() / np.sqrt(sizes.size)
    assert abs(sizes.mean() - record["expected_parameters"]) < 4 * error
    inside = (sizes >= BAND[0]) & (sizes <= BAND[1])
    sampler = record["samplers"]["posterior"]
    assert inside.mean() == pytest.approx(sampler["mass_in_band"], abs=0.01)
    for name in TRUTH.datasets:
        accuracy = TRUTH.accuracy(name)[rows[inside]]
        error = accuracy.std() / np.sqrt(accuracy.size)
        assert abs(accuracy.mean() - sampler["datasets"][name]["mean_accuracy"]) < 4 * error
    np.testing.assert_allclose(
        record["widths"]["posterior"], counts[inside].mean(axis=0), atol=0.25
    )


def test_one_drop_probability_has_the_same_size_and_equal_widths() -> None:
    record = judge(Inputs(learned(), BAND, {}), TRUTH, draws=2)
    widths = record["widths"]["random"]
    assert np.ptp(widths) < 2.5, "the band alone tells them apart"
    mean = [record["samplers"][name]["mean_parameters"] for name in ("posterior", "random")]
    assert mean[0] == pytest.approx(mean[1], rel=0.02)


def test_the_largest_and_the_best_of_the_band_by_sorting() -> None:
    record = judge(Inputs(learned(), BAND, {}), TRUTH, draws=2)
    inside = [row for row in range(len(SPACE)) if BAND[0] <= TRUTH.parameters[row] <= BAND[1]]
    assert record["networks"] == len(inside) == 4184
    by_size = sorted(inside, key=lambda row: -TRUTH.parameters[row])[:42]
    accuracy = TRUTH.accuracy()
    facts = record["samplers"]["largest"]["datasets"]["cifar10"]
    assert facts["mean_accuracy"] == pytest.approx(np.mean(accuracy[by_size]), abs=1e-4)
    by_accuracy = sorted(inside, key=lambda row: -accuracy[row])[:42]
    best = [row for row in inside if accuracy[row] >= accuracy[by_accuracy[-1]]]
    expected = np.mean([SPACE.counts[row] for row in best], axis=0)
    assert record["widths"]["best"]["cifar10"] == pytest.approx(expected.tolist())


def test_the_best_by_score_of_n_by_all_draws() -> None:
    ranked = Ranked(np.array([5, 20_000, 32_000, 777]), np.array([0.3, 0.1, 0.4, 0.2]))
    accuracy = TRUTH.accuracy()[ranked.rows]
    facts = chosen(ranked, TRUTH)["datasets"]["cifar10"]
    for n, expected in zip(CHOSEN_OF[:3], facts["expected"][:3], strict=True):
        draws = list(itertools.product(range(4), repeat=n))
        best = [accuracy[max(draw, key=lambda each: ranked.scores[each])] for draw in draws]
        assert expected == pytest.approx(np.mean(best))
    pairs = list(itertools.combinations(range(4), 2))
    order = [
        np.sign((accuracy[a] - accuracy[b]) * (ranked.scores[a] - ranked.scores[b]))
        for a, b in pairs
    ]
    assert facts["kendall_tau"] == pytest.approx(np.mean(order))


def test_candidates_stand_for_rounded_networks() -> None:
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[0, :5], mask[1, 3:6] = True, True
    ranked = Ranked.of(Candidates(dict.fromkeys(NAMES, mask)), np.zeros(2))
    assert [SPACE.names[row] for row in ranked.rows] == [
        "24:24:24:24:24",  # 20 of 64 lies between 16 and 24
        "16:16:16:16:16",
    ]


def test_a_runs_folder(run: Run, scale: str) -> None:
    words = ["truth", "sizes", str(run.folder), "--scale", scale]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.exception
    assert "4184 networks of 180000 to 220000 parameters" in said.stdout
    record = read_json(run.folder / "sizes.json", run.identity)
    assert record["provenance"]["config"] == {"band": list(BAND), "sources": list(SOURCES)}
    assert Run.load(run.folder).sizes_record() == record
    uniform = record["ranked"]["uniform"]
    assert uniform["candidates"] == 40
    candidates, _ = run.candidates("uniform")
    kept = [candidates.choices[name].sum(dim=1).numpy() for name in NAMES]
    rows = SPACE.rows(4 * np.stack(kept, axis=1))
    means = TRUTH.accuracy("cifar100")[rows].mean()
    assert uniform["datasets"]["cifar100"]["expected"][0] == pytest.approx(means)


def test_another_record_is_refused_before_it_is_made(
    run: Run, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"band": [1, 2], "sources": list(SOURCES)}
    record = {"truth": "natsbench-size", "provenance": provenance(config, 3, Stopwatch())}
    run.write("sizes.json", record)
    monkeypatch.setattr("pdnas.truth.sizes.judge", lambda *_: pytest.fail("it was made"))
    words = ["truth", "sizes", str(run.folder), "--scale", scale]
    with pytest.raises(PdnasError, match=r"with band \[1, 2\] and not \[180000, 220000\].*--force"):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_what_is_refused(run: Run, scale: str) -> None:
    narrow = Path(scale).with_name("made-up-2.yaml")
    narrow.write_text(SCALE.replace("180000", "190000"))
    with pytest.raises(PdnasError, match=r"another band than \[190000, 220000\]; sample and rank"):
        Inputs.open(run.under(load_scale(str(narrow))))
    sample_run(run, "random", 41, 3)
    with pytest.raises(PdnasError, match="of other candidates than there are now"):
        Inputs.open(run)
    narrow.write_text(SCALE.replace(", band: [180000, 220000]", ""))
    with pytest.raises(PdnasError, match="has no band of parameters"):
        Inputs.open(run.under(load_scale(str(narrow))))
