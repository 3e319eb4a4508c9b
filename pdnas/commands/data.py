"""``pdnas data``: get, list and check data sets and downloads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pdnas.support.errors import PdnasError

app = typer.Typer(help="Data sets and downloads: get, list and check them.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Names = Annotated[list[str] | None, typer.Argument(help="Data sets or sources; see `list`.")]

_DATASETS = {  # what, licence; data sets made of sources or brought by the user
    "cifar10": ("CIFAR-10 from either cifar10-* source, decoded", "none stated"),
    "cifar100": ("CIFAR-100, in a folder of the user's (PDNAS_DATA)", "none stated"),
    "imagenet": ("ImageNet, in a folder of the user's (PDNAS_DATA)", "research only"),
    "digits": ("8 x 8 digits, part of scikit-learn", "BSD-3-Clause"),
}


@app.command()
def fetch(names: Names = None, as_json: Json = False) -> None:
    """Get data sets or single sources; by default everything that can be downloaded.

    Example:

        pdnas data fetch cifar10
    """
    from pdnas.data.sources import SOURCES

    # Either archive makes the data set cifar10, so neither is needed for itself.
    default = ["cifar10", *(name for name in SOURCES if not name.startswith("cifar10-"))]
    fetched = [
        {"name": name, "path": _text(_fetch(name, progress=not as_json))}
        for name in _known(names or default)
    ]
    if as_json:
        typer.echo(json.dumps(fetched, indent=2))
    else:
        for row in fetched:
            typer.echo(f"{row['name']}: {row['path'] or 'nothing to get'}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every data set and source: what it is, its licence and size, and where it lies.

    A source's file may lie in a folder of PDNAS_MIRROR under the name in the column "file". With
    --json each has its address and SHA-256 too.

    Example:

        pdnas data list
    """
    from pdnas.data.sources import SOURCES

    rows: list[dict[str, Any]] = []
    for name, (what, licence) in _DATASETS.items():
        rows.append(_row(name, what, licence, None))
    for source in SOURCES.values():
        row = _row(source.name, source.description, source.licence, source.size)
        rows.append(row | {"file": source.filename, "sha256": source.sha256, "from": source.origin})
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return

    from rich.console import Console
    from rich.table import Column, Table

    folded = [Column(name, overflow="fold") for name in ("file", "here")]
    table = Table("name", "what", "licence", "size", *folded)
    for row in rows:
        size = f"{row['size'] / 1e6:.2f} MB" if row["size"] else ""
        where = row["path"] or ("yes" if row["present"] else "no")
        table.add_row(row["name"], row["what"], row["licence"], size, row.get("file", ""), where)
    Console().print(table)


@app.command()
def verify(names: Names = None, as_json: Json = False) -> None:
    """Check data again: checksums of sources, contents of data sets; by default all that is here.

    Named data that are absent, and all that are damaged, are errors.

    Example:

        pdnas data verify cifar10
    """
    from pdnas.data.sources import SOURCES

    rows = []
    for name in _known(names or [*_DATASETS, *SOURCES]):
        problem = None
        try:
            state = "whole" if _check(name) else "absent"
        except PdnasError as error:
            state, problem = "damaged", str(error)
        if state == "absent" and names:
            problem = f"{name} is not here; get it with `pdnas data fetch {name}`"
        rows.append({"name": name, "state": state, "problem": problem})
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            typer.echo(f"{row['name']}: {row['state']}")
    problems = [row["problem"] for row in rows if row["problem"]]
    if problems:
        raise PdnasError("; ".join(problems))


def _known(names: list[str]) -> list[str]:
    from pdnas.data.sources import SOURCES

    for name in names:
        if name not in _DATASETS and name not in SOURCES:
            choices = ", ".join([*_DATASETS, *SOURCES])
            raise PdnasError(f"no data set or source {name!r}; choose one of {choices}")
    return names


def _fetch(name: str, progress: bool) -> Path | None:
    """Get one thing; its path, or None where there is nothing to get."""
    from pdnas.data import cifar10, sources

    if name in sources.SOURCES:
        return sources.fetch(name, progress)
    if name == "cifar10":
        cifar10.load(progress)
        return cifar10.path()
    _open(name)  # the user's own data: an error says which files go where
    return None if name == "digits" else sources.data_directory(None, name)


def _locate(name: str) -> tuple[bool, Path | None]:
    """Whether something is here, and the file or folder to show for it."""
    from pdnas.data import cifar10, sources

    if name == "digits":
        return True, None
    if name in sources.SOURCES:
        path = sources.find(name)
    elif name == "cifar10":
        path = cifar10.path()
    else:
        folder = {"cifar100": "cifar-100-python", "imagenet": "train"}[name]
        named = os.environ.get("PDNAS_DATA")
        path = Path(named) / folder if named else None
    return (True, path) if path is not None and path.exists() else (False, None)


def _open(name: str) -> None:
    """Open a data set's files; a PdnasError says what is missing or damaged."""
    from pdnas.data.sets import INFO

    INFO[name].load(None)


def _check(name: str) -> bool:
    """Check one thing thoroughly; False if it is not here.

    Raises:
        PdnasError: it is damaged.
    """
    from pdnas.data import cifar10, sources
    from pdnas.support.files import read_tensors

    if name in sources.SOURCES:
        source = sources.SOURCES[name]
        cached = sources.cache_directory() / source.filename
        if cached.is_file() and not sources.matches(cached, source):
            raise PdnasError(f"{cached} has a wrong SHA-256; fetch {name} again to replace it")
    present, path = _locate(name)
    if present and name == "cifar10" and path is not None:
        cifar10.verify(read_tensors(path)[0], path)
    elif present and name in _DATASETS:
        _open(name)
    return present


def _row(name: str, what: str, licence: str, size: int | None) -> dict[str, Any]:
    present, path = _locate(name)
    return {
        "name": name,
        "what": what,
        "licence": licence,
        "size": size,
        "present": present,
        "path": _text(path),
    }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
