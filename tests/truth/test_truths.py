"""All ground truths by their one interface, and their tables by their public sources."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner, Result

from pdnas.commands.truth import app
from pdnas.data.sources import SOURCES
from pdnas.regression.digits import specification
from pdnas.space.cells import CELL
from pdnas.stages.materials import make_supernet
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.truth import public_files as public
from pdnas.truth.build import build, difference
from pdnas.truth.counts import fractions, right_answers
from pdnas.truth.tables import Truth, named, names, open_truth
from pdnas.truth.tables.digits import SPACE, Digits
from pdnas.truth.tables.nasbench201 import NasBench201

from .conftest import public_files

NAMES = ["digits", "nasbench-macro", "nasbench201", "natsbench-size"]
PUBLIC = [name for name in NAMES if named(name).sources]


@pytest.fixture(scope="module", params=NAMES)
def each(request: pytest.FixtureRequest) -> Truth:
    return open_truth(request.param)


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result


def test_names() -> None:
    assert names() == NAMES
    with pytest.raises(PdnasError, match="no ground truth 'nasbench101'; choose one of digits"):
        open_truth("nasbench101")


class TestEveryTruth:
    def test_architectures_are_found_by_their_names(self, each: Truth) -> None:
        assert len(each.names) == len(set(each.names)) == len(each)
        for row in (0, 17, len(each) - 1):
            assert each.find(each.names[row]) == each.find(f" {each.names[row]} ") == row
        with pytest.raises(PdnasError, match=r"is no .*write it .*like"):
            each.find("nonsense")
        for wrong in (777, None, b"w0", [each.names[0]]):
            with pytest.raises(PdnasError, match=r"is no text; write an architecture of .* like"):
                each.find(wrong)  # type: ignore[arg-type]

    def test_data_sets_are_known_by_their_names(self, each: Truth) -> None:
        for wrong in ("CIFAR10", "", 0, ["cifar10"]):
            with pytest.raises(PdnasError, match=r"no ground truth for .*; choose"):
                each.accuracy(wrong)  # type: ignore[arg-type]

    def test_codes_are_all_combinations_of_options(self, each: Truth) -> None:
        assert each.codes.shape == (len(each), len(each.switches))
        assert len(np.unique(each.codes, axis=0)) == len(each)
        for codes, options in zip(each.codes.T, each.switches.values(), strict=True):
            assert sorted(set(codes.tolist())) == list(range(len(options)))
        row = len(each) - 2
        options = [
            known[code] for known, code in zip(each.switches.values(), each.codes[row], strict=True)
        ]
        positions = [each.names[row].find(option) for option in options]
        assert -1 not in positions, "a name is made of its options"

    def test_numbers_have_their_shapes_and_ranges(self, each: Truth) -> None:
        assert each.parameters.shape == (len(each),)
        assert each.parameters.min() > 0
        for dataset, targets in each.targets.items():
            accuracy = each.accuracy(dataset)
            assert accuracy.shape == (len(each),)
            assert accuracy.min() >= 0
            assert all(0 < (accuracy >= target).mean() < 0.25 for target in targets)
            trainings = each.trainings(dataset)
            if trainings is not None:
                mean = np.nanmean(trainings, axis=0)
                assert np.abs(mean - accuracy).max() < 0.025
        assert np.array_equal(each.accuracy(), each.accuracy(each.datasets[0]))
        with pytest.raises(PdnasError, match="no ground truth for 'mnist'; choose"):
            each.accuracy("mnist")
        with pytest.raises(PdnasError, match="knows no latency on 'abacus'"):
            each.latency("abacus")

    def test_isomorphism_classes_are_numbered_from_zero(self, each: Truth) -> None:
        classes = each.isomorphism_classes
        if classes is None:
            classes = np.arange(len(each))
        assert classes.shape == (len(each),)
        assert sorted(set(classes.tolist())) == list(range(classes.max() + 1))

    def test_facts(self, each: Truth) -> None:
        best = int(each.accuracy().argmax())
        facts = each.facts(best)
        assert json.loads(json.dumps(facts, allow_nan=False)) == facts
        assert facts["name"] == each.names[best]
        first = facts["datasets"][each.datasets[0]]
        assert (first["rank"], first["accuracy"]) == (1, each.accuracy().max())


def test_tables_are_small_open_fast_and_need_no_torch() -> None:
    """In a process of its own: processor time of the best of five, and no torch anywhere."""
    assert sum(named(name).path().stat().st_size for name in NAMES) < 3_000_000
    program = (
        "import sys, time, pandas, pyarrow.parquet\n"
        "from pdnas.truth.tables import names, open_truth\n"
        "def load(name):\n"
        "    start = time.process_time(); open_truth(name); return time.process_time() - start\n"
        "for name in names():\n"
        "    assert min(load(name) for _ in range(5)) < 0.05, name\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLIC)
def test_made_again(name: str, tmp_path: Path) -> None:
    """The package's table is what its public files say, and so is its record of sources."""
    truth = named(name)
    public_files(truth)
    out = tmp_path / "again.parquet"
    made = build(truth, out)
    assert difference(made, truth.load()) is None
    pd.testing.assert_frame_equal(made.table, truth.load().table, check_exact=True)
    record = files.read_json(truth.path().with_suffix(".json"))
    assert files.read_json(out.with_suffix(".json")) == record


