"""Guided against random sampling: Table 3, and test error by fine-tuning and by cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pdnas.report import fair, style
from pdnas.report.collect import Collection
from pdnas.report.columns import CHOSEN, PAPER_ERROR, PAPER_PARAMETERS, chosen, join, words
from pdnas.report.formats import Cell, Table
from pdnas.report.measures import bounds, measured, total_minutes
from pdnas.report.notes import MEAN_NOTE, conditions
from pdnas.report.paper.reported import reported
from pdnas.report.style import GUIDED_COLOUR, RANDOM_COLOUR, REFERENCE_COLOUR, Drawing
from pdnas.spec import selection
from pdnas.spec.names import RetrainMode, Role
from pdnas.spec.roles import SOURCES
from pdnas.support.statistics import confidence_interval

TABLE3: dict[str, tuple[Role, RetrainMode]] = {
    "full model": ("full", "none"),
    "random w/o FT": ("random", "none"),
    "random w/ FT": ("random", "finetune"),
    "PGNAS": ("guided", "none"),
    "PGNAS w/ FT": ("guided", "finetune"),
}
"""Table 3's methods as (role, mode); the last is ours, shown only where measured."""


def table3(collection: Collection) -> Table:
    """Guided against random sampling, without and with fine-tuning."""
    published = reported(
        "table3_guided_vs_random",
        lambda row: (row["supernet"], row["method"]),
        ("test_error_pct", "params_m"),
    )
    ours: dict[tuple[str, str], list[Sequence[Cell]]] = {}
    for supernet in dict.fromkeys(supernet for supernet, _ in published):
        studies = selection.on_cifar10(collection.scale, supernet)
        for method, (role, mode) in TABLE3.items():
            entries = chosen(collection, studies, role, mode)
            if entries or (supernet, method) in published:
                ours[supernet, method] = entries
    columns = (words("supernet", "SupNet"), words("method"), PAPER_ERROR, PAPER_PARAMETERS, *CHOSEN)
    return Table(
        "table3",
        "Table 3 of the paper: guided against random sampling, without and with fine-tuning (FT)",
        columns,
        join(columns, published, ours, ours),
        (
            "The random baseline's drop rate is solved for so that its candidates have about the "
            "guided ones' expected parameter count (scale paper: SupNet-M's is the paper's 0.1).",
            "The full model is trained for as many epochs, with an ordinary weight decay (l²/N on "
            "convolutions, 1e-4 at the scales of this repository). An auxiliary head, which is no "
            "part of a candidate, is in none of our sizes.",
            *fair.exceptions(collection, selection.on_cifar10(collection.scale)),
            MEAN_NOTE,
            *conditions(collection, selection.on_cifar10(collection.scale)),
        ),
    )


