"""Figures of how good samples are: how many reach a target, and the best of n."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from pdnas.report import style
from pdnas.report.collect import Collection, RunEfficiency
from pdnas.report.measures import bounds
from pdnas.report.style import GUIDED_COLOUR, RANDOM_COLOUR, REFERENCE_COLOUR, Drawing
from pdnas.report.truth.methods import data_name, methods, rival_queries
from pdnas.support.statistics import (
    Interval,
    confidence_interval,
    expected_draws,
    expected_draws_over_seeds,
)
from pdnas.truth.tables.nasbench201 import NasBench201

if TYPE_CHECKING:
    import pandas as pd


def _guided(collection: Collection) -> dict[str, list[RunEfficiency]]:
    """Seeds of each study's guided posterior."""
    return {
        study: seeds
        for (study, variant), seeds in collection.efficiencies().items()
        if variant == collection.roles[study].guided
    }


def _by_study(
    collection: Collection, draw: Callable[[Any, str, list[RunEfficiency]], pd.DataFrame]
) -> Drawing | None:
    """A figure with a titled panel for each study with a guided posterior; None if there is none.

    Args:
        draw: draws the seeds of a study, by its name, into a panel; returns the data in it.
    """
    import pandas as pd

    found = _guided(collection)
    if not found:
        return None
    figure, axes = style.panels(1, len(found), height=3.3, width=5.4 * len(found))
    tables = []
    for axis, (study, seeds) in zip(axes[0], found.items(), strict=True):
        style.title(axis, f"{study}, {style.seeds(len(seeds))}")
        tables.append(draw(axis, study, seeds))
    return Drawing(figure, pd.concat(tables, ignore_index=True))


def samples_to_reach(collection: Collection) -> Drawing | None:
    """Expected samples to reach an accuracy, uniform against learned."""
    return _by_study(collection, _samples_to_reach)


def _samples_to_reach(axis: Any, study: str, seeds: list[RunEfficiency]) -> pd.DataFrame:
    import pandas as pd

    curves = [seed.record["mass_by_accuracy"] for seed in seeds]
    records = []
    for index, threshold in enumerate(curves[0]["threshold"]):
        uniform = expected_draws(curves[0]["uniform_mass"][index])
        interval = expected_draws_over_seeds(curve["mass"][index] for curve in curves)
        records.append((study, 100 * threshold, uniform, *bounds(interval), interval.count))
    names = ["study", "target_pct", "uniform", "learned", "low95", "high95", "seeds"]
    table = pd.DataFrame(records, columns=names)
    # Below 1.5, everybody reaches the target at once.
    own = table[np.isfinite(table["uniform"]) & (table["uniform"] >= 1.5)]
    x, uniform, *learned = (own[name] for name in names[1:-1])
    small: Any = {"markersize": 3.5}
    style.uniform(axis, x, uniform, marker="s", **small)
    style.line(
        axis,
        x,
        learned,
        within=(1, np.inf),
        color=GUIDED_COLOUR,
        marker="o",
        label="learned posterior",
        **small,
    )
    style.explain_bands(axis)
    for target in seeds[0].record["targets"]:
        percent = 100 * target["target"]
        marked = own[np.isclose(x, percent)]
        if len(marked):
            above, below = (float(marked[name].iloc[0]) for name in ("uniform", "learned"))
            _mark_ratio(axis, percent, above, below, x.max())
    axis.set(yscale="log", ylim=(0.9, None))  # 1, the least, lies inside
    axis.set_xlim(right=x.max() + 0.6)  # room for the last ratio
    axis.grid(False, axis="x")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xlabel(f"target: true test accuracy on {data_name(seeds[0].truth)} [%]")
    axis.set_ylabel("expected number of samples")
    axis.legend(loc="upper left")
    return table


