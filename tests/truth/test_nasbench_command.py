"""``pdnas nasbench`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner, Result

from pdnas.commands.nasbench import app
from pdnas.runs.distributions import save_posterior
from pdnas.space.cells import CellSpace
from pdnas.space.posterior import CellPosterior, ChannelPosterior
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.truth.columns import DATASETS
from pdnas.truth.efficiency import load_probabilities, load_scores
from pdnas.truth.table import GroundTruth

ALL_3X3 = CellSpace().to_string([3] * 6)


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose posterior likes 3x3 convolutions."""
    edge = torch.tensor([0.02, 0.08, 0.2, 0.6, 0.1])
    folder = tmp_path / "seed0"
    save_posterior(
        folder / "posterior.safetensors", CellPosterior(edge.repeat(6, 1), CellSpace()), {}
    )
    return folder


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
        assert "1.531546 M parameters" in call("query", ALL_3X3).stdout

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
        save_posterior(other / "posterior.safetensors", CellPosterior.uniform(CellSpace()), {})
        found = json.loads(call("efficiency", run, other, "--json").stdout)
        assert found["seeds"] == 2
        assert set(found["runs"]) == {str(run), str(other)}
        assert found["datasets"]["cifar10"]["mean_accuracy"]["low"] is not None
        with pytest.raises(PdnasError, match="a single run"):
            call("efficiency", run, other, "--out", tmp_path / "both.json")
        assert "fewer by" in call("efficiency", run, other).stdout

    def test_scores(self, run: Path, tmp_path: Path) -> None:
        """Cells in any order; a perfect score chooses the best, its negative the worst."""
        ids = np.random.default_rng(0).permutation(15_625)
        truth = GroundTruth.load()
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


def test_posterior_over_fewer_operations(tmp_path: Path) -> None:
    small = CellSpace(("nor_conv_3x3", "skip_connect"))
    edge = torch.tensor([0.75, 0.25])
    save_posterior(tmp_path / "posterior.safetensors", CellPosterior(edge.repeat(6, 1), small), {})
    q = load_probabilities(tmp_path)
    full = CellSpace()
    assert q.shape == (15_625,)
    assert q.sum() == pytest.approx(1)
    assert np.count_nonzero(q) == 64
    assert q[full.ids(full.from_string(ALL_3X3))] == pytest.approx(0.75**6)


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"cell": range(15_625), "score": 0.5}, "must have the columns cell_id and score"),
        ({"cell_id": range(15_624), "score": 0.5}, "each cell 0 to 15624 once"),
        ({"cell_id": [0, *range(15_624)], "score": 0.5}, "each cell 0 to 15624 once"),
        ({"cell_id": [*range(15_624), 15_700], "score": 0.5}, "each cell 0 to 15624 once"),
        ({"cell_id": range(15_625), "score": np.nan}, "a finite score of each cell"),
    ],
)
def test_scores_that_do_not_fit(tmp_path: Path, columns: dict[str, Any], complaint: str) -> None:
    files.write_table(tmp_path / "scores.parquet", pd.DataFrame(columns))
    with pytest.raises(PdnasError, match=complaint):
        load_scores(tmp_path / "scores.parquet")
