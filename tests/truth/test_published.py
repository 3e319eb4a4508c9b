"""Published NAS-Bench-201 results, held against the ground truth."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from pdnas.truth.columns import DATASETS
from pdnas.truth.tables.nasbench201 import NasBench201


@pytest.fixture
def published() -> pd.DataFrame:
    with (files("pdnas.report.paper") / "reported" / "nasbench201_published.csv").open() as file:
        return pd.read_csv(file)


def test_one_row_a_method_and_data_set(published: pd.DataFrame) -> None:
    assert not published.duplicated(["method", "dataset"]).any()
    assert set(published["dataset"]) == set(DATASETS)
    assert published["source"].str.contains(r"\(arXiv \d{4}\.\d{5}\)").all()
    assert published.loc[published["seen_in"].isna(), "method"].tolist() == ["REA"]


def test_no_mean_beats_the_optimum(published: pd.DataFrame, truth: NasBench201) -> None:
    for name, rows in published.groupby("dataset"):
        best = 100 * truth.accuracy(str(name)).max()
        assert (rows["test_accuracy_pct"] <= best + 0.005).all()


def test_searches_that_always_end_alike(published: pd.DataFrame, truth: NasBench201) -> None:
    """Where no data set has any spread, all figures are those of one and the same cell."""
    checked = set()
    for method, rows in published.groupby("method"):
        if len(rows) < 3 or not (rows["std_pct"] == 0).all():
            continue
        alike = np.ones(15_625, dtype=bool)
        for name, value in zip(rows["dataset"], rows["test_accuracy_pct"], strict=True):
            alike &= abs(100 * truth.accuracy(name) - value) <= 0.005 + 1e-9
        assert alike.sum() == 1
        checked.add(method)
    assert checked == {"DARTS", "DrNAS", "beta-DARTS"}
