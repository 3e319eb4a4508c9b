"""Figures of the learned posterior over cells: its marginals, in training, and its mass."""

from __future__ import annotations

from typing import Any

import numpy as np

from pdnas.report import style
from pdnas.report.collect import Collection
from pdnas.report.measures import bounds
from pdnas.report.style import GUIDED_COLOUR, OPTION_NAMES, REFERENCE_COLOUR, Drawing
from pdnas.report.truth.methods import methods
from pdnas.spec import selection
from pdnas.support.statistics import confidence_interval
from pdnas.truth.efficiency import load_probabilities
from pdnas.truth.tables.nasbench201 import NasBench201


def posterior_cells(collection: Collection) -> Drawing | None:
    """Marginal probabilities of every operation on every edge, mean over seeds."""
    import pandas as pd
    import seaborn as sns

    records = []
    for study in selection.over_cells_in_all(collection.scale):
        for run in collection.find(study, collection.roles[study].guided):
            table = run.trajectory()
            if table is not None:
                last = table[table["epoch"] == table["epoch"].max()]
                records.append(last.assign(study=study, seed=run.seed))
    if not records:
        return None
    everything = pd.concat(records, ignore_index=True)
    rows = []
    for keys, group in everything.groupby(["study", "gate", "option"], sort=False):
        interval = confidence_interval(100 * group["probability"])
        half = interval.high - interval.estimate
        rows.append((*keys, interval.estimate, half, interval.count))
    names = ["study", "edge", "operation", "probability_pct", "half_width95_pct", "seeds"]
    data = pd.DataFrame(rows, columns=names)
    count = data["study"].nunique()
    figure, axes = style.panels(1, count, height=3.4, width=min(4.8 * count, 2 * style.WIDTH))
    for axis, study, own in style.by_study(axes[0], data):
        edges, operations = list(own["edge"].unique()), list(own["operation"].unique())
        means, halves = (
            own.pivot(index="edge", columns="operation", values=name).loc[edges, operations]
            for name in ("probability_pct", "half_width95_pct")
        )
        labels = [
            [_cell_text(mean, half) for mean, half in zip(*pair, strict=True)]
            for pair in zip(means.to_numpy(), halves.to_numpy(), strict=True)
        ]
        sns.heatmap(
            means,
            ax=axis,
            vmin=0,
            vmax=100,
            cmap="Blues",
            annot=np.array(labels),
            fmt="",
            annot_kws={"fontsize": 7.5},
            linewidths=1,
            linecolor="white",
            xticklabels=[OPTION_NAMES.get(name, name) for name in operations],
            yticklabels=[edge.removeprefix("edge ").replace(">", " → ") for edge in edges],
            cbar_kws={"label": "probability [%]", "pad": 0.02},
        )
        bar = axis.collections[0].colorbar
        bar.outline.set_visible(False)
        uniform = 100 / len(operations)
        bar.ax.axhline(uniform, color=REFERENCE_COLOUR, linewidth=1)
        bar.set_ticks([0, uniform, 40, 60, 80, 100] if uniform == 20 else [0, 50, 100])
        axis.set(xlabel="operation", ylabel="edge (from node → to node)")
        axis.tick_params(axis="both", length=0, rotation=0)
        style.title(axis, f"{study}, {style.seeds(own['seeds'].max())}")
    return Drawing(figure, data)


def _cell_text(mean: float, half_width: float) -> str:
    return f"{mean:.0f}" if np.isnan(half_width) else f"{mean:.0f} ± {half_width:.0f}"


def posterior_training(collection: Collection) -> Drawing | None:
    """Marginal probabilities over the epochs of the search, a panel an edge."""
    import pandas as pd

    runs = [seed.run for each in methods(collection) if each.guided for seed in each.seeds]
    trajectories = [table for run in runs if (table := run.trajectory()) is not None]
    if not trajectories:
        return None
    data = (
        pd.concat(trajectories)
        .groupby(["gate", "option", "epoch"], sort=False)["probability"]
        .mean()
        .mul(100)
        .rename("probability_pct")
        .reset_index()
        .assign(seeds=len(trajectories))
    )
    options = list(data["option"].unique())
    figure, axes = style.panels(2, 3, height=1.7, sharex=True, sharey=True)
    for axis, (edge, own) in zip(axes.flat, data.groupby("gate", sort=False), strict=True):
        grid = own.pivot(index="option", columns="epoch", values="probability_pct").loc[options]
        image = axis.imshow(
            grid, aspect="auto", cmap="Blues", vmin=0, vmax=100, interpolation="nearest"
        )
        axis.set_yticks(range(len(grid)), [OPTION_NAMES.get(name, name) for name in options])
        axis.grid(False)
        axis.tick_params(length=0)
        axis.xaxis.get_major_locator().set_params(integer=True)
        style.title(axis, str(edge).replace(">", " → "))
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    figure.colorbar(image, ax=axes, label="probability [%]", pad=0.01, aspect=30)
    return Drawing(figure, data)


def posterior_mass(collection: Collection) -> Drawing | None:
    """Probability that a sample is among the truly best x cells."""
    import pandas as pd

    found = [method for method in methods(collection) if not method.uniform]
    if not found:
        return None
    table = NasBench201.load()
    figure, axes = style.panels(1, 1, height=4.2)
    axis = axes[0, 0]
    colours = style.others(len(found))
    tables, cells = [], 0
    for number, method in enumerate(found):
        masses = []
        for seed in method.seeds:
            space, probabilities = load_probabilities(seed.run.folder)
            truth = table.accuracy(method.truth)[space.benchmark_ids()]
            order = np.argsort(-truth, kind="stable")
            ranks = np.unique(np.geomspace(1, len(order), 120).round().astype(int))
            masses.append(np.cumsum(probabilities[order])[ranks - 1])
        cells = max(cells, len(order))
        intervals = [confidence_interval(100 * each).within(0, 100) for each in np.stack(masses).T]
        rows = [
            (method.variant, int(rank), *bounds(interval), len(method.seeds))
            for rank, interval in zip(ranks, intervals, strict=True)
        ]
        names = ["variant", "best_cells", "mass_pct", "low95_pct", "high95_pct", "seeds"]
        tables.append(pd.DataFrame(rows, columns=names))
        x, *curve = (tables[-1][name] for name in names[1:-1])
        if method.guided:
            look: Any = {"color": GUIDED_COLOUR, "linewidth": 2.2}
            style.line(axis, x, curve, label=method.label, **look)
        else:
            look = {"color": colours[number], "linestyle": style.DASHES[number % 5]}
            axis.plot(x, curve[0], linewidth=1.2, label=method.label, **look)
    best = np.geomspace(1, cells, 200)
    style.uniform(axis, best, 100 * best / cells)
    style.explain_bands(axis)
    style.log_x(axis)
    axis.set_yscale("symlog", linthresh=0.1)
    axis.set_ylim(0, 105)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xlim(1, cells)
    axis.set(xlabel="the truly best … cells", ylabel="probability of a sample among them [%]")
    style.legend_above(figure)
    return Drawing(figure, pd.concat(tables, ignore_index=True))
