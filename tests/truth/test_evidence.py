"""Evidence of short trainings against a ground truth: formulas, by brute force."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdnas.spec.alone import AloneStudy
from pdnas.support.errors import PdnasError
from pdnas.support.statistics import kendall_tau
from pdnas.truth.evidence import (
    Sample,
    Worth,
    ceiling,
    compare,
    evidence_at,
    stratified_sample,
    tempered,
    weighted_tau,
)
from pdnas.truth.noise import tau_ceiling
from pdnas.truth.tables.nasbench201 import NasBench201

BOUNDS, COUNTS = (0.935, 0.94), (12, 6, 6)


def study(**changes: Any) -> AloneStudy:
    """Settings that are never trained here."""
    given = {
        "sample": {"bounds": BOUNDS, "counts": COUNTS},
        "seeds": [0, 1],
        "base": {
            "train": 100,
            "validation": 50,
            "supernet": {"name": "nasbench201", "channels": 4, "cells": 1},
            "steps": 8,
            "batch": 10,
            "learning_rate": 0.1,
            "checkpoints": [3, 8],
        },
        "variants": {"as-it-is": {}, "deep": {"supernet": {"cells": 3}}},
    }
    return AloneStudy.model_validate(given | changes)


def training(variant: str, seed: int, cell_id: int) -> dict[str, Any]:
    """A training of 8 steps in which nothing was learnt."""
    return {
        "variant": variant,
        "seed": seed,
        "cell_id": cell_id,
        "losses": [2.3] * 8,
        "accuracies": [0.1] * 8,
        "validation_losses": [2.3, 2.3],
        "validation_accuracies": [0.1, 0.1],
        "training_seconds": 1.0,
        "validation_seconds": 0.1,
    }


def test_each_stratum_is_drawn_uniformly_and_stands_for_all_of_it() -> None:
    accuracy = np.linspace(0.1, 0.95, 1000)
    sizes = [(accuracy < 0.935).sum(), ((accuracy >= 0.935) & (accuracy < 0.94)).sum()]
    sizes.append((accuracy >= 0.94).sum())
    sample = stratified_sample(accuracy, BOUNDS, COUNTS, 0)
    assert len(set(sample.ids.tolist())) == 24
    for number, (size, count) in enumerate(zip(sizes, COUNTS, strict=True)):
        members = sample.strata == number
        assert members.sum() == count
        assert sample.weights[members] == pytest.approx(size / count)
    assert sample.weights.sum() == pytest.approx(1000)
    first = [stratified_sample(accuracy, BOUNDS, COUNTS, seed).ids[0] for seed in range(9)]
    assert len(set(first)) > 1
    again = stratified_sample(accuracy, BOUNDS, COUNTS, 0)
    assert np.array_equal(again.ids, sample.ids)


@pytest.mark.parametrize(
    ("bounds", "counts", "problem"),
    [
        (BOUNDS, (12, 6), "one fewer"),
        ((0.94, 0.935), COUNTS, "ascending"),
        (BOUNDS, (12, 6, 43), "stratum 3 has 42 cells; ask for 1 to 42 of them, not 43"),
        (BOUNDS, (12, 0, 6), "stratum 2"),
    ],
)
def test_a_sample_that_cannot_be_is_refused(
    truth: NasBench201, bounds: tuple[float, ...], counts: tuple[int, ...], problem: str
) -> None:
    with pytest.raises(PdnasError, match=problem):
        stratified_sample(truth.accuracy(), bounds, counts, 0)


def test_a_weight_is_so_many_copies() -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 5, 12)
    one, other = rng.integers(0, 6, (2, 12)).astype(np.float64)
    expected = kendall_tau(np.repeat(one, weights), np.repeat(other, weights))
    assert weighted_tau(one, other, weights.astype(float)) == pytest.approx(expected)
    assert weighted_tau(one, one, weights.astype(float)) == pytest.approx(1)
    assert weighted_tau(one, -one, weights.astype(float)) == pytest.approx(-1)
    assert np.isnan(weighted_tau(np.zeros(12), other, weights.astype(float)))
    both = weighted_tau(one, other, np.stack([weights, np.ones(12)]))
    assert both == pytest.approx([expected, kendall_tau(one, other)])


def test_tempering_has_the_entropy_that_was_asked_for() -> None:
    rng = np.random.default_rng(1)
    weights, evidence = rng.uniform(1, 100, 40), rng.normal(size=40)
    mass = tempered(evidence, weights, 0.2)
    assert mass.sum() == pytest.approx(1)
    each = mass / weights  # of one of the cells that a row stands for
    assert -(mass * np.log(each)).sum() == pytest.approx(np.log(0.2 * weights.sum()), abs=1e-6)
    ratios = np.diff(np.log(each)[np.argsort(evidence)]) / np.diff(np.sort(evidence))
    assert ratios == pytest.approx(ratios[0]), "exponential in the evidence"
    assert tempered(7 * evidence + 3, weights, 0.2) == pytest.approx(mass), "units do not matter"


def trained(ids: np.ndarray, evidence: np.ndarray) -> pd.DataFrame:
    """Trainings whose losses are minus the evidence, but for the step and the seed."""
    rows = []
    for variant, seed in itertools.product(("as-it-is", "deep"), (0, 1)):
        for cell, value in zip(ids.tolist(), evidence.tolist(), strict=True):
            losses = [2.0 - value + 0.01 * step + seed for step in range(8)]
            judged = {"validation_losses": [1 - value] * 2, "validation_accuracies": [value] * 2}
            seconds = {"training_seconds": 4.0 + cell % 2, "validation_seconds": 2.0}
            row = {"variant": variant, "seed": seed, "cell_id": cell, "losses": losses}
            rows.append({**row, **judged, **seconds})
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_evidence_is_what_the_losses_say() -> None:
    table = trained(np.array([3, 4]), np.array([0.1, 0.4]))
    table = table[(table["variant"] == "deep") & (table["seed"] == 0)].sort_values("cell_id")
    early, late = evidence_at(table, 4, (3, 8)), evidence_at(table, 8, (3, 8))
    assert early["loss_sum"] == pytest.approx([-1.915, -1.615])
    assert early["loss_end"] == pytest.approx([-1.93, -1.63])
    assert late["loss_end"] == pytest.approx([-1.965, -1.665])
    assert late["validation_accuracy"] == pytest.approx([0.1, 0.4])
    assert late["validation_loss"] == pytest.approx([-0.9, -0.6])
    assert set(early) == {"loss_sum", "loss_end"}


def test_a_perfect_score_is_worth_all_and_its_opposite_nothing(truth: NasBench201) -> None:
    asked, accuracy = study(), truth.accuracy()
    sample = stratified_sample(accuracy, BOUNDS, COUNTS, 0)
    found = {}
    for sign in (1, -1):
        table = trained(sample.ids, sign * accuracy[sample.ids])
        records = compare(asked, table, sample, truth, resamples=50)
        found[sign] = records
        assert {(each["variant"], each["steps"]) for each in records} == set(
            itertools.product(("as-it-is", "deep"), (1, 2, 3, 4, 8))
        )
        for each in records:
            assert each["tau"]["estimate"] == pytest.approx(sign)
            assert each["tau_top"]["estimate"] == pytest.approx(sign)
            assert each["tau"]["low"] == each["tau"]["high"] == pytest.approx(sign)
    whole = next(each for each in found[1] if each["steps"] == 8)
    assert whole["seeds"] == 2
    odd = (sample.ids % 2).mean()
    assert whole["seconds"] == pytest.approx(2 * (4 + odd)), "of both seeds"
    judged = [each for each in found[1] if each["evidence"] == "validation_loss"]
    assert judged[0]["seconds"] == pytest.approx(2 * (4 + odd) * 3 / 8 + 2)
    for target in ("speedup_93.5", "speedup_94"):
        assert whole[target]["estimate"] > 5
        assert found[-1][0][target]["estimate"] < 1


def test_a_reference_takes_the_place_of_the_truth(truth: NasBench201) -> None:
    """Evidence that the truth contradicts agrees with a longer training that does so too."""
    sample = stratified_sample(truth.accuracy(), BOUNDS, COUNTS, 0)
    table = trained(sample.ids, -truth.accuracy()[sample.ids])
    records = compare(study(reference="deep"), table, sample, truth, resamples=20)
    for each in records:
        assert each["tau_reference"]["estimate"] == pytest.approx(1)
        assert each["tau"]["estimate"] == pytest.approx(-1)


def test_speedup_is_a_ratio_of_masses() -> None:
    weights, accuracy = np.array([90.0, 90, 10, 10]), np.array([0.5, 0.6, 0.94, 0.95])
    sample = Sample(np.arange(4), np.array([0, 0, 1, 1]), weights)
    evidence = np.array([0.0, 1.0, 2.0, 0.5])
    worth = Worth(sample, accuracy, accuracy, accuracy > 0.9, (0.94,))
    mass = tempered(evidence, weights)
    counts = np.array([[1.0, 1, 1, 1], [2, 0, 1, 1], [0, 2, 1, 0]])
    found = worth.of(evidence, counts)
    assert found["speedup_94"][0] == pytest.approx((mass[2] + mass[3]) / 0.1)
    for row, each in enumerate(counts):  # one by one, of those that are there
        there = np.repeat(np.arange(4), each.astype(int))
        few = Sample(there, sample.strata[there], weights[there])
        alone = Worth(few, accuracy[there], accuracy[there], accuracy[there] > 0.9, (0.94,))
        expected = alone.of(evidence[there], np.ones(there.size))
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(float(value), nan_ok=True), name


def test_the_ceiling_of_all_cells_is_that_of_the_truth(truth: NasBench201) -> None:
    everything = Sample(np.arange(0, 15625, 9), np.zeros(1737, int), np.full(1737, 9.0))
    every, best = ceiling(truth, "cifar10", everything, draws=4)
    expected = tau_ceiling(truth, "cifar10", draws=4)
    assert (every, best) == pytest.approx(expected, abs=0.05)


def test_a_few_cells_may_be_in_no_order(truth: NasBench201) -> None:
    one = Sample(np.array([7]), np.zeros(1, int), np.full(1, 15625.0))
    assert ceiling(truth, "cifar10", one, draws=2) == (None, None)
    trained = pd.DataFrame([training("as-it-is", 0, 7)])
    asked = study(seeds=[0], variants={"as-it-is": {}})
    found = compare(asked, trained, one, truth, resamples=3)
    json.dumps(found, allow_nan=False)
    assert found[0]["tau"] == {"estimate": None, "low": None, "high": None}


def test_the_truth_is_that_of_the_images(truth: NasBench201) -> None:
    rng = np.random.default_rng(0)
    sample = Sample(rng.choice(15625, 30, replace=False), np.zeros(30, int), np.full(30, 521.0))
    rows = [training("as-it-is", 0, int(cell)) for cell in sample.ids]
    for row, accuracy in zip(rows, truth.accuracy("cifar100")[sample.ids], strict=True):
        row["losses"] = [-accuracy] * 8
    base = study().base | {"dataset": "cifar100"}
    asked = study(seeds=[0], base=base, variants={"as-it-is": {}})
    found = compare(asked, pd.DataFrame(rows), sample, truth, resamples=3)
    assert found[0]["tau"]["estimate"] == pytest.approx(1)
    assert {"speedup_72", "speedup_70.5"} <= set(found[0])


def test_a_training_that_went_wrong_is_the_worst_evidence() -> None:
    rows = [training("as-it-is", 0, cell) for cell in range(3)]
    rows[1]["losses"] = [2.0, *[float("nan")] * 7]
    evidence = evidence_at(pd.DataFrame(rows), 8, (3, 8))["loss_end"]
    assert np.isfinite(evidence).all()
    assert evidence.argmin() == 1
    assert weighted_tau(evidence, np.array([0.9, 0.1, 0.8]), np.ones(3)) == pytest.approx(
        kendall_tau([1, 0, 1], [0.9, 0.1, 0.8])
    )
    assert tempered(evidence, np.full(3, 5000.0)).tolist() == pytest.approx([0.5, 0, 0.5])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"variants": {"a": {}, "b": {"dataset": "digits"}}}, "dataset: variants differ"),
        ({"seeds": [0, 0]}, "seeds repeat"),
        ({"seeds": []}, "seeds"),
        ({"variants": {"a": {"stepz": 1}}}, "a: stepz: no such key; did you mean 'steps'"),
        ({"sample": {"bounds": [0.9], "counts": [3]}}, "1 bounds make 2 strata, not 1"),
        ({"sample": {"bounds": [0.9, 0.8], "counts": [3, 3, 3]}}, "bounds must ascend"),
        ({"sample": {"bounds": [93.5], "counts": [3, 3]}}, "bounds"),
        ({"reference": "long"}, "reference: no variant 'long'"),
        (
            {"reference": "deep", "variants": {"deep": {"checkpoints": []}}},
            "reference: deep needs checkpoints",
        ),
    ],
)
def test_a_wrong_study_is_named(changes: dict[str, Any], problem: str) -> None:
    from pydantic import ValidationError

    from pdnas.spec.base import first_problem

    with pytest.raises(ValidationError) as error:
        study(**changes)
    assert problem in first_problem(error.value)