@pytest.mark.parametrize("name", PUBLIC)
def test_record_of_sources_is_that_of_the_registry(name: str) -> None:
    record = files.read_json(named(name).path().with_suffix(".json"))
    assert tuple(each["name"] for each in record["sources"]) == named(name).sources
    for each in record["sources"]:
        source = SOURCES[each["name"]]
        assert (each["from"], each["sha256"]) == (source.origin, source.sha256)
        assert (each["file"], each["licence"]) == (source.filename, source.licence)
        assert f"/{each['commit']}/" in source.origin


@pytest.mark.data
class TestExact:
    """Numbers of the tables against those of the public files, read in another way."""

    def test_sizes(self) -> None:
        truth = named("natsbench-size")
        for path, dataset in zip(public_files(truth), truth.targets, strict=True):
            percent = pd.read_csv(path)["accuracy"]
            found = truth.load().accuracy(dataset)
            assert np.abs(100 * found - percent).max() < 1e-6

    def test_macro(self) -> None:
        truth = open_truth("nasbench-macro")
        record = json.loads(public_files(named("nasbench-macro"))[0].read_text())
        trainings, classes = truth.trainings(), truth.isomorphism_classes
        assert trainings is not None
        for row in range(0, len(truth), 97):
            facts = record[truth.names[row]]
            assert 100 * trainings[:, row] == pytest.approx(facts["test_acc"], abs=1e-5)
            assert 100 * truth.accuracy()[row] == pytest.approx(facts["mean_acc"], abs=1e-5)
            assert truth.parameters[row] == facts["params"]
        # Networks that are the same were trained once, so they have the same accuracies.
        same = pd.Series(list(map(tuple, trainings.T))).groupby(classes).nunique()
        assert (same == 1).all()
        assert same.size == len(set(map(tuple, trainings.T))) == 3969

    def test_seeds_seconds_and_devices(self) -> None:
        truth = NasBench201.load()
        _, _, seeds, seconds, _, hardware = public_files(NasBench201)
        with seeds.open("rb") as file:
            percent = pickle.load(file)
        trainings = truth.trainings("cifar10")
        assert trainings is not None
        codes = truth.codes.tolist()
        for row in range(0, len(truth), 101):
            known = trainings[:, row][~np.isnan(trainings[:, row])]
            assert (100 * known).tolist() == pytest.approx(percent[tuple(codes[row])])
        assert np.bincount((~np.isnan(trainings)).sum(axis=0)).tolist() == [0, 2225, 5439, 7961]
        whole = ~np.isnan(trainings).any(axis=0)
        mean = trainings[:, whole].mean(axis=0)
        assert np.abs(mean - truth.accuracy()[whole]).max() < 1e-8
        lines = np.loadtxt(seconds)
        times = truth.training_seconds("cifar10")
        assert times == pytest.approx(lines[truth.column("benchmark_index"), 3], rel=1e-6)
        raw = pd.read_csv(hardware)
        row = truth.cell_id(raw["net"][0], encoding="naslib")
        assert truth.latency("edgegpu")[row] == pytest.approx(raw["edgegpu_latency"][0])
        assert truth.column("energy_fpga")[row] == pytest.approx(raw["fpga_energy"][0])
        assert np.isnan(truth.latency("edgetpu")).sum() == (raw["edgetpu_latency"] == -1).sum()


def test_cells_that_are_dead_take_no_time_on_a_gpu() -> None:
    """Which shows that NASLib's encoding was read rightly: edges into a node that ends in none."""
    truth = NasBench201.load()
    latency, dead = truth.latency("edgegpu"), truth.codes[:, 5] == 0
    for edge, matters in enumerate((True, False, False, True, True)):
        cells = truth.codes[dead, edge]
        means = [latency[dead][cells == code].mean() for code in (0, 3)]
        assert (means[1] - means[0] > 0.5) == matters


@pytest.mark.parametrize("cell", [0, 333, 728])
def test_parameters_of_digits_are_those_of_the_network(cell: int) -> None:
    spec = specification("truth")
    network = make_supernet(spec, torch.device("cpu"))
    choice = {CELL: torch.from_numpy(SPACE.cells[cell])}
    assert network.candidate_parameters(choice) == Digits.load().parameters[cell]


