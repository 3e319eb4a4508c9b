"""``pdnas audit | official | draw``: the audit's tables, the official search, architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pdnas.errors import PdnasError


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
    from pdnas.artefacts import atomic_path
    from pdnas.report.audit import update

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

    Example: pdnas official --out report/official
    """
    from pdnas.report.official import draw

    for path in draw(out):
        typer.echo(path)
