"""How good a truth is: against simulations whose truth is known, and against what was seen."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pdnas.commands.app import app
from pdnas.support.statistics import kendall_tau
from pdnas.truth.efficiency import reaching
from pdnas.truth.measure import measure
from pdnas.truth.noise import (
    best_tenth,
    by_level,
    deconvolve,
    deconvolved,
    luck,
    noise_interval,
    noise_of,
    pairwise_residual,
    quality,
    retrained,
    tau_ceiling,
    tau_of_trainings,
)
from pdnas.truth.sampling import uniform
from pdnas.truth.tables import Truth, open_truth
from pdnas.truth.tables.nasbench201 import NasBench201

from .small import SMALL

DEVIATION = 0.0015


def constant(deviation: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda accuracy: np.full(accuracy.shape, deviation)


@pytest.fixture(scope="module")
def simulated() -> tuple[np.ndarray, np.ndarray]:
    """Expected accuracies with a thin tail upwards, and measured ones."""
    rng = np.random.default_rng(0)
    expected = 0.945 - 0.02 * rng.gamma(4, 1, size=15_000)
    return expected, expected + DEVIATION * rng.standard_normal(expected.size)


class TestDeviation:
    def test_of_trainings_with_more_noise_at_lower_levels(self) -> None:
        rng = np.random.default_rng(1)
        level = np.linspace(0.5, 0.9, 10_000)
        noise = 0.05 * (1 - level)
        trainings = level + noise * rng.standard_normal((3, level.size))
        mean = trainings.mean(axis=0)
        squares = ((trainings - mean) ** 2).sum(axis=0)
        found = by_level(mean, squares, np.full(level.size, 2.0))
        assert np.abs(found / noise - 1).max() < 0.25
        assert (found / noise).mean() == pytest.approx(1, abs=0.02)

    def test_without_freedom_nothing_is_known(self) -> None:
        assert by_level(np.arange(40.0), np.zeros(40), np.zeros(40)).tolist() == [0] * 40

    def test_nasbench201(self, truth: NasBench201) -> None:
        """Single trainings of all cells, of 93 % and of 94 %: 0.41, 0.195 and 0.17 points."""
        noise, accuracy = noise_of(truth, "cifar10"), truth.accuracy()
        found = [100 * noise.pooled(accuracy >= least) for least in (0, 0.93, 0.94)]
        assert found == pytest.approx([0.415, 0.196, 0.174], abs=0.001)
        assert np.bincount(noise.trainings).tolist() == [0, 2225, 5439, 7961]
        assert noise.at(np.array([0.1])) < 1e-4
        assert noise.at(np.array([0.7])) > 2 * noise.at(np.array([0.93]))

    @pytest.mark.parametrize(
        ("dataset", "points"), [("cifar10", 0.24), ("cifar100", 0.57), ("imagenet16_120", 0.66)]
    )
    def test_sizes_from_pairwise_interactions(self, dataset: str, points: float) -> None:
        truth = open_truth("natsbench-size")
        noise = noise_of(truth, dataset)
        every = np.ones(len(truth), dtype=bool)
        assert 100 * noise.pooled(every) == pytest.approx(points, abs=0.005)
        assert "upper bound" in noise.source

    def test_sources(self, truth: NasBench201) -> None:
        assert noise_of(truth, "cifar10").source == "single trainings"
        assert noise_of(truth, "cifar100").source == "isomorphic architectures (upper bound)"
        assert len(np.unique(noise_of(truth, "cifar10").groups)) == 15_625
        macro = open_truth("nasbench-macro")
        assert len(np.unique(noise_of(macro, "cifar10").groups)) == 3969

    def test_pairwise_model_is_that_of_least_squares(self) -> None:
        sizes = (3, 4, 2)
        codes = np.indices(sizes).reshape(3, -1).T
        values = np.random.default_rng(2).random(24)
        columns = [np.ones(24)]
        for one in range(3):
            for other in range(one + 1, 3):
                pair = codes[:, one] * sizes[other] + codes[:, other]
                columns += [pair == each for each in range(sizes[one] * sizes[other])]
        design = np.stack(columns, axis=1).astype(float)
        fitted, residual, freedom = pairwise_residual(sizes, values)
        solution = np.linalg.lstsq(design, values, rcond=None)[0]
        assert fitted == pytest.approx(design @ solution)
        assert fitted + residual == pytest.approx(values)
        assert freedom == 24 - np.linalg.matrix_rank(design)


class TestDeconvolution:
    def test_luck_where_the_truth_is_known(self, simulated: tuple[np.ndarray, np.ndarray]) -> None:
        expected, measured = simulated
        found = deconvolve(measured, constant(DEVIATION))
        for target in (0.91, 0.93, 0.935):
            said = luck(measured, found, target)
            reached = measured >= target
            assert said["reached"] == reached.sum()
            really = (reached & (expected < target)).sum()
            missed = (~reached & (expected >= target)).sum()
            assert said["by_luck"] == pytest.approx(really, abs=4 * np.sqrt(really) + 3)
            assert said["missed"] == pytest.approx(missed, abs=4 * np.sqrt(missed) + 3)
        best = np.argsort(-measured)[:50]
        assert found.mean()[best].mean() == pytest.approx(expected[best].mean(), abs=0.0006)

    def test_draws_are_of_the_posterior(self, simulated: tuple[np.ndarray, np.ndarray]) -> None:
        _, measured = simulated
        found = deconvolve(measured, constant(DEVIATION))
        chosen = np.array([5, 77, 5000, int(measured.argmax())])
        drawn = found.draw(np.random.default_rng(0), chosen, 4000)
        assert drawn.shape == (4000, 4)
        assert drawn.mean(axis=0) == pytest.approx(found.mean()[chosen], abs=2e-4)
        below = (drawn < 0.9).mean(axis=0)
        assert below == pytest.approx(found.below(0.9)[chosen], abs=0.03)

    def test_without_noise_all_stays(self) -> None:
        accuracy = np.linspace(0.1, 0.9, 81)
        found = deconvolve(accuracy, constant(0))
        assert found.mean() == pytest.approx(accuracy, abs=3e-3)

    @pytest.mark.parametrize(("deviation", "cells"), [(0.0013, 17), (0.0015, 19), (0.0019, 28)])
    def test_cells_of_94_percent_by_luck(
        self, truth: NasBench201, deviation: float, cells: int
    ) -> None:
        accuracy = truth.accuracy()
        found = deconvolve(accuracy, constant(deviation))
        assert luck(accuracy, found, 0.94)["by_luck"] == pytest.approx(cells, abs=2)


class TestRetrained:
    def test_other_trainings_look_like_these(self, truth: NasBench201) -> None:
        tables = retrained(truth, "cifar10", 20)[1][:, 0]
        accuracy = truth.accuracy()
        assert tables.mean() == pytest.approx(accuracy.mean(), abs=3e-4)
        assert tables.std() == pytest.approx(accuracy.std(), rel=0.01)
        assert (tables >= 0.935).sum(axis=1).mean() == pytest.approx(411, rel=0.05)
        dead = accuracy == 0.1
        assert np.abs(tables[:, dead] - 0.1).max() < 0.002

    def test_shared_trainings_stay_shared(self) -> None:
        truth = open_truth("digits")
        expected, measured = retrained(truth, "digits", 2, 3)
        assert measured.shape == (2, 3, 729)
        _, first, group = np.unique(
            truth.isomorphism_classes, return_index=True, return_inverse=True
        )
        assert np.array_equal(measured, measured[..., first][..., group])
        assert np.array_equal(expected, expected[:, first][:, group])


class Simulated(Truth):
    """A thousand architectures, each trained twice; what to expect of each is known."""

    name = "simulated"
    title = "simulated"
    targets: ClassVar = {"one": (0.93,)}
    switches: ClassVar = {name: tuple("0123456789") for name in "abc"}

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.expected = 0.945 - 0.02 * rng.gamma(3, 1, size=1000)
        super().__init__(pd.DataFrame({"row": range(1000)}))
        self.measured = self.train(rng)

    def train(self, rng: np.random.Generator) -> np.ndarray:
        return self.expected + 0.003 * rng.standard_normal((2, 1000))

    @cached_property
    def names(self) -> list[str]:
        return [f"{row:03}" for row in range(1000)]

    @property
    def parameters(self) -> np.ndarray:
        return np.arange(1, 1001)

    def accuracy(self, dataset: str | None = None) -> np.ndarray:
        return self.measured.mean(axis=0)

    def trainings(self, dataset: str | None = None) -> np.ndarray:
        return self.measured


class TestNoiseInterval:
    def test_covers_what_many_trainings_give(self) -> None:
        """A sampler that knows much: its efficiency, the mean over new trainings, lies inside."""
        covered, widths = 0, []
        for seed in range(20):
            world = Simulated(seed)
            q = np.exp(60 * world.expected)
            q /= q.sum()
            facts = measure(world, q, datasets=["one"])["datasets"]["one"]["targets"][0]
            rng = np.random.default_rng(1000 + seed)
            many = [float(q @ (world.train(rng).mean(axis=0) >= 0.93)) for _ in range(200)]
            really = math.exp(np.log(many).mean())
            interval = facts["retrained"]["mass"]
            covered += interval["low"] <= really <= interval["high"]
            widths.append(math.log(interval["high"] / interval["low"]) / (2 * 1.96))
        assert covered >= 17
        assert np.mean(widths) == pytest.approx(np.log(many).std(), rel=0.3)

    def test_of_all_cells(self, truth: NasBench201) -> None:
        q = uniform(len(truth))
        target = measure(truth, q, datasets=["cifar10"])["datasets"]["cifar10"]["targets"][2]
        interval = target["retrained"]
        samples = interval["uniform_expected_samples"]
        assert 250 < samples["low"] < target["expected_samples"] == pytest.approx(372, rel=1e-3)
        assert 372 < samples["high"] < 550
        assert interval["expected_samples"] == pytest.approx(samples)
        assert list(interval["speedup"].values()) == pytest.approx([1, 1])

    def test_nothing_saves_more_samples_than_chance_takes(self, truth: NasBench201) -> None:
        q = np.zeros(len(truth))
        q[np.argsort(truth.accuracy("cifar10"))[-414:-404]] = 0.1  # some of them reach 93.5 %
        target = measure(truth, q, datasets=["cifar10"])["datasets"]["cifar10"]["targets"][1]
        interval = target["retrained"]
        assert interval["mass"]["high"] == 1
        assert target["speedup"] < interval["speedup"]["high"]
        assert interval["speedup"]["high"] <= interval["uniform_expected_samples"]["high"]

    def test_without_noise_it_is_a_point(self) -> None:
        pairs = np.tile(SMALL.accuracy(), (5, 2, 1))
        q = np.array([0.1, 0.2, 0.3, 0.15, 0.25, 0.0])
        (entry,) = reaching(q, SMALL.accuracy(), [0.7])
        found = noise_interval(entry, q, pairs, 0.7)
        for name, interval in found.items():
            assert list(interval.values()) == pytest.approx([entry[name]] * 2)

    def test_where_noise_decides_there_is_none(self) -> None:
        pairs = np.tile(SMALL.accuracy(), (5, 2, 1))
        pairs[0, 0] = 0
        q = np.array([0.1, 0.2, 0.3, 0.15, 0.25, 0.0])
        reached, missed = reaching(q, SMALL.accuracy(), [0.7, 0.9])
        assert noise_interval(reached, q, pairs, 0.7)["mass"] == {"low": None, "high": None}
        assert noise_interval(missed, q, pairs, 0.9)["speedup"] == {"low": None, "high": None}


class TestTau:
    def test_two_trainings(self, truth: NasBench201) -> None:
        trainings = truth.trainings("cifar10")
        assert trainings is not None
        every, best = tau_of_trainings(trainings, truth.accuracy())
        assert every == pytest.approx(0.91, abs=0.005)
        assert 0.38 < best < 0.45

    def test_the_ceiling_is_met_by_another_mean_of_trainings_and_not_by_one(
        self, truth: NasBench201
    ) -> None:
        """The expected accuracies are better than any training; two trainings are worse."""
        every, best = tau_ceiling(truth, "cifar10", draws=3)
        assert 0.92 < every < 0.98
        assert 0.5 < best < 0.8
        trainings = truth.trainings("cifar10")
        assert trainings is not None
        assert tau_of_trainings(trainings, truth.accuracy()) < (every, best)

    def test_the_simulated_ceiling(self, simulated: tuple[np.ndarray, np.ndarray]) -> None:
        expected, measured = simulated
        found = deconvolve(measured, constant(DEVIATION))
        rng = np.random.default_rng(3)
        drawn = found.draw(rng, np.arange(measured.size), 1)[0]
        again = drawn + DEVIATION * rng.standard_normal(drawn.size)
        for chosen, now in ((best_tenth(measured), best_tenth(again)), (slice(None),) * 2):
            real = kendall_tau(expected[chosen], measured[chosen])
            assert kendall_tau(drawn[now], again[now]) == pytest.approx(real, abs=0.03)


@pytest.mark.parametrize("name", ["digits", "nasbench-macro", "nasbench201", "natsbench-size"])
def test_quality_is_json(name: str) -> None:
    truth = open_truth(name)
    record = quality(truth, truth.datasets[0])
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["best"]["expected_again"] < record["best"]["accuracy"]
    assert [each["target"] for each in record["targets"]] == list(truth.targets[truth.datasets[0]])


def test_nothing_is_known_of_the_noise_of_a_tiny_space() -> None:
    """A pairwise model of two switches leaves nothing over."""
    assert noise_of(SMALL, "one").single.tolist() == [0] * 6


def test_deconvolution_is_made_once(truth: NasBench201) -> None:
    assert deconvolved(truth, "cifar10") is deconvolved(truth, "cifar10")


def test_command() -> None:
    said = CliRunner().invoke(app, ["truth", "noise", "nasbench-macro"], catch_exceptions=False)
    assert "from single trainings: standard deviation 0.213 points" in said.stdout
    assert "between two trainings: 0.88" in said.stdout
    said = CliRunner().invoke(app, ["truth", "noise", "natsbench-size"], catch_exceptions=False)
    assert "no score can be expected to beat: at least 0.87" in said.stdout


def test_digits_of_the_same_writers_are_easier() -> None:
    """The file has its images in the order of their writers; docs/truths.md quotes both numbers."""
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    images, labels = load_digits(return_X_y=True)
    half = len(labels) // 2

    def accuracy(order: np.ndarray) -> float:
        train, test = order[:half], order[half:]
        machine = SVC(gamma=0.001).fit(images[train], labels[train])
        return float(machine.score(images[test], labels[test]))

    ordered = np.arange(len(labels))
    mixed = np.mean([accuracy(np.random.default_rng(seed).permutation(ordered)) for seed in (0, 1)])
    assert 100 * accuracy(ordered) == pytest.approx(96.9, abs=0.3)
    assert 100 * mixed == pytest.approx(98.7, abs=0.8)
