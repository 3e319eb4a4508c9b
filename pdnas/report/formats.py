"""A small table of text and estimates, and the same table as CSV, Markdown and LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pdnas.support.files import atomic_path
from pdnas.support.statistics import Interval, finite_or_none

NOT_RUN = "not run"
NO_DATA = "not run: no data"
"""What a cell says that nobody has measured."""

PAPER, OURS = "paper", "ours"
"""Column groups: a reported and a measured number never stand in one column."""


Cell = str | float | int | Interval | None
"""None is a number that nobody reports (a dash); an interval is an estimate over seeds."""


@dataclass(frozen=True)
class Column:
    """``key`` heads the CSV column, ``heading`` (under ``group``) the printed one.

    ``decimals`` are those of the printed number; None prints as many as it needs. ``digits`` are
    significant ones instead, of what goes through many powers of ten.
    """

    key: str
    heading: str
    group: str = ""
    decimals: int | None = 2
    estimate: bool = False
    is_text: bool = False
    digits: int | None = None


@dataclass(frozen=True)
class Table:
    """A titled table; ``notes`` say how the numbers were measured."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.name}: a row does not have {len(self.columns)} cells")


def _rounded(value: float, column: Column) -> str:
    if isinstance(value, int):
        return str(value)
    decimals = column.decimals
    if column.digits is not None:
        plain = 10**column.digits <= abs(value) < 1e5  # where people read no powers of ten
        text = f"{value:.0f}" if plain else f"{value:.{column.digits}g}"
    else:
        text = f"{value:.10g}" if decimals is None else f"{value:.{decimals}f}"
    return text.replace("inf", "∞")


def text(cell: Cell, column: Column) -> str:
    """A cell as people read it: an interval as ``mean ± half-width``, or its bounds if lopsided."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    if not isinstance(cell, Interval):
        return _rounded(cell, column)
    estimate, low, high = (
        _rounded(value, column) for value in (cell.estimate, cell.low, cell.high)
    )
    if math.isnan(cell.low):
        return estimate
    above, below = cell.high - cell.estimate, cell.estimate - cell.low
    if math.isclose(above, below, rel_tol=1e-6, abs_tol=1e-12):
        return f"{estimate} ± {_rounded(above, column)}"
    return f"{estimate} [{low}, {high}]"


def texts(table: Table) -> list[list[str]]:
    """All cells as people read them, a list a row."""
    return [[text(*pair) for pair in zip(row, table.columns, strict=True)] for row in table.rows]


def groups(table: Table) -> list[tuple[str, int]]:
    """The groups of neighbouring columns, with how many columns each has."""
    return [(name, len(list(same))) for name, same in groupby(each.group for each in table.columns)]


def to_csv(table: Table) -> str:
    """Unrounded numbers; an estimate takes three columns, the value and its interval's bounds."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ends = {
        column: ("", "_low95", "_high95")[: 1 + 2 * column.estimate] for column in table.columns
    }
    writer.writerow([f"{column.key}{end}" for column in table.columns for end in ends[column]])
    for row in table.rows:
        cells: list[str] = []
        for cell, column in zip(row, table.columns, strict=True):
            if isinstance(cell, Interval):
                cells += [_exact(value) for value in (cell.estimate, cell.low, cell.high)]
            else:
                cells += [_exact(cell), *[""] * (2 * column.estimate)]
        writer.writerow(cells)
    return out.getvalue()


def _exact(value: str | float | int | None) -> str:
    if value is None or value != value:  # a single seed's bounds are NaN
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def to_markdown(table: Table) -> str:
    """A GitHub table under its title, the notes as a list."""
    rows = [
        [f"{each.group}: {each.heading}" if each.group else each.heading for each in table.columns],
        [":---" if column.is_text else "---:" for column in table.columns],
        *texts(table),
    ]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([f"**{table.title}**", "", *lines, "", *notes]).rstrip() + "\n"


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "±": r"$\pm$",
    "²": r"$^2$",
    "τ": r"$\tau$",
    "≥": r"$\ge$",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "→": r"$\to$",
    "–": "--",
    "…": r"\dots{}",
}


def escape_latex(plain: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_LATEX.get(character, character) for character in plain)


# pandas' Styler sets no \cmidrule below groups of columns, and writes no Markdown.
def to_latex(table: Table) -> str:
    """A ``table`` environment for the booktabs package, the groups as a spanning first header."""
    alignment = "".join("l" if column.is_text else "r" for column in table.columns)
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        *_latex_groups(table),
        _latex_row([column.heading for column in table.columns]),
        r"\midrule",
        *map(_latex_row, texts(table)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if table.notes:
        lines += [
            r"\par\smallskip",
            r"\begin{minipage}{\linewidth}\footnotesize",
            *(escape_latex(note) + r"\par" for note in table.notes),
            r"\end{minipage}",
        ]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(escape_latex(cell) for cell in cells) + r" \\"


def _latex_groups(table: Table) -> list[str]:
    cells, rules, start = [], [], 1
    for group, width in groups(table):
        if group:
            cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(group)}}}")
            rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        else:
            cells += [""] * width
        start += width
    return [" & ".join(cells).strip() + r" \\", "".join(rules)] if rules else []


def to_json(table: Table) -> dict[str, Any]:
    """The table as a record a row, by column keys; an interval as its own record."""
    return {
        "name": table.name,
        "title": table.title,
        "notes": list(table.notes),
        "rows": [
            {column.key: _jsonable(cell) for cell, column in zip(row, table.columns, strict=True)}
            for row in table.rows
        ],
    }


def _jsonable(cell: Cell) -> Any:
    if isinstance(cell, Interval):
        return cell.to_json()
    return finite_or_none(cell) if isinstance(cell, float) else cell


def made_of(markdown: str) -> str | None:
    """A table's scale, or its title where it names none; None where this is no table of ours."""
    title, scale = _FIRST.match(markdown), _SCALE.search(markdown)
    return title and (f"scale {scale[1]}" if scale else title[1])


_FIRST = re.compile(r"\*\*(.+)\*\*\n\n\|")
_SCALE = re.compile(r"^- Scale (\S+): ", re.MULTILINE)

WRITERS = {"csv": to_csv, "md": to_markdown, "tex": to_latex}


def write(table: Table, folder: Path) -> list[Path]:
    """Write ``table`` in every format as ``folder/NAME.EXTENSION``; returns the paths."""
    paths = []
    for extension, writer in WRITERS.items():
        path = folder / f"{table.name}.{extension}"
        with atomic_path(path) as temporary:
            temporary.write_text(writer(table), encoding="utf-8")
        paths.append(path)
    return paths
