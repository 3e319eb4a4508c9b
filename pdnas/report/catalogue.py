"""Every table and figure by its name, in the order in which people read them.

Snakemake has a target for each, which runs the studies that the entry names: those of the study of
NAS-Bench-201 are made by ``nasbench``, the others by ``all``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from pdnas.report import figures, nasbench, selection, style, tables
from pdnas.report.collect import Collection, Selector
from pdnas.report.figures import Drawing
from pdnas.report.formats import Table
from pdnas.support.errors import PdnasError

Made = TypeVar("Made")


@dataclass(frozen=True)
class Entry(Generic[Made]):
    """One table or figure.

    Attributes:
        make: makes it from what was run.
        studies: those whose runs it is made from.
    """

    make: Callable[[Collection], Made]
    studies: Selector


MAIN_TABLES = {
    "table1": Entry(tables.table1, partial(selection.stand_ins, data=("cifar10",))),
    "table2": Entry(tables.table2, partial(selection.stand_ins, data=("cifar100",))),
    "table3": Entry(tables.table3, selection.on_cifar10),
    "table4": Entry(tables.table4, selection.on_cifar10),
    "table5": Entry(tables.table5, selection.on_cifar10),
    "table6": Entry(tables.table6, selection.on_cifar10),
    "table7": Entry(tables.table7, selection.on_cifar10),
    "table8": Entry(tables.table8, partial(selection.stand_ins, supernet="D-121")),
    "table9": Entry(tables.table9, partial(selection.stand_ins, supernet="R-50")),
    "ablations": Entry(tables.ablations, selection.ablated),
    "extraction": Entry(tables.extraction, selection.over_channels),
    "efficiency": Entry(tables.efficiency, selection.over_cells_in_all),
}
NASBENCH_TABLES = {
    "nasbench": Entry(nasbench.nasbench, selection.over_cells),
    "rivals": Entry(nasbench.rivals, lambda _: ()),  # searches of the table are no runs
}
TABLES = MAIN_TABLES | NASBENCH_TABLES

# A figure is None where its data were not run.
MAIN_FIGURES: dict[str, Entry[Drawing | None]] = {
    "figure1": Entry(figures.figure1, selection.guided_and_random),
    "figure2": Entry(figures.figure2, selection.guided_over_channels),
    "mismatch": Entry(figures.mismatch, selection.fine_tuned),
    "pareto": Entry(figures.pareto, selection.drawn),
    "candidates": Entry(figures.candidates, selection.drawn),
    "error-cost": Entry(figures.error_cost, selection.guided_over_channels),
    "trajectories": Entry(figures.trajectories, selection.drawn),
    "kept-share": Entry(figures.kept_share, selection.drawn),
    "posterior-cells": Entry(figures.posterior_cells, selection.over_cells_in_all),
    "efficiency": Entry(figures.efficiency, selection.over_cells_in_all),
    "best-of-n": Entry(figures.best_of_n, selection.over_cells_in_all),
}
NASBENCH_FIGURES: dict[str, Entry[Drawing | None]] = {
    "samples-to-target": Entry(nasbench.samples_to_target, selection.over_cells),
    "best-so-far": Entry(nasbench.best_so_far, selection.over_cells),
    "one-shot": Entry(nasbench.one_shot, selection.over_cells),
    "posterior-training": Entry(nasbench.posterior_training, selection.over_cells),
    "posterior-mass": Entry(nasbench.posterior_mass, selection.over_cells),
    "cost": Entry(nasbench.cost, selection.over_cells),
}
FIGURES = MAIN_FIGURES | NASBENCH_FIGURES


def find_table(name: str) -> Entry[Table]:
    """A table by its name, ``table3`` or just ``3``.

    Raises:
        PdnasError: there is no such table.
    """
    full = f"table{name}" if name.isdigit() else name
    if full not in TABLES:
        raise PdnasError(f"no table {name!r}; choose one of {', '.join(TABLES)}")
    return TABLES[full]


def table(name: str, collection: Collection) -> Table:
    """Make a table by its name; see :func:`find_table`."""
    return find_table(name).make(collection)


def find_figure(name: str) -> Entry[Drawing | None]:
    """A figure by its name.

    Raises:
        PdnasError: there is no such figure.
    """
    if name not in FIGURES:
        raise PdnasError(f"no figure {name!r}; choose one of {', '.join(FIGURES)}")
    return FIGURES[name]


def draw(name: str, collection: Collection, folder: Path) -> list[Path]:
    """Write a figure as ``folder/NAME.pdf``, ``.png`` and, its data, ``.csv``; returns the paths.

    Raises:
        PdnasError: there is no such figure.
    """
    entry = find_figure(name)
    with style.style():
        drawing = entry.make(collection) or figures.not_run(name, collection.name)
        paths = style.save(drawing.figure, folder, name)
    return [*paths, style.save_data(drawing.data, folder, name)]
