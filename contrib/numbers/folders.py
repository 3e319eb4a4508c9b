"""What each folder of results/ holds, and how far its studies were scaled down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from contrib.numbers.published import RESULTS, published
from pdnas.report.collect import describe_supernet
from pdnas.report.columns import words
from pdnas.report.formats import Cell, Column, Table
from pdnas.report.notes import either
from pdnas.report.truth.methods import data_name
from pdnas.runs import layout
from pdnas.runs.run import Run
from pdnas.support.files import read_json

HOURS = Column("hours", "hours of all jobs")


def runs() -> Table:
    """What was run, on what, and by which code."""
    rows = []
    for folder, collection in published().items():
        record = read_json(RESULTS / folder / layout.PUBLICATION)
        searches = Counter(run.study for run in collection.runs if searched(run))
        rows.append(
            (
                f"[{folder}]({folder})",
                ", ".join(f"`{study}` ({count})" for study, count in searches.items()),
                sum(record["wall_seconds"].values()) / 3600,
                "; ".join(record["hardware"]),
                record["finished"][:10],
                ", ".join(code.split()[-1][:7] for code in record["code"]),
            )
        )
    columns = (
        words("folder"),
        words("studies", "studies (searches)"),
        HOURS,
        words("machine"),
        words("finished"),
        words("commits"),
    )
    return Table("runs", "", columns, tuple(rows))


def searched(run: Run) -> bool:
    """Whether a run made its own supernet; others take over that of another variant."""
    return "searched_by" not in run.record


def scales() -> Table:
    """The scaling-down of every study."""
    rows = []
    for folder, collection in published().items():
        for study in dict.fromkeys(run.study for run in collection.runs):
            own = [run for run in collection.runs if run.study == study]
            rows.append((folder, study, *_scaled(own)))
    columns = (
        words("folder"),
        words("study"),
        words("network"),
        Column("size", "its parameters [M]", digits=3),
        words("images", "training images"),
        words("epochs"),
        words("candidates", "ranked candidates"),
        words("seeds"),
        HOURS,
    )
    return Table("scales", "", columns, tuple(rows))


def _scaled(found: Sequence[Run]) -> tuple[Cell, ...]:
    """The network of a study's runs and what follows."""
    specs = [run.spec for run in found]
    first = specs[0]
    images = either(
        f"all but {spec.data.validation}" if spec.data.train is None else spec.data.train
        for spec in specs
    )
    size = found[0].record.get("supernet_parameters")
    ranked = {run.spec.candidates.count for run in found if run.ranking_records}
    seconds = (
        record["provenance"]["wall_seconds"]
        for run in found
        for record in run.records.values()
        if "searched_by" not in record
    )
    return (
        describe_supernet(first),
        None if size is None else size / 1e6,
        f"{images} of {data_name(first.data.title)}",
        either(spec.training.epochs for spec in specs),
        either(ranked) or "–",
        either(Counter(run.variant for run in found).values()),
        sum(seconds) / 3600,
    )
