"""One look for all figures: sizes for print, colours that survive colour blindness and greyscale.

The colours are Okabe and Ito's. Guided is dark and random is light, and every line also has a dash
pattern or a marker of its own, so no meaning rests on hue alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdnas.runs import kept
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

OTHERS = (
    *("#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#882255", "#808000"),
    *("#5E3C99", "#8C564B", "#00CED1", "#A6D854", "#FF6F91", "#999999"),
)
"""Colours of whatever is neither guided nor random, in no order."""

DASHES: tuple[Any, ...] = ("--", "-.", (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (7, 2)))
"""Patterns of lines that are not solid; dots are the best of all cells'."""

MARKERS = "osD^vPX*"

MOST_PANELS = 4
"""No more panels than this side by side: a fifth would be too narrow to read in print."""

OPTION_NAMES = {
    "none": "none",
    "skip_connect": "skip",
    "nor_conv_1x1": "1x1 conv",
    "nor_conv_3x3": "3x3 conv",
    "avg_pool_3x3": "3x3 pool",
    "0": "identity",
    "1": "expand-3 3x3",
    "2": "expand-6 5x5",
}
"""What figures call operations of cells and blocks of NAS-Bench-Macro."""

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


def others(count: int) -> list[str]:
    """Colours of things without an order; they begin anew after a dozen."""
    return [OTHERS[number % len(OTHERS)] for number in range(count)]


def title(axes: Axes, text: str) -> None:
    """A panel's title, flush left."""
    axes.set_title(text, pad=6)


def seeds(count: int) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{count} seed{'' if count == 1 else 's'}"


PERCENT = (0.0, 100.0)
POSITIVE = (0.0, float("inf"))


INTERVAL = "95 % interval over seeds"
"""What bands and bars are, unless they are said to be something else."""


def bar(axes: Axes, where: float, ends: Sequence[float], colour: str, *, upright: bool) -> None:
    """An error bar; an arrow stands at an end beyond which no value can be, and the bar goes on.

    Args:
        where: its place on the other axis.
        ends: low and high; upright in percent, else not negative.
    """
    import numpy as np

    inside = np.clip(ends, *(PERCENT if upright else POSITIVE))
    if ends[0] == ends[1]:
        return

    def draw(along: Sequence[float], **look: Any) -> None:
        across = [where] * len(along)
        axes.plot(*((across, along) if upright else (along, across)), color=colour, **look)

    draw(inside.tolist(), linewidth=1, solid_capstyle="butt")
    for end, shown, arrow in zip(ends, inside, "v^" if upright else "<>", strict=True):
        cap: Any = {"marker": "_" if upright else "|"} if end == shown else {"marker": arrow}
        draw([shown], markersize=5, clip_on=end == shown, **cap)


def cross(axes: Axes, x: Sequence[float], y: Sequence[float], *, label: str, **look: Any) -> None:
    """A mark with error bars; ``x`` (not negative) and ``y`` (percent) are estimate, low, high."""
    bar(axes, y[0], x[1:], look["color"], upright=False)
    bar(axes, x[0], y[1:], look["color"], upright=True)
    axes.plot(x[0], y[0], markersize=7, linestyle="none", label=label, **look)


def explain_bars(axes: Axes, what: str = INTERVAL) -> None:
    """An entry of the legend for error bars and the intervals of rows."""
    grey: Any = {"color": REFERENCE_COLOUR, "linewidth": 1, "marker": "|"}
    axes.plot([], [], label=f"bar: {what}", **grey)


def explain_bands(axes: Axes, what: str = INTERVAL) -> None:
    """An entry of the legend for bands, if there are any."""
    grey: Any = {"color": REFERENCE_COLOUR, "alpha": 0.2, "linewidth": 0}
    if axes.collections:
        axes.fill_between([], [], [], label=f"band: {what}", **grey)


def line(
    axes: Axes,
    x: Any,
    curve: Sequence[Any],
    alpha: float = 0.2,
    within: tuple[float, float] = PERCENT,
    **look: Any,
) -> None:
    """A line and the band around it, if it has one; ``curve`` is estimates, lows and highs."""
    import numpy as np

    estimates, *ends = curve
    axes.plot(x, estimates, **look)
    lows, highs = (np.clip(end, *within) for end in ends)
    if np.any(highs > lows):
        axes.fill_between(x, lows, highs, color=look["color"], alpha=alpha, linewidth=0)


def rows(panels: Sequence[Axes], names: Sequence[str]) -> None:
    """Name the rows of :func:`row`, from below, in panels that share them."""
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(-0.6, len(names) - 0.4)
    for axes in panels:
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")


def row(axes: Axes, place: int, interval: Sequence[float], **look: Any) -> None:
    """A mark with its interval in a row of its own; the limits of ``x`` must be set.

    What lies outside the frame has an arrow at its edge.
    """
    import numpy as np

    low, high = axes.get_xlim()
    inside = [float(np.clip(each, low, high)) for each in interval]
    colour = look["color"]
    axes.plot(inside[1:], [place, place], color=colour, linewidth=1.4, solid_capstyle="butt")
    if inside[0] == interval[0]:
        axes.plot(inside[0], place, linestyle="none", **look)
    edge: Any = {"color": colour, "linestyle": "none", "clip_on": False}
    for end, marker in ((low, "<"), (high, ">")):
        if any(kept == end != each for kept, each in zip(inside, interval, strict=True)):
            axes.plot(end, place, marker=marker, **edge)


