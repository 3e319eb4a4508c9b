"""The figure of how good the ground truths are themselves."""

from __future__ import annotations

from typing import Any

from pdnas.report import style
from pdnas.report.collect import Collection
from pdnas.report.style import GUIDED_COLOUR, RANDOM_COLOUR, REFERENCE_COLOUR, Drawing
from pdnas.report.truth.methods import data_name
from pdnas.truth.noise import quality
from pdnas.truth.tables import names, open_truth

PARTS = {"all": ("o", GUIDED_COLOUR, "all"), "best_tenth": ("s", RANDOM_COLOUR, "best tenth")}
"""Architectures that a number is of: mark, colour, name."""


def truth_noise(_: Collection) -> Drawing:
    """Deviation of one training, tau of two and its ceiling, and who reaches a target by luck."""
    import pandas as pd

    records = [
        quality(truth, dataset) for truth in map(open_truth, names()) for dataset in truth.datasets
    ]
    order = [_name(each["truth"], each["dataset"]) for each in records][::-1]
    figure, axes = style.panels(1, 3, height=1.3 + 0.34 * len(order), width=9.6, sharey=True)
    deviation, tau, luck = axes[0]
    style.rows(axes[0], order)
    deviation.set(xscale="log", xlim=(0.1, 10), xlabel="deviation of one training [points]")
    deviation.xaxis.set_major_formatter("{x:g}")
    tau.set(xlim=(-0.1, 1), xlabel="Kendall's τ")
    luck.set(xlim=(0, 103), xlabel="by luck among those that\nreach the target at the mark [%]")
    rows: list[dict[str, Any]] = []
    for place, record in zip(range(len(order))[::-1], records, strict=True):
        row: dict[str, Any] = {key: record[key] for key in ("truth", "dataset", "source")}
        for part, (marker, colour, name) in PARTS.items():
            look: Any = {"marker": marker, "color": colour, "linestyle": "none"}
            points = 100 * record["deviation"][part]
            row[f"deviation_{part}_points"] = points
            deviation.plot(points, place, label=name, **look)
            ceiling, measured = record["tau_ceiling"][part], record["tau_trainings"][part]
            row[f"tau_ceiling_{part}"], row[f"tau_trainings_{part}"] = ceiling, measured
            open_mark: Any = {**look, "markerfacecolor": "white"}
            tau.plot(ceiling, place, label=f"ceiling of a score, {name}", **open_mark)
            if measured is not None:
                tau.plot(measured, place, label=name, **look)
        for number, target in enumerate(record["targets"]):
            share = 100 * target["by_luck"] / target["reached"] if target["reached"] else None
            row[f"target_{number + 1}_pct"] = 100 * target["target"]
            row[f"reached_{number + 1}"] = target["reached"]
            row[f"by_luck_{number + 1}"] = target["by_luck"]
            if share is not None:
                luck.plot(share, place, "D", color=REFERENCE_COLOUR)
                aside = (0, -11 if number % 2 else 5)  # neighbours may be near each other
                where: Any = {"textcoords": "offset points", "ha": "center", "fontsize": 6.5}
                luck.annotate(f"{100 * target['target']:g}", (share, place), aside, **where)
        rows.append(row)
    style.legend_above(figure)
    return Drawing(figure, pd.DataFrame(rows))


def _name(truth: str, dataset: str) -> str:
    return truth if truth == dataset else f"{truth}, {data_name(dataset)}"
