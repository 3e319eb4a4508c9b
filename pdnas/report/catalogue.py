"""What makes every table and figure, by its name; a figure is None where its data were not run.

The same names stand in :mod:`pdnas.spec.products`, with the studies that each needs. A module is
imported when it is asked for: some need torch, which takes longer than making most tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name

from pdnas.report import style
from pdnas.report.collect import Collection
from pdnas.report.formats import NO_DATA, NOT_RUN, Table
from pdnas.report.style import Drawing
from pdnas.spec import products
from pdnas.spec.products import Kind, Product
from pdnas.spec.selection import without_truth
from pdnas.support.errors import PdnasError

REPORT = "pdnas.report"
"""The package of the modules below."""

TABLES = {
    "table1": "paper.published:table1",
    "table2": "paper.published:table2",
    "table3": "paper.comparison:table3",
    "table4": "paper.settings:table4",
    "table5": "paper.settings:table5",
    "table6": "paper.candidates:table6",
    "table7": "paper.gates:table7",
    "table8": "paper.published:table8",
    "table9": "paper.published:table9",
    "ablations": "paper.settings:ablations",
    "extraction": "paper.gates:extraction",
    "efficiency": "truth.tables:sample_efficiency",
    "nasbench": "truth.tables:nasbench",
    "rivals": "truth.tables:rivals",
    "truths": "truth.sizes:truths",
    "macro": "truth.macro:macro",
}

FIGURES = {
    "figure1": "paper.candidates:figure1",
    "figure2": "paper.architecture:figure2",
    "mismatch": "paper.comparison:mismatch",
    "pareto": "paper.candidates:pareto",
    "candidates": "paper.candidates:candidates",
    "error-cost": "paper.comparison:error_cost",
    "trajectories": "paper.gates:trajectories",
    "kept-share": "paper.gates:kept_share",
    "posterior-cells": "truth.posterior:posterior_cells",
    "efficiency": "truth.samples:samples_to_reach",
    "best-of-n": "truth.samples:best_of_n",
    "samples-to-target": "truth.samples:samples_to_target",
    "best-so-far": "truth.samples:best_so_far",
    "one-shot": "truth.choice:one_shot",
    "posterior-training": "truth.posterior:posterior_training",
    "posterior-mass": "truth.posterior:posterior_mass",
    "cost": "truth.choice:cost",
    "size-widths": "truth.sizes:size_widths",
    "size-samples": "truth.sizes:size_samples",
    "macro-samples": "truth.macro:macro_samples",
    "macro-blocks": "truth.macro:macro_blocks",
    "truth-noise": "truth.quality:truth_noise",
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
    """Make a table by its name; see :func:`find_table`.

    It says why studies are not in it; in each cell, if there were no images of any that it lacks.
    """
    product = find_table(name)
    make: Callable[[Collection], Table] = resolve_name(f"{REPORT}.{TABLES[product.name]}")
    made, run = make(collection), {run.study for run in collection.runs}
    lacking = set(product.studies(collection.scale)) - run
    if lacking and not lacking - set(collection.left_out):
        cells = (tuple(NO_DATA if cell == NOT_RUN else cell for cell in row) for row in made.rows)
        made = replace(made, rows=tuple(cells))
    why = [f"Not run: {'; '.join(found)}."] if (found := reasons(product, collection)) else []
    return replace(made, notes=(*made.notes, *why))


def reasons(product: Product, collection: Collection) -> list[str]:
    """Why parts of a table or figure were not run, as far as that is known."""
    scale, run = collection.scale, {run.study for run in collection.runs}
    if product.of_no_study:
        return []
    if not (studies := product.studies(scale)):
        return ["the scale has no study that it is made from"]
    found = []
    for study in studies:
        if study in collection.left_out:
            found.append(collection.left_out[study])
        elif study not in run:
            found.append(f"study {study} has no run yet")
        elif product.of_cells and study in without_truth(scale):
            found.append(f"study {study} was searched on other images than NAS-Bench-201 knows")
    return list(dict.fromkeys(found))


def find_figure(name: str) -> Product:
    """A figure by its name, number or target, as :func:`find_table` has it.

    Raises:
        PdnasError: there is no such figure.
    """
    return _find("figure", name, products.FIGURES)


def figure(name: str, collection: Collection) -> Drawing | None:
    """Make a figure by its name; None where its data were not run."""
    make: Callable[[Collection], Drawing | None] = resolve_name(
        f"{REPORT}.{FIGURES[find_figure(name).name]}"
    )
    return make(collection)


def draw(name: str, collection: Collection, folder: Path) -> list[Path]:
    """Write a figure as ``folder/NAME.pdf``, ``.png`` and, its data, ``.csv``; returns the paths.

    Raises:
        PdnasError: there is no such figure.
    """
    with style.style():
        drawing = figure(name, collection)
        if drawing is None:
            why = reasons(find_figure(name), collection)
            drawing = style.not_run(name, collection.name, "; ".join(why))
        return style.write(drawing, folder, name, f"scale {collection.name}")
