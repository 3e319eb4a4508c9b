"""Figures of the cells that methods choose: how well scores rank, and accuracy against cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdnas.report import style
from pdnas.report.collect import Collection
from pdnas.report.formats import Column, text
from pdnas.report.measures import bounds, estimate
from pdnas.report.style import GUIDED_COLOUR, Drawing
from pdnas.report.truth.methods import TAUS, methods
from pdnas.support.statistics import confidence_interval
from pdnas.truth.table import GroundTruth


def one_shot(collection: Collection) -> Drawing | None:
    """One-shot against true accuracy of all cells, a panel a method."""
    import pandas as pd

    found = [method for method in methods(collection) if method.scored]
    if not found:
        return None
    columns = min(len(found), style.MOST_PANELS)
    figure, axes = style.panels(-(-len(found) // columns), columns, height=2.1, sharey=True)
    records = []
    for axis, method in zip(axes.flat, found, strict=False):
        truth = 100 * GroundTruth.load().accuracy(method.truth)
        run = method.seeds[0].run
        table = run.scores()
        assert table is not None  # efficiency-scored.json was made from it
        scores = 100 * table.sort_values("cell_id")["score"].to_numpy()
        shown = truth >= 60  # the rest, a few hundred cells, hardly learned anything
        bins: Any = (_whole_steps(scores[shown]), 40)
        axis.hist2d(scores[shown], truth[shown], bins=bins, cmin=1, norm="log", cmap="Blues")
        taus = {
            label: text(estimate(record[key] for record in method.records), Column("tau", "τ"))
            for label, key in TAUS.items()
        }
        words = "\n".join(f"{label} {tau}" for label, tau in taus.items())
        axis.text(0.98, 0.04, words, transform=axis.transAxes, ha="right", fontsize=7.5)
        axis.set(title=method.label, xlabel="one-shot accuracy [%]")
        all_cells = {"cell_id": np.arange(len(truth)), "one_shot_pct": scores, "true_pct": truth}
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
    """Accuracy of the chosen cell against the seconds of the search.

    Methods that collapse would squeeze all others into a line, so they stand on the lower edge.
    """
    import pandas as pd

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
    figure, axes = style.panels(1, 1, height=3.4)
    axis = axes[0, 0]
    colours = style.sequence(len(data))
    shown = data["accuracy_pct"][data["accuracy_pct"] >= data["accuracy_pct"].max() - _COLLAPSED]
    floor = float(shown.min()) - 1
    for number, (method, row) in enumerate(zip(found, records, strict=True)):
        seconds, accuracy = row[1:4], row[4:7]
        look: Any = {
            "color": GUIDED_COLOUR if method.guided else colours[number],
            "marker": style.MARKERS[number % 8],
        }
        if accuracy[0] < floor:
            label = f"{method.label}: {accuracy[0]:.1f}, below the frame"
            style.cross(axis, seconds, (floor,), label=label, clip_on=False, **look)
        else:
            style.cross(axis, seconds, accuracy, label=method.label, **look)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.set(xlim=(0, None), ylim=(floor, float(shown.max()) + 1))
    axis.set(xlabel="time of the search [s]", ylabel="true accuracy of the chosen cell [%]")
    return Drawing(figure, data)