class TestRightAnswers:
    def test_there_and_back(self) -> None:
        right = right_answers([[93.66, np.nan], [0, 100]], 10_000, Path("file"))
        assert right.tolist() == [[9366, -1], [0, 10_000]]
        assert fractions(right, 10_000)[0, 0] == 0.9366
        assert np.isnan(fractions(right, 10_000)[0, 1])

    @pytest.mark.parametrize(
        ("percent", "complaint"),
        [
            ([101], "outside 0 to 100"),
            ([-1], "outside 0 to 100"),
            (["high"], "no number"),
            ([93.665], "none of 10000 images"),
        ],
    )
    def test_what_cannot_be(self, percent: list[Any], complaint: str) -> None:
        with pytest.raises(PdnasError, match=f"some.csv has an accuracy.*{complaint}"):
            right_answers(percent, 10_000, Path("some.csv"))


class TestDamaged:
    def test_seeds(self, tmp_path: Path) -> None:
        path = tmp_path / "seeds.p"
        path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
        with pytest.raises(PdnasError, match="refused"):
            public.seeds(path)
        path.write_bytes(pickle.dumps({(0, 0, 0, 0, 0, 0): [10.0]}))
        with pytest.raises(PdnasError, match="lacks cells"):
            public.seeds(path)
        path.write_bytes(pickle.dumps([1]))
        with pytest.raises(PdnasError, match="not the expected pickle"):
            public.seeds(path)

    def test_seconds(self, tmp_path: Path) -> None:
        path, order = tmp_path / "seconds.txt", np.arange(2)
        path.write_text("0 90 1 200\n")
        with pytest.raises(PdnasError, match="lacks cells"):
            public.training_seconds(path, order)
        path.write_text("0 90 1 200\n1 90 1 nan\n")
        with pytest.raises(PdnasError, match="takes no time"):
            public.training_seconds(path, order)
        path.write_text("a b\n")
        with pytest.raises(PdnasError, match="not a readable"):
            public.training_seconds(path, order)

    @pytest.mark.parametrize("text", ["net\n", "nothing\n1\n", ""])
    def test_devices(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "hw.csv"
        path.write_text(text)
        with pytest.raises(PdnasError, match=r"hw\.csv (lacks the column|is not a readable)"):
            public.devices(path)

    @pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"00000000": 1}'])
    def test_macro(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "macro.json"
        path.write_text(text)
        with pytest.raises(PdnasError, match=r"macro\.json"):
            named("nasbench-macro").assemble(path)

    def test_sizes_of_another_space(self, tmp_path: Path) -> None:
        path = tmp_path / "size.csv"
        pd.DataFrame({"index": range(9), "num_param": 1, "accuracy": 1.0}).to_csv(path)
        with pytest.raises(PdnasError, match="has 9 rows instead of 32768"):
            named("natsbench-size").assemble(path, path, path)
        table = pd.DataFrame({"index": range(32768), "num_param": 1, "accuracy": 1.0})
        table.to_csv(path)
        with pytest.raises(PdnasError, match="has other networks than the space"):
            named("natsbench-size").assemble(path, path, path)


@pytest.mark.usefixtures("alone")
class TestCommand:
    def test_list(self) -> None:
        rows = json.loads(call("list", "--json").stdout)
        assert [row["name"] for row in rows] == NAMES
        assert [row["architectures"] for row in rows] == [729, 6561, 15625, 32768]
        assert "ImageNet16" not in call("list").stdout

    def test_query(self) -> None:
        facts = json.loads(call("query", "natsbench-size", "64:64:56:64:24", "--json").stdout)
        assert facts["datasets"]["cifar10"]["accuracy"] == 0.9365
        assert facts["datasets"]["cifar10"]["rank"] == 1
        assert "93.65" in call("query", "natsbench-size", "64:64:56:64:24").stdout
        assert "edgetpu: unknown" in call("query", "nasbench201", "5000").stdout

    def test_digits_are_trained(self, tmp_path: Path) -> None:
        with pytest.raises(PdnasError, match="pdnas regress --rebuild table"):
            call("build", "digits", "--out", tmp_path / "digits.parquet")

    def test_build_of_another_file(self, tmp_path: Path) -> None:
        with pytest.raises(PdnasError, match=r"must end in \.parquet"):
            call("build", "nasbench201", "--out", tmp_path / "table.csv")


@pytest.mark.data
def test_build_says_that_the_table_is_equal(tmp_path: Path) -> None:
    public_files(named("nasbench-macro"))
    out = tmp_path / "macro.parquet"
    said = call("build", "nasbench-macro", "--out", out).stdout
    assert said.strip() == f"{out}: equal to the table of the package"
