"""What a run over NAS-Bench-Macro's networks is worth: by other formulas, and from a folder."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

import pdnas
from pdnas.commands.app import app
from pdnas.report import catalogue
from pdnas.report.collect import collect
from pdnas.runs.distributions import load_posterior, save_posterior
from pdnas.runs.run import Run
from pdnas.space.cells import CellSpace
from pdnas.space.macro import MacroSpace
from pdnas.space.posterior import CategoricalPosterior
from pdnas.spec.scale import SCALES, load_scale
from pdnas.stages.sample import distribution
from pdnas.stages.score import score_run
from pdnas.stages.search import search_run
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json, write_table
from pdnas.support.provenance import Stopwatch, provenance
from pdnas.support.statistics import kendall_tau
from pdnas.truth import rivals
from pdnas.truth.macro import Inputs, judge, judge_run
from pdnas.truth.tables import open_truth

TRUTH, SPACE = open_truth("nasbench-macro"), MacroSpace()
TARGETS = (0.92, 0.925, 0.93)


def learned(chain: bool = False, seed: int = 0) -> CategoricalPosterior:
    shape = (8, 3) if chain else (8,)
    tables = np.random.default_rng(seed).dirichlet(np.ones(3), shape)
    return CategoricalPosterior(torch.from_numpy(tables), SPACE)


def by_hand(tables: np.ndarray) -> np.ndarray:
    """Probabilities of all networks from the definition, network by network."""
    found = []
    for codes in itertools.product(range(3), repeat=8):
        p, before = 1.0, 0
        for layer, code in enumerate(codes):
            p *= float(tables[layer, before if tables.shape[1] > 1 else 0, code])
            before = code
        found.append(p)
    return np.array(found)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "run"
    record = {
        "scale": "smoke",
        "study": "nasbench-macro",
        "variant": "posterior",
        "seed": 0,
        "spec": load_scale("smoke").spec("nasbench-macro", "posterior").model_dump(mode="json"),
        "provenance": provenance({}, 0, Stopwatch()),
    }
    write_json(folder / "run.json", record)
    found = Run.load(folder)
    save_posterior(folder / "posterior.safetensors", learned(), {}, found.identity)
    return found


@pytest.mark.parametrize("chain", [False, True])
def test_probabilities_entropy_and_mode_by_enumeration(chain: bool) -> None:
    q = learned(chain)
    p, expected = q.architecture_probabilities(), by_hand(q.conditionals.numpy())
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    assert p.sum() == pytest.approx(1)
    assert q.entropy() == pytest.approx(-(expected * np.log(expected)).sum())
    assert SPACE.ids(q.mode().choices[SPACE.KEY].numpy()).tolist() == [int(expected.argmax())]
    shares = [[expected[SPACE.codes[:, s] == o].sum() for o in range(3)] for s in range(8)]
    np.testing.assert_allclose(q.probabilities, shares)


@pytest.mark.parametrize("chain", [False, True])
def test_the_record_by_another_formula_and_by_sampling(chain: bool) -> None:
    q = learned(chain)
    scores = np.random.default_rng(1).random(len(SPACE)).round(2)
    record = judge(Inputs(q, scores), TRUTH, draws=2)
    facts, p = record["datasets"]["cifar10"], by_hand(q.conditionals.numpy())
    accuracy = TRUTH.trainings().mean(axis=0).round(8)  # equal means of other numbers are ties
    assert facts["mean_accuracy"] == pytest.approx((p * accuracy).sum())
    best = accuracy.max()
    asked = {**{each: each for each in TARGETS}, "near_best": best - 0.005}
    ordered = np.sort(accuracy)[::-1]
    asked["top"] = ordered[round(0.01 * len(ordered)) - 1]
    said = {each["target"]: each for each in facts["targets"]}
    said |= {goal: facts[goal] for goal in ("near_best", "top")}
    for goal, threshold in asked.items():
        mass = sum(q for q, a in zip(p, accuracy, strict=True) if a >= threshold - 1e-9)
        assert said[goal]["expected_samples"] == pytest.approx(1 / mass)
    # Of n samples, the best by score: ties go by probability.
    drawn = q.sample(40_000, 5).choices[SPACE.KEY].numpy()
    place = facts["chosen_of_n"]["n"].index(10)
    ten = SPACE.ids(drawn).reshape(-1, 10)
    chosen = accuracy[ten[np.arange(len(ten)), scores[ten].argmax(axis=1)]]
    error = chosen.std() / np.sqrt(chosen.size)
    assert abs(chosen.mean() - facts["chosen_of_n"]["expected"][place]) < 4 * error
    assert facts["kendall_tau"] == pytest.approx(kendall_tau(scores, accuracy))
    sampled = accuracy[SPACE.ids(drawn)]
    assert abs(sampled.mean() - facts["mean_accuracy"]) < 4 * sampled.std() / np.sqrt(sampled.size)


def test_blocks_of_the_best() -> None:
    record = judge(Inputs(learned()), TRUTH, draws=2)
    accuracy = TRUTH.accuracy()
    best = np.argsort(-accuracy, kind="stable")[:66]
    best = np.flatnonzero(accuracy >= accuracy[best[-1]])
    shares = record["blocks"]["best"]
    for layer, code in itertools.product(range(8), range(3)):
        expected = np.mean([TRUTH.names[row][layer] == str(code) for row in best])
        assert shares[layer][code] == pytest.approx(expected)
    np.testing.assert_allclose(record["blocks"]["posterior"], learned().probabilities)


def test_isomorphic_networks_differ_in_a_supernet_only() -> None:
    """So a distribution counts both, and so does uniform sampling."""
    first, second = TRUTH.rows["22201220"], TRUTH.rows["22210220"]
    assert TRUTH.isomorphism_classes[first] == TRUTH.isomorphism_classes[second]
    assert TRUTH.accuracy()[first] == TRUTH.accuracy()[second]
    assert len(np.unique(SPACE.canonical_codes(), axis=0)) == len(SPACE)


def test_a_runs_folder(run: Run) -> None:
    words = ["truth", "macro", str(run.folder), "--scale", "smoke"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.exception
    assert "top 1 %" in said.stdout
    assert "scores:" not in said.stdout
    record = read_json(run.folder / "macro.json", run.identity)
    assert record["datasets"]["cifar10"]["chosen_of_n"] is None
    scores = np.random.default_rng(0).random(len(SPACE))
    run.write("scores.parquet", pd.DataFrame({"cell_id": range(len(SPACE)), "score": scores}))
    run.write("scores.json", {"images": 20, "provenance": provenance({}, 0, Stopwatch())})
    again = CliRunner().invoke(app, words)
    assert "with images None and not 20" in str(again.exception)
    forced = CliRunner().invoke(app, [*words, "--force"])
    assert "scores: Kendall's tau " in forced.stdout
    scored = Run.load(run.folder).macro_record()
    assert scored is not None
    found = scored["datasets"]["cifar10"]["kendall_tau"]
    assert found == pytest.approx(kendall_tau(scores, TRUTH.accuracy()))
    Run.load(run.folder).require_current()


def test_from_the_search_to_the_table(tmp_path: Path) -> None:
    """All stages of the study, on few digits."""
    scale = tmp_path / "tiny.yaml"
    text = yaml.safe_load((SCALES / "smoke.yaml").read_text())
    study = text["studies"]["nasbench-macro"]
    study["base"]["data"] |= {"train": 100, "validation": 20}
    scale.write_text(yaml.safe_dump({**text, "studies": {"nasbench-macro": study}}))
    folder, device = tmp_path / "runs", torch.device("cpu")
    for variant in ("posterior", "spos"):
        out = folder / "nasbench-macro" / variant / "seed0"
        spec = load_scale(str(scale)).spec("nasbench-macro", variant)
        names = {"scale": "tiny", "study": "nasbench-macro", "variant": variant}
        search_run(spec, **names, seed=0, out=out, device=device)
        found = Run.load(out)
        scored = score_run(found, 20, device)
        assert scored["distinct_cells"] == len(SPACE)
        table = found.scores()
        assert table is not None
        assert table["cell_id"].tolist() == list(range(len(SPACE)))
        found.write("macro.json", judge_run(Run.load(out)))
        with pytest.raises(PdnasError, match="no drop rate to fix"):
            distribution(found.posterior(), "random", spec)
    made = catalogue.table("macro", collect(str(scale), folder))
    assert [row[0] for row in made.rows] == [
        "uniform sampling",
        "posterior-guided",
        "SPOS (uniform)",
    ]
    assert made.rows[1][-1] == 1


def test_another_run_s_scores_are_refused(run: Run) -> None:
    table = pd.DataFrame({"cell_id": range(len(SPACE)), "score": TRUTH.accuracy()})
    write_table(run.folder / "scores.parquet", table, "another's")
    run.write("scores.json", {"images": 20, "provenance": provenance({}, 0, Stopwatch())})
    said = CliRunner().invoke(app, ["truth", "macro", str(run.folder)])
    assert "scores.parquet belongs to another run" in str(said.exception)


def test_scores_that_are_newer_than_what_was_made_of_them(run: Run) -> None:
    late = {**provenance({}, 0, Stopwatch()), "finished": "2099-01-01T00:00:00+00:00"}
    run.write("macro.json", {"provenance": provenance({}, 0, Stopwatch())})
    run.write("scores.json", {"images": 20, "provenance": late})
    with pytest.raises(PdnasError, match="older than the scores that it is made of"):
        Run.load(run.folder).require_current()


def test_what_takes_a_runs_folder(run: Run) -> None:
    expected = learned().architecture_probabilities()
    again = load_posterior(run.folder / "posterior.safetensors")
    assert isinstance(again, CategoricalPosterior)
    assert isinstance(again.space, MacroSpace)
    np.testing.assert_allclose(again.architecture_probabilities(), expected)
    found = pdnas.efficiency("nasbench-macro", run.folder, dataset="cifar10")
    assert found["mean_accuracy"] == pytest.approx(expected @ TRUTH.accuracy())
    with pytest.raises(PdnasError, match="over no cells; name its truth"):
        pdnas.efficiency(run.folder)
    with pytest.raises(PdnasError, match="no distribution over cells"):
        pdnas.efficiency("nasbench201", run.folder, dataset="cifar10")
    save_posterior(
        run.folder / "posterior.safetensors",
        CategoricalPosterior.uniform(CellSpace()),
        {},
        run.identity,
    )
    with pytest.raises(PdnasError, match="of other architectures; give a run of nasbench-macro"):
        pdnas.efficiency("nasbench-macro", run.folder, dataset="cifar10")
    said = CliRunner().invoke(app, ["truth", "macro", str(run.folder)])
    assert "is no run of nasbench-macro" in str(said.exception)


@pytest.mark.parametrize("method", rivals.METHODS)
def test_searches_of_the_table(method: str) -> None:
    """Each asks for networks of the space; all but random beat random's."""
    signal = TRUTH.signal()
    np.testing.assert_array_equal(signal, TRUTH.trainings()[0])
    seeds, queries = (3, 25) if method == "tpe" else (20, 100)
    asked = rivals.search(method, signal, range(seeds), queries, SPACE)
    assert asked.shape == (seeds, queries)
    assert asked.min() >= 0
    assert asked.max() < len(SPACE)
    if method not in ("random", "tpe"):
        blind = rivals.search("random", signal, range(20), 100, SPACE)
        assert signal[asked].max(axis=1).mean() > signal[blind].max(axis=1).mean()


