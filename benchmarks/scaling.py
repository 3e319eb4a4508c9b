"""How cost grows: a training step against width, cells and images, ranking against candidates.

``python -m benchmarks.scaling`` writes ``results/bench/scaling.csv`` and a log-log plot with the
exponent of each fit, time and peak memory.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import typer

from benchmarks.__main__ import RESULTS
from benchmarks.measure import Effort, peak_bytes
from benchmarks.training import random_batch, training_step
from pdnas.nn.gates import GateSettings
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.space.cells import CellSpace
from pdnas.support.files import atomic_path, write_json
from pdnas.support.provenance import Stopwatch, provenance
from pdnas.support.timing import Work, seconds


def gated_step(width: int, images: int, effort: Effort) -> Work:
    """A training step of the 3-branch ResNet, two blocks a stage."""
    supernet = MultiBranchSupernet(width, effort.choose(2, 1), 3, 10)
    supernet.configure_gates(GateSettings())
    return training_step(supernet, *random_batch(images, effort.choose(32, 8), effort.device))


def cell_step(cells: int, effort: Effort) -> Work:
    """A training step of NAS-Bench-201 with 8 channels, after warm-up."""
    supernet = NasBench201Supernet(effort.choose(8, 2), cells, CellSpace(), 3, 10)
    supernet.configure_gates(GateSettings(temperature=1))
    batch = random_batch(effort.choose(64, 4), effort.choose(32, 8), effort.device)
    return training_step(supernet, *batch)


def ranking(candidates: int, effort: Effort) -> Work:
    """Judge so many candidates of the 3-branch ResNet on 100 images each."""
    supernet = MultiBranchSupernet(effort.choose(8, 2), effort.choose(2, 1), 3, 10).eval()
    supernet.configure_gates(GateSettings())
    drawn = supernet.posterior().sample(candidates, seed=0)
    x, _ = random_batch(effort.choose(100, 4), effort.choose(32, 8), effort.device)
    supernet.to(x.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def judge() -> None:
        for number in range(candidates):
            with supernet.candidate(drawn[number]):
                supernet(x)

    return judge


SWEEPS: dict[str, tuple[str, list[int], Callable[[int, Effort], Work]]] = {
    "width": (
        "gated step, channels of the first stage",
        [4, 8, 16, 32, 64],
        lambda size, effort: gated_step(size, effort.choose(32, 2), effort),
    ),
    "images": (
        "gated step, images in a batch",
        [8, 16, 32, 64, 128, 256],
        lambda size, effort: gated_step(effort.choose(8, 2), size, effort),
    ),
    "cells": ("NAS-Bench-201 step, cells a stage", [1, 2, 3, 5], cell_step),
    "candidates": ("ranking, candidates", [1, 2, 4, 8, 16], ranking),
}


def measure(effort: Effort, runs: int) -> Iterator[dict[str, float | str]]:
    """A record a point: ``sweep``, ``size``, median ``seconds`` and ``peak_megabytes``.

    The sizes of a sweep take turns, so that other work on the machine meets them alike.
    """
    for sweep, (_, sizes, make) in SWEEPS.items():
        works = {size: make(size, effort) for size in (sizes[:2] if effort.tiny else sizes)}
        for work in works.values():
            work()
        times = [{size: seconds(work) for size, work in works.items()} for _ in range(runs)]
        for size, work in works.items():
            yield {
                "sweep": sweep,
                "size": size,
                "seconds": statistics.median(each[size] for each in times),
                "peak_megabytes": peak_bytes(work, effort.device) / 1e6,
            }


def exponent(sizes: pd.Series, values: pd.Series) -> float:
    """Slope of a straight line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def draw(table: pd.DataFrame, path: Path) -> None:
    """One panel a sweep, log-log: time on the left axis, peak memory on the right one."""
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
    for panel, (sweep, points) in zip(axes.flat, table.groupby("sweep", sort=False), strict=False):
        memory = panel.twinx()
        for axis, column, colour, mark, label in (
            (panel, "seconds", "C0", "o", "time (s)"),
            (memory, "peak_megabytes", "C1", "s", "peak memory (MB)"),
        ):
            slope = exponent(points["size"], points[column])
            axis.loglog(points["size"], points[column], f"{colour}{mark}-")
            axis.set_ylabel(f"{label}, exponent {slope:.2f}", color=colour)
        panel.set_xticks(points["size"], [str(size) for size in points["size"]])
        panel.set_xticks([], minor=True)
        panel.set_xlabel(SWEEPS[str(sweep)][0])
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    plt.close(figure)


def main(
    runs: Annotated[int, typer.Option(min=1, help="Runs of each point.")] = 7,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    conditions: Annotated[str, typer.Option(help="What else the machine did.")] = "",
) -> None:
    """Measure the sweeps, print the exponents, write table and figure."""
    torch.set_num_threads(1)
    stopwatch = Stopwatch()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = pd.DataFrame(measure(Effort(device=device), runs))
    exponents = {
        str(sweep): {
            column: exponent(points["size"], points[column])
            for column in ("seconds", "peak_megabytes")
        }
        for sweep, points in table.groupby("sweep", sort=False)
    }
    with atomic_path(out / "scaling.csv") as temporary:
        table.round(6).to_csv(temporary, index=False)
    config = {"runs": runs, "conditions": conditions}
    facts = provenance(config, None, stopwatch)
    write_json(out / "scaling.json", {"exponents": exponents, "provenance": facts})
    draw(table, out / "scaling.png")
    typer.echo(table.to_string(index=False))
    typer.echo(exponents)


if __name__ == "__main__":
    typer.run(main)
