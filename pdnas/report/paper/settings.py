"""Tables 4 and 5 and the ablations: variants that differ from the guided one in one setting."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from pdnas.report.collect import Collection
from pdnas.report.columns import (
    CHOSEN,
    ERROR,
    MINUTES,
    PAPER_ERROR,
    PAPER_PARAMETERS,
    PARAMETERS,
    SEEDS,
    error_size_time,
    join,
    swept,
    words,
)
from pdnas.report.formats import OURS, Cell, Column, Table
from pdnas.report.measures import estimate, measured
from pdnas.report.notes import MEAN_NOTE, conditions
from pdnas.report.paper.reported import reported
from pdnas.spec import selection
from pdnas.spec.names import RetrainMode


def table4(collection: Collection) -> Table:
    """Weight of the prior."""
    published = reported(
        "table4_weight_prior", lambda row: float(row["l2"]), ("test_error_pct", "params_m")
    )
    ours: dict[float, list[Sequence[Cell]]] = {}
    for _, value, cells in swept(collection, "gates.length_scale2"):
        ours.setdefault(float(value), []).append(cells)
    columns = (
        Column("length_scale2", "l²", decimals=None),
        PAPER_ERROR,
        PAPER_PARAMETERS,
        *CHOSEN,
    )
    return Table(
        "table4",
        "Table 4 of the paper: the prior's length scale sets error and size",
        columns,
        join(columns, published, ours, sorted({*published, *ours})),
        (
            "The paper's caption says SupNet-EI; its numbers at l² = 150 are SupNet-MI's "
            "(Tables 1 and 3).",
            "One l² means the same only for the same supernet and N: its term is l²/(2N) times the "
            "kept weights' squared norm. Compare trends across the two column groups, not rows.",
            MEAN_NOTE,
            *conditions(collection, selection.on_cifar10(collection.scale)),
        ),
    )


def table5(collection: Collection) -> Table:
    """Temperature of the relaxation."""
    published = reported(
        "table5_temperature",
        lambda row: (
            row["supernet"],
            str(Fraction(row["tau"])),
            "yes" if row["finetuned"] else "no",
        ),
        ("test_error_pct",),
    )
    ours: dict[tuple[str, str, str], list[Sequence[Cell]]] = {}
    studies = selection.on_cifar10(collection.scale)
    modes: dict[RetrainMode, str] = {"none": "no", "finetune": "yes"}
    for mode, finetuned in modes.items():
        for study, value, cells in swept(collection, "gates.temperature", mode):
            shown = str(Fraction(value).limit_denominator(100))
            ours.setdefault((studies[study], shown, finetuned), []).append(cells)
    columns = (
        words("supernet", "SupNet"),
        words("temperature", "τ"),
        words("finetuned", "fine-tuned"),
        PAPER_ERROR,
        *CHOSEN,
    )
    keys = sorted({*published, *ours}, key=lambda key: (key[0], key[2], -Fraction(key[1])))
    return Table(
        "table5",
        "Table 5 of the paper: temperature of the relaxation",
        columns,
        join(columns, published, ours, keys),
        (MEAN_NOTE, *conditions(collection, studies)),
    )


def ablations(collection: Collection) -> Table:
    """Every variant that differs from the guided one in one setting."""
    rows: list[tuple[Cell, ...]] = []
    for study in selection.ablated(collection.scale):
        fields = (field for field, _ in selection.ablations(collection.scale, study).values())
        for field in dict.fromkeys(fields):
            for variant, value in selection.sweep(collection.scale, study, field).items():
                found = measured(collection, study, variant, "none")
                validation = estimate(found["validation_error"])
                error, *others = error_size_time(found)
                shown = f"{value:g}" if isinstance(value, float) else str(value)
                rows.append((study, field, shown, variant, error, validation, *others))
    return Table(
        "ablations",
        "Ablations: variants that differ from guided in one setting",
        (
            *(words(key) for key in ("study", "setting", "value", "variant")),
            ERROR,
            Column("ours_validation_error_pct", "validation error [%]", OURS, estimate=True),
            PARAMETERS,
            MINUTES,
            SEEDS,
        ),
        tuple(rows),
        (MEAN_NOTE, *conditions(collection, dict.fromkeys(str(row[0]) for row in rows))),
    )
