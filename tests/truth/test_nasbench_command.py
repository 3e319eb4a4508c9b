"""``pdnas nasbench`` from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner, Result

from pdnas.commands.nasbench import app
from pdnas.runs.distributions import save_posterior
from pdnas.space.cells import OPERATIONS, CellSpace
from pdnas.space.posterior import CategoricalPosterior, ChannelPosterior
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.truth.columns import DATASETS
from pdnas.truth.efficiency import load_probabilities, load_scores
from pdnas.truth.measure import exact_efficiency
from pdnas.truth.tables.nasbench201 import NasBench201

pytestmark = pytest.mark.slow

ALL_3X3 = CellSpace().to_string([3] * 6)


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result


@pytest.fixture(autouse=True)
def _opened_once(truth: NasBench201, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed from the table alone is kept with it."""
    monkeypatch.setattr(NasBench201, "load", lambda: truth)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose posterior likes 3x3 convolutions."""
    edge = torch.tensor([0.02, 0.08, 0.2, 0.6, 0.1])
    folder = tmp_path / "seed0"
    save_posterior(
        folder / "posterior.safetensors", CategoricalPosterior(edge.repeat(6, 1), CellSpace()), {}
    )
    return folder


def test_efficiency_is_written_over_the_same_alone(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "efficiency.json"
    call("efficiency", run, "--out", out)
    before = files.read_json(out)["datasets"]
    call("efficiency", run, "--out", out)
    with pytest.raises(PdnasError, match=r"with targets\.cifar10 .*--force"):
        call("efficiency", run, "--target", 90, "--out", out)
    other = tmp_path / "other"
    edges = torch.full((6, 5), 0.2)
    save_posterior(other / "posterior.safetensors", CategoricalPosterior(edges, CellSpace()), {})
    with pytest.raises(PdnasError, match=r"other numbers.*--force"):
        call("efficiency", other, "--out", out)
    files.write_json(tmp_path / "run.json", {"seed": 0})
    with pytest.raises(PdnasError, match=r"run\.json is there already.*--force"):
        call("efficiency", run, "--out", tmp_path / "run.json")
    assert files.read_json(out)["datasets"] == before
    call("efficiency", other, "--out", out, "--force")
    assert files.read_json(out)["datasets"] != before


def test_searches_of_the_table_are_written_over_the_same_alone(tmp_path: Path) -> None:
    out = tmp_path / "random.parquet"
    few = ("rival", "random", "--queries", 5, "--out", out)
    call(*few, "--seeds", "0-1")
    before = out.read_bytes()
    call(*few, "--seeds", "0-1")
    with pytest.raises(PdnasError, match=r"seeds '0-1' and not '0-2'.*--force"):
        call(*few, "--seeds", "0-2")
    with pytest.raises(PdnasError, match=r"method 'random' and not 'local-search'.*--force"):
        call("rival", "local-search", "--queries", 5, "--out", out, "--seeds", "0-1")
    assert out.read_bytes() == before
    out.with_suffix(".json").unlink()
    with pytest.raises(PdnasError, match=r"random\.parquet is there already.*--force"):
        call(*few, "--seeds", "0-1")
    call(*few, "--seeds", "0-2", "--force")
    assert len(files.read_table(out)) == 3 * 5


def test_another_result_is_refused_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "random.parquet"
    call("rival", "random", "--queries", 5, "--seeds", "0-1", "--out", out)
    monkeypatch.setattr("pdnas.truth.rivals.compete", lambda *_: pytest.fail("it has searched"))
    with pytest.raises(PdnasError, match=r"queries 5 and not 6.*--force"):
        call("rival", "random", "--queries", 6, "--seeds", "0-1", "--out", out)


@pytest.mark.usefixtures("alone")
class TestQuery:
    def test_json(self) -> None:
        facts = json.loads(call("query", ALL_3X3, "--json").stdout)
        assert facts["cell"] == ALL_3X3
        assert facts["parameters"] == 1_531_546
        assert facts["test_200_cifar10"] == pytest.approx(0.9376, abs=5e-5)

    def test_names_of_a_cell(self) -> None:
        facts = json.loads(call("query", ALL_3X3, "--json").stdout)
        again = json.loads(call("query", facts["id"], "--json").stdout)
        index = json.loads(
            call("query", facts["benchmark_index"], "--benchmark-index", "--json").stdout
        )
        assert facts == again == index

    def test_for_people(self) -> None:
        assert "1,531,546 parameters, 220,119,680 multiply" in call("query", ALL_3X3).stdout

    @pytest.mark.parametrize("text", ["012344", "00", "334210", "15625"])
    def test_numbers_that_are_no_cell_id(self, text: str) -> None:
        with pytest.raises(PdnasError, match=f"{text} is no cell id.*--encoding autodl or naslib"):
            call("query", text)

    @pytest.mark.parametrize(
        ("encoding", "text", "cell"),
        [
            (
                "autodl",
                "012344",
                "|none~0|+|skip_connect~0|nor_conv_1x1~1|"
                "+|nor_conv_3x3~0|avg_pool_3x3~1|avg_pool_3x3~2|",
            ),
            (
                "naslib",
                "(0, 1, 2, 3, 4, 4)",
                "|skip_connect~0|+|none~0|nor_conv_1x1~1|"
                "+|nor_conv_3x3~0|avg_pool_3x3~1|avg_pool_3x3~2|",
            ),
            ("naslib", "2 2 2 2 2 2", ALL_3X3),
        ],
    )
    def test_encodings_of_other_suites(self, encoding: str, text: str, cell: str) -> None:
        facts = json.loads(call("query", text, "--encoding", encoding, "--json").stdout)
        assert facts["cell"] == cell

    @pytest.mark.parametrize(
        "text", ["01234", "0123445", "0,1,2,3,4,5", "01 2 3 4 4 0", "", ALL_3X3]
    )
    def test_no_cell_of_an_encoding(self, text: str) -> None:
        with pytest.raises(PdnasError, match="six numbers from 0 to 4"):
            call("query", text, "--encoding", "naslib")
        with pytest.raises(PdnasError, match="has no encoding"):
            call("query", text, "--encoding", "naslib", "--benchmark-index")

    def test_nonsense(self) -> None:
        with pytest.raises(PdnasError, match="is no cell"):
            call("query", "|conv~0|")


@pytest.mark.usefixtures("alone")
class TestEfficiency:
    def test_json(self, run: Path) -> None:
        record = json.loads(call("efficiency", run, "--json").stdout)
        assert record["mode"] == ALL_3X3
        assert record["mode_probability"] == pytest.approx(0.6**6)
        assert set(record["datasets"]) == set(DATASETS)
        target = record["datasets"]["cifar10"]["targets"][1]
        assert target["uniform_expected_samples"] == pytest.approx(15_625 / 411)
        assert target["speedup"] > 5

    def test_written_record(self, run: Path, tmp_path: Path) -> None:
        (run / "run.json").write_text('{"seed": 7}')
        out = tmp_path / "efficiency.json"
        printed = json.loads(call("efficiency", run, "--out", out, "--json").stdout)
        written = files.read_json(out)
        assert written.pop("provenance")["seed"] == 7
        assert written == printed

    def test_targets_in_percent(self, run: Path) -> None:
        arguments = ("efficiency", run, "--target", 93.1, "--target", 94.2, "--json")
        record = json.loads(call(*arguments).stdout)
        targets = [each["target"] for each in record["datasets"]["cifar10"]["targets"]]
        assert targets == [0.931, 0.942]

    def test_several_seeds(self, run: Path, tmp_path: Path) -> None:
        other = tmp_path / "seed1"
        save_posterior(
            other / "posterior.safetensors", CategoricalPosterior.uniform(CellSpace()), {}
        )
        found = json.loads(call("efficiency", run, other, "--json").stdout)
        assert found["seeds"] == 2
        assert set(found["runs"]) == {str(run), str(other)}
        assert found["datasets"]["cifar10"]["mean_accuracy"]["low"] is not None
        with pytest.raises(PdnasError, match="a single run"):
            call("efficiency", run, other, "--out", tmp_path / "both.json")
        assert "fewer by" in call("efficiency", run, other).stdout

    def test_a_seed_counts_once(self, run: Path, tmp_path: Path) -> None:
        """Twice the same search would give an interval without width."""
        with pytest.raises(PdnasError, match="are the same search; each seed counts once"):
            call("efficiency", run, run)
        (run / "run.json").write_text('{"seed": 7}')
        shutil.copytree(run, tmp_path / "seed1")
        with pytest.raises(PdnasError, match="are the same search; each seed counts once"):
            call("efficiency", run, tmp_path / "seed1")
        # Another variant, which took the supernet.
        other = {"seed": 7, "spec": {"candidates": {"ranking": "racing"}}}
        (tmp_path / "seed1/run.json").write_text(json.dumps(other))
        with pytest.raises(PdnasError, match="are the same search; each seed counts once"):
            call("efficiency", run, tmp_path / "seed1")

    def test_seeds_are_of_one_search(self, run: Path, tmp_path: Path) -> None:
        """A mean over two methods is that of none."""
        shutil.copytree(run, tmp_path / "other")
        for folder, seed, epochs in ((run, 0, 4), (tmp_path / "other", 1, 5)):
            spec = {"data": {"name": "cifar10"}, "training": {"epochs": epochs}}
            record = {"seed": seed, "spec": spec}
            (folder / "run.json").write_text(json.dumps(record))
        with pytest.raises(PdnasError, match=r"different settings \(training.epochs\), and are no"):
            call("efficiency", run, tmp_path / "other")

    def test_accuracies_have_intervals_within_0_and_1(self, run: Path, tmp_path: Path) -> None:
        """Student's t of two seeds reaches far beyond."""
        poor = torch.full((6, 5), 1e-3, dtype=torch.float64)
        poor[:, 0] = 1 - 4e-3
        path = tmp_path / "seed1" / "posterior.safetensors"
        save_posterior(path, CategoricalPosterior(poor, CellSpace()), {})
        found = json.loads(call("efficiency", run, path.parent, "--json").stdout)
        for facts in found["datasets"].values():
            for name in ("mean_accuracy", "mode_accuracy"):
                assert (facts[name]["low"], facts[name]["high"]) == (0, 1)

    def test_another_run_s_scores_are_refused(self, run: Path, tmp_path: Path) -> None:
        (run / "run.json").write_text('{"seed": 7}')
        frame = pd.DataFrame({"cell_id": range(15_625), "score": NasBench201.load().accuracy()})
        files.write_table(tmp_path / "scores.parquet", frame, owner="another's")
        with pytest.raises(PdnasError, match=r"scores\.parquet belongs to another run"):
            call("efficiency", run, "--scores", tmp_path / "scores.parquet")
        files.write_table(tmp_path / "scores.parquet", frame)
        said = call("efficiency", run, "--scores", tmp_path / "scores.parquet").stdout
        assert "Kendall's tau 1, among the best tenth 1; the one of 100 samples" in said

    def test_scores(self, run: Path, tmp_path: Path) -> None:
        """Cells in any order; a perfect score chooses the best, its negative the worst."""
        ids = np.random.default_rng(0).permutation(15_625)
        truth = NasBench201.load()
        scores = tmp_path / "scores.parquet"
        chosen = {}
        for sign in (1, -1):
            frame = pd.DataFrame({"cell_id": ids, "score": sign * truth.accuracy()[ids]})
            files.write_table(scores, frame)
            record = json.loads(call("efficiency", run, "--scores", scores, "--json").stdout)
            chosen[sign] = record["datasets"]["cifar10"]
        assert chosen[1]["chosen_of_n"] == chosen[1]["best_of_n"]
        first, *_, last = chosen[-1]["chosen_of_n"]["expected"]
        assert last < 0.5 < first
        with pytest.raises(PdnasError, match="belong to a single run"):
            call("efficiency", run, run, "--scores", scores)

    def test_unknown_data_set(self, run: Path) -> None:
        arguments = ["efficiency", str(run), "--target", "90", "--dataset", "mnist"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert "'mnist' is not one of" in result.output

    def test_missing_run(self, tmp_path: Path) -> None:
        with pytest.raises(PdnasError, match="does not exist"):
            call("efficiency", tmp_path / "nowhere")


def test_posterior_of_another_supernet(tmp_path: Path) -> None:
    gates = ChannelPosterior({"a": torch.tensor([0.1])}, {"a": torch.tensor([3])})
    save_posterior(tmp_path / "posterior.safetensors", gates, {})
    with pytest.raises(PdnasError, match="no distribution over cells"):
        load_probabilities(tmp_path)


SMALL = CellSpace(("nor_conv_3x3", "none", "skip_connect"))


def save_small(folder: Path) -> CategoricalPosterior:
    """A posterior over three operations, in another order than the benchmark's."""
    posterior = CategoricalPosterior(torch.tensor([0.6, 0.1, 0.3]).repeat(6, 1), SMALL)
    save_posterior(folder / "posterior.safetensors", posterior, {})
    return posterior


class TestOtherOperations:
    """A run's own space: fewer operations, or the five in another order."""

    def test_posterior_over_fewer_operations(self, tmp_path: Path) -> None:
        save_small(tmp_path)
        space, q = load_probabilities(tmp_path)
        assert space == SMALL
        assert q.shape == (729,)
        assert q[space.ids([0] * 6)] == pytest.approx(0.6**6)

    def test_uniform_sampling_is_over_the_same_cells(
        self, truth: NasBench201, tmp_path: Path
    ) -> None:
        """Every number by brute force, over the 729 cells alone."""
        posterior = save_small(tmp_path)
        record = json.loads(call("efficiency", tmp_path, "--target", 93, "--json").stdout)
        rows = truth.table.set_index("cell")["test_200_cifar10"]
        accuracy = np.array([rows[SMALL.to_string(cell)] for cell in SMALL.cells])
        q = posterior.architecture_probabilities()
        found = record["datasets"]["cifar10"]
        (target,) = found["targets"]
        good = accuracy >= 0.93
        assert (record["cells"], record["operations"]) == (729, list(SMALL.operations))
        assert record["mode"] == ALL_3X3
        assert target["uniform_expected_samples"] == pytest.approx(729 / good.sum())
        assert target["expected_samples"] == pytest.approx(1 / q[good].sum())
        assert target["speedup"] == pytest.approx(q[good].sum() * 729 / good.sum())
        assert found["uniform_mean_accuracy"] == pytest.approx(accuracy.mean())
        assert found["best_accuracy"] == accuracy.max()

    @pytest.mark.parametrize("operations", [SMALL.operations, tuple(reversed(OPERATIONS))])
    def test_scores_are_known_by_the_benchmarks_ids(
        self, truth: NasBench201, tmp_path: Path, operations: tuple[str, ...]
    ) -> None:
        """A perfect score is perfect, however the run orders its operations."""
        space = CellSpace(operations)
        save_posterior(tmp_path / "posterior.safetensors", CategoricalPosterior.uniform(space), {})
        ids = np.sort(space.benchmark_ids())
        frame = pd.DataFrame({"cell_id": ids, "score": truth.accuracy()[ids]})
        files.write_table(tmp_path / "scores.parquet", frame)
        arguments = ("efficiency", tmp_path, "--scores", tmp_path / "scores.parquet", "--json")
        found = json.loads(call(*arguments).stdout)["datasets"]["cifar10"]
        assert found["kendall_tau"] == pytest.approx(1)
        assert found["chosen_of_n"] == found["best_of_n"]

    def test_scores_of_an_earlier_version_are_refused(self, tmp_path: Path) -> None:
        save_small(tmp_path)
        frame = pd.DataFrame({"cell_id": np.arange(729), "score": 0.5})
        files.write_table(tmp_path / "scores.parquet", frame)
        files.write_json(tmp_path / "scores.json", {"best": 3})
        with pytest.raises(PdnasError, match=r"numbered the cells of .* in another way"):
            call("efficiency", tmp_path, "--scores", tmp_path / "scores.parquet")

    def test_seeds_of_other_cells_are_no_seeds(self, run: Path, tmp_path: Path) -> None:
        save_small(tmp_path)
        with pytest.raises(PdnasError, match="the same operations"):
            call("efficiency", run, tmp_path)


def of_data(folder: Path, name: str) -> None:
    (folder / "run.json").write_text(json.dumps({"spec": {"data": {"name": name}}}))


class TestWhatEfficiencyIsAbout:
    @pytest.mark.parametrize("target", ["nan", "0.935", "-5", "9350", "0", "100.5", "inf"])
    def test_target_that_is_no_percentage(self, run: Path, target: str) -> None:
        with pytest.raises(PdnasError, match="accuracy in percent, from 1 to 100"):
            call("efficiency", run, f"--target={target}")

    def test_target_that_is_no_fraction(self, truth: NasBench201) -> None:
        for target in (93.5, -0.1, float("nan")):
            with pytest.raises(PdnasError, match="accuracies from 0 to 1"):
                exact_efficiency(np.full(15_625, 1 / 15_625), truth, {"cifar100": (target,)})

    def test_run_of_another_data_set(self, run: Path, tmp_path: Path) -> None:
        of_data(run, "digits")
        with pytest.raises(PdnasError, match=r"trained on digits, .*\(--dataset\)"):
            call("efficiency", run)
        assert call("efficiency", run, "--dataset", "cifar10").exit_code == 0
        other = tmp_path / "seed1"
        save_posterior(
            other / "posterior.safetensors", CategoricalPosterior.uniform(CellSpace()), {}
        )
        with pytest.raises(PdnasError, match="trained on cifar10 and digits"):
            call("efficiency", run, other)

    def test_target_is_about_the_runs_own_data_set(self, run: Path) -> None:
        of_data(run, "cifar100")
        record = json.loads(call("efficiency", run, "--target", 71, "--json").stdout)
        (target,) = record["datasets"]["cifar100"]["targets"]
        assert target["target"] == 0.71
        assert len(record["datasets"]["cifar10"]["targets"]) == 3


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"cell": range(15_625), "score": 0.5}, "must have the columns cell_id and score"),
        (
            {"cell_id": range(15_624), "score": 0.5},
            "each of the 15625 cells of the run's space once",
        ),
        (
            {"cell_id": [0, *range(15_624)], "score": 0.5},
            "each of the 15625 cells of the run's space once",
        ),
        (
            {"cell_id": [*range(15_624), 15_700], "score": 0.5},
            "each of the 15625 cells of the run's space once",
        ),
        ({"cell_id": range(15_625), "score": np.nan}, "a finite score of each"),
    ],
)
def test_scores_that_do_not_fit(tmp_path: Path, columns: dict[str, Any], complaint: str) -> None:
    files.write_table(tmp_path / "scores.parquet", pd.DataFrame(columns))
    with pytest.raises(PdnasError, match=complaint):
        load_scores(tmp_path / "scores.parquet")
