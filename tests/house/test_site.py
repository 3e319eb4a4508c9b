"""The docs site leaves out no page and no figure. `make site` builds it and checks its links."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import yaml

import pdnas

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site() -> dict[str, Any]:
    """The names of its configuration, which needs no Sphinx."""
    return run_path(str(ROOT / "docs/site/conf.py"))


def test_every_page_of_docs_is_in_the_navigation_once(site: dict[str, Any]) -> None:
    shown = [page for pages in site["NAVIGATION"].values() for page in pages]
    there = [path for kind in ("*.md", "site/*.rst") for path in (ROOT / "docs").glob(kind)]
    pages = {str(path.relative_to(ROOT).with_suffix("")) for path in there}
    assert sorted(page for page in shown if page.startswith("docs/")) == sorted(pages)


def test_what_the_configuration_names_exists(site: dict[str, Any]) -> None:
    shown = [page for pages in site["NAVIGATION"].values() for page in pages]
    shown += [site["root_doc"], site["GALLERY"], site["CITATION"]]
    kinds = (".md", ".rst")
    assert [
        page for page in shown if not any((ROOT / (page + kind)).exists() for kind in kinds)
    ] == []
    assert all((ROOT / "docs/site" / name).exists() for name in site["html_static_path"])


def test_the_gallery_shows_every_published_figure_and_table(site: dict[str, Any]) -> None:
    text = "\n".join(site["gallery"]())
    figures = [*ROOT.glob("results/*/report/figures/*.png"), *ROOT.glob("results/official/*.png")]
    tables = list(ROOT.glob("results/*/report/tables/*.md"))
    assert figures
    places = [f"/{path.relative_to(ROOT)}" for path in figures]
    assert [place for place in places if f".. figure:: {place}\n" not in text] == []
    places = [f"/{path.relative_to(ROOT).with_suffix('')}" for path in tables]
    assert [place for place in places if f"<{place}>" not in text] == []


def test_the_citation_is_of_this_version(site: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == pdnas.__version__
    text = "\n".join(site["bibtex"]())
    assert all(work["title"] in text for work in (citation, *citation["references"]))