def uniform(axes: Axes, x: Any, y: Any, **look: Any) -> None:
    """The line of uniform sampling."""
    axes.plot(x, y, color=RANDOM_COLOUR, linestyle="--", label="uniform sampling", **look)


def best_line(axes: Axes, best: float, among: str = "all cells") -> None:
    """The true accuracy (percent) that no cell passes."""
    axes.axhline(
        best,
        color=REFERENCE_COLOUR,
        linestyle=":",
        linewidth=1.2,
        label=f"best of {among} ({best:.2f} %)",
    )


def log_x(axes: Axes) -> None:
    """A logarithmic axis with plain numbers, or powers of ten from a hundred thousand on."""
    import numpy as np

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(
        lambda x, _: f"{x:g}" if x < 1e5 else f"$10^{{{np.log10(x):g}}}$"
    )


def spread(most: int) -> list[int]:
    """Some forty whole numbers from 1 to ``most``, in about equal ratios."""
    import numpy as np

    return [int(n) for n in np.unique(np.geomspace(1, most, 40).round().astype(int))]


def legend_right(axes: Axes) -> None:
    """A panel's legend, right of it."""
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def legend_above(figure: Figure) -> None:
    """One legend over all panels, each label once, in as few even rows as fit the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for rows in range(1, len(entries) + 1):
        legend = figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside upper center",
            ncols=-(-len(entries) // rows),
            handlelength=3,
        )
        if legend.get_window_extent(renderer).width < figure.bbox.width:
            return
        legend.remove()


def numbered(figure: Figure, colours: Sequence[Any], count: int, **place: Any) -> Any:
    """A bar of colours numbered from 1."""
    import numpy as np
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    norm = BoundaryNorm(np.arange(count + 1) + 0.5, count)
    bar = figure.colorbar(ScalarMappable(norm, ListedColormap(colours)), pad=0.01, **place)
    bar.ax.minorticks_off()
    return bar


def absent(message: str, **data: str) -> Drawing:
    """What stands in the place of a figure; ``data`` are a row of its CSV."""
    import textwrap

    import pandas as pd

    figure, axes = panels(height=1.2)
    words = "\n".join(textwrap.wrap(message, 90))
    axes[0, 0].text(0.5, 0.5, words, ha="center", va="center", color=REFERENCE_COLOUR)
    return Drawing(figure, pd.DataFrame([data]))


def not_run(name: str, scale: str, why: str) -> Drawing:
    """What stands in the place of a figure whose data are missing; ``why`` may be unknown."""
    message = f"{name}: not run at this scale ({scale})"
    return absent(f"{message}: {why}." if why else message, status="not run", reason=why)


def not_available(name: str, reason: str) -> Drawing:
    """What stands in the place of a figure whose data cannot be had here."""
    return absent(f"{name}: not available. {reason}", status="not available", reason=reason)


FORMS = ("pdf", "png", "csv")
"""Suffixes of the files that a drawing is written to."""


def require_same(folder: Path, name: str, of: str, force: bool) -> None:
    """Hold a drawing of this name that is there already to what is to take its place.

    Args:
        of: what that is made of.
        force: another drawing may be replaced.

    Raises:
        PdnasError: another drawing is there.
    """
    kept.product([folder / f"{name}.{form}" for form in FORMS], made_of(folder, name), of, force)


def write(drawing: Drawing, folder: Path, name: str, of: str = "") -> list[Path]:
    """Write a figure and its data as ``folder/name.pdf``, ``.png`` and ``.csv``; the paths.

    Args:
        of: what it was made of, for :func:`made_of`.
    """
    finish(drawing.figure)
    paths = save(drawing.figure, folder, name, of)
    return [*paths, save_data(drawing.data, folder, name)]


def write_at(out: Path, make: Callable[[], Drawing], of: str, force: bool = False) -> list[Path]:
    """Draw and write a figure that somebody names; returns the paths.

    Args:
        out: path of the files; its suffix gives way to theirs.
        of: what it is made of.
        force: another figure may be replaced.

    Raises:
        PdnasError: another figure is there.
    """
    folder, name = out.parent, out.with_suffix("").name
    with style():
        require_same(folder, name, of, force)
        return write(make(), folder, name, of)


def finish(figure: Figure) -> None:
    """Turn off panels that nobody needed, and show no percentage or time that cannot be."""
    for axes in figure.axes:
        if not axes.has_data():
            axes.set_axis_off()
        for axis, limits in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
            unit = _UNIT.search(axis.get_label_text())
            if unit and axis.get_scale() == "linear":
                low, high = axis.get_view_interval()
                most = _MOST_PERCENT if unit[1] == "%" else high
                limits(max(low, 0), min(high, most))


_UNIT = re.compile(r"\[(%|s|min)\]")
_MOST_PERCENT = 103  # of an axis: room for marks at 100


def made_of(folder: Path, name: str) -> str | None:
    """What the drawing of this name in ``folder`` says it was made of."""
    from PIL import Image

    try:
        with Image.open(folder / f"{name}.png") as image:
            return image.info.get("Source")
    except (OSError, ValueError, SyntaxError):  # there is none, or it is no PNG
        return None


def save(figure: Figure, folder: Path, name: str, of: str = "") -> list[Path]:
    """Write ``folder/name.pdf`` (vector) and ``.png`` (200 dpi), undated; returns the paths."""
    paths = []
    known: tuple[tuple[str, dict[str, str | None]], ...] = (
        ("pdf", {"CreationDate": None}),
        ("png", {"Software": None, **({"Source": of} if of else {})}),
    )
    for extension, metadata in known:
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
