"""``pdnas audit | official | draw``: the audit's tables, the official search, architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pdnas.commands.pipeline import Force, RunFolder
from pdnas.spec.names import Source
from pdnas.support.errors import PdnasError


def audit(
    document: Annotated[Path, typer.Argument(help="Markdown with marked blocks.")] = Path(
        "docs/audit.md"
    ),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail where a block is out of date.")
    ] = False,
) -> None:
    """Compute the tables of the reproducibility audit anew, between their markers.

    Example: pdnas audit docs/audit.md
    """
    from pdnas.report.paper.audit import update
    from pdnas.support.files import atomic_path

    try:
        text = document.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PdnasError(f"cannot read {document}: {error}") from error
    updated = update(text)
    if check and updated != text:
        raise PdnasError(f"{document} is out of date; run `pdnas audit {document}`")
    if not check:
        with atomic_path(document) as temporary:
            temporary.write_text(updated, encoding="utf-8")
    typer.echo(document)


def official(
    out: Annotated[Path, typer.Option(help="Folder for the figures (PDF, PNG, CSV).")] = Path(),
) -> None:
    """Draw the official SupNet-D-121 search from its released logs.

    Where a log cannot be had, its figures say "not available" and why.

    Example: pdnas official --out report/official
    """
    from pdnas.report.paper.official import draw

    paths, reasons = draw(out)
    for path in paths:
        typer.echo(path)
    for reason in reasons:
        typer.echo(f"pdnas: not available: {reason}", err=True)


def draw(
    run: RunFolder,
    source: Annotated[
        Source | None, typer.Option(help="Draw one of these candidates; else the posterior.")
    ] = None,
    candidate: Annotated[
        int | None, typer.Option(min=0, help="Its number; the best of the ranking by default.")
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write; PDF, PNG and CSV by this name.")] = Path(
        "architecture"
    ),
    force: Force = False,
) -> None:
    """Draw an architecture: blocks, branches, and the share of each operation that is kept.

    Example: pdnas draw runs/laptop/multibranch/guided/seed6 --source posterior --out best
    """
    from pdnas.report.paper.architecture import draw_run
    from pdnas.runs.run import Run

    if candidate is not None and source is None:
        raise PdnasError("a candidate's number needs --source, which says of which candidates")
    for path in draw_run(Run.load(run), source, candidate, out, force):
        typer.echo(path)
