"""Intervals against scipy.stats and by coverage; expectations against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from pdnas.support.statistics import (
    Interval,
    confidence_interval,
    expected_best_of_subset,
    geometric_interval,
    holm,
    mean_is_zero,
    normal_scores,
    prediction_interval,
)


def test_student_t() -> None:
    values = [93.1, 93.4, 92.9, 93.6, 93.2]
    found = confidence_interval(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.estimate == pytest.approx(93.24)
    assert found.count == 5


def test_geometric() -> None:
    found = geometric_interval([10.0, 20.0, 40.0])
    inverse = geometric_interval([1 / 10, 1 / 20, 1 / 40])
    assert found.estimate == pytest.approx(20)
    assert (1 / inverse.high, 1 / inverse.low) == pytest.approx((found.low, found.high))
    assert found.low > 0


def test_coverage() -> None:
    """The true mean lies inside 90 % of the intervals (binomial error 0.7 points)."""
    rng = np.random.default_rng(0)
    intervals = [confidence_interval(row, 0.9) for row in rng.normal(3, 2, size=(2000, 5))]
    inside = np.mean([each.low <= 3 <= each.high for each in intervals])
    assert abs(inside - 0.9) < 0.027


def test_single_seed_has_no_interval() -> None:
    assert confidence_interval([0.5]).to_json() == {
        "estimate": 0.5,
        "low": None,
        "high": None,
        "count": 1,
        "level": 0.95,
    }


def test_an_interval_ends_where_the_quantity_does() -> None:
    wide = geometric_interval([1.0, 1.2, 142.0])
    assert wide.low < 0.1
    assert wide.within(least=1) == Interval(wide.estimate, 1.0, wide.high, 3)
    assert wide.within(most=5).high == 5
    single = geometric_interval([2.0]).within(1, 5)
    assert math.isnan(single.low)
    assert math.isnan(single.high)


@pytest.mark.parametrize(("value", "estimate"), [(math.inf, math.inf), (0.0, 0.0)])
def test_unreached_target_of_one_seed(value: float, estimate: float) -> None:
    found = geometric_interval([10.0, 12.0, value])
    assert found.estimate == estimate
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        confidence_interval([])
    with pytest.raises(ValueError, match="between 0 and 1"):
        confidence_interval([1.0, 2.0], level=95)
    for bad in (-1.0, math.nan):
        with pytest.raises(ValueError, match="positive"):
            geometric_interval([1.0, bad])


def test_prediction_interval_covers_means_of_new_seeds() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        found = prediction_interval(rng.normal(5, 2, 20), 4, 0.9)
        covered += found.low <= rng.normal(5, 2, 4).mean() <= found.high
    assert covered / 2000 == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("count", range(1, 8))
def test_expected_best_against_every_subset(count: int) -> None:
    values = [0.1, 0.5, 0.5, 0.2, 0.9, 0.7, 0.3]
    subsets = list(itertools.combinations(values, count))
    expected = sum(max(subset) for subset in subsets) / len(subsets)
    assert expected_best_of_subset(values, count) == pytest.approx(expected, rel=1e-12)


def test_expected_best_of_many() -> None:
    values = np.arange(20_000) / 20_000
    # The maximum of k of the numbers 0 … n-1 has mean k (n + 1) / (k + 1) - 1.
    for count in (1, 50, 10_000, 19_999, 20_000):
        mean = count * 20_001 / (count + 1) - 1
        assert expected_best_of_subset(values, count) == pytest.approx(mean / 20_000, rel=1e-9)
    with pytest.raises(ValueError, match="cannot draw 3 of 2"):
        expected_best_of_subset([1.0, 2.0], 3)


def test_a_mean_of_zero() -> None:
    values = [0.3, -0.1, 0.4, 0.2]
    assert mean_is_zero(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    for equal in ([0.2], [0.2, 0.2], [0.3, 0.1 + 0.2], [0.0, 0.0]):
        assert math.isnan(mean_is_zero(equal)), equal
    assert mean_is_zero([0.2, 0.2001]) < 0.01


def test_holm() -> None:
    """Steps 4 x 0.01, 3 x 0.015, 2 x 0.02, which is less, and 1 x 0.5; NaN was not tested."""
    given = [0.02, math.nan, 0.01, 0.5, 0.015]
    assert holm(given) == pytest.approx([0.045, math.nan, 0.04, 0.5, 0.045], nan_ok=True)
    assert holm([0.6, 0.9]) == [1, 1]


def test_holm_keeps_its_level() -> None:
    """Of five tests of which none has anything to find, any is below 0.1 one time in ten."""
    values = np.random.default_rng(0).uniform(size=(4000, 5))
    wrong = np.mean([min(holm(row.tolist())) < 0.1 for row in values])
    assert abs(wrong - 0.1) < 0.015


def test_normal_scores_are_quantiles_of_ranks() -> None:
    """Of four: those of 1/8, 3/8, 5/8 and 7/8; what failed is last, equals are equal."""
    expected = [0.318639, -1.150349, 1.150349, -0.318639]
    assert normal_scores([0.2, -np.inf, 7.0, 0.1]) == pytest.approx(expected, abs=1e-6)
    assert normal_scores([1, 1, 2])[0] == normal_scores([1, 1, 2])[1]
