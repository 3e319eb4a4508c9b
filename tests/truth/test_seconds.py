"""GPU hours of searches of the table."""

from __future__ import annotations

import numpy as np
import pytest

from pdnas.truth.rivals import compete
from pdnas.truth.seconds import query_seconds, search_hours
from pdnas.truth.tables.nasbench201 import NasBench201


def test_the_benchmarks_budget_is_a_hundred_queries(truth: NasBench201) -> None:
    """Its authors stop after 12 000 seconds, about when a random search has seen 109 cells."""
    assert 12_000 / query_seconds(truth, "cifar10").mean() == pytest.approx(109, abs=1)
    both = query_seconds(truth, "cifar100") / query_seconds(truth, "cifar10")
    assert both == pytest.approx(np.full(15_625, 2.0))


def test_by_hand() -> None:
    seconds, accuracy = np.array([3600.0, 7200.0, 1800.0]), np.array([0.5, 0.9, 0.7])
    asked = np.array([[0, 0, 1], [2, 1, 0]])
    found = search_hours(asked, seconds, accuracy, [0.6, 0.9, 0.95])
    assert found["whole"]["estimate"] == pytest.approx((4 + 3.5) / 2)
    first, second, third = found["targets"]
    assert first["estimate"] == pytest.approx((4 + 0.5) / 2)
    assert first["low"] == 0, "no training takes less"
    assert second["estimate"] == pytest.approx((4 + 2.5) / 2)
    assert third["estimate"] is None


def test_a_rival_says_what_it_costs(truth: NasBench201) -> None:
    trace, record = compete("evolution", NasBench201.load(), "cifar10", range(3), 40)
    seconds = query_seconds(truth, "cifar10")[trace["cell_id"]]
    assert record["gpu_hours"]["estimate"] == pytest.approx(seconds.sum() / 3 / 3600)
    assert record["targets"][0]["gpu_hours"]["count"] == 3
