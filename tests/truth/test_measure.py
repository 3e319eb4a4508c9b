"""What a distribution over any truth is worth: by another formula, and by Monte Carlo."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import pdnas
from pdnas.commands.app import app
from pdnas.runs.distributions import save_posterior
from pdnas.runs.layout import POSTERIOR
from pdnas.space.cells import CellSpace
from pdnas.space.posterior import CategoricalPosterior, ChannelPosterior
from pdnas.space.sizes import network_probabilities
from pdnas.support.errors import PdnasError
from pdnas.truth.efficiency import dataset_efficiency
from pdnas.truth.measure import band_rows, by_latency, exact_efficiency, measure
from pdnas.truth.sampling import uniform
from pdnas.truth.tables import Truth, open_truth
from pdnas.truth.tables.nasbench201 import NasBench201

from .small import SMALL

Q = np.array([0.1, 0.2, 0.3, 0.15, 0.25, 0.0])
BAND = (20, 50)


class TestBruteForce:
    """The band 20 to 50 keeps four of six; draws from elsewhere are thrown away."""

    record = measure(SMALL, Q, parameters=BAND)

    def test_mean_and_mode(self) -> None:
        kept = [row for row in range(6) if 20 <= SMALL.parameters[row] <= 50]
        mass = sum(Q[row] for row in kept)
        facts = self.record["datasets"]["one"]
        mean = sum(Q[row] * SMALL.accuracy()[row] for row in kept) / mass
        assert facts["mean_accuracy"] == pytest.approx(mean)
        assert self.record["mass_in_band"] == pytest.approx(mass) == pytest.approx(0.9)
        assert (self.record["cells"], self.record["mode"]) == (4, "y0")
        assert self.record["mode_probability"] == pytest.approx(0.3 / 0.9)
        sizes = sum(Q[row] * SMALL.parameters[row] for row in kept) / mass
        assert self.record["mean_parameters"] == pytest.approx(sizes)
        assert self.record["uniform_mean_parameters"] == 35

    def test_near_the_best_of_the_band(self) -> None:
        """0.7 is its best; 0.695 and 0.698 lie within half a point."""
        near = self.record["datasets"]["one"]["near_best"]
        assert near["target"] == 0.695
        assert near["mass"] == pytest.approx(0.65 / 0.9)
        assert near["uniform_expected_samples"] == pytest.approx(4 / 3)
        top = self.record["datasets"]["one"]["top"]
        assert (top["target"], top["uniform_mass"]) == (0.7, 0.25)
        assert top["expected_samples"] == pytest.approx(3)

    @pytest.mark.parametrize("dataset", ["one", "other"])
    def test_expected_best_of_n_by_all_draws(self, dataset: str) -> None:
        curve = self.record["datasets"][dataset]["best_of_n"]
        accuracy = SMALL.accuracy(dataset)
        for n, expected in zip(curve["n"], curve["expected"], strict=True):
            total, kept = 0.0, [1, 2, 3, 4]
            for rows in itertools.product(kept, repeat=n):
                chance = math.prod(float(Q[row]) / 0.9 for row in rows)
                total += chance * max(float(accuracy[row]) for row in rows)
            assert expected == pytest.approx(total)

    @pytest.mark.filterwarnings("ignore:One or more sample")  # a tau of one architecture
    def test_the_highest_score_of_n_by_all_draws(self) -> None:
        scores = np.array([9.0, 2.0, 4.0, 1.0, 3.0, 8.0])
        record = measure(SMALL, Q, parameters=BAND, scores=scores, draws=2)
        curve = record["datasets"]["one"]["chosen_of_n"]
        for n, expected in zip(curve["n"], curve["expected"], strict=True):
            total = 0.0
            for rows in itertools.product([1, 2, 3, 4], repeat=n):
                chance = math.prod(float(Q[row]) / 0.9 for row in rows)
                total += chance * SMALL.accuracy()[max(rows, key=lambda row: scores[row])]
            assert expected == pytest.approx(total)

    def test_expected_samples_by_a_sum_over_first_successes(self) -> None:
        (target,) = measure(SMALL, Q, parameters=BAND)["datasets"]["other"]["targets"]
        hit = sum(Q[row] for row in (1, 2, 3, 4) if SMALL.accuracy("other")[row] >= 0.5) / 0.9
        series = sum(n * hit * (1 - hit) ** (n - 1) for n in range(1, 4000))
        assert target["expected_samples"] == pytest.approx(series)


def test_monte_carlo_in_a_band_of_sizes() -> None:
    """Rejection: networks are drawn from all, those outside the band thrown away."""
    truth, rng = open_truth("natsbench-size"), np.random.default_rng(0)
    q = rng.dirichlet(np.full(len(truth), 0.05))
    record = measure(truth, q, parameters=(180_000, 220_000), datasets=["cifar10"])
    drawn = rng.choice(len(truth), size=400_000, p=q)
    inside = drawn[(truth.parameters[drawn] >= 180_000) & (truth.parameters[drawn] <= 220_000)]
    accuracy = truth.accuracy()[inside]
    facts = record["datasets"]["cifar10"]
    error = accuracy.std() / math.sqrt(inside.size)
    assert abs(accuracy.mean() - facts["mean_accuracy"]) < 4 * error
    assert inside.size / drawn.size == pytest.approx(record["mass_in_band"], abs=0.003)
    place = facts["best_of_n"]["n"].index(10)
    best = accuracy[: inside.size // 10 * 10].reshape(-1, 10).max(axis=1)
    error = best.std() / math.sqrt(best.size)
    assert abs(best.mean() - facts["best_of_n"]["expected"][place]) < 4 * error
    hits = accuracy >= facts["near_best"]["target"]
    assert hits.mean() == pytest.approx(facts["near_best"]["mass"], abs=0.002)


def test_uniform_numbers_of_the_bands_of_sizes() -> None:
    truth = open_truth("natsbench-size")
    for band, cells, samples, top in (
        ((0, 100_000), 1627, 102, 0.8992),
        ((180_000, 220_000), 4184, 116, 0.918),
        ((270_000, 330_000), 6199, 29, 0.925),
    ):
        record = measure(truth, uniform(len(truth)), parameters=band, datasets=["cifar10"], draws=2)
        facts = record["datasets"]["cifar10"]
        assert record["cells"] == cells
        assert facts["near_best"]["expected_samples"] == pytest.approx(samples, abs=0.5)
        assert facts["near_best"]["speedup"] == facts["top"]["speedup"] == pytest.approx(1)
        assert facts["top"]["target"] == top


def test_cells_of_fewer_operations_are_a_space_of_their_own(truth: NasBench201) -> None:
    """Two operations, in another order: 64 cells, told apart by enumeration here."""
    space = CellSpace(("nor_conv_3x3", "skip_connect"))
    q = np.random.default_rng(1).dirichlet(np.ones(64))
    accuracy = np.array([truth.accuracy()[truth.cell_id(space.to_string(c))] for c in space.cells])
    record = exact_efficiency(q, truth, scores=accuracy, space=space, draws=2)
    facts = record["datasets"]["cifar10"]
    assert record["operations"] == list(space.operations)
    assert record["cells"] == 64
    assert record["mode"] == space.to_string(space.cells[q.argmax()])
    assert facts["mean_accuracy"] == pytest.approx(q @ accuracy)
    assert facts["uniform_mean_accuracy"] == pytest.approx(accuracy.mean())
    assert facts["kendall_tau"] == pytest.approx(1)
    target = facts["targets"][1]
    assert target["mass"] == pytest.approx(q[accuracy >= target["target"]].sum())
    assert target["retrained"]["speedup"]["low"] <= target["speedup"]


def test_hours_of_training_are_those_of_all_samples(truth: NasBench201) -> None:
    """Samples are drawn and trained until one reaches the target: simulated."""
    rng = np.random.default_rng(0)
    q = rng.dirichlet(np.full(len(truth), 0.1))
    facts = measure(truth, q, datasets=["cifar10"], draws=2)["datasets"]["cifar10"]
    target = facts["targets"][0]
    drawn = rng.choice(len(truth), size=(10_000, 300), p=q)
    hit = truth.accuracy()[drawn] >= target["target"]
    spent = truth.training_seconds()[drawn].cumsum(axis=1) / 3600
    until = np.take_along_axis(spent, hit.argmax(axis=1)[:, None], axis=1)
    assert hit.any(axis=1).all()
    error = until.std() / math.sqrt(until.size)
    assert abs(until.mean() - target["training_hours"]) < 4 * error
    assert target["uniform_training_hours"] == pytest.approx(
        target["uniform_expected_samples"] * truth.training_seconds().mean() / 3600
    )
    assert measure(SMALL, Q)["datasets"]["one"]["top"]["training_hours"] is None


@pytest.mark.parametrize("device", ["edgegpu", "edgetpu"])
def test_quartiles_of_latency(truth: NasBench201, device: str) -> None:
    """By sorting; latency on the TPU is unknown of a third of the cells."""
    q = np.random.default_rng(2).dirichlet(np.full(len(truth), 0.3))
    record = by_latency(truth, q, device, targets=[0.935], draws=2)
    latency, accuracy = truth.latency(device), truth.accuracy()
    known = [row for row in np.argsort(latency) if not math.isnan(latency[row])]
    assert sum(each["cells"] for each in record["quartiles"]) == len(known)
    start = 0
    for each in record["quartiles"]:
        rows = known[start : start + each["cells"]]
        start += each["cells"]
        assert each["latency"] == [latency[rows[0]], latency[rows[-1]]]
        assert each["cells"] == pytest.approx(len(known) / 4, abs=3)
        good = sum(q[row] for row in rows if accuracy[row] >= 0.935)
        (target,) = each["targets"]
        assert target["expected_samples"] == pytest.approx(sum(q[rows]) / good)
        reached = sum(accuracy[row] >= 0.935 for row in rows)
        assert target["uniform_expected_samples"] == pytest.approx(len(rows) / reached)
        assert each["best_accuracy"] == max(accuracy[rows])


def test_quartiles_without_mass(truth: NasBench201) -> None:
    q = np.zeros(len(truth))
    q[truth.latency("edgegpu").argmin()] = 1
    first, *others = by_latency(truth, q, "edgegpu", draws=2)["quartiles"]
    assert first["mass"] == 1
    assert [each["targets"] for each in others] == [None] * 3
    with pytest.raises(PdnasError, match="knows no latency on 'abacus'; it knows edgegpu"):
        by_latency(truth, q, "abacus")


@pytest.mark.parametrize(
    ("q", "band", "complaint"),
    [
        (Q, (61, 70), "no architecture of small has 61 to 70 parameters; they have 10 to 60"),
        (Q, (60, 60), "nothing in this band"),
        (Q[:5], None, "equal length"),
        (2 * Q, None, "sum to 1"),
        (np.full(6, np.nan), None, "entry 0 .* is nan"),
    ],
)
def test_what_cannot_be_measured(q: np.ndarray, band: tuple | None, complaint: str) -> None:
    with pytest.raises(PdnasError, match=complaint):
        measure(SMALL, q, parameters=band)


def test_ends_of_a_band_are_in_it() -> None:
    assert band_rows(SMALL, (20, 40)).tolist() == [1, 2, 3]
    assert band_rows(SMALL, None).tolist() == list(range(6))


class TestPython:
    def test_any_form_gives_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "q.csv"
        pd.DataFrame({"name": SMALL.names, "probability": Q}).to_csv(path)
        whole = measure(SMALL, Q)
        about = {name: whole[name] for name in ("parameters", "mass_in_band", "cells")}
        expected = {**about, **whole["datasets"]["one"]}
        named = dict(zip(SMALL.names, Q.tolist(), strict=True))
        for given in (Q, Q.tolist(), named, path, str(path), pd.read_csv(path)):
            assert pdnas.efficiency(SMALL, given) == expected
        samples = [name for name, p in named.items() for _ in range(round(20 * p))]
        assert pdnas.efficiency(SMALL, samples)["mean_accuracy"] == pytest.approx(
            expected["mean_accuracy"]
        )

    def test_band_data_set_and_targets(self) -> None:
        found = pdnas.efficiency(SMALL, Q, dataset="other", targets=[0.3], parameters=BAND)
        assert found["targets"][0]["target"] == 0.3
        assert found["targets"][0]["uniform_mass"] == 0.75
        assert (found["parameters"], found["cells"]) == (list(BAND), 4)
        assert found["mass_in_band"] == pytest.approx(0.9)
        for band in ((50, 20), (math.nan, 50)):
            with pytest.raises(PdnasError, match="a band goes from fewest to most"):
                pdnas.efficiency(SMALL, Q, parameters=band)
        with pytest.raises(PdnasError, match=r"targets\.0.* finite number \(got nan\)"):
            pdnas.efficiency(SMALL, Q, targets=[math.nan])

    def test_names_need_a_ground_truth(self) -> None:
        names = ["x0", "z1"]
        for given in (names, pd.Series(1.0, names), dict.fromkeys(names, 1), pd.DataFrame()):
            with pytest.raises(
                PdnasError, match=r"names need a ground truth .*efficiency\(truth, n"
            ):
                pdnas.efficiency(given)
        q = pd.Series(uniform(15_625))
        assert pdnas.efficiency(q)["mean_accuracy"] == pytest.approx(0.8706, abs=1e-4)

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            ((SMALL, {}), "no rows"),
            ((SMALL, [0.5, 0.5]), "give the probabilities of all 6"),
            ((SMALL, object()), "give the probabilities of all 6"),
            ((SMALL, ["x0", "w0"]), "'w0' is no architecture of small"),
            ((7, Q), "give a ground truth"),
            (("nasbench101", Q), "no ground truth 'nasbench101'"),
        ],
    )
    def test_bad_input(self, arguments: tuple, complaint: str) -> None:
        with pytest.raises(PdnasError, match=complaint):
            pdnas.efficiency(*arguments)


class TestCommand:
    @pytest.fixture
    def marginals(self, tmp_path: Path) -> Path:
        """Each layer of NAS-Bench-Macro takes the large block with 0.8, the small one else."""
        path = tmp_path / "mine.csv"
        rows = [
            f"layer{layer},{block},{p}" for layer in range(8) for block, p in ((1, 0.2), (2, 0.8))
        ]
        path.write_text("\n".join(["switch,option,probability", *rows]))
        return path

    def call(self, *arguments: object) -> str:
        result = CliRunner().invoke(app, ["efficiency", *map(str, arguments)])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    def test_json(self, marginals: Path) -> None:
        said = self.call("nasbench-macro", "--probabilities", marginals, "--target", 92.5, "--json")
        record = json.loads(said)
        truth = open_truth("nasbench-macro")
        q = np.array([0.2 ** name.count("1") * 0.8 ** name.count("2") for name in truth.names])
        q *= [("0" not in name) for name in truth.names]
        facts = dataset_efficiency(q, truth.accuracy(), [0.925])
        (found,) = record["datasets"]["cifar10"]["targets"]
        within = found.pop("retrained")["mass"]
        assert within["low"] < found["mass"] < within["high"]
        assert {key: found[key] for key in facts["targets"][0]} == pytest.approx(
            facts["targets"][0]
        )
        nats = -8 * (0.2 * math.log(0.2) + 0.8 * math.log(0.8))
        assert record["entropy"] == pytest.approx(nats)

    def test_for_people_with_a_figure(self, marginals: Path, tmp_path: Path) -> None:
        out = tmp_path / "figure.png"
        arguments = ("nasbench-macro", "--probabilities", marginals, "--figure", out)
        said = self.call(*arguments, "--parameters", "2000000-2500000")
        assert "near the best" in said
        assert "architectures of 2000000 to 2500000 parameters" in said
        assert out.is_file()
        drawn = pd.read_csv(out.with_suffix(".csv"))
        assert set(drawn["panel"]) == {"samples to reach", "best of n"}
        said = (
            r"figure\.pdf is of a distribution over nasbench-macro by CIFAR-10 too, but shows other"
        )
        with pytest.raises(PdnasError, match=rf"{said} numbers; leave it .*--force"):
            self.call(*arguments)

    def test_latency(self, tmp_path: Path, truth: NasBench201) -> None:
        path = tmp_path / "mine.csv"
        path.write_text("\n".join(["name", *truth.names[::500]]))
        said = self.call("nasbench201", "--probabilities", path, "--device", "edgegpu")
        assert "within each quartile of latency on edgegpu, the network for cifar10" in said
        arguments = ("--probabilities", path, "--device", "edgegpu", "--parameters", "1-2")
        with pytest.raises(PdnasError, match="leave one out"):
            self.call("nasbench201", *arguments)

    @pytest.mark.parametrize("text", ["180000", "9-8", "a-b", "-", "1-2-3"])
    def test_what_is_no_band(self, marginals: Path, text: str) -> None:
        with pytest.raises(PdnasError, match="like 180000-220000"):
            self.call("nasbench-macro", "--probabilities", marginals, f"--parameters={text}")

    def test_what_is_no_distribution_is_told_with_what_may_be_given(self, tmp_path: Path) -> None:
        table = "give a CSV or Parquet table of probabilities"
        run = tmp_path / "study" / "seed0"
        run.mkdir(parents=True)
        (run / POSTERIOR).touch()
        for truth, given, found, more in (
            ("digits", tmp_path, "is a folder", ""),
            ("nasbench201", tmp_path, "is a folder of study", ", or .* run of nasbench201"),
            (
                "natsbench-size",
                run.parent,
                rf"is a folder of runs, such as {run}",
                ", or .* run of",
            ),
            ("nasbench-macro", run / POSTERIOR, "is a file of a run", ", or the folder of a run"),
            ("nasbench201", tmp_path / "no.csv", "does not exist", ", or the folder of a run"),
        ):
            with pytest.raises(PdnasError, match=f"{found}; {table}{more}") as caught:
                self.call(truth, "--probabilities", given)
            assert "\n" not in str(caught.value)

    def test_uniform_sampling_is_of_the_runs_own_operations(
        self, tmp_path: Path, truth: NasBench201
    ) -> None:
        """Cells that a run cannot choose would make every posterior look better."""
        space = CellSpace(("nor_conv_3x3", "none", "skip_connect"))
        posterior = CategoricalPosterior(torch.tensor([[0.5, 0.2, 0.3]] * 6), space)
        save_posterior(tmp_path / POSTERIOR, posterior, {})
        said = json.loads(self.call("nasbench201", "--probabilities", tmp_path, "--json"))
        ids = space.benchmark_ids()
        good = truth.accuracy()[ids] >= 0.935
        (target,) = (
            each for each in said["datasets"]["cifar10"]["targets"] if each["target"] == 0.935
        )
        assert said["cells"] == 729
        assert target["uniform_expected_samples"] == pytest.approx(729 / good.sum())
        q = posterior.architecture_probabilities()
        assert target["speedup"] == pytest.approx(q[good].sum() * 729 / good.sum())
        found = pdnas.efficiency("nasbench201", tmp_path, targets=[0.935])["targets"][0]
        assert found == target
        own = pdnas.efficiency(posterior, targets=[0.935])["targets"][0]
        assert {key: found[key] for key in own} == pytest.approx(own)
        shown = self.call("nasbench201", "--probabilities", tmp_path, "--device", "edgegpu")
        assert "chooses among 729 of 15625 architectures" in shown
        latency = truth.latency("edgegpu")[ids]
        low, high = latency.min(), np.quantile(latency, 0.25)
        fastest = by_latency(truth, uniform(15_625), "edgegpu", only=ids, draws=2)["quartiles"][0]
        inside = truth.accuracy()[ids[(latency >= low) & (latency <= high)]]
        assert fastest["cells"] == inside.size
        assert fastest["uniform_mean_accuracy"] == pytest.approx(inside.mean())

    def test_the_data_set_is_the_runs_own(self, tmp_path: Path) -> None:
        save_posterior(tmp_path / POSTERIOR, CategoricalPosterior.uniform(CellSpace()), {})
        arguments = ("nasbench201", "--probabilities", tmp_path, "--target", 71, "--json")
        for name, own in (("cifar100", "cifar100"), ("digits", None)):
            record = {"spec": {"data": {"name": name}}}
            (tmp_path / "run.json").write_text(json.dumps(record))
            if own is None:
                for asks in (
                    lambda: self.call(*arguments),
                    lambda: pdnas.efficiency("nasbench201", tmp_path),
                ):
                    with pytest.raises(PdnasError, match=r"trained on digits, .* name the dataset"):
                        asks()
            said = self.call(*arguments, *([] if own else ["--dataset", "cifar100"]))
            (target,) = json.loads(said)["datasets"]["cifar100"]["targets"]
            assert target["target"] == 0.71

    def test_a_run_over_widths_is_a_distribution_over_the_size_space(self, tmp_path: Path) -> None:
        drop = {f"c{number}": torch.tensor([0.1 * number + 0.2]) for number in range(5)}
        learned = ChannelPosterior(drop, {name: torch.tensor([16]) for name in drop})
        save_posterior(tmp_path / POSTERIOR, learned, {}, "run")
        said = self.call("natsbench-size", "--probabilities", tmp_path, "--json")
        expected = measure(open_truth("natsbench-size"), network_probabilities(learned))
        assert json.loads(said)["mean_parameters"] == pytest.approx(expected["mean_parameters"])
        cells = CategoricalPosterior.uniform(CellSpace())
        save_posterior(tmp_path / POSTERIOR, cells, {}, "run")
        with pytest.raises(PdnasError, match="give a run of natsbench-size"):
            self.call("natsbench-size", "--probabilities", tmp_path)


@pytest.mark.parametrize("name", ["digits", "nasbench-macro", "nasbench201", "natsbench-size"])
def test_uniform_sampling_saves_nothing(name: str) -> None:
    truth: Truth = open_truth(name)
    for facts in measure(truth, uniform(len(truth)), draws=2)["datasets"].values():
        for each in (*facts["targets"], facts["near_best"], facts["top"]):
            assert each["speedup"] == pytest.approx(1)