def _mark_ratio(axis: Any, percent: float, above: float, below: float, most: float) -> None:
    """A line between two curves at ``percent`` with their ratio, left of it where there is room:
    the curves rise to its right, where only the last one has room."""
    axis.plot([percent] * 2, [below, above], color="#888888", linewidth=1, zorder=1)
    last = percent == most
    axis.annotate(
        f"{above / below:.1f}x",
        (percent, np.sqrt(above * below)),
        (3 if last else -3, 0),
        textcoords="offset points",
        ha="left" if last else "right",
        va="center",
        fontsize=8,
    )


def best_of_n(collection: Collection) -> Drawing | None:
    """Expected best true accuracy of n samples, uniform against learned."""
    return _by_study(collection, _best_of_n)


def _best_of_n(axis: Any, study: str, seeds: list[RunEfficiency]) -> pd.DataFrame:
    import pandas as pd

    curves = [seed.record["best_of_n"] for seed in seeds]
    learned = [
        bounds(confidence_interval([100 * curve["expected"][index] for curve in curves]))
        for index in range(len(curves[0]["n"]))
    ]
    names = ["learned_pct", "low95_pct", "high95_pct"]
    own = pd.DataFrame(learned, columns=names).assign(
        study=study,
        n=curves[0]["n"],
        uniform_pct=100 * np.array(curves[0]["uniform_expected"]),
        optimum_pct=100 * seeds[0].record["best_accuracy"],
        seeds=len(seeds),
    )
    style.best_line(axis, float(own["optimum_pct"].iloc[0]))
    style.uniform(axis, own["n"], own["uniform_pct"])
    curve = [own[name] for name in names]
    style.line(axis, own["n"], curve, color=GUIDED_COLOUR, label="learned posterior")
    style.explain_bands(axis)
    style.log_x(axis)
    axis.set(xlim=(1, own["n"].max()), xlabel="number of samples n")
    axis.set_ylabel(f"expected best true accuracy on {data_name(seeds[0].truth)} [%]")
    axis.legend(loc="lower right")
    return own


def samples_to_target(collection: Collection) -> Drawing | None:
    """Expected samples until a target is reached, every method, with intervals."""
    found = methods(collection)
    if not found:
        return None
    reached = found[0].records[0]["targets"]
    targets = [target["target"] for target in reached]
    exact = [Interval(expected_draws(each["uniform_mass"]), np.nan, np.nan, 1) for each in reached]
    kinds = [("uniform sampling", "sampling", exact)]
    kinds += [(each.label, "one-shot", each.samples()) for each in found if not each.uniform]
    kinds += [
        (f"{rival.label} (table)", "table", rival_queries(rival, targets))
        for rival in collection.rivals.values()
    ]
    where = data_name(found[0].truth)
    titles = {target: f"to {100 * target:.1f} % on {where}" for target in targets}
    return draw_samples(kinds, titles)


def draw_samples(
    kinds: Sequence[tuple[str, str, Sequence[Interval]]], titles: Mapping[float, str]
) -> Drawing:
    """Expected samples or queries to targets, a panel each.

    Args:
        kinds: name, kind (``sampling``, ``one-shot`` or ``table``) and samples to each target.
        titles: of the panels, by target (a fraction).
    """
    import pandas as pd

    records = [
        (name, kind, 100 * target, each.estimate, each.low, each.high)
        for name, kind, intervals in kinds
        for target, each in zip(titles, intervals, strict=True)
    ]
    names = ["method", "kind", "target_pct", "samples", "low95", "high95"]
    data = pd.DataFrame(records, columns=names)
    order = list(dict.fromkeys(data["method"]))[::-1]
    height = 0.9 + 0.22 * len(order)
    figure, axes = style.panels(1, len(titles), height=height, sharex=True, sharey=True)
    marks = {
        "sampling": {"marker": "s", "color": RANDOM_COLOUR, "label": "uniform sampling"},
        "one-shot": {"marker": "o", "color": GUIDED_COLOUR, "label": "samples of a method"},
        "table": {"marker": "D", "color": REFERENCE_COLOUR, "label": "queries of the table"},
    }
    known: Any
    style.rows(axes[0], order)
    for axis, (target, title) in zip(axes[0], titles.items(), strict=True):
        style.log_x(axis)
        # No number is below 1; three seeds that disagree have intervals over many powers of ten.
        axis.set_xlim(0.7, 4 * data["samples"].replace(np.inf, np.nan).max())
        for known in data[data["target_pct"] == 100 * target].itertuples():
            interval = known.samples, max(known.low95, 1), known.high95
            style.row(axis, order.index(known.method), interval, **marks[known.kind])
        style.title(axis, title)
    figure.supxlabel("expected samples or queries", fontsize=9)
    style.explain_bars(axes[0, 0], "95 % interval over seeds or searches")
    style.legend_above(figure)
    return Drawing(figure, data)


