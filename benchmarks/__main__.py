"""One command, one table: ``python -m benchmarks``, or ``python -m benchmarks ROW …``.

Every row compares two ways of doing the same in interleaved runs, so its ratio holds on a machine
that is busy with other things, where seconds do not. Results go to ``results/bench/HARDWARE.json``
and ``.md``; a run of some rows replaces those rows alone. ``--check`` measures the quick rows anew
and fails where a ratio is worse than the stored one by more than a factor of 1.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.candidates import many_candidates, racing, ranking, scoring
from benchmarks.cells import cells
from benchmarks.commands import commands
from benchmarks.data_path import data_path
from benchmarks.extraction import extraction
from benchmarks.ground_truth import ground_truth
from benchmarks.measure import Effort, Measure
from benchmarks.training import gated_3branch, gated_d121, one_hot, supernet_m
from pdnas.support.files import atomic_path, read_json, write_json
from pdnas.support.provenance import Stopwatch, hardware, provenance

RESULTS = Path(__file__).parents[1] / "results" / "bench"
TOLERATED = 1.5
UNKNOWN = "what stands in the way has not been looked into"


@dataclass(frozen=True)
class Row:
    """One benchmark; ``quick`` ones are those of ``--check``."""

    run: Callable[[Effort], list[Measure]]
    quick: bool = False


ROWS: Mapping[str, Row] = {
    "gated-3branch": Row(gated_3branch, quick=True),
    "gated-d121": Row(gated_d121),
    "one-hot": Row(one_hot, quick=True),
    "cells": Row(cells),
    "racing": Row(racing),
    "ranking": Row(ranking, quick=True),
    "many-candidates": Row(many_candidates),
    "scoring": Row(scoring, quick=True),
    "data-path": Row(data_path, quick=True),
    "ground-truth": Row(ground_truth),
    "supernet-m": Row(supernet_m),
    "extraction": Row(extraction),
    "commands": Row(commands),
}


def measure(name: str, effort: Effort, conditions: str) -> dict[str, Any]:
    """One row's record: its measures, and where they come from."""
    torch.manual_seed(0)
    stopwatch = Stopwatch()
    measures = [each.to_json() for each in ROWS[name].run(effort)]
    config = {"pairs": effort.pairs, "device": effort.device.type, "conditions": conditions}
    return {"measures": measures, "provenance": provenance(config, 0, stopwatch)}


def machine() -> str:
    """A file name for this hardware."""
    facts = hardware()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    words = [f"{facts['cores']} cores", facts["cpu"], *gpus]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def markdown(rows: Mapping[str, Any]) -> str:
    """The table of all rows, and what stands in the way of aims that are not reached."""
    lines = [
        "# Speed and memory",
        "",
        "Ratios of medians of interleaved runs; in brackets the quartiles of the single pairs' own "
        "ratios, outside of which the first can lie when the machine's speed drifts. How each row "
        "is measured stands in `benchmarks/`. Written by `make bench`.",
        "",
        "| part | against | measured (quartiles) | runs | aim | reached |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    remarks = []
    for row in rows.values():
        for each in row["measures"]:
            cells = [each["part"], each["against"], _value(each), str(each["runs"])]
            reached = {True: "yes", False: "**no**", None: "–"}[each["reached"]]
            lines.append("| " + " | ".join([*cells, each["aim"] or "–", reached]) + " |")
            if each.get("note"):
                remarks.append(f"* {each['part']}: {each['note']}.")
            if each["reached"] is False:
                remarks.append(f"* {each['part']}, not reached: {each.get('obstacle', UNKNOWN)}.")
    lines += ["", "## Remarks", "", *remarks, "", "## Where from", ""]
    lines += ["| row | hardware | code | finished | took | conditions |", "| --- " * 6 + "|"]
    for name, row in rows.items():
        facts = row["provenance"]
        place = facts["hardware"]
        cells = [
            name,
            ", ".join([f"{place['cores']} cores {place['cpu']}", *place["gpus"]]),
            facts["code"],
            facts["finished"],
            f"{facts['wall_seconds']:.0f} s",
            facts["config"]["conditions"],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _value(each: Mapping[str, Any]) -> str:
    if "value" not in each:
        return "not run"
    low, high = each["quartiles"]
    return f"{each['value']:.3g} {each['unit']} ({low:.3g} – {high:.3g})"


def regressions(stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """A line for each ratio of ``found`` that is much worse than the stored one."""
    lines = []
    for name, row in found.items():
        before = {each["part"]: each for each in stored.get(name, {"measures": []})["measures"]}
        for each in row["measures"]:
            old = before.get(each["part"], {})
            if each["unit"] != "x" or not each["aim"] or not {"value"} <= each.keys() & old.keys():
                continue
            worse = each["value"] / old["value"]
            if each["aim"].startswith("≥"):
                worse = 1 / worse
            if worse > TOLERATED:
                lines.append(f"{each['part']}: {each['value']:.3g}, stored {old['value']:.3g}")
    return lines


def main(
    rows: Annotated[list[str] | None, typer.Argument(help="All of them by default.")] = None,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of a cheap row.")] = 20,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    check: Annotated[
        bool, typer.Option("--check", help="Compare quick rows with the stored ratios.")
    ] = False,
    conditions: Annotated[
        str, typer.Option(help="What else the machine did; stands beside the numbers.")
    ] = "",
) -> None:
    """Measure and print the table."""
    unknown = set(rows or ()) - set(ROWS)
    if unknown:
        raise typer.BadParameter(f"no row {min(unknown)!r}; choose {', '.join(ROWS)}")
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    effort = Effort(pairs, device=device)
    path = out / f"{machine()}.json"
    stored = read_json(path)["rows"] if path.is_file() else {}
    found = {}
    for name in rows or [name for name, row in ROWS.items() if row.quick or not check]:
        typer.echo(f"{name} …", err=True)
        found[name] = measure(name, effort, conditions)
        if not check:
            stored[name] = found[name]
            write_json(path, {"rows": {name: stored[name] for name in ROWS if name in stored}})
    typer.echo(markdown(found))
    if not check:
        with atomic_path(path.with_suffix(".md")) as temporary:
            temporary.write_text(markdown(read_json(path)["rows"]), encoding="utf-8")
        return
    lines = regressions(stored, found)
    typer.echo("\n".join(lines) or "no ratio is worse than the stored one", err=bool(lines))
    if lines:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
