"""Accuracies as tables keep them: how many of a test set's images were answered rightly.

An image's answer is right or wrong, so these ``int16`` are small and exact; -1 is a training that
nobody knows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = -1


def right_answers(percent: ArrayLike, images: int, path: Path) -> NDArray[np.int16]:
    """How many of a test set's images were answered rightly, from accuracies in percent.

    Args:
        percent: any shape; NaN becomes :data:`UNKNOWN`.
        images: size of the test set.
        path: whose numbers they are, for the error's text.

    Raises:
        PdnasError: a value is no number between 0 and 100, or no whole number of images.
    """
    try:
        values = np.asarray(percent, dtype=np.float64) * images / 100
    except (TypeError, ValueError) as error:
        raise PdnasError(f"{path} has an accuracy that is no number; fetch it again") from error
    known = np.where(np.isnan(values), 0, values)
    if not ((known >= 0) & (known <= images)).all():
        raise PdnasError(f"{path} has an accuracy outside 0 to 100 %; fetch it again")
    counts = known.round()
    if (np.abs(known - counts) > 0.01).any():
        raise PdnasError(f"{path} has an accuracy that is none of {images} images; fetch it again")
    return np.where(np.isnan(values), UNKNOWN, counts).astype(np.int16)


def fractions(right: NDArray[np.integer], images: int) -> NDArray[np.float64]:
    """Accuracies of :func:`right_answers`, NaN where unknown, rounded to 1e-8."""
    values = np.where(right == UNKNOWN, np.nan, right / images)
    return np.asarray(values.round(8), dtype=np.float64)


def read_csv(path: Path, columns: tuple[str, ...], rows: int) -> pd.DataFrame:
    """A public CSV table with these columns and so many rows.

    Raises:
        PdnasError: it is none.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise PdnasError(f"{path} is not a readable CSV table; fetch it again") from error
    for column in columns:
        if column not in table:
            raise PdnasError(f"{path} lacks the column {column}; fetch it again")
    if len(table) != rows:
        raise PdnasError(f"{path} has {len(table)} rows instead of {rows}; fetch it again")
    return table