def best_so_far(collection: Collection) -> Drawing | None:
    """True accuracy of the cell that a method would choose after n samples or queries.

    Of a one-shot method each seed is drawn: they are too few for a band to say where others lie.
    """
    import pandas as pd

    found = [each for each in methods(collection) if each.scored and (each.guided or each.uniform)]
    if not found and not collection.rivals:
        return None
    curves: list[tuple[Any, ...]] = []
    colours: dict[str, str] = {}
    for method in found:
        name = f"{method.label}, ranked by one-shot score"
        colours[name] = GUIDED_COLOUR if method.guided else RANDOM_COLOUR
        chosen = [record["chosen_of_n"] for record in method.records]
        for index, n in enumerate(chosen[0]["n"]):
            values = [100 * curve["expected"][index] for curve in chosen]
            curves.append((name, "one-shot", None, n, *bounds(confidence_interval(values))))
            curves += [
                (name, "one-shot", seed.run.seed, n, one, None, None)
                for seed, one in zip(method.seeds, values, strict=True)
            ]
    for rival in collection.rivals.values():
        by_query = 100 * rival.trace().pivot(index="seed", columns="query", values="best_accuracy")
        for n in style.spread(by_query.shape[1]):
            interval = confidence_interval(by_query[n])
            curves.append((f"{rival.label} (table)", "table", None, n, *bounds(interval)))
    names = ["method", "kind", "seed", "n", "accuracy_pct", "low95_pct", "high95_pct"]
    data = pd.DataFrame(curves, columns=names)
    figure, axes = style.panels(1, 1, height=4.2)
    axis = axes[0, 0]
    dashes = cycle(style.DASHES)
    own = iter(style.others(len(collection.rivals)))
    for label, drawn in data.groupby("method", sort=False):
        rows = drawn[drawn["seed"].isna()]
        n, *curve = (rows[name] for name in names[3:])
        if colour := colours.get(str(label)):
            axis.plot(n, curve[0], color=colour, label=f"{label}; thin: its seeds", linewidth=2.2)
            for _, alone in drawn.groupby("seed"):
                axis.plot(alone["n"], alone["accuracy_pct"], color=colour, linewidth=0.6)
        else:
            look: Any = {"color": next(own), "linestyle": next(dashes), "linewidth": 1.2}
            style.line(axis, n, curve, 0.15, label=str(label), **look)
    style.explain_bands(axis, "95 % interval over searches")
    style.log_x(axis)
    axis.set_xlim(1, data["n"].max())
    best = 100 * NasBench201.load().accuracy().max()  # rivals search CIFAR-10's table
    style.best_line(axis, best)
    axis.set_ylim(max(float(data["accuracy_pct"].min()) - 0.1, 88), best + 0.3)
    axis.set_xlabel("samples (one-shot) or queries of 12-epoch trainings (table)")
    axis.set_ylabel("true test accuracy of the choice [%]")
    style.legend_above(figure)
    return Drawing(figure, data)
