"""What tables have in common: columns, their cells, and rows that join reported and measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pdnas.report.collect import Collection
from pdnas.report.formats import NOT_RUN, OURS, PAPER, Cell, Column
from pdnas.report.measures import estimate, measured, total_minutes
from pdnas.spec import selection
from pdnas.spec.names import RetrainMode, Role

if TYPE_CHECKING:
    import pandas as pd

ERROR = Column("ours_test_error_pct", "test error [%]", OURS, estimate=True)
PARAMETERS = Column("ours_params_m", "parameters [M]", OURS, decimals=3, estimate=True)
MINUTES = Column("ours_minutes", "time [min]", OURS, decimals=1, estimate=True)
SEEDS = Column("ours_seeds", "seeds", OURS)
STUDY = Column("ours_study", "study", OURS, is_text=True)
CHOSEN = (STUDY, ERROR, PARAMETERS, MINUTES, SEEDS)
"""What is measured of a chosen candidate; its cells are those of :func:`chosen`."""

PAPER_ERROR = Column("paper_test_error_pct", "test error [%]", PAPER)
PAPER_PARAMETERS = Column("paper_params_m", "parameters [M]", PAPER, decimals=1)


def words(key: str, heading: str | None = None) -> Column:
    """A column of text, which says what a row is about."""
    return Column(key, heading or key, is_text=True)


def error_size_time(rows: pd.DataFrame) -> tuple[Cell, Cell, Cell, Cell]:
    """Cells of the columns ERROR, PARAMETERS, MINUTES, SEEDS."""
    if rows.empty:
        return (NOT_RUN,) * 4
    return (
        estimate(rows["test_error"]),
        estimate(rows["parameters"] / 1e6),
        estimate(total_minutes(rows)),
        len(rows),
    )


def chosen(
    collection: Collection, studies: Iterable[str], role: Role, mode: RetrainMode = "none"
) -> list[Sequence[Cell]]:
    """Cells of CHOSEN for the variant that plays a role, of each study that measured it."""
    found = {
        study: measured(collection, study, getattr(collection.roles[study], role), mode)
        for study in studies
    }
    return [(study, *error_size_time(rows)) for study, rows in found.items() if not rows.empty]


def swept(
    collection: Collection, field: str, mode: RetrainMode = "none"
) -> Iterator[tuple[str, Any, Sequence[Cell]]]:
    """Of variants that differ in ``field`` and were measured: study, value, cells of CHOSEN."""
    for study in selection.on_cifar10(collection.scale):
        for variant, value in selection.sweep(collection.scale, study, field).items():
            rows = measured(collection, study, variant, mode)
            if not rows.empty:
                yield study, value, (study, *error_size_time(rows))


def join(
    columns: Sequence[Column],
    reported: Mapping[Any, Sequence[Cell]],
    ours: Mapping[Any, Sequence[Sequence[Cell]]],
    keys: Iterable[Any],
) -> tuple[tuple[Cell, ...], ...]:
    """Rows key + the paper's cells + our study and its cells; several studies give several rows."""
    gaps = (None,) * sum(column.group == PAPER for column in columns)
    not_run = (None, *(NOT_RUN,) * (sum(column.group == OURS for column in columns) - 1))
    return tuple(
        (*(key if isinstance(key, tuple) else (key,)), *reported.get(key, gaps), *right)
        for key in keys
        for right in ours.get(key) or [not_run]
    )
