"""What is printed for people: as wide as their terminal, and never wrapped in a pipe or a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column

NEVER = 10_000
"""Columns of what is no terminal; a table takes as many as it needs."""


def console_of_width() -> Console:
    """Standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=NEVER)


def print_table(
    title: str | None, columns: Iterable[str | Column], rows: Iterable[Iterable[str]]
) -> None:
    """A line, and a table of plain text below it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    if title is not None:
        typer.echo(title)
    console_of_width().print(table)


def number(value: float | None, scale: float = 1) -> str:
    """Four significant digits of a number times ``scale``."""
    return "-" if value is None else f"{scale * value:.4g}"


def require_parquet(out: Path) -> None:
    """Raise unless a table's file is named as one."""
    if out.suffix != ".parquet":
        raise PdnasError(f"--out must end in .parquet, not {out.name!r}")
