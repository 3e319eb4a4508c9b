"""Tables 1, 2, 8 and 9: our searches beside published ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pdnas.report.collect import Collection
from pdnas.report.columns import (
    CHOSEN,
    MINUTES,
    PAPER_ERROR,
    PAPER_PARAMETERS,
    PARAMETERS,
    SEEDS,
    STUDY,
    error_size_time,
    join,
    words,
)
from pdnas.report.formats import OURS, PAPER, Cell, Column, Table
from pdnas.report.measures import estimate, measured
from pdnas.report.notes import MEAN_NOTE, conditions
from pdnas.report.paper.reported import paper, reported
from pdnas.spec import selection
from pdnas.spec.names import Role
from pdnas.spec.roles import source_of


def table1(collection: Collection) -> Table:
    """CIFAR-10 against published searches."""

    def addition(count: int) -> str:
        return f" ({count} candidates)"

    return _small_images(collection, 1, "cifar10", "CIFAR-10", "candidates.count", addition)


def table2(collection: Collection) -> Table:
    """CIFAR-100 against published searches, and the constant L2 term."""

    def addition(prior: str) -> str:
        return " + constant L2 term" if prior == "constant" else ""

    return _small_images(collection, 2, "cifar100", "CIFAR-100", "gates.prior", addition)


def _small_images(
    collection: Collection,
    number: int,
    data: str,
    title: str,
    field: str,
    addition: Callable[[Any], str],
) -> Table:
    """Published searches, then ours on the same data set, with what differs in ``field``."""
    studies = selection.stand_ins(collection.scale, (data,))
    ours: dict[str, list[Sequence[Cell]]] = {}
    for study, supernet in studies.items():
        for variant, value in selection.sweep(collection.scale, study, field).items():
            cells = (study, *error_size_time(measured(collection, study, variant, "none")))
            ours.setdefault(f"PGNAS-{supernet}{addition(value)}", []).append(cells)

    def plain(method: str) -> str:
        return method.replace("*", "")  # the paper marks its second PGNAS-MI with a star

    name = f"table{number}_{data}"
    published = reported(
        name, lambda row: plain(row["method"]), ("test_error_pct", "gpu_days", "params_m")
    )
    printed: dict[Cell, tuple[Cell, ...]] = {
        plain(method): (method, search)
        for method, search in paper(name)[["method", "search_method"]].to_numpy().tolist()
    }
    columns = (
        words("method"),
        words("search_method", "search"),
        PAPER_ERROR,
        Column("paper_gpu_days", "GPU days", PAPER, decimals=None),
        PAPER_PARAMETERS,
        *CHOSEN,
    )
    rows = join(columns, published, ours, dict.fromkeys([*published, *ours]))
    return Table(
        f"table{number}",
        f"Table {number} of the paper: {title}, our searches beside published ones",
        columns,
        tuple((*printed.get(row[0], (row[0], "guided sampling")), *row[1:]) for row in rows),
        (MEAN_NOTE, *conditions(collection, studies)),
    )


IMAGENET = (
    STUDY,
    Column("ours_top1_error_pct", "top-1 error [%]", OURS, estimate=True),
    Column("ours_top5_error_pct", "top-5 error [%]", OURS, estimate=True),
    PARAMETERS,
    MINUTES,
    SEEDS,
)


def table8(collection: Collection) -> Table:
    """ImageNet against published searches."""
    published = reported(
        "table8_imagenet",
        lambda row: (row["method"], row["search_method"]),
        ("top1_error_pct", "top5_error_pct", "gpu_days", "params_m"),
    )
    studies = selection.stand_ins(collection.scale, supernet="D-121")
    ours = {
        key: _imagenet_cells(collection, studies, "guided")
        for key in published
        if key[0] == "PGNAS-D-121"
    }
    columns = (
        words("method"),
        words("search_method", "search"),
        Column("paper_top1_error_pct", "top-1 error [%]", PAPER, decimals=1),
        Column("paper_top5_error_pct", "top-5 error [%]", PAPER, decimals=1),
        Column("paper_gpu_days", "GPU days", PAPER, decimals=None),
        PAPER_PARAMETERS,
        *IMAGENET,
    )
    return Table(
        "table8",
        "Table 8 of the paper: ImageNet, mobile-sized architectures",
        columns,
        join(columns, published, ours, published),
        (MEAN_NOTE, *conditions(collection, studies)),
    )


TABLE9_ROLES: dict[str, Role] = {
    "ResNet-50": "plain",
    "Inflated ResNet-50": "full",
    "PGNAS-R-50": "guided",
}
"""What part of a study each of Table 9's models is."""


def table9(collection: Collection) -> Table:
    """ImageNet, ResNet-50, inflated and searched."""
    published = reported(
        "table9_imagenet_resnet50", lambda row: row["model"], ("top1_error_pct", "params_m")
    )
    studies = selection.stand_ins(collection.scale, supernet="R-50")
    ours = {model: _imagenet_cells(collection, studies, TABLE9_ROLES[model]) for model in published}
    columns = (
        words("model"),
        Column("paper_top1_error_pct", "top-1 error [%]", PAPER),
        PAPER_PARAMETERS,
        *IMAGENET,
    )
    return Table(
        "table9",
        "Table 9 of the paper: ImageNet, ResNet-50, inflated and searched",
        columns,
        join(columns, published, ours, published),
        (MEAN_NOTE, *conditions(collection, studies)),
    )


def _imagenet_cells(
    collection: Collection, studies: Iterable[str], role: Role
) -> list[Sequence[Cell]]:
    """Cells of IMAGENET, for each study."""
    found: list[Sequence[Cell]] = []
    for study in studies:
        variant = getattr(collection.roles[study], role)
        rows = measured(collection, study, variant, "none")
        if not rows.empty:
            results = [
                run.results.get((source_of(run.spec), "none"))
                for run in collection.find(study, variant)
            ]
            top5 = estimate(100 * (1 - each["test_top5_accuracy"]) for each in results if each)
            error, *others = error_size_time(rows)
            found.append((study, error, top5, *others))
    return found
