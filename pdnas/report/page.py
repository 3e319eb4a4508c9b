"""The report of a scale as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pdnas.artefacts import atomic_path
from pdnas.errors import PdnasError
from pdnas.report import formats
from pdnas.report.collect import FULL, GUIDED, RANDOM, Collection
from pdnas.report.formats import Column, Table
from pdnas.report.publish import summarise
from pdnas.report.tables import measured, table
from pdnas.statistics import Interval, confidence_interval, geometric_interval

CAPTIONS = Path(__file__).parents[2] / "workflow" / "report"
"""What each table and figure shows, as reStructuredText; also read by Snakemake's own report."""


@dataclass(frozen=True)
class Headline:
    """A comparison that the paper is about, with its 95 % interval; ``verdict`` reads it."""

    question: str
    measured: str
    seeds: int
    verdict: str


def write(collection: Collection, page: Path) -> None:
    """Write the page of what lies in ``report/`` of the collection's folder.

    Raises:
        PdnasError: no table or figure was made yet, or the page could not be written.
    """
    from jinja2 import Environment, StrictUndefined

    report = collection.folder / "report"
    tables = sorted((report / "tables").glob("*.csv"), key=_order)
    figures = sorted((report / "figures").glob("*.png"), key=_order)
    if not tables or not figures:
        raise PdnasError(f"{report} has no tables or no figures yet; run the workflow first")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"seconds": _duration, "sentence": _sentence}
    template = environment.from_string(
        resources.files("pdnas.report").joinpath("page.html").read_text(encoding="utf-8")
    )
    html = template.render(
        scale=collection.name,
        description=collection.scale.description,
        introduction=_html(CAPTIONS / "workflow.rst", collection.name),
        headlines=list(headlines(collection)),
        tables=[
            {**_html_table(table(path.stem, collection)), "caption": _caption(path, "tables")}
            for path in tables
        ],
        figures=[
            {
                "name": path.stem,
                "title": _title(path.stem),
                "width": _width(path),
                "image": base64.b64encode(path.read_bytes()).decode(),
                "caption": _caption(path, "figures"),
            }
            for path in figures
        ],
        how=summarise(collection),
    )
    with atomic_path(page) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _order(path: Path) -> tuple[bool, str]:
    """The paper's own first."""
    return not path.stem[-1].isdigit(), path.stem


def _title(name: str) -> str:
    """``figure1`` and ``best-of-n`` as people write them."""
    return re.sub(r"^figure(?=\d)", "figure ", name).replace("-", " ").capitalize()


def _width(path: Path) -> int:
    """Width on the page in CSS pixels: half the image's own, so that text in it has its size."""
    from PIL import Image

    with Image.open(path) as image:
        return image.width // 2


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
    groups: list[list[Any]] = []
    for column in made.columns:
        if groups and groups[-1][0] == column.group:
            groups[-1][1] += 1
        else:
            groups.append([column.group, 1])
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


# --- headlines ------------------------------------------------------------------------------------


def headlines(collection: Collection) -> Iterator[Headline]:
    """The claims that a scale can support or contradict, those that were run."""
    for (study, variant), found in collection.efficiencies().items():
        if variant != GUIDED:
            continue
        for targets in zip(*(each.record["targets"] for each in found), strict=True):
            ratios = [each["speedup"] for each in targets]
            if None not in ratios:
                percent = 100 * targets[0]["target"]
                yield _headline(
                    f"{study}: how many times fewer samples does the posterior need than uniform "
                    f"sampling, for a cell of {percent:.1f} % true accuracy?",
                    geometric_interval(ratios),
                    "{} times",
                    ("fewer", "more"),
                    neutral=1,
                    decimals=1,
                )
    for study in collection.scale.studies:
        if better := _minus(
            _errors(collection, study, GUIDED, "posterior", "none"),
            _errors(collection, study, RANDOM, "random", "none"),
        ):
            yield _headline(
                f"{study}: test error of guided minus random candidates of about equal size, "
                "without fine-tuning",
                confidence_interval(list(better.values())),
                "{} points",
                ("random is better", "guided is better"),
            )
        gains = [
            _minus(
                _errors(collection, study, variant, source, "none"),
                _errors(collection, study, variant, source, "finetune"),
            )
            for variant, source in ((RANDOM, "random"), (GUIDED, "posterior"))
        ]
        if more := _minus(*gains):
            yield _headline(
                f"{study}: how much more does fine-tuning help random candidates than guided ones?",
                confidence_interval(list(more.values())),
                "{} points",
                ("random candidates gain more", "guided candidates gain more"),
            )
        if worse := _minus(
            _errors(collection, study, GUIDED, "posterior", "none"),
            _errors(collection, study, FULL, "full", "none"),
        ):
            yield _headline(
                f"{study}: test error of guided candidates minus the whole network's, trained "
                "as long",
                confidence_interval(list(worse.values())),
                "{} points",
                ("the whole network is better", "guided is better"),
            )


def _errors(
    collection: Collection, study: str, variant: str, source: str, mode: str
) -> dict[int, float]:
    """Test errors in percent by seed."""
    rows = measured(collection, study, variant, source, mode)
    return {int(seed): float(e) for seed, e in zip(rows["seed"], rows["test_error"], strict=True)}


def _minus(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    """Differences of the seeds that both have."""
    return {seed: first[seed] - second[seed] for seed in first if seed in second}


def _headline(
    question: str,
    interval: Interval,
    unit: str,
    verdicts: Sequence[str],
    neutral: float = 0,
    decimals: int = 2,
) -> Headline:
    """``verdicts``: what an interval above and one below ``neutral`` say."""
    number = formats.text(interval, Column("", "", decimals=decimals))
    if interval.low > neutral:
        verdict = verdicts[0]
    elif interval.high < neutral:
        verdict = verdicts[1]
    elif interval.count == 1:
        verdict = "one seed: no interval"
    else:
        verdict = "open: the interval holds no difference"
    return Headline(question, unit.format(number), interval.count, verdict)
