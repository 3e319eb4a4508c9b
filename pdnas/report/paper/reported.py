"""The numbers that the paper, or the literature, reports: ``reported/*.csv``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from pdnas.report.formats import Cell

if TYPE_CHECKING:
    import pandas as pd


def paper(name: str) -> pd.DataFrame:
    """A table of reported numbers, from ``reported/NAME.csv``."""
    import pandas as pd

    folder = resources.files("pdnas.report.paper") / "reported"
    with folder.joinpath(f"{name}.csv").open("rb") as file:
        return pd.read_csv(file)


def reported(
    name: str, key: Callable[[dict[str, Any]], Any], columns: Sequence[str]
) -> dict[Any, list[Cell]]:
    """The cells of ``columns`` by the ``key`` of each row."""
    rows = [{str(k): v for k, v in row.items()} for row in paper(name).to_dict("records")]
    return {key(row): [_cell(row[column]) for column in columns] for row in rows}


def _cell(value: Any) -> Cell:
    """A number of the paper; a gap in its table is None."""
    if isinstance(value, str):
        return value
    return None if value is None or np.isnan(value) else float(value)