def test_neighbours_and_mutations_of_layers() -> None:
    around = rivals.neighbours(SPACE)
    assert around.shape == (len(SPACE), 16)
    assert ((SPACE.codes[around[17]] != SPACE.codes[17]).sum(axis=1) == 1).all()
    assert len(set(around[17].tolist())) == 16
    asked = rivals.search("evolution", TRUTH.signal(), range(60), 100, SPACE)
    codes = SPACE.codes[asked]
    # A child differs from some parent in one layer, and no layer is preferred.
    children = codes[:, 10:]
    near = [
        (children[:, step] != codes[:, step : step + 10].swapaxes(0, 1)).sum(axis=2).min(axis=0)
        for step in range(90)
    ]
    assert set(np.unique(near)) <= {0, 1}


def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "random.parquet"
    words = ["truth", "rival", "nasbench-macro", "random", "--seeds", "0-4", "--queries", "30"]
    said = CliRunner().invoke(app, [*words, "--out", str(out), "--json"])
    assert said.exit_code == 0, said.exception
    record = json.loads(said.stdout)
    assert [each["target"] for each in record["targets"]] == list(TARGETS)
    assert record["gpu_hours"] is None, "nobody knows what a training takes"
    table = pd.read_parquet(out)
    accuracy, signal = TRUTH.accuracy(), TRUTH.signal()
    np.testing.assert_allclose(table["accuracy"], accuracy[table["cell_id"]])
    np.testing.assert_allclose(table["signal"], signal[table["cell_id"]])
    config = read_json(out.with_suffix(".json"))["provenance"]["config"]
    assert config["truth"] == "nasbench-macro"
    assert CliRunner().invoke(app, [*words, "--out", str(out)]).exit_code == 0
    other = ["truth", "rival", "digits", "random", "--seeds", "0-4", "--queries", "30"]
    again = CliRunner().invoke(app, [*other, "--out", str(out)])
    assert "with truth 'nasbench-macro' and not 'digits'" in str(again.exception)
    widths = CliRunner().invoke(app, ["truth", "rival", "natsbench-size", "random"])
    assert "no one-of-many switches" in str(widths.exception)
