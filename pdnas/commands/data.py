"""``pdnas data``: get, list and check data sets and downloads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pdnas.commands.console import print_table
from pdnas.commands.pipeline import Json
from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    from pdnas.data.dataset import DatasetInfo
    from pdnas.data.sources import Source

app = typer.Typer(help="Data sets, and single downloads (sources): get, list and check them.")

Names = Annotated[
    list[str] | None, typer.Argument(help="Data sets or sources; `pdnas data list` shows them.")
]
Root = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Pictures of your own, as `data.root` of a scale says."),
]


@app.command()
def fetch(names: Names = None, root: Root = None, as_json: Json = False) -> None:
    """Get data sets or single sources; by default everything that can be downloaded.

    All are tried; what could not be had is named at the end, as an error.

    Example:

        pdnas data fetch cifar10
    """
    from pdnas.data.sets import INFO
    from pdnas.data.sources import SOURCES

    # Any of a data set's sources makes it, so none is needed for itself.
    parts = {name for info in INFO.values() for name in info.sources}
    default = [name for name, info in INFO.items() if info.sources]
    default += [name for name in SOURCES if name not in parts]
    rows: list[dict[str, str | None]] = []
    for entry in _chosen(names or ([] if root else default), root):
        path, problem = None, None
        try:
            path = _text(entry.fetch(progress=not as_json))
        except PdnasError as error:
            problem = str(error)
        rows.append({"name": entry.name, "path": path, "problem": problem})
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            state = "not to be had" if row["problem"] else row["path"] or "nothing to get"
            typer.echo(f"{row['name']}: {state}")
    problems = [row["problem"] for row in rows if row["problem"]]
    if problems:
        first = f"{len(problems)} of {len(rows)} are not to be had: " * (len(rows) > 1)
        raise PdnasError(first + "; ".join(problems))


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every data set and source: what it is, its licence and size, and where it lies.

    A source's file may lie in a folder of PDNAS_MIRROR under the name in the column "file". With
    --json each has its address and SHA-256 too.

    Example:

        pdnas data list
    """
    from pdnas.data.sources import Source

    rows = []
    for entry in _chosen():
        path = entry.find()
        row: dict[str, Any] = {
            "name": entry.name,
            "what": entry.description,
            "licence": entry.licence,
            "size": None,
            "present": path is not None or entry.installed,
            "path": _text(path),
        }
        if isinstance(entry, Source):
            row["size"] = entry.size
            row |= {"file": entry.filename, "sha256": entry.sha256, "from": entry.origin}
        rows.append(row)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return

    from rich.table import Column

    shown = []
    for row in rows:
        size = f"{row['size'] / 1e6:.2f} MB" if row["size"] else ""
        where = row["path"] or ("yes" if row["present"] else "no")
        shown.append((row["name"], row["what"], row["licence"], size, row.get("file", ""), where))
    folded = [Column(name, overflow="fold") for name in ("file", "here")]
    print_table(None, ("name", "what", "licence", "size", *folded), shown)


@app.command()
def verify(names: Names = None, root: Root = None, as_json: Json = False) -> None:
    """Check data again: checksums of sources, contents of data sets; by default all that is here.

    Named data that are absent, and all that are damaged, are errors. Of pictures of your own, each
    is decoded.

    Examples:

        pdnas data verify cifar10

        pdnas data verify --root pictures
    """
    from pdnas.data.dataset import DatasetInfo

    rows = []
    for entry in _chosen(names or ([] if root else None), root):
        name, problem, about = entry.name, None, None
        try:
            state = "whole" if entry.verify() else "absent"
            if state == "whole" and isinstance(entry, DatasetInfo) and entry.summary:
                about = entry.summary()
        except PdnasError as error:
            state, problem = "damaged", str(error)
        if state == "absent" and name == "folders":
            problem = f"there is no folder {root}"
        elif state == "absent" and names:
            problem = f"{name} is not here; get it with `pdnas data fetch {name}`"
        rows.append({"name": name, "state": state, "problem": problem, "about": about})
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            typer.echo(": ".join(filter(None, (row["name"], row["state"], row["about"]))))
    problems = [row["problem"] for row in rows if row["problem"]]
    if problems:
        raise PdnasError("; ".join(problems))


def _chosen(names: list[str] | None = None, root: str | None = None) -> list[DatasetInfo | Source]:
    """The data sets and sources of these names (default: all), and the pictures in a folder."""
    from pdnas.data.sets import INFO, dataset
    from pdnas.data.sources import SOURCES
    from pdnas.spec.data import FoldersConfig

    known: dict[str, DatasetInfo | Source] = {**INFO, **SOURCES}
    for name in names or []:
        if name not in known:
            raise PdnasError(f"no data set or source {name!r}; choose one of {', '.join(known)}")
    found = [known[name] for name in (known if names is None else names)]
    if root:
        found.append(dataset(FoldersConfig(name="folders", root=root, side=32, validation=0)))
    return found


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
