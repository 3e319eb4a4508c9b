"""Which studies a table or figure is about, and that it needs no others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pdnas.report import catalogue, formats, selection
from pdnas.report.collect import collect
from pdnas.spec.scale import load_scale

from .conftest import Tree

CELLS = ["cells", "rivals"]
EXPECTED = {
    "table1": ["branches"],
    "table2": [],
    "table3": ["branches"],
    "table9": [],
    "ablations": ["branches"],
    "extraction": ["branches"],
    "efficiency": ["cells"],
    "nasbench": CELLS,
    "rivals": [],
}


def test_ablations_differ_from_guided_in_one_setting(empty_tree: Tree) -> None:
    scale = empty_tree.scale
    assert selection.ablations(scale, "branches") == {
        "weak-prior": ("gates.length_scale2", 50),
        "warm": ("gates.temperature", pytest.approx(2 / 3)),
        "official": ("gates.form", "official"),
    }
    assert selection.ablations(scale, "cells") == {}, "fixed gates are a method, not an ablation"
    sweep = selection.sweep(scale, "branches", "gates.length_scale2")
    assert sweep == {"guided": 500, "weak-prior": 50}
    assert selection.sweep(scale, "branches", "gates.initial") == {"guided": 0.1}


def test_ablations_alone_or_nothing_guided_make_no_main_study(empty_tree: Tree) -> None:
    assert selection.main(empty_tree.scale) == ["branches", "cells"]
    scale = Path(empty_tree.scale_name)
    scale.write_text(scale.read_text().replace("    stands_for: M\n", ""))
    assert selection.main(empty_tree.scale) == ["cells"]


@pytest.mark.parametrize("name", EXPECTED)
def test_studies_of_a_table(name: str, empty_tree: Tree) -> None:
    assert list(catalogue.TABLES[name].studies(empty_tree.scale)) == EXPECTED[name]


def test_supernets_have_their_tables() -> None:
    scale = load_scale("paper")
    assert list(catalogue.TABLES["table3"].studies(scale)) == ["m", "mi", "e", "ei"]
    assert list(catalogue.TABLES["table2"].studies(scale)) == ["mi-cifar100"]
    assert list(catalogue.TABLES["table8"].studies(scale)) == ["d121"]
    assert list(catalogue.TABLES["table9"].studies(scale)) == ["r50"]


@pytest.mark.parametrize("name", catalogue.TABLES)
def test_a_table_is_the_same_from_its_own_studies(name: str, tree: Tree) -> None:
    entry = catalogue.TABLES[name]
    own = entry.make(collect(tree.scale_name, tree.folder, entry.studies))
    everything = entry.make(collect(tree.scale_name, tree.folder))
    assert formats.to_markdown(own) == formats.to_markdown(everything)


# This tree has no posterior to draw; for the study of NAS-Bench-201 see test_nasbench.py.
@pytest.mark.parametrize("name", [name for name in catalogue.MAIN_FIGURES if name != "figure2"])
def test_a_figure_is_the_same_from_its_own_studies(name: str, tree: Tree) -> None:
    entry = catalogue.MAIN_FIGURES[name]
    own = entry.make(collect(tree.scale_name, tree.folder, entry.studies))
    everything = entry.make(collect(tree.scale_name, tree.folder))
    assert (own is None) == (everything is None)
    if own is not None and everything is not None:
        pd.testing.assert_frame_equal(own.data, everything.data)
