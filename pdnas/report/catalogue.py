"""Every table and figure by its name, in the order in which people read them.

Snakemake has a target for each: those of the study of NAS-Bench-201 are made by ``nasbench``, the
others by ``all``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pdnas.errors import PdnasError
from pdnas.report import figures, nasbench, style, tables
from pdnas.report.collect import Collection
from pdnas.report.figures import Drawing
from pdnas.report.formats import Table

MAIN_TABLES: dict[str, Callable[[Collection], Table]] = {
    "table1": tables.table1,
    "table2": tables.table2,
    "table3": tables.table3,
    "table4": tables.table4,
    "table5": tables.table5,
    "table6": tables.table6,
    "table7": tables.table7,
    "table8": tables.table8,
    "table9": tables.table9,
    "ablations": tables.ablations,
    "extraction": tables.extraction,
    "efficiency": tables.efficiency,
}
NASBENCH_TABLES: dict[str, Callable[[Collection], Table]] = {
    "nasbench": nasbench.nasbench,
    "rivals": nasbench.rivals,
}
TABLES = MAIN_TABLES | NASBENCH_TABLES

# A figure is None where its data were not run.
MAIN_FIGURES: dict[str, Callable[[Collection], Drawing | None]] = {
    "figure1": figures.figure1,
    "figure2": figures.figure2,
    "mismatch": figures.mismatch,
    "pareto": figures.pareto,
    "candidates": figures.candidates,
    "error-cost": figures.error_cost,
    "trajectories": figures.trajectories,
    "kept-share": figures.kept_share,
    "posterior-cells": figures.posterior_cells,
    "efficiency": figures.efficiency,
    "best-of-n": figures.best_of_n,
}
NASBENCH_FIGURES: dict[str, Callable[[Collection], Drawing | None]] = {
    "samples-to-target": nasbench.samples_to_target,
    "best-so-far": nasbench.best_so_far,
    "one-shot": nasbench.one_shot,
    "posterior-training": nasbench.posterior_training,
    "posterior-mass": nasbench.posterior_mass,
    "cost": nasbench.cost,
}
FIGURES = MAIN_FIGURES | NASBENCH_FIGURES


def table(name: str, collection: Collection) -> Table:
    """Make a table by its name, ``table3`` or just ``3``.

    Raises:
        PdnasError: there is no such table.
    """
    full = f"table{name}" if name.isdigit() else name
    if full not in TABLES:
        raise PdnasError(f"no table {name!r}; choose one of {', '.join(TABLES)}")
    return TABLES[full](collection)


def draw(name: str, collection: Collection, folder: Path) -> list[Path]:
    """Write a figure as ``folder/NAME.pdf``, ``.png`` and, its data, ``.csv``; returns the paths.

    Raises:
        PdnasError: there is no such figure.
    """
    if name not in FIGURES:
        raise PdnasError(f"no figure {name!r}; choose one of {', '.join(FIGURES)}")
    with style.style():
        drawing = FIGURES[name](collection) or figures.not_run(name, collection.name)
        paths = style.save(drawing.figure, folder, name)
    return [*paths, style.save_data(drawing.data, folder, name)]
