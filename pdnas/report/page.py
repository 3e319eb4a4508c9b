"""The report of a scale as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from pdnas.report import formats
from pdnas.report.catalogue import table
from pdnas.report.collect import FULL, GUIDED, RANDOM, Collection
from pdnas.report.formats import Column, Table
from pdnas.report.publish import summarise_provenance
from pdnas.report.tables import measured
from pdnas.spec import selection
from pdnas.spec.products import FIGURES, OFFICIAL_FIGURES, TABLES
from pdnas.support.errors import PdnasError
from pdnas.support.files import atomic_path
from pdnas.support.statistics import Interval, confidence_interval, geometric_interval

CAPTIONS = Path(__file__).with_name("captions")
"""What each table and figure shows, as reStructuredText; also read by Snakemake's own report."""


@dataclass(frozen=True)
class Headline:
    """A comparison with its 95 % interval; ``verdict`` reads it, ``claim`` is the paper's."""

    study: str
    question: str
    measured: str
    seeds: int
    verdict: str
    claim: str


def write(collection: Collection, page: Path) -> None:
    """Write the page of what lies in ``report/`` of the collection's folder.

    Raises:
        PdnasError: no table or figure was made yet, or the page could not be written.
    """
    from jinja2 import Environment, StrictUndefined

    report = collection.folder / "report"
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
        headlines=list(headlines(collection)),
        tables=[
            {
                **_html_table(table(path.stem, collection)),
                "caption": _caption(path, "tables"),
                "run": _how(path, "table", collection),
            }
            for path in tables
        ],
        figures=[
            {
                "name": path.stem,
                "title": _title(path.stem),
                "width": _width(path),
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
    for study in selection.main(collection.scale):
        yield from _guided_against_random(collection, study)
        yield from _number_of_candidates(collection, study)
        yield from _length_scale(collection, study)
    yield from _sample_efficiency(collection)


def _guided_against_random(collection: Collection, study: str) -> Iterator[Headline]:
    """Table 3: the same size and budget, without and with fine-tuning."""
    kinds = {"random": (RANDOM, "random"), "guided": (GUIDED, "posterior")}
    inherited, gains = {}, {}
    for kind, (variant, source) in kinds.items():
        inherited[kind] = _values(collection, study, variant, source, "none")
        tuned = _values(collection, study, variant, source, "finetune")
        gains[kind] = _minus(inherited[kind], tuned)
    full = _values(collection, study, FULL, "full", "none")
    for question, by_seed, verdicts, claim in (
        (
            "test error of guided minus random candidates of about equal size, without fine-tuning",
            _minus(inherited["guided"], inherited["random"]),
            ("random is better", "guided is better"),
            "guided is better",
        ),
        (
            "by how much does fine-tuning lower the test error of random candidates?",
            gains["random"],
            ("it helps", "it hurts"),
            "it helps a lot",
        ),
        (
            "by how much does fine-tuning lower the test error of guided candidates?",
            gains["guided"],
            ("it helps", "it hurts"),
            "it is not needed",
        ),
        (
            "how much more does fine-tuning help random candidates than guided ones?",
            _minus(gains["random"], gains["guided"]),
            ("random candidates gain more", "guided candidates gain more"),
            "random candidates gain more",
        ),
        (
            "test error of guided candidates minus the whole network's, trained as long",
            _minus(inherited["guided"], full),
            ("the whole network is better", "guided is better"),
            "guided is better",
        ),
    ):
        if by_seed:
            yield _headline(study, question, _interval(by_seed), "{} points", verdicts, claim)


def _number_of_candidates(collection: Collection, study: str) -> Iterator[Headline]:
    """Table 6. The images that choose flatter the choice, so it is held against the test."""
    average = {
        run.seed: 100 * (1 - float(ranking["validation_accuracy"].mean()))
        for run in collection.find(study, GUIDED)
        if (ranking := run.ranking("posterior")) is not None
    }
    tested = _values(collection, study, GUIDED, "posterior", "none")
    if gain := _minus(tested, average):
        count = collection.scale.spec(study, GUIDED).candidates.count
        yield _headline(
            study,
            f"test error of the best of {count} guided candidates minus the error of one alone "
            "(the mean validation error of all)",
            _interval(gain),
            "{} points",
            ("more candidates hurt", "more candidates help"),
            "more candidates help",
        )


def _length_scale(collection: Collection, study: str) -> Iterator[Headline]:
    """Table 4, from each value of l² to the next."""
    sweep = selection.sweep(collection.scale, study, "gates.length_scale2")
    for pair in pairwise(sorted(sweep, key=lambda variant: float(sweep[variant]))):
        for quantity, column, unit, factor, claim in (
            ("size", "parameters", "{} thousand parameters", 1e-3, "falls"),
            ("test error", "test_error", "{} points", 1, "falls, then rises"),
        ):
            before, after = (
                _values(collection, study, variant, "posterior", "none", column) for variant in pair
            )
            if change := _minus(after, before):
                yield _headline(
                    study,
                    f"change of the chosen candidate's {quantity} from l² = {sweep[pair[0]]:g} to "
                    f"{sweep[pair[1]]:g}",
                    _interval({seed: factor * value for seed, value in change.items()}),
                    unit,
                    ("rises", "falls"),
                    claim,
                )


def _sample_efficiency(collection: Collection) -> Iterator[Headline]:
    """NAS-Bench-201, which the paper does not have."""
    for (study, variant), found in collection.efficiencies().items():
        if variant != GUIDED:
            continue
        for targets in zip(*(each.record["targets"] for each in found), strict=True):
            ratios = [each["speedup"] for each in targets]
            if None not in ratios:
                percent = 100 * targets[0]["target"]
                yield _headline(
                    study,
                    "how many times fewer samples does the posterior need than uniform sampling, "
                    f"for a cell of {percent:.1f} % true accuracy?",
                    geometric_interval(ratios).within(most=targets[0]["uniform_expected_samples"]),
                    "{} times",
                    ("fewer", "more"),
                    "–",
                    neutral=1,
                    decimals=1,
                )


def _values(
    collection: Collection,
    study: str,
    variant: str,
    source: str,
    mode: str,
    column: str = "test_error",
) -> dict[int, float]:
    """One of the measurements' columns by seed."""
    rows = measured(collection, study, variant, source, mode)
    return {int(seed): float(v) for seed, v in zip(rows["seed"], rows[column], strict=True)}


def _minus(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    """Differences of the seeds that both have."""
    return {seed: first[seed] - second[seed] for seed in first if seed in second}


def _interval(by_seed: dict[int, float]) -> Interval:
    return confidence_interval(list(by_seed.values()))


def _headline(
    study: str,
    question: str,
    interval: Interval,
    unit: str,
    verdicts: Sequence[str],
    claim: str,
    neutral: int = 0,
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
        verdict = f"not settled: {neutral} lies in the interval"
    return Headline(study, question, unit.format(number), interval.count, verdict, claim)
