"""One look for all figures: sizes for print, colours that survive colour blindness and greyscale.

The colours are Okabe and Ito's. Guided is dark and random is light, and every line also has a dash
pattern or a marker of its own, so no meaning rests on hue alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdnas.support.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

GUIDED_COLOUR = "#0072B2"
RANDOM_COLOUR = "#E69F00"
REFERENCE_COLOUR = "#333333"

WIDTH = 7.2
"""Width of a figure in inches: a text column of two."""

_SETTINGS: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#333333",
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.dpi": 100,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,  # TrueType, so that text in the PDF stays text
    "savefig.dpi": 200,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the suite's style; settings outside stay as they were."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()  # a user's matplotlibrc must not change the suite's figures
        mpl.rcParams.update(_SETTINGS)
        yield


def panels(
    rows: int = 1, columns: int = 1, *, height: float = 2.6, width: float = WIDTH, **shared: Any
) -> tuple[Figure, NDArray[Any]]:
    """A figure of ``rows`` x ``columns`` axes; ``height`` inches a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def sequence(count: int) -> list[tuple[float, ...]]:
    """Colours of ordered things, dark to light; the palest end is left out for white paper."""
    import numpy as np
    from matplotlib import colormaps

    return [tuple(colormaps["viridis"](x)) for x in np.linspace(0, 0.85, count)]


def title(axes: Axes, text: str) -> None:
    """A panel's title, flush left."""
    axes.set_title(text, pad=6)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``folder/name.pdf`` (vector) and ``.png`` (200 dpi), undated; returns the paths."""
    paths = []
    for extension, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        path = folder / f"{name}.{extension}"
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=extension, metadata=metadata)
        paths.append(path)
    return paths


def save_data(data: pd.DataFrame, folder: Path, name: str) -> Path:
    """Write the data in a figure as ``folder/name.csv``; returns the path."""
    path = folder / f"{name}.csv"
    with atomic_path(path) as temporary:
        data.to_csv(temporary, index=False, float_format="%.8g", lineterminator="\n")
    return path
