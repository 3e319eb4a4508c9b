"""Every row in its tiny form, so that none can rot; no time is asserted anywhere."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from benchmarks import profiles, scaling
from benchmarks.__main__ import ROWS, markdown, measure, regressions
from benchmarks.measure import Aim, Effort, Measure, peak_bytes, ratio
from pdnas.support.timing import paired_times

TINY = Effort(pairs=2, tiny=True)


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str) -> None:
    if name == "ground-truth":
        pytest.importorskip("nas_201_api")
        pytest.importorskip("nats_bench")
    record = measure(name, TINY, "a test")
    json.dumps(record, allow_nan=False)
    assert record["measures"]
    for each in record["measures"]:
        if "value" in each:
            assert math.isfinite(each["value"])
            assert each["quartiles"][0] <= each["quartiles"][1]
        else:
            assert each["note"].startswith("not run")
    table = markdown({name: record})
    assert all(each["part"] in table for each in record["measures"])


def test_pairs_alternate_and_the_first_is_lost() -> None:
    calls = []
    times = paired_times(lambda: calls.append("a"), lambda: calls.append("b"), 3)
    assert "".join(calls) == "baabbaab"
    assert len(times) == 3


def test_ratio_is_that_of_medians_and_its_spread_that_of_pairs() -> None:
    found = ratio("p", "q", [(2.0, 1.0), (4.0, 1.0), (90.0, 2.0)], aim=Aim(3, least=True))
    assert found.value == 4.0
    assert found.quartiles == (3.0, 24.5)
    assert found.reached
    assert not Aim(3, least=False).reached(4)


def test_peak_memory_counts_what_is_held_at_once() -> None:
    def work() -> None:
        for _ in range(3):  # 4 MB each, one after the other, beside 4 MB that stay
            stays = torch.zeros(1000, 1000)
            stays + 1
            del stays

    assert peak_bytes(work, torch.device("cpu")) == pytest.approx(8e6, rel=0.01)


@pytest.mark.parametrize(
    ("least", "value", "worse"), [(True, 1.9, 1), (True, 2.1, 0), (False, 4.6, 1), (False, 4.4, 0)]
)
def test_regressions(least: bool, value: float, worse: int) -> None:
    def rows(number: float) -> dict[str, Any]:
        each = Measure("part", "other", number, (number, number), 1, aim=Aim(1, least))
        return {"row": {"measures": [each.to_json()]}}

    assert len(regressions(rows(3.0), rows(value))) == worse
    assert regressions({}, rows(value)) == []


def test_scaling(tmp_path: Path) -> None:
    table = pd.DataFrame(scaling.measure(TINY, runs=1))
    assert set(table["sweep"]) == set(scaling.SWEEPS)
    assert (table[["seconds", "peak_megabytes"]] > 0).all(axis=None)
    scaling.draw(table, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert scaling.exponent(pd.Series([1, 2, 4]), pd.Series([3, 12, 48])) == pytest.approx(2)


def test_profiles() -> None:
    for make in profiles.LOOPS.values():
        table = profiles.operators(make(TINY), 1, TINY)
        assert 0 < table["share"].sum() <= 1 + 1e-9
        assert table["operator"].is_unique
