"""The page that a reviewer is handed: complete, self-contained, and right about its claims."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pdnas.commands.app import app
from pdnas.report import catalogue, formats, page, style
from pdnas.report.claims import claims
from pdnas.report.collect import collect
from pdnas.report.publish import published
from pdnas.support.errors import PdnasError
from pdnas.support.statistics import confidence_interval

from .conftest import FINETUNED_TEST, GUIDED_TEST, RANDOM_TEST, Tree, guided_accuracies


class Page(HTMLParser):
    """What is checked of a page: ids, links, images, tables and everything a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        elif loaded := found.get("src") or found.get("href"):
            self.sources.append(loaded)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, grown: Path) -> Path:
    """Two tables and two figures of what was run."""
    report = tmp_path_factory.mktemp("drawn")
    collection = collect(str(grown.parent / "tiny.yaml"), grown)
    for name in ("table3", "table9"):
        formats.write(catalogue.table(name, collection), report / "tables")
    for name in ("mismatch", "figure1"):
        catalogue.draw(name, collection, report / "figures")
    return report


@pytest.fixture
def text(tree: Tree, drawn: Path) -> str:
    shutil.copytree(drawn, tree.folder / "report")
    page.write(collect(tree.scale_name, tree.folder), tree.folder / "report" / "report.html")
    return (tree.folder / "report" / "report.html").read_text()


def test_everything_is_there_and_nothing_is_fetched(text: str) -> None:
    found = Page(text)
    items = [name for name in found.ids if name.startswith(("figure-", "table-"))]
    assert items == ["figure-figure1", "figure-mismatch", "table-table3", "table-table9"]
    assert sorted(set(found.ids)) == sorted(found.ids)
    inside = {link.removeprefix("#") for link in found.links if link.startswith("#")}
    assert inside <= set(found.ids)
    assert [link for link in found.links if not link.startswith("#")] == []
    assert len(found.sources) == 3, "two figures and an empty icon"
    assert all(source.startswith("data:") for source in found.sources)
    assert "script" not in found.tags
    assert not re.search(r"@import|url\(", text)


def test_tables_are_tables_with_the_papers_numbers_apart(text: str) -> None:
    table = text[text.index('id="table-table3"') :]
    assert '<th colspan="2" class="group">paper</th>' in table
    assert '<td class="number ours">37.00 ± 8.96</td>' in table
    assert "not run" in table
    assert (
        "The paper&#39;s central comparison" in table or "The paper's central comparison" in table
    )


def test_every_item_says_how_it_was_run_and_how_to_rerun_it(text: str, tree: Tree) -> None:
    """The scale by the name under which it was asked for: here its file, which is no known name."""
    scale = tree.scale_name
    assert f"make all SCALE={scale}" in text
    parts = dict(re.findall(r'<section class="item" id="(\S+)">(.*?)</section>', text, re.DOTALL))
    assert len(parts) == 4
    for name, part in parts.items():
        kind, item = name.split("-")
        rule = item if item[-1].isdigit() else f"{kind}_{item}"
        assert f"snakemake --cores all {rule} --config scale={scale}  # " in part
        assert f"pdnas {kind} {item.removeprefix('table')} --scale {scale}  # from finished" in part
    # 3 seeds of three variants and one of weak-prior, each of 120 s; and what followed them.
    assert "From 10 searches of branches on Abacus 9000, 1 thread" in parts["table-table3"]
    assert "all their jobs together took" in parts["figure-mismatch"]
    assert "# with all runs of branches" in parts["table-table3"]
    assert "# needs no runs" in parts["table-table9"]
    assert "searches of" not in parts["table-table9"], "nothing of it was run"


def test_what_cannot_be_had_is_named_with_the_remedy(text: str, tree: Tree) -> None:
    figures = tree.folder / "report" / "figures"
    with style.style():
        absent = style.not_available("official-dropped", "cannot get log; set PDNAS_MIRROR")
        style.write(absent, figures, "official-dropped")
    page.write(collect(tree.scale_name, tree.folder), tree.folder / "page.html")
    whole = (tree.folder / "page.html").read_text()
    part = whole.partition('id="figure-official-dropped"')[2].partition("</section>")[0]
    assert "<strong>Not available.</strong> cannot get log; set PDNAS_MIRROR." in part
    assert "<img" not in part
    assert f"pdnas official --out {figures}" in part
    assert f"pdnas report --scale {tree.scale_name} --runs {tree.folder}" in part


