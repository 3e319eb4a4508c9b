"""Every row in its tiny form, so that none can rot; no time is asserted anywhere."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from benchmarks import imagenet, profiles, scaling
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


RATES = imagenet.Rates(decode=0.002, call=1e-5, flops=1e12, traffic=1e12, jitter=0)


@pytest.mark.parametrize(
    ("cores", "expected"),
    [(8, 0.11), (2, 0.16)],  # a step of 0.1 s and 0.01 s of exchange; 0.32 s of decoding by core
)
def test_the_slower_of_decoding_and_stepping_decides(cores: int, expected: float) -> None:
    each, waited = imagenet.simulate(0.1, 0.01, 0.32, 4, cores, 0, seed=0)
    assert each == pytest.approx(expected, rel=0.05)
    assert waited == pytest.approx(max(0, 1 - 0.11 / expected), abs=0.05)


def test_the_slowest_gpu_decides() -> None:
    alone, together = (
        imagenet.simulate(0.1, 0, 0.001, gpus, 4, 0.1, seed=0)[0] for gpus in (1, 64)
    )
    assert alone == pytest.approx(0.1, rel=0.05)
    assert together == pytest.approx(0.1 * math.exp(0.1 * 2.4), rel=0.05)  # E max of 64 normals


def test_what_the_backward_pass_hides_of_an_exchange() -> None:
    gigabyte = 2**30
    whole = 2 * 7 / 8 * gigabyte / imagenet.LINKS[8]
    last = whole * imagenet.BUCKET / gigabyte
    assert imagenet.exchange(gigabyte, 8, step=1) == pytest.approx(last)
    assert imagenet.exchange(gigabyte, 8, step=0) == pytest.approx(whole)


def test_what_a_step_asks_for_is_counted() -> None:
    found = imagenet.network("r50", side=32)
    assert found.gradients == 4 * 28_072_040
    assert (found.epochs, found.batch, found.candidates) == (90, 256, 1500)
    assert found.calls > 1000
    assert found.step(1, RATES) == pytest.approx(found.calls * RATES.call)
    assert found.step(1, RATES, compiled=True) == pytest.approx(found.image(RATES))


def test_a_plan_takes_as_few_cores_as_do_not_delay() -> None:
    found = imagenet.Network("r50", 90, 256, 1500, 100, 1e10, 0, 10**8)  # 0.32 s for 32 images
    planned = imagenet.plan(found, RATES, 8, 256, compiled=True)
    assert planned["cores"] == 1  # 0.064 s
    assert planned["images_per_second"] == pytest.approx(800, rel=0.02)
    assert planned["search_hours"] == pytest.approx(90 * imagenet.TRAIN / 800 / 3600, rel=0.02)
    slow = replace(RATES, decode=0.05)  # 1.6 s
    assert imagenet.plan(found, slow, 8, 256, compiled=True)["cores"] in (5, 6)


def test_a_photograph_is_decoded() -> None:
    assert 0 < imagenet.decoding_seconds(photographs=2, runs=1) < 1
