"""One look for all figures: sizes for print, colours that survive colour blindness and greyscale.

The colours are Okabe and Ito's. Guided is dark and random is light, and every line also has a dash
pattern or a marker of its own, so no meaning rests on hue alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdnas.support.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Drawing:
    """A figure and the data in it, tidy, one row a mark."""

    figure: Figure
    data: pd.DataFrame


GUIDED_COLOUR = "#0072B2"
RANDOM_COLOUR = "#E69F00"
REFERENCE_COLOUR = "#333333"

MARKERS = "osD^vPX*"

MOST_PANELS = 4
"""No more panels than this side by side: a fifth would be too narrow to read in print."""

OPERATION_NAMES = {
    "none": "none",
    "skip_connect": "skip",
    "nor_conv_1x1": "1x1 conv",
    "nor_conv_3x3": "3x3 conv",
    "avg_pool_3x3": "3x3 pool",
}

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


def by_study(axes: Any, data: pd.DataFrame) -> Iterator[tuple[Any, str, pd.DataFrame]]:
    """Each of ``axes`` with a study and its rows of ``data``."""
    for axis, (study, own) in zip(axes, data.groupby("study", sort=False), strict=True):
        yield axis, str(study), own


def sequence(count: int) -> list[tuple[float, ...]]:
    """Colours of ordered things, dark to light; the palest end is left out for white paper."""
    import numpy as np
    from matplotlib import colormaps

    return [tuple(colormaps["viridis"](x)) for x in np.linspace(0, 0.85, count)]


def title(axes: Axes, text: str) -> None:
    """A panel's title, flush left."""
    axes.set_title(text, pad=6)


def lengths(estimate: Any, low: Any, high: Any) -> list[Any]:
    """Lengths of error bars downwards and upwards."""
    return [estimate - low, high - estimate]


def cross(axes: Axes, x: Sequence[float], y: Sequence[float], **look: Any) -> None:
    """A mark with error bars; ``x`` and ``y`` are estimate, low and high, or an estimate alone."""
    bars: Any = {
        name: [[each] for each in lengths(*interval)]
        for name, interval in (("xerr", x), ("yerr", y))
        if len(interval) == 3
    }
    plain: Any = {"markersize": 7, "linestyle": "none", "linewidth": 1, "capsize": 2}
    axes.errorbar(x[0], y[0], **bars, **plain, **look)


def line(axes: Axes, x: Any, curve: Sequence[Any], alpha: float = 0.2, **look: Any) -> None:
    """A line and the band around it; ``curve`` is estimates, lows and highs."""
    estimates, lows, highs = curve
    axes.plot(x, estimates, **look)
    axes.fill_between(x, lows, highs, color=look["color"], alpha=alpha, linewidth=0)


def uniform(axes: Axes, x: Any, y: Any, **look: Any) -> None:
    """The line of uniform sampling."""
    axes.plot(x, y, color=RANDOM_COLOUR, linestyle="--", label="uniform sampling", **look)


def best_line(axes: Axes, best: float) -> None:
    """The true accuracy (percent) that no cell passes."""
    axes.axhline(
        best,
        color=REFERENCE_COLOUR,
        linestyle=":",
        linewidth=1.2,
        label=f"best of all cells ({best:.2f} %)",
    )


def log_x(axes: Axes) -> None:
    """A logarithmic axis with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")


def spread(most: int) -> list[int]:
    """Some forty whole numbers from 1 to ``most``, in about equal ratios."""
    import numpy as np

    return [int(n) for n in np.unique(np.geomspace(1, most, 40).round().astype(int))]


def legend_above(figure: Figure) -> None:
    """One legend over all panels, each label once."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside upper center",
        ncols=2 if len(entries) == 4 else len(entries),
        handlelength=3,
    )


def numbered(figure: Figure, colours: Sequence[Any], count: int, **place: Any) -> Any:
    """A bar of colours numbered from 1."""
    import numpy as np
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    norm = BoundaryNorm(np.arange(count + 1) + 0.5, count)
    bar = figure.colorbar(ScalarMappable(norm, ListedColormap(colours)), pad=0.01, **place)
    bar.ax.minorticks_off()
    return bar


def not_run(name: str, scale: str) -> Drawing:
    """What stands in the place of a figure whose data are missing."""
    import pandas as pd

    figure, axes = panels(height=1.2)
    message = f"{name}: not run at this scale ({scale})"
    axes[0, 0].text(0.5, 0.5, message, ha="center", va="center", color=REFERENCE_COLOUR)
    return Drawing(figure, pd.DataFrame({"status": ["not run"]}))


def write(drawing: Drawing, folder: Path, name: str) -> list[Path]:
    """Write a figure and its data as ``folder/name.pdf``, ``.png`` and ``.csv``; the paths."""
    for axes in drawing.figure.axes:
        if not axes.has_data():  # a panel that nobody needed
            axes.set_axis_off()
    paths = save(drawing.figure, folder, name)
    return [*paths, save_data(drawing.data, folder, name)]


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
