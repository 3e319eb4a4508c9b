"""The report of a scale as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from pdnas.report import formats
from pdnas.report.catalogue import table
from pdnas.report.claims import claims, corrected
from pdnas.report.collect import Collection
from pdnas.report.formats import Column, Table
from pdnas.report.publish import summarise_provenance
from pdnas.runs import layout
from pdnas.spec.products import FIGURES, OFFICIAL_FIGURES, TABLES
from pdnas.support.errors import PdnasError
from pdnas.support.files import atomic_path

CAPTIONS = Path(__file__).with_name("captions")
"""What each table and figure shows, as reStructuredText; also read by Snakemake's own report."""


def write(collection: Collection, page: Path, besides: Sequence[Collection] = ()) -> None:
    """Write the page of what lies in ``report/`` of the collection's folder.

    Args:
        besides: of other scales; each stands in where a table has no run of the collection's own.

    Raises:
        PdnasError: no table or figure was made yet, or the page could not be written.
    """
    from jinja2 import Environment, StrictUndefined

    report = collection.folder / layout.REPORT
    tables = sorted((report / "tables").glob("*.csv"), key=_place_in(TABLES))
    figures = sorted((report / "figures").glob("*.png"), key=_place_in(FIGURES))
    if not tables or not figures:
        raise PdnasError(f"{report} has no tables or no figures yet; run the workflow first")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"seconds": _duration, "sentence": _sentence}
    template = environment.from_string(
        resources.files("pdnas.report").joinpath("page.html").read_text(encoding="utf-8")
    )
    html = template.render(
        scale=collection.name,
        asked=collection.asked,
        description=collection.scale.description,
        introduction=_html(CAPTIONS / "workflow.rst", collection.name),
        claims=corrected(claims(collection)),
        tables=[
            {
                **_html_table(table(path.stem, collection)),
                "caption": _caption(path, "tables"),
                "run": _how(path, "table", collection),
                "besides": list(_stand_ins(path.stem, collection, besides)),
            }
            for path in tables
        ],
        figures=[
            {
                "name": path.stem,
                "title": _title(path.stem),
                "width": _width(path),
                "reason": _reason(path),
                "image": base64.b64encode(path.read_bytes()).decode(),
                "caption": _caption(path, "figures"),
                "run": _how(path, "figure", collection),
            }
            for path in figures
        ],
        how=summarise_provenance(collection),
    )
    with atomic_path(page) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _stand_ins(
    name: str, collection: Collection, besides: Sequence[Collection]
) -> Iterator[dict[str, Any]]:
    """The same table of other scales, if the collection has no run that it is made from."""
    if name not in TABLES or TABLES[name].of_no_study or _has_runs(name, collection):
        return
    for other in besides:
        if _has_runs(name, other):
            scale = {"scale": other.name, "description": other.scale.description}
            yield {**_html_table(table(name, other)), **scale}


def _has_runs(name: str, collection: Collection) -> bool:
    studies = TABLES[name].studies(collection.scale)
    return any(run.study in studies for run in collection.runs)


def made_of(page: Path) -> str | None:
    """What a page that is there already was made of: ``scale NAME``."""
    try:
        found = _TITLE.search(page.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return f"scale {found[1]}" if found else None


_TITLE = re.compile(r"<title>pdnas report: (.*)</title>")


def _place_in(registry: Mapping[str, Any]) -> Callable[[Path], tuple[int, str]]:
    """Sorts files in the order of the catalogue; strangers are last."""
    order = {name: number for number, name in enumerate(registry)}
    return lambda path: (order.get(path.stem, len(order)), path.stem)


def _title(name: str) -> str:
    """``figure1`` and ``best-of-n`` as people write them."""
    return re.sub(r"^figure(?=\d)", "figure ", name).replace("-", " ").capitalize()


def _width(path: Path) -> int:
    """Width on the page in CSS pixels: half the image's own, so that text in it has its size."""
    from PIL import Image

    with Image.open(path) as image:
        return image.width // 2


def _reason(path: Path) -> str | None:
    """Why a figure is not available; None where it is."""
    data = path.with_suffix(".csv")
    if not data.is_file():
        return None
    with data.open(encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file), {})
    return first.get("reason") if first.get("status") == "not available" else None


def _how(path: Path, kind: str, collection: Collection) -> dict[str, Any]:
    """How a table or figure was run: its studies' summary, and the commands that make it again."""
    entry = TABLES.get(path.stem) if kind == "table" else FIGURES.get(path.stem)
    chosen = entry.studies(collection.scale) if entry else ()
    runs = tuple(run for run in collection.runs if run.study in chosen)
    studies = list(dict.fromkeys(run.study for run in runs))
    scale, rule = collection.asked, entry.rule if entry else "official"
    commands = {
        f"snakemake --cores all {rule} --config scale={scale}": (
            f"with all runs of {', '.join(chosen)}" if chosen else "needs no runs"
        )
    }
    if path.stem not in OFFICIAL_FIGURES:
        name = path.stem.removeprefix("table")
        commands[f"pdnas {kind} {name} --scale {scale}"] = "from finished runs"
    elif _reason(path):
        commands = {
            f"pdnas official --out {path.parent}": "when the files can be had",
            f"pdnas report --scale {scale} --runs {collection.folder}": "this page again",
        }
    return {
        "studies": studies,
        "how": summarise_provenance(replace(collection, runs=runs)) if runs else None,
        "commands": commands,
    }


def _caption(path: Path, kind: str) -> str:
    return _html(CAPTIONS / kind / f"{path.stem}.rst")


def _html(path: Path, scale: str = "") -> str:
    """reStructuredText as an HTML fragment; the introduction is a Jinja template of Snakemake's."""
    from docutils.core import publish_parts
    from jinja2 import Template
    from markupsafe import Markup

    text = path.read_text(encoding="utf-8")
    if scale:
        text = Template(text).render(snakemake={"config": {"scale": scale}})
    settings = {"report_level": 3, "halt_level": 3, "file_insertion_enabled": False}
    parts = publish_parts(text, writer="html5", settings_overrides=settings)
    return Markup(parts["fragment"])  # our own text, made HTML by docutils


def _html_table(made: Table) -> dict[str, Any]:
    """A table for the template: groups of columns, headings, cells, each with its alignment."""
    groups = formats.groups(made)
    return {
        "name": made.name,
        "title": made.title,
        "groups": groups if any(group for group, _ in groups) else [],
        "columns": made.columns,
        "rows": [
            [_cell(cell, column) for cell, column in zip(row, made.columns, strict=True)]
            for row in made.rows
        ],
        "notes": made.notes,
    }


def _cell(cell: formats.Cell, column: Column) -> tuple[str, str]:
    """A cell's text and its class."""
    text = formats.text(cell, column)
    kinds = ["text" if column.is_text else "number", column.group]
    return text, " ".join([*kinds, "missing"] if cell in (None, formats.NOT_RUN) else kinds)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _sentence(text: str) -> str:
    return text.rstrip(".") + "."
