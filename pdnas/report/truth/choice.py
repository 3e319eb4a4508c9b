"""Figures of the cells that methods choose: how well scores rank, and accuracy against cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdnas.report import style
from pdnas.report.collect import Collection
from pdnas.report.formats import Column, text
from pdnas.report.measures import bounds, estimate
from pdnas.report.style import GUIDED_COLOUR, REFERENCE_COLOUR, Drawing
from pdnas.report.truth.methods import TAUS, methods
from pdnas.support.statistics import confidence_interval
from pdnas.truth.tables.nasbench201 import NasBench201


def one_shot(collection: Collection) -> Drawing | None:
    """One-shot against true accuracy of all cells, a panel a method."""
    import pandas as pd

    found = [method for method in methods(collection) if method.scored]
    if not found:
        return None
    columns = min(len(found), style.MOST_PANELS)
    figure, axes = style.panels(
        -(-len(found) // columns), columns, height=2.4, sharex=True, sharey=True
    )
    records = []
    for axis, method in zip(axes.flat, found, strict=False):
        run = method.seeds[0].run
        table = run.scores()
        assert table is not None  # efficiency-scored.json was made from it
        table = table.sort_values("cell_id")
        ids, scores = table["cell_id"].to_numpy(), 100 * table["score"].to_numpy()
        truth = 100 * NasBench201.load().accuracy(method.truth)[ids]
        shown = truth >= 60  # the rest, a few hundred cells, hardly learned anything
        bins: Any = (_whole_steps(scores[shown]), 40)
        axis.hist2d(scores[shown], truth[shown], bins=bins, cmin=1, norm="log", cmap="Blues")
        taus = {
            label: text(estimate(record[key] for record in method.records), Column("tau", "τ"))
            for label, key in TAUS.items()
        }
        style.title(axis, "\n".join([method.label, *map(" ".join, taus.items())]))
        axis.tick_params(labelbottom=True)  # the panel below may be empty
        axis.set_xlabel("one-shot accuracy [%]")
        all_cells = {"cell_id": ids, "one_shot_pct": scores, "true_pct": truth}
        records.append(pd.DataFrame(all_cells).assign(variant=method.variant, seed=run.seed))
    for axis in axes[:, 0]:
        axis.set_ylabel("true accuracy [%]")
    return Drawing(figure, pd.concat(records, ignore_index=True))


def _whole_steps(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Edges of about 40 bins of as many possible scores each: those on 60 images have 61 values."""
    steps = np.diff(np.unique(scores))
    step = steps.min() if len(steps) else 1.0
    width = step * max(1, round(np.ptp(scores) / (40 * step)))
    return np.arange(scores.min() - step / 2, scores.max() + width, width)


_COLLAPSED = 15
"""Percentage points below the best method, from which on a method is off the figure's scale."""


def cost(collection: Collection) -> Drawing | None:
    """Seconds of the search and accuracy of the chosen cell, a row a method.

    Methods that collapse would squeeze all others into a line, so they stand at the left edge.
    """
    import pandas as pd
    from matplotlib.ticker import MaxNLocator

    found = methods(collection)
    if not found:
        return None
    records = [
        (
            method.variant,
            *bounds(confidence_interval(method.search_seconds())),
            *bounds(confidence_interval(method.chosen(method.truth))),
            len(method.seeds),
        )
        for method in found
    ]
    ends = ("", "_low95", "_high95")
    quantities = [f"{name}{end}" for name in ("seconds", "accuracy_pct") for end in ends]
    data = pd.DataFrame(records, columns=["variant", *quantities, "seeds"])
    shown = data["accuracy_pct"][data["accuracy_pct"] >= data["accuracy_pct"].max() - _COLLAPSED]
    frames = (
        ("time of the search [s]", 0, 1.05 * float(data["seconds_high95"].max())),
        ("true accuracy of the chosen cell [%]", float(shown.min()) - 1, float(shown.max()) + 1),
    )
    order = [method.label for method in found][::-1]
    figure, axes = style.panels(1, 2, height=0.9 + 0.22 * len(order), sharey=True)
    style.rows(axes[0], order)
    for axis, (label, low, high), first in zip(axes[0], frames, (0, 3), strict=True):
        axis.set(xlabel=label, xlim=(low, high))
        axis.xaxis.set_major_locator(MaxNLocator(5))
        for method, (_, *numbers, _) in zip(found, records, strict=True):
            look: Any = {"color": GUIDED_COLOUR, "marker": "o"}
            if not method.guided:
                look = {"color": REFERENCE_COLOUR, "marker": "s"}
            place = order.index(method.label)
            interval: Any = numbers[first : first + 3]
            style.row(axis, place, interval, **look)
            if interval[0] < low:
                axis.annotate(
                    f"{interval[0]:.1f}",
                    (low, place),
                    (8, 0),
                    textcoords="offset points",
                    va="center",
                )
    style.explain_bars(axes[0, 0])
    style.legend_above(figure)
    return Drawing(figure, data)
