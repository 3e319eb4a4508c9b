"""The table of the small benchmark: complete, as configured, reproducible, resumable."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pdnas.regression import digits
from pdnas.regression.digits import agreement, build_table, train_cell
from pdnas.spec.spec import Spec
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_table
from pdnas.truth.tables.digits import SEEDS, Digits, read_trainings

RECORD = json.loads(Digits.path().with_suffix(".json").read_text())


def tiny() -> Spec:
    """64 cells, one epoch: a table in seconds."""
    spec = digits.specification("truth")
    changes = {"channels": 2, "cells": 1, "operations": ("skip_connect", "nor_conv_3x3")}
    return spec.model_copy(
        update={
            "data": spec.data.model_copy(update={"train": 200, "validation": 50, "test": 50}),
            "supernet": spec.supernet.model_copy(update=changes),
            "training": spec.training.model_copy(update={"epochs": 1}),
        }
    )


def test_every_cell_was_trained_with_every_seed_as_the_scale_says() -> None:
    table = read_trainings(Digits.path())
    assert sorted(set(table["seed"])) == list(range(SEEDS))
    space = digits.space_of(digits.specification("truth"))
    for _, rows in table.groupby("seed"):
        assert rows["cell_id"].tolist() == list(range(729))
        assert rows["cell"].tolist() == [space.to_string(cell) for cell in space.cells]
    assert Spec.model_validate(RECORD["provenance"]["config"]) == digits.specification("truth")
    for key, value in agreement(Digits.load().trainings()).items():
        assert RECORD[key] == pytest.approx(value), key


def test_cells_that_compute_the_same_share_their_numbers() -> None:
    space = digits.space_of(digits.specification("truth"))
    canonical = space.ids(space.canonical_codes())
    accuracy = Digits.load().trainings()
    assert np.array_equal(accuracy, accuracy[:, canonical])
    assert len(np.unique(canonical)) == RECORD["distinct_cells"]


@pytest.mark.parametrize("rank", [0, 364, 728])
def test_a_cell_trained_anew_is_as_good_as_the_table_says(rank: int) -> None:
    """Not to the bit: another processor rounds otherwise."""
    spec = digits.specification("truth")
    table = Digits.load().trainings()
    number = int(table.mean(axis=0).argsort(kind="stable")[rank])
    _, test = train_cell(spec, digits.space_of(spec).cells[number], seed=0)
    assert test == pytest.approx(table[0, number], abs=4 * RECORD["noise"] + 0.02)


def test_weights_differ_between_cells_and_seeds_and_nothing_else_is_random() -> None:
    spec = digits.specification("truth")
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": 4})})
    cells = digits.space_of(spec).cells
    asked = ((728, 0), (728, 1), (727, 0))
    once = [train_cell(spec, cells[number], seed) for number, seed in asked]
    assert len(set(once)) == 3
    assert train_cell(spec, cells[728], 0) == once[0]


def test_a_killed_build_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kill_at: Callable[[Any, str, int], list[Any]],
) -> None:
    monkeypatch.setenv("PDNAS_CACHE", str(tmp_path / "cache"))
    calls, path = kill_at(digits, "train_cell", 90), tmp_path / "table.parquet"
    with pytest.raises(KeyboardInterrupt):
        build_table(tiny(), range(2), 1, path)
    assert not path.exists()
    build_table(tiny(), range(2), 1, path)
    assert len(calls) == 128 + 1, "only the killed one is trained again"
    table = read_table(path)
    assert table["seed"].tolist() == [0] * 64 + [1] * 64
    assert table["cell_id"].tolist() == 2 * list(range(64))
    assert ((table["test_accuracy"] > 0) & (table["test_accuracy"] < 1)).all()
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["provenance"]["cpu_seconds"] > 0
    assert not list((tmp_path / "cache").rglob("table-*")), "the next build is a new one"


def test_a_table_without_all_cells_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    read_trainings(Digits.path()).iloc[1:].to_parquet(path)
    with pytest.raises(PdnasError, match=r"table\.parquet lacks"):
        read_trainings(path)


def test_agreement_of_equal_and_of_noisy_seeds() -> None:
    same = agreement([[0.1, 0.5, 0.9, 0.7]] * 3)
    assert same["kendall_tau"] == same["spearman"] == same["noise_ceiling"] == pytest.approx(1)
    assert same["noise"] == pytest.approx(0)
    assert same["quantiles"]["100"] == pytest.approx(0.9)

    # Truth and noise of equal variance: two seeds correlate by 1/2, so three have R = 3/4.
    rng = np.random.default_rng(0)
    truth = rng.normal(size=5000)
    seeds = truth + rng.normal(size=(3, 5000))
    noisy = agreement(seeds)
    assert noisy["noise"] == pytest.approx(1, rel=0.05)
    assert noisy["reliability"] == pytest.approx(0.75, abs=0.03)
    with_truth = np.corrcoef(seeds.mean(axis=0), truth)[0, 1]
    assert noisy["noise_ceiling"] == pytest.approx(with_truth, abs=0.03)
