"""The dictionary for NASLib, read the way NASLib's search space reads it, without NASLib."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import numpy as np
import pytest

from pdnas.spec.names import TruthData
from pdnas.support.errors import PdnasError
from pdnas.truth.columns import MEASURED
from pdnas.truth.naslib_adapter import dataset_api
from pdnas.truth.tables.nasbench201 import NasBench201

# NASLib writes a cell as six indices into its own list of operations, in its own order of edges.
OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
EDGES = ((1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4))
FIRST = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
    "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
)


def architecture_string(indices: tuple[int, ...]) -> str:
    into: dict[int, str] = {2: "|", 3: "|", 4: "|"}
    for (source, target), index in zip(EDGES, indices, strict=True):
        into[target] += f"{OPERATIONS[index]}~{source - 1}|"
    return "+".join(into.values())


def query(api: dict[str, Any], indices: tuple[int, ...], dataset: str, key: str) -> Any:
    """The look-up of NasBench201SearchSpace.query for one metric after the last epoch."""
    found = api["nb201_data"][architecture_string(indices)]
    results = found["cifar10-valid" if dataset == "cifar10" else dataset]
    if key in ("cost_info", "train_time"):  # Metric.HP and Metric.TRAIN_TIME
        return results["cost_info"] if key == "cost_info" else results["cost_info"][key]
    return results[key][-1]


@pytest.mark.parametrize(
    ("dataset", "theirs"),
    [
        ("cifar10", "cifar10"),
        ("cifar100", "cifar100"),
        ("imagenet16_120", "ImageNet16-120"),
    ],
)
def test_every_cell(dataset: TruthData, theirs: str, truth: NasBench201) -> None:
    signal, result = dataset_api(truth, dataset, 12), dataset_api(truth, dataset, 200)
    cells = list(itertools.product(range(5), repeat=6))
    ids = [truth.cell_id(architecture_string(cell)) for cell in cells[::50]]
    for api, column in (
        (signal, truth.validation_12(dataset)),
        (result, truth.accuracy(dataset)),
    ):
        assert len(api["nb201_data"]) == 15_625
        found = [query(api, cell, theirs, "eval_acc1es") for cell in cells[::50]]
        np.testing.assert_allclose(found, 100 * column[ids], atol=1e-5)


def test_what_naslib_logs(truth: NasBench201) -> None:
    """Every key that its optimisers and its own tests touch is there; unknown means NaN."""
    api = dataset_api(truth, "cifar10", 200)
    first = (4, 3, 3, 0, 0, 0)
    assert architecture_string(first) == FIRST
    for key in ("train_acc1es", "train_losses", "eval_losses", "eval_times"):
        assert math.isnan(query(api, first, "cifar10", key))
    info = query(api, first, "cifar10", "cost_info")
    assert set(info) == {"flops", "params", "latency", "train_time"}
    # The benchmark's own figures for this cell, as they stand in NASLib's tests.
    assert (info["flops"], info["params"]) == (15.64737, 0.129306)
    for key, again in (("flop", "flops"), ("params", "params"), ("latency", "latency")):
        assert query(api, first, "cifar10", key) == info[again]
        assert len(api["nb201_data"][FIRST]["cifar10-valid"][key]) == 200
    assert query(api, first, "cifar10", "epochs") == 200
    curve = api["nb201_data"][FIRST]["cifar10-valid"]["eval_acc1es"]
    assert len(curve) == 200
    assert curve[-1] == pytest.approx(85.863333)
    assert all(math.isnan(value) for value in curve[:-1])


def test_seconds_and_latency(truth: NasBench201) -> None:
    """A search sees half of CIFAR-10's images for 12 epochs; latency is CIFAR-10's."""
    first, row = (4, 3, 3, 0, 0, 0), truth.cell_id(FIRST)
    whole = truth.training_seconds("cifar10")[row]
    searched = query(dataset_api(truth, "cifar10", 12), first, "cifar10", "cost_info")
    trained = query(dataset_api(truth, "cifar10", 200), first, "cifar10", "cost_info")
    assert searched["train_time"] == pytest.approx(whole * 12 / 200 / 2)
    assert trained["train_time"] == pytest.approx(whole)
    assert trained["latency"] == pytest.approx(truth.latency("edgegpu")[row])
    other = dataset_api(truth, "cifar100", 12, device="pixel3")
    assert math.isnan(query(other, first, "cifar100", "latency"))
    with pytest.raises(PdnasError, match="knows no latency on 'abacus'"):
        dataset_api(truth, "cifar10", 12, device="abacus")


def test_a_table_without_measurements_has_none(truth: NasBench201) -> None:
    bare = NasBench201(truth.table.drop(columns=list(MEASURED)))
    info = query(dataset_api(bare, "cifar10", 12), (4, 3, 3, 0, 0, 0), "cifar10", "cost_info")
    assert math.isnan(info["train_time"])
    assert math.isnan(info["latency"])


def test_cost_of_other_data_sets(truth: NasBench201) -> None:
    cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+" + "|".join(
        ["", *(f"nor_conv_3x3~{node}" for node in range(3)), ""]
    )
    info = dataset_api(truth, "imagenet16_120", 12)["nb201_data"][cell]["ImageNet16-120"]
    assert info["cost_info"]["params"] == 1.538696
    assert info["cost_info"]["flops"] == 55.03756


@pytest.mark.parametrize("epochs", [12, 200])
def test_unknown_data_set(epochs: Literal[12, 200], truth: NasBench201) -> None:
    with pytest.raises(PdnasError, match="choose cifar10"):
        dataset_api(truth, "mnist", epochs)  # type: ignore[arg-type]