def test_wide_figures_scroll_by_themselves_with_a_hint(text: str) -> None:
    parts = dict(re.findall(r'<section class="item" id="(\S+)">(.*?)</section>', text, re.DOTALL))
    wide, narrow = parts["figure-figure1"], parts["figure-mismatch"]
    assert re.search(
        r'class="hint">.*scroll it sideways.*<div class="sideways" tabindex="0"><img',
        wide,
        re.DOTALL,
    )
    assert "hint" not in narrow
    assert "sideways" not in narrow


def test_one_seed_is_no_seeds_on_a_phone(text: str) -> None:
    assert '<td class="number one">1</td>' in text
    assert '<td class="number">3</td>' in text
    assert 'td.one:nth-child(3)::after { content: " seed"; }' in text


def test_claims_are_paired_and_read_with_their_test(tree: Tree) -> None:
    found = {each.question: each for each in claims(collect(tree.scale_name, tree.folder))}
    differences = confidence_interval(
        [100 * (r - g) for g, r in zip(GUIDED_TEST, RANDOM_TEST, strict=True)]
    )
    (each,) = (each for question, each in found.items() if "guided minus random" in question)
    half = differences.high - differences.estimate
    assert each.measured == f"{differences.estimate:.2f} ± {half:.2f} points"
    assert (each.seeds, each.reading, each.verdict) == (3, "guided is better", "supported")
    (each,) = (each for question, each in found.items() if "whole network's" in question)
    assert (each.reading, each.verdict) == ("not settled", "open")
    assert each.paper == "guided is better", "whatever was measured here"
    # Guided candidates were not fine-tuned, so nothing is said of that.
    assert not any("does fine-tuning help" in question for question in found)
    gains = 100 * (np.array(FINETUNED_TEST) - np.array(RANDOM_TEST))
    (each,) = (each for question, each in found.items() if "fine-tuning lower" in question)
    assert each.measured.startswith(f"{gains.mean():.2f} ± ")
    assert (each.reading, each.paper) == ("it helps", "it helps a lot")
    # More candidates: the chosen one's test error against the mean error of all, seed by seed.
    means = np.array([guided_accuracies(seed).mean() for seed in range(3)])
    (each,) = (each for question, each in found.items() if "best of 60" in question)
    assert each.measured.startswith(f"{100 * (means - GUIDED_TEST).mean():.2f} ± ")
    # One seed of l² = 50 was run: a difference, but no interval.
    (each,) = (each for question, each in found.items() if "size from l² = 50 to 500" in question)
    assert (each.measured, each.seeds) == ("-20.00 thousand parameters", 1)
    assert (each.reading, each.paper, each.verdict) == ("one seed: no interval", "falls", "open")
    ratios = [each for question, each in found.items() if "fewer samples" in question]
    assert all(each.reading == "fewer" for each in ratios)
    assert len(ratios) == 3


@pytest.mark.usefixtures("text")
def test_tables_without_runs_show_what_stands_in_for_them(tree: Tree, tmp_path: Path) -> None:
    without = shutil.ignore_patterns("branches")
    runs = shutil.copytree(tree.folder, tmp_path / "own", ignore=without)
    own = collect(tree.scale_name, runs)
    stand_ins = replace(collect(tree.scale_name, tree.folder), name="small")
    page.write(own, tmp_path / "page.html", [stand_ins])
    html = (tmp_path / "page.html").read_text()
    (place,) = re.findall(r"<h4>(.*)</h4>", html)  # Table 9 has no study in either
    assert place == "In its place, of scale small: Numbers made up for tests."
    table3, table9 = (html.index(f'id="table-{name}"') for name in ("table3", "table9"))
    assert table3 < html.index("<h4>") < table9
    page.write(stand_ins, tmp_path / "page.html", [stand_ins])
    assert "<h4>" not in (tmp_path / "page.html").read_text()
    with pytest.raises(PdnasError, match="is no published result"):
        published(tmp_path)


@pytest.mark.usefixtures("text")
def test_a_page_is_replaced_by_one_of_the_same_scale_alone(tree: Tree) -> None:
    def again(scale: str, *options: str) -> Result:
        words = ["report", "--runs", str(tree.folder), "--scale", scale, *options]
        return CliRunner().invoke(app, words)

    assert again(tree.scale_name).exit_code == 0
    other = Path(tree.scale_name).with_name("other.yaml")
    other.write_text(Path(tree.scale_name).read_text())
    said = str(again(str(other)).exception)
    assert "is of scale tiny and not of scale other" in said
    assert again(str(other), "--force").exit_code == 0


def test_a_scale_without_runs_or_report_is_a_clear_error(empty_tree: Tree) -> None:
    collection = collect(empty_tree.scale_name, empty_tree.folder)
    with pytest.raises(PdnasError, match="run the workflow first"):
        page.write(collection, empty_tree.folder / "report.html")
