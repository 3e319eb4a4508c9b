"""What ``python -m benchmarks`` measured on each machine."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pandas as pd

from contrib.numbers.published import RESULTS
from pdnas.report.columns import words
from pdnas.report.formats import Column, Table
from pdnas.support.files import read_json

BENCH = RESULTS / "bench"

MACHINES = {
    "2-cores-amd-epyc": "AMD EPYC, 2 cores",
    "2-cores-intel-r-xeon-r-processor": "Intel Xeon, 2 cores",
    "16-cores-intel-r-xeon-r-processor-nvidia-h100-80gb-hbm3": "H100 80GB",
}
"""Files of results/bench, and what a table calls their machines."""

GONE = {
    "2-cores-amd-epyc": ("NAS-Bench-201 one-hot", "scoring"),
    "2-cores-intel-r-xeon-r-processor": ("scoring",),
    "16-cores-intel-r-xeon-r-processor-nvidia-h100-80gb-hbm3": (
        "NAS-Bench-201 one-hot",
        "data path",
    ),
}
"""How parts begin that were measured by code which has been replaced since, by machine."""

EXTRACTED = re.compile(r"(masked|time share) / extracted candidate, .*?(, multiples of 8)?$")

WIDTH = re.compile(r",? \(?(width|growth) \d+\)?")
"""In a part's name, how large its network was: on a GPU larger."""


@cache
def _rows(machine: str) -> Mapping[str, Any]:
    rows: Mapping[str, Any] = read_json(BENCH / f"{machine}.json")["rows"]
    return rows


def _measures() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What was measured by code of today, with its machine, row by row."""
    for name in dict.fromkeys(name for machine in MACHINES for name in _rows(machine)):
        for machine in MACHINES:
            for each in _rows(machine).get(name, {"measures": ()})["measures"]:
                if "value" in each and not each["part"].startswith(GONE.get(machine, ())):
                    yield machine, each


def bench() -> Table:
    """All parts but extracted candidates, a column a machine; networks are wider on a GPU."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    aims: dict[tuple[str, str], str] = {}
    for machine, each in _measures():
        gated = each["part"].startswith("gated")  # of two widths on one machine
        key = each["part"] if gated else WIDTH.sub("", each["part"]), each["against"]
        if not EXTRACTED.match(key[0]) and not key[0].endswith(": ratio"):
            missed = "*" if each["reached"] is False else ""
            unit = "times" if each["unit"] == "x" else each["unit"]
            found.setdefault(key, {})[machine] = f"{each['value']:.3g} {unit}{missed}"
            aims[key] = each["aim"] or aims.get(key, "–")
    rows = (
        (*key, *(values.get(machine) for machine in MACHINES), aims[key])
        for key, values in found.items()
    )
    columns = (
        words("part"),
        words("against"),
        *(Column(machine, heading) for machine, heading in MACHINES.items()),
        words("aim"),
    )
    return Table("bench", "", columns, tuple(rows))


def machines() -> str:
    """When and by which code each machine measured."""
    lines = []
    for machine, name in MACHINES.items():
        made = [
            row["provenance"]
            for row in _rows(machine).values()
            if any("value" in each for each in row["measures"])
        ]
        days = sorted({each["finished"][:10] for each in made})
        codes = dict.fromkeys(each["code"].split()[-1] for each in made)
        lines.append(f"{name}: {', '.join(days)}, commits {', '.join(codes)}")
    return f"Measured on: {'; '.join(lines)}."


def extraction() -> Table:
    """Extracted candidates, from the least to the most of both machines, batches and formats."""
    values: dict[tuple[str, str], list[float]] = {}
    notes: dict[str, str] = {}
    for _, each in _measures():
        if match := EXTRACTED.match(each["part"]):
            kind, filled = match[1], match[2] or ""
            values.setdefault((filled, kind), []).append(each["value"])
            notes.setdefault(filled, each.get("note", ""))
    rows = (
        (
            "filled up to multiples of 8" if filled else "as small as can be",
            notes[filled],
            *(
                f"{min(found):.3g} to {max(found):.3g}"
                for found in (values[filled, kind] for kind in ("masked", "time share"))
            ),
        )
        for filled in notes
    )
    columns = (
        words("channels"),
        words("left", "what is left"),
        words("faster", "times as fast as the masked supernet"),
        words("beyond", "share of time by share of multiply-adds (aim: ≤ 1.5)"),
    )
    return Table("bench-extraction", "", columns, tuple(rows))


BEYOND = {"width": 160, "images": 2048, "cells": 20, "candidates": 10_000}
"""Sizes that this machine was not asked for."""


def growth() -> Table:
    """Exponents of time and memory, and what the growth of the two largest sizes leads to."""
    exponents = read_json(BENCH / "scaling.json")["exponents"]
    points = pd.read_csv(BENCH / "scaling.csv").set_index("size")
    rows = []
    for name, each in exponents.items():
        before, last = points[points["sweep"] == name].drop(columns="sweep").iloc[-2:].itertuples()
        steps = math.log(BEYOND[name] / last.Index) / math.log(last.Index / before.Index)
        measured = ("seconds", "peak_megabytes")
        time, memory = (
            getattr(last, key) * (getattr(last, key) / getattr(before, key)) ** steps
            for key in measured
        )
        rows.append((name, *(each[key] for key in measured), BEYOND[name], time, memory / 1000))
    columns = (
        words("against"),
        Column("time", "time"),
        Column("memory", "peak memory"),
        Column("beyond", "so with"),
        Column("seconds", "seconds", digits=2),
        Column("gigabytes", "GB", digits=2),
    )
    return Table("bench-growth", "", columns, tuple(rows))


def imagenet() -> Table:
    """The paper's ImageNet searches on many GPUs, simulated from recorded rates."""
    rows = (
        (
            {"r50": "R-50", "d121": "D-121"}[each["network"]],
            *(each[key] for key in ("gpus", "batch", "step", "cores")),
            each["images_per_second"] / 1000,
            each["search_hours"],
            100 * each["exchange"],
            each["ranking_hours"],
        )
        for each in read_json(BENCH / "imagenet.json")["plans"]
    )
    columns = (
        words("network"),
        Column("gpus", "GPUs"),
        Column("batch", "batch"),
        words("step"),
        Column("cores", "cores a GPU"),
        Column("images", "thousand images/s", digits=3),
        Column("search", "a search [h]", digits=2),
        Column("exchange", "exchange, share of a step [%]", digits=2),
        Column("ranking", "1500 candidates [h]", digits=2),
    )
    return Table("imagenet", "", columns, tuple(rows))
