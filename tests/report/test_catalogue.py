"""Every table and figure has a maker and a caption, and needs no other studies than its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pdnas.report import catalogue, formats
from pdnas.report.collect import collect
from pdnas.report.page import CAPTIONS
from pdnas.spec import products

from .conftest import Tree

ROOT = Path(__file__).parents[2]


def test_products_have_makers_and_captions() -> None:
    assert list(catalogue.TABLES) == list(products.TABLES)
    assert list(catalogue.FIGURES) == list(products.FIGURES)
    figures = {*products.FIGURES, *products.OFFICIAL_FIGURES}
    assert {path.stem for path in (CAPTIONS / "tables").glob("*.rst")} == set(products.TABLES)
    assert {path.stem for path in (CAPTIONS / "figures").glob("*.rst")} == figures
    assert (CAPTIONS / "workflow.rst").is_file()


@pytest.mark.parametrize("name", catalogue.TABLES)
def test_a_table_is_the_same_from_its_own_studies(name: str, tree: Tree) -> None:
    studies = products.TABLES[name].studies
    own = catalogue.table(name, collect(tree.scale_name, tree.folder, studies))
    everything = catalogue.table(name, collect(tree.scale_name, tree.folder))
    assert formats.to_markdown(own) == formats.to_markdown(everything)


# This tree has no posterior to draw; for the study of NAS-Bench-201 see test_nasbench.py.
@pytest.mark.parametrize(
    "name",
    [name for name, made in products.FIGURES.items() if made.target == "all" and name != "figure2"],
)
def test_a_figure_is_the_same_from_its_own_studies(name: str, tree: Tree) -> None:
    studies = products.FIGURES[name].studies
    own = catalogue.figure(name, collect(tree.scale_name, tree.folder, studies))
    everything = catalogue.figure(name, collect(tree.scale_name, tree.folder))
    assert (own is None) == (everything is None)
    if own is not None and everything is not None:
        pd.testing.assert_frame_equal(own.data, everything.data)


def test_what_was_not_run_says_why(tmp_path: Path) -> None:
    def said(table: str) -> str:
        return formats.to_markdown(catalogue.table(table, collect("smoke", tmp_path)))

    assert "Not run: study nasbench201 has no run yet." in said("efficiency")
    assert "Not run: the scale has no study that it is made from." in said("table1")
    assert "Nothing of this table was run at this scale." in said("rivals")
    Tree(tmp_path, "smoke").search("nasbench201", "guided", 0)
    other_images = "study nasbench201 was searched on other images than NAS-Bench-201 knows"
    assert f"Not run: {other_images}." in said("efficiency")
    assert "other images" not in said("ablations")
    for name in ("efficiency", "best-of-n"):
        catalogue.draw(name, collect("smoke", tmp_path), tmp_path)
        (row,) = pd.read_csv(tmp_path / f"{name}.csv").to_dict("records")
        assert row == {"status": "not run", "reason": other_images}


def test_a_table_is_made_without_torch() -> None:
    """Importing it would take longer than making most tables."""
    script = (
        "import sys; from pathlib import Path; from pdnas.report.catalogue import table; "
        "from pdnas.report.collect import collect; "
        "table('table3', collect('laptop', Path(sys.argv[1]))); sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(ROOT / "results" / "laptop")]
    assert subprocess.run(command, check=False).returncode == 0
