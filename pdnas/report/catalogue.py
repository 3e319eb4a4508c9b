"""What makes every table and figure, by its name; a figure is None where its data were not run.

The same names stand in :mod:`pdnas.spec.products`, with the studies that each needs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pdnas.report import figures, nasbench, style, tables
from pdnas.report.collect import Collection
from pdnas.report.figures import Drawing
from pdnas.report.formats import Table
from pdnas.spec import products
from pdnas.spec.products import Product
from pdnas.support.errors import PdnasError

TABLES: dict[str, Callable[[Collection], Table]] = {
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
    "efficiency": tables.sample_efficiency,
    "nasbench": nasbench.nasbench,
    "rivals": nasbench.rivals,
}

FIGURES: dict[str, Callable[[Collection], Drawing | None]] = {
    "figure1": figures.figure1,
    "figure2": figures.figure2,
    "mismatch": figures.mismatch,
    "pareto": figures.pareto,
    "candidates": figures.candidates,
    "error-cost": figures.error_cost,
    "trajectories": figures.trajectories,
    "kept-share": figures.kept_share,
    "posterior-cells": figures.posterior_cells,
    "efficiency": figures.samples_to_reach,
    "best-of-n": figures.best_of_n,
    "samples-to-target": nasbench.samples_to_target,
    "best-so-far": nasbench.best_so_far,
    "one-shot": nasbench.one_shot,
    "posterior-training": nasbench.posterior_training,
    "posterior-mass": nasbench.posterior_mass,
    "cost": nasbench.cost,
}


def find_table(name: str) -> Product:
    """A table by its name, ``table3`` or just ``3``.

    Raises:
        PdnasError: there is no such table.
    """
    full = f"table{name}" if name.isdigit() else name
    if full not in TABLES:
        raise PdnasError(f"no table {name!r}; choose one of {', '.join(TABLES)}")
    return products.TABLES[full]


def table(name: str, collection: Collection) -> Table:
    """Make a table by its name; see :func:`find_table`."""
    return TABLES[find_table(name).name](collection)


def find_figure(name: str) -> Product:
    """A figure by its name.

    Raises:
        PdnasError: there is no such figure.
    """
    if name not in FIGURES:
        raise PdnasError(f"no figure {name!r}; choose one of {', '.join(FIGURES)}")
    return products.FIGURES[name]


def draw(name: str, collection: Collection, folder: Path) -> list[Path]:
    """Write a figure as ``folder/NAME.pdf``, ``.png`` and, its data, ``.csv``; returns the paths.

    Raises:
        PdnasError: there is no such figure.
    """
    make = FIGURES[find_figure(name).name]
    with style.style():
        drawing = make(collection) or figures.not_run(name, collection.name)
        paths = style.save(drawing.figure, folder, name)
    return [*paths, style.save_data(drawing.data, folder, name)]
