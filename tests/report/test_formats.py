"""A table as CSV, Markdown and LaTeX: all say the same."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from pdnas.report import catalogue, formats
from pdnas.report.collect import collect
from pdnas.report.formats import Column, Table, text
from pdnas.support.statistics import Interval

from .conftest import Tree


def make(name: str, tree: Tree) -> Table:
    return catalogue.table(name, collect(tree.scale_name, tree.folder))


def split_markdown(markdown: str) -> list[list[str]]:
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def split_latex(latex: str) -> list[list[str]]:
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))]
        for line in body.strip().splitlines()
    ]


@pytest.mark.parametrize("name", list(catalogue.TABLES))
def test_csv_markdown_and_latex_agree(name: str, tree: Tree, tmp_path: Path) -> None:
    table = make(name, tree)
    paths = {path.suffix: path.read_text() for path in formats.write(table, tmp_path / "tables")}
    numbers = list(csv.DictReader(io.StringIO(paths[".csv"])))
    header, _, *markdown = split_markdown(paths[".md"])
    latex = split_latex(paths[".tex"])
    assert len(numbers) == len(markdown) == len(latex) == len(table.rows)
    assert len(header) == len(table.columns)
    for exact, printed, typeset in zip(numbers, markdown, latex, strict=True):
        assert [formats.escape_latex(cell) for cell in printed] == typeset
        for column, shown in zip(table.columns, printed, strict=True):
            value = exact[column.key]
            low = exact.get(f"{column.key}_low95", "")
            if column.decimals is None or not re.fullmatch(r"-?[\d.]+", value):
                assert shown == (value or "–")
            elif low:
                high = float(exact[f"{column.key}_high95"])
                assert f"{float(value):.{column.decimals}f}" in shown
                half = f"{(high - float(low)) / 2:.{column.decimals}f}"
                assert f"± {half}" in shown or f"[{float(low):.{column.decimals}f}, " in shown
            elif shown != value:
                assert shown == f"{float(value):.{column.decimals}f}"


def test_latex_has_groups_and_rules(tree: Tree) -> None:
    latex = formats.to_latex(make("3", tree))
    groups = r"&  & \multicolumn{2}{c}{paper} & \multicolumn{5}{c}{ours} \\"
    assert groups in latex
    assert r"\cmidrule(lr){3-4}\cmidrule(lr){5-9}" in latex
    assert r"\begin{tabular}{llrrlrrrr}" in latex
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{", r"95 \% t-interval"):
        assert command in latex
    assert all(latex.count(rf"\begin{{{name}}}") == 1 == latex.count(rf"\end{{{name}}}")
               for name in ("table", "tabular", "minipage"))  # fmt: skip


def test_latex_escapes() -> None:
    assert formats.escape_latex(r"a_b & 5% #1 {x} ~ ^ \ $") == (
        r"a\_b \& 5\% \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$"
    )
    assert formats.escape_latex("1 ± 2 – l² τ ∞") == r"1 $\pm$ 2 -- l$^2$ $\tau$ $\infty$"
    assert formats.escape_latex("|none~0|") == r"$|$none\textasciitilde{}0$|$"


def test_every_character_of_the_tables_is_plain_in_latex(tree: Tree) -> None:
    for name in catalogue.TABLES:
        assert formats.to_latex(make(name, tree)).isascii(), name


def test_cells_in_words() -> None:
    column = Column("x", "x", decimals=2)
    nan, inf = float("nan"), float("inf")
    assert text(None, column) == "–"
    assert text(3, column) == "3"
    assert text(1.234, column) == "1.23"
    assert text(inf, column) == "∞"
    assert text(22400.0, Column("x", "x", decimals=None)) == "22400"
    assert text(Interval(2.0, 1.5, 2.5, 3), column) == "2.00 ± 0.50"
    assert text(Interval(2.0, 1.0, 4.0, 3), column) == "2.00 [1.00, 4.00]"
    assert text(Interval(2.0, nan, nan, 1), column) == "2.00"


def test_markdown_keeps_bars_in_cells() -> None:
    table = Table("t", "T", (Column("a", "a", is_text=True),), (("|x~0|",),))
    assert r"| \|x~0\| |" in formats.to_markdown(table)


def test_a_row_of_the_wrong_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not have 1 cells"):
        Table("t", "T", (Column("a", "a"),), ((1, 2),))
