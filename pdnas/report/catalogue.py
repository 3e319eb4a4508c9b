"""What makes every table and figure, by its name; a figure is None where its data were not run.

The same names stand in :mod:`pdnas.spec.products`, with the studies that each needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pdnas.report import style
from pdnas.report.collect import Collection
from pdnas.report.formats import Table
from pdnas.report.paper import architecture, candidates, comparison, gates, published, settings
from pdnas.report.style import Drawing
from pdnas.report.truth import choice, posterior, samples
from pdnas.report.truth import tables as truth
from pdnas.spec import products
from pdnas.spec.products import Kind, Product
from pdnas.support.errors import PdnasError

TABLES: dict[str, Callable[[Collection], Table]] = {
    "table1": published.table1,
    "table2": published.table2,
    "table3": comparison.table3,
    "table4": settings.table4,
    "table5": settings.table5,
    "table6": candidates.table6,
    "table7": gates.table7,
    "table8": published.table8,
    "table9": published.table9,
    "ablations": settings.ablations,
    "extraction": gates.extraction,
    "efficiency": truth.sample_efficiency,
    "nasbench": truth.nasbench,
    "rivals": truth.rivals,
}

FIGURES: dict[str, Callable[[Collection], Drawing | None]] = {
    "figure1": candidates.figure1,
    "figure2": architecture.figure2,
    "mismatch": comparison.mismatch,
    "pareto": candidates.pareto,
    "candidates": candidates.candidates,
    "error-cost": comparison.error_cost,
    "trajectories": gates.trajectories,
    "kept-share": gates.kept_share,
    "posterior-cells": posterior.posterior_cells,
    "efficiency": samples.samples_to_reach,
    "best-of-n": samples.best_of_n,
    "samples-to-target": samples.samples_to_target,
    "best-so-far": samples.best_so_far,
    "one-shot": choice.one_shot,
    "posterior-training": posterior.posterior_training,
    "posterior-mass": posterior.posterior_mass,
    "cost": choice.cost,
}


def find_table(name: str) -> Product:
    """A table by its name: ``table3`` or just ``3``, or as Snakemake's target has it.

    Raises:
        PdnasError: there is no such table.
    """
    return _find("table", name, products.TABLES)


def _find(kind: Kind, name: str, known: Mapping[str, Product]) -> Product:
    """A product by its name, its number or its Snakemake target."""
    wanted = f"{kind}{name}" if name.isdigit() else name.lower()
    for product in known.values():
        if wanted in (product.name, product.rule, product.rule.removeprefix(f"{kind}_")):
            return product
    raise PdnasError(f"no {kind} {name!r}; choose one of {', '.join(known)}")


def table(name: str, collection: Collection) -> Table:
    """Make a table by its name; see :func:`find_table`."""
    return TABLES[find_table(name).name](collection)


def find_figure(name: str) -> Product:
    """A figure by its name, number or target, as :func:`find_table` has it.

    Raises:
        PdnasError: there is no such figure.
    """
    return _find("figure", name, products.FIGURES)


def draw(name: str, collection: Collection, folder: Path) -> list[Path]:
    """Write a figure as ``folder/NAME.pdf``, ``.png`` and, its data, ``.csv``; returns the paths.

    Raises:
        PdnasError: there is no such figure.
    """
    make = FIGURES[find_figure(name).name]
    with style.style():
        drawing = make(collection) or style.not_run(name, collection.name)
        return style.write(drawing, folder, name, f"scale {collection.name}")
