"""What was published, and tables as pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from pdnas.report import publish
from pdnas.report.collect import Collection
from pdnas.report.formats import NOT_RUN, Table, to_markdown
from pdnas.runs import layout

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
STAND_INS = "stand-ins"
"""The folder of small supernets of every kind."""


@cache
def published() -> dict[str, Collection]:
    """What each folder of results/ was published from, by its name."""
    folders = sorted(path.parent for path in RESULTS.glob(f"*/{layout.PUBLICATION}"))
    return {folder.name: publish.published(folder) for folder in folders}


def part(table: Table, headings: Mapping[str, str]) -> Table:
    """Columns of a table by their keys, under other headings.

    Rows whose last column says that they were not run are left out.
    """
    keys = [column.key for column in table.columns]
    places = [keys.index(key) for key in headings]
    columns = (
        replace(table.columns[place], heading=heading, group="")
        for place, heading in zip(places, headings.values(), strict=True)
    )
    rows = (row for row in table.rows if row[-1] != NOT_RUN)
    chosen = tuple(
        tuple(None if row[place] == NOT_RUN else row[place] for place in places) for row in rows
    )
    return Table(table.name, "", tuple(columns), chosen)


def bare(table: Table) -> str:
    """A table in Markdown without its title and notes."""
    return "\n".join(line for line in to_markdown(table).splitlines() if line.startswith("|"))
