"""Exact arithmetic against enumeration of all draws, and against Monte Carlo."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from pdnas.support.errors import PdnasError
from pdnas.support.statistics import expected_draws
from pdnas.truth import sampling as exact
from pdnas.truth.columns import DATASETS
from pdnas.truth.efficiency import summarise_seeds
from pdnas.truth.measure import exact_efficiency
from pdnas.truth.tables.nasbench201 import NasBench201

Q = np.array([0.4, 0.1, 0.2, 0.0, 0.3])
ACCURACY = np.array([0.5, 0.9, 0.7, 0.95, 0.7])
SCORES = np.array([3.0, 1.0, 2.0, 9.0, 3.0])  # cells 0 and 4 tie


def draws(q: NDArray[np.float64], n: int) -> Iterator[tuple[float, tuple[int, ...]]]:
    """All ordered n-tuples of cells with their probabilities."""
    for cells in itertools.product(range(len(q)), repeat=n):
        yield math.prod(q[list(cells)].tolist()), cells


def chosen_accuracy_by_force(
    q: NDArray[np.float64], scores: NDArray[np.float64], accuracy: NDArray[np.float64], n: int
) -> float:
    """The first-drawn of the highest scores is chosen, as a ranking program would."""
    best = ((p, max(cells, key=lambda cell: float(scores[cell]))) for p, cells in draws(q, n))
    return sum(p * float(accuracy[cell]) for p, cell in best)


def expected_samples(q: ArrayLike, accuracy: ArrayLike, target: float) -> float:
    return expected_draws(float(exact.mass_at_least(q, accuracy, target)))


def expected_best(q: ArrayLike, accuracy: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """What a perfect ranking would choose."""
    return exact.expected_accuracy_of_chosen(q, accuracy, accuracy, n)


def best_quantiles(
    q: ArrayLike, accuracy: ArrayLike, n: ArrayLike, levels: Sequence[float] = exact.QUANTILES
) -> NDArray[np.float64]:
    return exact.accuracy_quantiles_of_chosen(q, accuracy, accuracy, n, levels)


class TestReach:
    def test_by_hand(self) -> None:
        assert expected_samples(Q, ACCURACY, 0.7) == pytest.approx(1 / 0.6)
        assert expected_samples(Q, ACCURACY, 0.9) == pytest.approx(10)
        assert expected_samples(Q, ACCURACY, 0.0) == pytest.approx(1)
        masses = exact.mass_at_least(Q, ACCURACY, [0.96, 0.95, 0.9, 0.71, 0.7, 0.5])
        np.testing.assert_allclose(masses, [0, 0, 0.1, 0.1, 0.6, 1])

    def test_a_computed_target_is_the_one_that_is_meant(self) -> None:
        """93.9 / 100 and 3 x 0.1 are a rounding above; a share of 359 images is itself."""
        accuracy, computed = np.array([0.3, 0.939, 341 / 359]), [3 * 0.1, 93.9 / 100, 341 / 359]
        assert [a < b for a, b in zip(accuracy, computed, strict=True)] == [True, True, False]
        masses = exact.mass_at_least([0.2, 0.3, 0.5], accuracy, computed)
        np.testing.assert_allclose(masses, [1, 0.8, 0.5])

    def test_infinite_without_mass(self) -> None:
        assert expected_samples(Q, ACCURACY, 0.95) == math.inf
        assert expected_samples(Q, ACCURACY, 0.99) == math.inf

    def test_tiny_mass_keeps_its_digits(self) -> None:
        q = np.array([1 - 1e-30, 1e-30])
        assert expected_samples(q, np.array([0.1, 0.9]), 0.9) == pytest.approx(1e30)

    def test_monte_carlo(self) -> None:
        rng = np.random.default_rng(0)
        reached = ACCURACY[rng.choice(5, size=(20_000, 200), p=Q)] >= 0.9
        assert reached.any(axis=1).all()
        first = reached.argmax(axis=1) + 1
        error = first.std() / math.sqrt(len(first))
        assert abs(first.mean() - expected_samples(Q, ACCURACY, 0.9)) < 4 * error


class TestMoments:
    def test_by_hand(self) -> None:
        assert exact.mean_accuracy(Q, ACCURACY) == pytest.approx(0.64)
        assert exact.mode_accuracy(Q, ACCURACY) == 0.5
        assert exact.entropy(Q) == pytest.approx(-sum(q * math.log(q) for q in Q if q))

    def test_uniform(self) -> None:
        assert np.exp(exact.entropy(exact.uniform(15_625))) == pytest.approx(15_625)
        assert exact.mode_accuracy(exact.uniform(5), ACCURACY) == pytest.approx(ACCURACY.mean())

    def test_point_mass(self) -> None:
        q = np.array([0.0, 1.0, 0.0, 0.0, 0.0])
        assert exact.entropy(q) == 0
        np.testing.assert_array_equal(expected_best(q, ACCURACY, [1, 5]), [0.9, 0.9])
        np.testing.assert_array_equal(best_quantiles(q, ACCURACY, 3), [[0.9, 0.9, 0.9]])


class TestBestOfN:
    @pytest.mark.parametrize("n", [1, 2, 3, 5])
    def test_brute_force(self, n: int) -> None:
        by_force = chosen_accuracy_by_force(Q, ACCURACY, ACCURACY, n)
        assert expected_best(Q, ACCURACY, n)[0] == pytest.approx(by_force, rel=1e-12)

    @pytest.mark.parametrize("n", [1, 2, 4])
    @pytest.mark.parametrize("level", [0.05, 0.4, 0.5, 0.95])
    def test_quantiles_by_brute_force(self, n: int, level: float) -> None:
        best = sorted((max(ACCURACY[list(cells)]), p) for p, cells in draws(Q, n))
        below = np.cumsum([p for _, p in best])
        by_force = best[int(np.searchsorted(below, level * (1 - 1e-9)))][0]
        assert best_quantiles(Q, ACCURACY, n, [level])[0, 0] == by_force

    def test_monte_carlo(self) -> None:
        rng = np.random.default_rng(0)
        q, accuracy = rng.dirichlet(np.full(1000, 0.3)), rng.normal(0.9, 0.02, 1000)
        best = accuracy[rng.choice(1000, size=(20_000, 50), p=q)].max(axis=1)
        error = best.std() / math.sqrt(len(best))
        assert abs(best.mean() - expected_best(q, accuracy, 50)[0]) < 4 * error
        low, middle, high = best_quantiles(q, accuracy, 50)[0]
        for quantile, level in ((low, 0.05), (middle, 0.5), (high, 0.95)):
            # Binomial error of an empirical distribution function is at most 0.0036.
            assert (best < quantile).mean() - 0.015 < level < (best <= quantile).mean() + 0.015

    def test_many_draws_reach_the_best_possible(self) -> None:
        best = expected_best(exact.uniform(1000), np.arange(1000) / 1000, np.arange(1, 15_626))
        assert (np.diff(best) > 0).all()
        assert best[0] == pytest.approx(0.4995)
        assert 0.999 - best[-1] < 1e-9

    def test_zero_draws(self) -> None:
        with pytest.raises(PdnasError, match="1 or more"):
            expected_best(Q, ACCURACY, 0)


class TestRankedChoice:
    @pytest.mark.parametrize("n", [1, 2, 3, 5])
    def test_brute_force_with_ties(self, n: int) -> None:
        by_force = chosen_accuracy_by_force(Q, SCORES, ACCURACY, n)
        ours = exact.expected_accuracy_of_chosen(Q, SCORES, ACCURACY, n)[0]
        assert ours == pytest.approx(by_force, rel=1e-12)

    @settings(max_examples=50, deadline=None)
    @given(st.data(), st.integers(1, 4), st.integers(1, 4))
    def test_brute_force_anywhere(self, data: st.DataObject, cells: int, n: int) -> None:
        def numbers(low: int, high: int) -> NDArray[np.float64]:
            each = st.lists(st.integers(low, high), min_size=cells, max_size=cells)
            return np.array(data.draw(each), dtype=np.float64)

        weights = numbers(0, 5) + np.eye(cells)[0]
        q, scores, accuracy = weights / weights.sum(), numbers(0, 2), numbers(0, 100) / 100
        by_force = chosen_accuracy_by_force(q, scores, accuracy, n)
        ours = exact.expected_accuracy_of_chosen(q, scores, accuracy, n)[0]
        assert ours == pytest.approx(by_force, rel=1e-9, abs=1e-12)

    def test_useless_score_chooses_an_average_cell(self) -> None:
        chosen = exact.expected_accuracy_of_chosen(Q, np.zeros(5), ACCURACY, [1, 7, 1000])
        np.testing.assert_allclose(chosen, Q @ ACCURACY)

    def test_mass_that_is_all_but_for_rounding_warns_of_nothing(self) -> None:
        q = np.array([1e-20, 1, 0])
        with np.errstate(all="raise"):
            chosen = exact.expected_accuracy_of_chosen(q, [0, 1, 2], [0.1, 0.9, 1], [1, 100])
        np.testing.assert_allclose(chosen, 0.9)

    def test_single_draw_needs_no_score(self) -> None:
        chosen = exact.expected_accuracy_of_chosen(Q, SCORES, ACCURACY, 1)
        np.testing.assert_allclose(chosen, Q @ ACCURACY)

    def test_monotone_transform_of_scores_changes_nothing(self) -> None:
        one, other = (
            exact.expected_accuracy_of_chosen(Q, scores, ACCURACY, [2, 20])
            for scores in (SCORES, np.exp(SCORES) - 7)
        )
        np.testing.assert_array_equal(one, other)

    def test_worst_score_chooses_the_worst(self) -> None:
        chosen = exact.expected_accuracy_of_chosen(Q, -ACCURACY, ACCURACY, 10_000)
        assert chosen[0] == pytest.approx(0.5)


def chosen_quantile_by_force(
    q: NDArray[np.float64],
    scores: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    n: int,
    level: float,
) -> float:
    chosen = [(max(cells, key=lambda cell: float(scores[cell])), p) for p, cells in draws(q, n)]
    ordered = sorted((float(accuracy[cell]), p) for cell, p in chosen)
    below = np.cumsum([p for _, p in ordered])
    return ordered[int(np.searchsorted(below, level * (1 - 1e-9)))][0]


class TestRankedQuantiles:
    @pytest.mark.parametrize("n", [1, 2, 4])
    @pytest.mark.parametrize("level", [0.05, 0.4, 0.5, 0.7, 0.95])
    def test_brute_force_with_ties(self, n: int, level: float) -> None:
        by_force = chosen_quantile_by_force(Q, SCORES, ACCURACY, n, level)
        assert exact.accuracy_quantiles_of_chosen(Q, SCORES, ACCURACY, n, [level])[0, 0] == by_force

    @settings(max_examples=100, deadline=None)
    @given(st.data(), st.integers(1, 4), st.integers(1, 4), st.sampled_from([0.05, 0.33, 0.5, 0.9]))
    def test_brute_force_anywhere(
        self, data: st.DataObject, cells: int, n: int, level: float
    ) -> None:
        def numbers(low: int, high: int) -> NDArray[np.float64]:
            each = st.lists(st.integers(low, high), min_size=cells, max_size=cells)
            return np.array(data.draw(each), dtype=np.float64)

        weights = numbers(0, 5) + np.eye(cells)[0]
        q, scores, accuracy = weights / weights.sum(), numbers(0, 2), numbers(0, 100) / 100
        by_force = chosen_quantile_by_force(q, scores, accuracy, n, level)
        ours = exact.accuracy_quantiles_of_chosen(q, scores, accuracy, n, [level])[0, 0]
        assert ours == by_force

    def test_monte_carlo(self) -> None:
        """300 cells with scores that tie and say something, but not all."""
        rng = np.random.default_rng(0)
        q, accuracy = rng.dirichlet(np.full(300, 0.3)), rng.normal(0.9, 0.02, 300)
        scores = (accuracy + rng.normal(0, 0.02, 300)).round(2)
        drawn = rng.choice(300, size=(20_000, 30), p=q)
        chosen = accuracy[drawn[np.arange(20_000), scores[drawn].argmax(axis=1)]]
        error = chosen.std() / math.sqrt(len(chosen))
        expected = exact.expected_accuracy_of_chosen(q, scores, accuracy, 30)[0]
        assert abs(chosen.mean() - expected) < 4 * error
        quantiles = exact.accuracy_quantiles_of_chosen(q, scores, accuracy, 30)[0]
        for quantile, level in zip(quantiles, exact.QUANTILES, strict=True):
            assert (chosen < quantile).mean() - 0.015 < level < (chosen <= quantile).mean() + 0.015

    def test_tiny_masses(self) -> None:
        """A cell that is never drawn below one that always is: no NaN, no surprise."""
        q, scores, accuracy = np.array([1e-30, 1.0]), np.array([0.0, 1.0]), np.array([0.1, 0.9])
        found = exact.accuracy_quantiles_of_chosen(q, scores, accuracy, [1, 10, 15_625])
        np.testing.assert_array_equal(found, np.full((3, 3), 0.9))

    def test_every_n_of_the_benchmark(self, truth: NasBench201) -> None:
        """Ranked by 12-epoch accuracy; no quantile passes that of a perfect ranking."""
        n, q = np.unique(np.geomspace(1, 15_625, 40).round()), exact.uniform(15_625)
        accuracy, scores = truth.accuracy(), truth.validation_12()
        ranked = exact.accuracy_quantiles_of_chosen(q, scores, accuracy, n)
        assert (ranked <= best_quantiles(q, accuracy, n)).all()
        expected = exact.expected_accuracy_of_chosen(q, scores, accuracy, n)
        assert (expected < expected_best(q, accuracy, n))[1:].all()
        assert expected[0] == pytest.approx(accuracy.mean())


@pytest.mark.parametrize(
    ("q", "complaint"),
    [
        ([0.5, 0.4, 0, 0, 0], "sum to 1, not 0.9"),
        ([1.5, -0.5, 0, 0, 0], "non-negative"),
        ([math.nan, 1, 0, 0, 0], "non-negative"),
        ([0.5, 0.5], "equal length"),
    ],
)
def test_no_distribution(q: list[float], complaint: str) -> None:
    with pytest.raises(PdnasError, match=complaint):
        expected_best(q, ACCURACY, 3)


def test_score_that_is_no_number() -> None:
    with pytest.raises(PdnasError, match="finite"):
        exact.expected_accuracy_of_chosen(Q, [math.nan, 1, 2, 3, 4], ACCURACY, 3)


class TestRecord:
    def test_uniform(self, truth: NasBench201) -> None:
        record = exact_efficiency(exact.uniform(15_625), truth)
        samples = [each["expected_samples"] for each in record["datasets"]["cifar10"]["targets"]]
        np.testing.assert_allclose(samples, [15_625 / 1446, 15_625 / 411, 15_625 / 42])
        assert [round(each) for each in samples] == [11, 38, 372]
        for name in DATASETS:
            found = record["datasets"][name]
            assert all(each["speedup"] == pytest.approx(1) for each in found["targets"])
            curves = found["best_of_n"]
            assert curves["expected"] == pytest.approx(curves["uniform_expected"], rel=1e-12)
            assert (curves["n"][0], curves["n"][-1]) == (1, 15_625)

    def test_quantiles_of_the_best_of_n(self, truth: NasBench201) -> None:
        """The best of n uniform draws is at most the cell of rank r with chance (r / cells)^n."""
        record = exact_efficiency(exact.uniform(15_625), truth)
        curves = record["datasets"]["cifar10"]["best_of_n"]
        ordered = np.sort(truth.accuracy())
        for place, n in enumerate(curves["n"]):
            for name, level in (("quantile_05", 0.05), ("quantile_50", 0.5), ("quantile_95", 0.95)):
                rank = math.ceil(15_625 * level ** (1 / n) - 1e-9)
                assert curves[name][place] == pytest.approx(ordered[rank - 1], abs=2e-5), (name, n)

    def test_point_mass_on_the_optimum(self, truth: NasBench201) -> None:
        q = np.zeros(15_625)
        q[truth.accuracy().argmax()] = 1
        found = exact_efficiency(q, truth)["datasets"]["cifar10"]
        for quantity in ("mean_accuracy", "mode_accuracy", "best_accuracy"):
            assert found[quantity] == 0.94373333
        assert found["targets"][-1]["speedup"] == pytest.approx(15_625 / 42)
        assert found["mass_by_accuracy"]["threshold"][-1] == 0.94
        assert found["mass_by_accuracy"]["mass"][-1] == 1

    def test_unreachable_target_is_null(self, truth: NasBench201) -> None:
        q = np.zeros(15_625)
        q[0] = 1  # no operation anywhere
        record = exact_efficiency(q, truth, {"cifar10": (0.94, 0.99)})
        json.dumps(record, allow_nan=False)
        together = summarise_seeds([record, record])
        json.dumps(together, allow_nan=False)
        reachable, beyond_all = together["datasets"]["cifar10"]["targets"]
        assert reachable["speedup"]["estimate"] == 0
        assert beyond_all["speedup"] is None
        reachable, beyond_all = record["datasets"]["cifar10"]["targets"]
        assert reachable["expected_samples"] is None
        assert reachable["speedup"] == 0
        assert beyond_all["uniform_expected_samples"] is None
        assert beyond_all["speedup"] is None
        assert record["datasets"]["cifar100"]["targets"] == []

    def test_wrong_space(self, truth: NasBench201) -> None:
        with pytest.raises(PdnasError, match="equal length"):
            exact_efficiency(exact.uniform(729), truth)

    def test_seeds_together(self, truth: NasBench201) -> None:
        records = []
        for seed in range(3):
            weights = np.random.default_rng(seed).gamma(0.5, size=15_625)
            records.append(exact_efficiency(weights / weights.sum(), truth))
        summary = summarise_seeds(records)
        json.dumps(summary, allow_nan=False)
        target = summary["datasets"]["cifar10"]["targets"][2]
        speedups = [record["datasets"]["cifar10"]["targets"][2]["speedup"] for record in records]
        assert target["speedup"]["estimate"] == pytest.approx(np.prod(speedups) ** (1 / 3))
        assert target["speedup"]["low"] < target["speedup"]["estimate"] < target["speedup"]["high"]
        # Samples are the uniform number over the speed-up; so are the geometric intervals.
        for quantity in ("mean_accuracy", "mode_accuracy"):
            values = [record["datasets"]["cifar10"][quantity] for record in records]
            found = summary["datasets"]["cifar10"][quantity]["estimate"]
            assert found == pytest.approx(np.mean(values)), quantity
        assert target["expected_samples"]["low"] == pytest.approx(
            target["uniform_expected_samples"] / target["speedup"]["high"]
        )