def mismatch(collection: Collection) -> Drawing | None:
    """Test error with and without fine-tuning, guided against random."""
    import pandas as pd

    modes: tuple[RetrainMode, ...] = ("none", "finetune")
    records = []
    for study in selection.fine_tuned(collection.scale):
        roles = collection.roles[study]
        for role in ("random", "guided", "full"):
            for mode in modes:
                rows = measured(collection, study, getattr(roles, role), mode)
                if not rows.empty:
                    interval = confidence_interval(rows["test_error"])
                    variant = getattr(roles, role)
                    records.append((role, study, variant, mode, *bounds(interval), interval.count))
    names = ["role", "study", "variant", "mode", "test_error_pct", "low95_pct", "high95_pct"]
    data = pd.DataFrame(records, columns=[*names, "seeds"])
    studies = [
        str(study)
        for study, rows in data.groupby("study", sort=False)
        if (rows["mode"] == "finetune").any()
    ]
    if not studies:
        return None
    data = data[data["study"].isin(studies)]
    figure, axes = style.panels(1, len(studies), height=3.4, width=4.2 * len(studies))
    for axis, study in zip(axes[0], studies, strict=True):
        rows = data[data["study"] == study]
        for side, role, colour, look in (
            (-1, "random", RANDOM_COLOUR, {"marker": "s", "linestyle": "--"}),
            (1, "guided", GUIDED_COLOUR, {"marker": "o", "linestyle": "-"}),
        ):
            own = rows[rows["role"] == role]
            if own.empty:
                continue
            label = own["variant"].iloc[0]
            own = own.set_index("mode").reindex(modes).dropna()
            x = np.array([modes.index(mode) for mode in own.index]) + 0.05 * side
            axis.plot(x, own["test_error_pct"], color=colour, label=label, **look)
            for place, (value, *ends) in zip(x, own[names[4:]].to_numpy(), strict=True):
                style.bar(axis, place, ends, colour, upright=True)
                # On the far side from the other variant's bar, and off the line towards it.
                axis.annotate(
                    f"{value:.2f}",
                    (place, value),
                    (6 * side, 7 if (place - 0.5) * side < 0 else 0),
                    fontsize=8,
                    textcoords="offset points",
                    ha="left" if side > 0 else "right",
                    va="center",
                )
        whole: Any
        for whole in rows[rows["role"] == "full"].itertuples():
            grey: Any = {"color": REFERENCE_COLOUR}
            axis.axhline(whole.test_error_pct, linestyle=":", label="full model", **grey)
            band = [np.clip(end, *style.PERCENT) for end in (whole.low95_pct, whole.high95_pct)]
            if band[0] < band[1]:
                axis.fill_between((-0.45, 1.45), *band, alpha=0.15, linewidth=0, **grey)
        if (rows["seeds"] > 1).any():
            style.explain_bars(axis)
        style.explain_bands(axis)
        axis.set_xticks([0, 1], ["inherited weights", "fine-tuned"])
        axis.set(xlim=(-0.45, 1.45), ylim=(0, 1.08 * float(rows["high95_pct"].max())))
        axis.grid(False, axis="x")
        style.title(axis, collection.describe(study))
    axes[0, 0].set_ylabel("test error [%]")
    style.legend_above(figure)
    return Drawing(figure, data.drop(columns="role"))


def error_cost(collection: Collection) -> Drawing | None:
    """Test error against the wall time of everything that one seed took."""
    import pandas as pd

    records = []
    for study in selection.guided_over_channels(collection.scale):
        rows = collection.measurements
        own_source = rows["gates_mode"].map(SOURCES) == rows["source"]
        rows = rows[(rows["study"] == study) & own_source & rows["test_error"].notna()]
        rows = rows.sort_values("mode", key=lambda mode: mode != "none", kind="stable")
        for keys, own in rows.groupby(["variant", "mode"], sort=False):
            minutes = confidence_interval(total_minutes(own))
            error = confidence_interval(own["test_error"])
            records.append((study, *keys, *bounds(minutes), *bounds(error), error.count))
    if not records:
        return None
    names = ["study", "variant", "mode"]
    names += [
        f"{name}{end}" for name in ("minutes", "test_error_pct") for end in ("", "_low", "_high")
    ]
    data = pd.DataFrame(records, columns=[*names, "seeds"])
    figure, axes = style.panels(data["study"].nunique(), 1, height=3.4)
    for axis, study, own in style.by_study(axes[:, 0], data):
        roles = collection.roles[study]
        variants = list(dict.fromkeys(own["variant"]))
        colours = dict(zip(variants, style.others(len(variants)), strict=True)) | {
            roles.guided: GUIDED_COLOUR,
            roles.random: RANDOM_COLOUR,
            roles.full: REFERENCE_COLOUR,
        }
        for variant, mode, *numbers in own[names[1:]].itertuples(index=False):
            style.cross(
                axis,
                numbers[:3],
                numbers[3:],
                color=colours[variant],
                marker=style.MARKERS[variants.index(variant) % 8],
                markerfacecolor=colours[variant] if mode == "none" else "white",
                label=variant + ("" if mode == "none" else ", fine-tuned"),
            )
        if (own["seeds"] > 1).any():
            style.explain_bars(axis)
        axis.set_xlim(0, 1.05 * own["minutes_high"].max())
        axis.set_xlabel("wall time of one seed, all stages [min]")
        axis.set(ylabel="test error [%]", title=collection.describe(study))
        style.legend_right(axis)
    return Drawing(figure, data)
