"""The figures, each a function from a collection of runs to a drawing and the data it shows.

A figure whose data nobody has measured is not drawn; a page that says so takes its place, so that
a workflow always finds its files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pdnas.report import style
from pdnas.report.collect import FULL, GUIDED, RANDOM, Collection
from pdnas.report.style import GUIDED_COLOUR, RANDOM_COLOUR, REFERENCE_COLOUR
from pdnas.report.tables import (
    measured,
    most_candidates,
    total_minutes,
)
from pdnas.runs.run import Run
from pdnas.spec import selection
from pdnas.spec.roles import SOURCES
from pdnas.support.statistics import (
    Interval,
    confidence_interval,
    expected_best_of_subset,
    expected_draws,
    expected_draws_over_seeds,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Drawing:
    """A figure and the data in it, tidy, one row a mark."""

    figure: Figure
    data: pd.DataFrame


MOST_PANELS = 4
"""No more panels than this side by side: a fifth would be too narrow to read in print."""

OPERATION_NAMES = {
    "none": "none",
    "skip_connect": "skip",
    "nor_conv_1x1": "1x1 conv",
    "nor_conv_3x3": "3x3 conv",
    "avg_pool_3x3": "3x3 pool",
}


def not_run(name: str, scale: str) -> Drawing:
    """What stands in the place of a figure whose data are missing."""
    import pandas as pd

    figure, axes = style.panels(height=1.2)
    axes[0, 0].set_axis_off()
    message = f"{name}: not run at this scale ({scale})"
    axes[0, 0].text(0.5, 0.5, message, ha="center", va="center", color=REFERENCE_COLOUR)
    return Drawing(figure, pd.DataFrame({"status": ["not run"]}))


def _describe(collection: Collection, study: str) -> str:
    supernet = collection.scale.studies[study].stands_for
    return f"{study} (for SupNet-{supernet})" if supernet else study


def bounds(interval: Interval) -> tuple[float, float, float]:
    """Estimate, low and high, the bounds falling on the estimate where there is no interval."""
    if np.isnan(interval.low):
        return interval.estimate, interval.estimate, interval.estimate
    return interval.estimate, interval.low, interval.high


# --- candidates -----------------------------------------------------------------------------------


def figure1(collection: Collection) -> Drawing | None:
    """Histograms of candidates' validation accuracy, guided and random, a panel a seed."""
    import pandas as pd

    kinds = ((GUIDED, "posterior"), (RANDOM, "random"))
    found: dict[str, dict[int, dict[str, Run]]] = {}
    for study in selection.guided_and_random(collection.scale):
        for variant, source in kinds:
            for run in collection.find(study, variant):
                if run.ranking(source) is not None:
                    found.setdefault(study, {}).setdefault(run.seed, {})[variant] = run
    found = {
        study: seeds
        for study, seeds in found.items()
        if {variant for runs in seeds.values() for variant in runs} == {GUIDED, RANDOM}
    }
    if not found:
        return None
    rows = max(len(seeds) for seeds in found.values())
    figure, axes = style.panels(
        rows, len(found), height=1.35 if rows > 1 else 2.6, sharex="col", sharey="col"
    )
    records = []
    for column, (study, seeds) in zip(axes.T, found.items(), strict=True):
        values = {
            (seed, variant): 100 * ranking["validation_accuracy"].to_numpy()
            for seed, runs in seeds.items()
            for variant, source in kinds
            if variant in runs and (ranking := runs[variant].ranking(source)) is not None
        }
        wholes = {
            (seed, variant): 100 * whole
            for seed, runs in seeds.items()
            for variant, source in kinds
            if variant in runs and (whole := _whole(runs[variant], source)) is not None
        }
        bins = _bins(np.concatenate(list(values.values())))
        for axis, seed in zip(column, seeds, strict=False):
            for variant, colour, hatch in (
                (GUIDED, GUIDED_COLOUR, ""),
                (RANDOM, RANDOM_COLOUR, "////"),
            ):
                if (seed, variant) not in values:
                    continue
                counts, _ = np.histogram(values[seed, variant], bins)
                axis.stairs(
                    counts,
                    bins,
                    fill=True,
                    facecolor=colour,
                    edgecolor="white",
                    hatch=hatch,
                    alpha=0.9,
                    label=f"{variant} candidates",
                )
                axis.stairs(counts, bins, color=colour, linewidth=1)
                whole = wholes.get((seed, variant))
                if whole is not None:
                    axis.axvline(
                        whole,
                        color=REFERENCE_COLOUR,
                        linewidth=1.4,
                        linestyle="--" if variant == GUIDED else ":",
                        label=f"whole supernet, {variant} training",
                    )
                records.append(
                    pd.DataFrame(
                        {
                            "study": study,
                            "seed": seed,
                            "variant": variant,
                            "bin_low_pct": bins[:-1],
                            "bin_high_pct": bins[1:],
                            "candidates": counts,
                            "whole_supernet_pct": whole,
                        }
                    )
                )
            axis.grid(False)
            axis.text(
                0.01,
                0.92,
                f"seed {seed}",
                transform=axis.transAxes,
                va="top",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
                zorder=5,
            )
        for axis in column[len(seeds) :]:
            axis.set_axis_off()
        style.title(column[0], _describe(collection, study))
        column[len(seeds) - 1].set_xlabel("validation accuracy with inherited weights [%]")
    figure.supylabel("candidates", fontsize=9)
    _legend_above(figure, axes.flat)
    return Drawing(figure, pd.concat(records, ignore_index=True))


def figure2(collection: Collection) -> Drawing | None:
    """The architecture that a search found."""
    from pdnas.report import drawing

    return drawing.figure2(collection)


def _whole(run: Run, source: str) -> float | None:
    """Validation accuracy of the supernet with everything kept."""
    value = run.ranking_records.get(source, {}).get("supernet_validation_accuracy")
    return None if value is None else float(value)


def _bins(values: Any) -> Any:
    """Twenty to fifty bins over all values, on round numbers, the same for everybody."""
    span = max(float(np.ptp(values)), 1e-3)
    steps = np.array([1, 2, 5]) * 10.0 ** np.arange(-4, 3)[:, None]
    width = float(steps[steps >= span / 50].min())
    low = np.floor(values.min() / width) * width
    return low + width * np.arange(int(np.ceil((values.max() - low) / width + 1e-9)) + 1)


def _legend_above(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend over all panels, each label once."""
    entries: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside upper center",
        ncols=2 if len(entries) == 4 else len(entries),
        handlelength=3,
    )


def mismatch(collection: Collection) -> Drawing | None:
    """Test error with and without fine-tuning, guided against random."""
    import pandas as pd

    modes = ("none", "finetune")
    lines = (
        (RANDOM, "random", RANDOM_COLOUR, "s", "--"),
        (GUIDED, "posterior", GUIDED_COLOUR, "o", "-"),
    )
    records = []
    for study in selection.fine_tuned(collection.scale):
        for variant, source in ((RANDOM, "random"), (GUIDED, "posterior"), (FULL, "full")):
            for mode in modes:
                rows = measured(collection, study, variant, source, mode)
                if not rows.empty:
                    interval = confidence_interval(rows["test_error"])
                    estimate, low, high = bounds(interval)
                    records.append((study, variant, mode, estimate, low, high, interval.count))
    names = ["study", "variant", "mode", "test_error_pct", "low95_pct", "high95_pct", "seeds"]
    data = pd.DataFrame(records, columns=names)
    studies = [
        str(study)
        for study, rows in data.groupby("study", sort=False)
        if (rows["mode"] == "finetune").any()
    ]
    if not studies:
        return None
    data = data[data["study"].isin(studies)]
    figure, axes = style.panels(1, len(studies), height=3.0, width=4.2 * len(studies))
    for axis, study in zip(axes[0], studies, strict=True):
        rows = data[data["study"] == study]
        for side, (variant, _, colour, marker, dashes) in zip((-1, 1), lines, strict=True):
            own = rows[rows["variant"] == variant].set_index("mode").reindex(modes).dropna()
            x = np.array([modes.index(mode) for mode in own.index]) + 0.05 * side
            error = own["test_error_pct"]
            axis.errorbar(
                x,
                error,
                [error - own["low95_pct"], own["high95_pct"] - error],
                color=colour,
                marker=marker,
                linestyle=dashes,
                capsize=3,
                label=variant,
            )
            for place, value in zip(x, error, strict=True):
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
        for whole in rows[rows["variant"] == FULL].itertuples():
            axis.axhline(
                whole.test_error_pct, color=REFERENCE_COLOUR, linestyle=":", label="full model"
            )
            axis.axhspan(
                whole.low95_pct, whole.high95_pct, color=REFERENCE_COLOUR, alpha=0.15, linewidth=0
            )
        axis.set_xticks([0, 1], ["inherited weights", "fine-tuned"])
        axis.set_xlim(-0.45, 1.45)
        axis.set_ylim(0, 1.08 * float(rows["high95_pct"].max()))
        axis.grid(False, axis="x")
        style.title(axis, _describe(collection, study))
    axes[0, 0].set_ylabel("test error [%]")
    _legend_above(figure, axes.flat)
    return Drawing(figure, data)


def _judged(
    collection: Collection, study: str, guided: str = GUIDED
) -> Iterator[tuple[str, Run, Any]]:
    """(label, run, ranking) of ``guided``, its variants in l², and ``random``.

    ``guided``: the variant that stands for it.
    """
    sweep = selection.sweep(collection.scale, study, "gates.length_scale2")
    kinds = [
        (f"guided, l² = {value:g}", guided if variant == GUIDED else variant, "posterior")
        for variant, value in sorted(sweep.items(), key=lambda item: float(item[1]))
    ]
    for label, variant, source in [*kinds, ("random", RANDOM, "random")]:
        for run in collection.find(study, variant):
            ranking = run.ranking(source)
            if ranking is not None and ranking["cell"].isna().all():  # a cell's size says little
                yield label, run, ranking


def _looks(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each label: random light, guided from dark to pale with l²."""
    guided = [label for label in dict.fromkeys(labels) if label != "random"]
    colours = style.sequence(max(len(guided), 2))
    return {"random": {"color": RANDOM_COLOUR, "marker": "s"}} | {
        label: {
            "color": GUIDED_COLOUR if len(guided) == 1 else colours[i],
            "marker": "oD^vP*"[i % 6],
        }
        for i, label in enumerate(guided)
    }


def pareto_front(size: ArrayLike, error: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other beats: none is as small and better, or smaller and as good.

    Of equal points, the first.
    """
    sizes, errors = np.asarray(size, dtype=float), np.asarray(error, dtype=float)
    order = np.lexsort((errors, sizes))
    ordered = errors[order]
    best_before = np.concatenate([[np.inf], np.minimum.accumulate(ordered)[:-1]])
    front = np.zeros(len(sizes), dtype=bool)
    front[order[ordered < best_before]] = True
    return front


def pareto(collection: Collection) -> Drawing | None:
    """Candidates' validation error against their size with the Pareto front, a panel a seed."""
    import pandas as pd

    tables = [
        ranking[["candidate", "parameters"]].assign(
            study=study,
            seed=run.seed,
            kind=label,
            validation_error_pct=100 * (1 - ranking["validation_accuracy"]),
        )
        for study in selection.drawn(collection.scale)
        for label, run, ranking in _judged(collection, study)
    ]
    if not tables:
        return None
    data = pd.concat(tables, ignore_index=True)
    data["on_front"] = False
    for _, rows in data.groupby(["study", "seed"]):
        data.loc[rows.index, "on_front"] = pareto_front(
            rows["parameters"], rows["validation_error_pct"]
        )
    looks = _looks(data["kind"])
    studies = list(dict.fromkeys(data["study"]))
    shown = {
        study: sorted(data.loc[data["study"] == study, "seed"].unique())[:MOST_PANELS]
        for study in studies
    }
    columns = max(len(seeds) for seeds in shown.values())
    figure, axes = style.panels(len(studies), columns, height=3.0, sharex="row", sharey="row")
    for row, (study, seeds) in zip(axes, shown.items(), strict=True):
        for axis, seed in zip(row, seeds, strict=False):
            own = data[(data["study"] == study) & (data["seed"] == seed)]
            for kind, points in own.groupby("kind", sort=False):
                axis.scatter(
                    points["parameters"] / 1e6,
                    points["validation_error_pct"],
                    s=9,
                    alpha=0.75,
                    linewidths=0,
                    label=kind,
                    **looks[str(kind)],
                )
            front = own[own["on_front"]].sort_values("parameters")
            axis.step(
                front["parameters"] / 1e6,
                front["validation_error_pct"],
                where="post",
                color=REFERENCE_COLOUR,
                linewidth=1.1,
                label="Pareto front",
            )
            axis.set_xlabel("parameters [M]")
            style.title(axis, f"seed {seed}")
        for axis in row[len(seeds) :]:
            axis.set_axis_off()
        row[0].set_ylabel(
            "validation error, inherited weights [%]\n" + _describe(collection, study)
        )
    _legend_above(figure, axes.flat)
    return Drawing(figure, data)


def candidates(collection: Collection) -> Drawing | None:
    """Expected validation error of the best of n candidates against n."""
    import pandas as pd

    records = []
    for study in selection.drawn(collection.scale):
        judged: dict[str, list[Any]] = {}
        most = most_candidates(collection, study)
        for label, _, ranking in _judged(collection, study, guided=most):
            judged.setdefault(label, []).append(ranking["validation_accuracy"].to_numpy())
        for label, seeds in judged.items():
            total = min(map(len, seeds))
            for count in np.unique(np.geomspace(1, total, 40).round().astype(int)).tolist():
                errors = [100 * (1 - expected_best_of_subset(values, count)) for values in seeds]
                interval = confidence_interval(errors)
                records.append((study, label, count, *bounds(interval), interval.count))
    if not records:
        return None
    names = ["study", "kind", "candidates", "validation_error_pct", "low95_pct", "high95_pct"]
    data = pd.DataFrame(records, columns=[*names, "seeds"])
    looks = _looks(data["kind"])
    studies = list(dict.fromkeys(data["study"]))
    figure, axes = style.panels(1, len(studies), height=3.3, width=5.4 * len(studies))
    for axis, study in zip(axes[0], studies, strict=True):
        for kind, own in data[data["study"] == study].groupby("kind", sort=False):
            look = looks[str(kind)]
            n = own["candidates"]
            axis.plot(n, own["validation_error_pct"], markevery=0.15, label=kind, **look)
            axis.fill_between(
                n, own["low95_pct"], own["high95_pct"], color=look["color"], alpha=0.15, lw=0
            )
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel("number of candidates n")
        axis.set_ylabel("expected validation error of the best [%]")
        style.title(axis, _describe(collection, study))
    _legend_above(figure, axes.flat)
    return Drawing(figure, data)


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
    studies = list(dict.fromkeys(data["study"]))
    figure, axes = style.panels(len(studies), 1, height=3.4)
    for axis, study in zip(axes[:, 0], studies, strict=True):
        own = data[data["study"] == study]
        variants = list(dict.fromkeys(own["variant"]))
        for variant, mode, x, x_low, x_high, y, y_low, y_high in own[names[1:]].itertuples(
            index=False
        ):
            number = variants.index(variant)
            colour = {GUIDED: GUIDED_COLOUR, RANDOM: RANDOM_COLOUR, FULL: REFERENCE_COLOUR}.get(
                variant, style.sequence(len(variants))[number]
            )
            axis.errorbar(
                x,
                y,
                xerr=[[x - x_low], [x_high - x]],
                yerr=[[y - y_low], [y_high - y]],
                color=colour,
                marker="osD^vPX*"[number % 8],
                markersize=7,
                markerfacecolor=colour if mode == "none" else "white",
                linestyle="none",
                linewidth=1,
                capsize=2,
                label=variant + ("" if mode == "none" else ", fine-tuned"),
            )
        axis.set_xlim(0, 1.05 * own["minutes_high"].max())
        axis.set_xlabel("wall time of one seed, all stages [min]")
        axis.set_ylabel("test error [%]")
        style.title(axis, _describe(collection, study))
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Drawing(figure, data)


# --- the learned channel posterior ----------------------------------------------------------------


def _channel_trajectories(collection: Collection) -> dict[str, dict[float, pd.DataFrame]]:
    """By study and l²: drop probabilities of every epoch, gate and group, a column a seed.

    ``guided`` and its variants in l² only; the index is (gate, group, size, epoch), gates in the
    order of the network.
    """
    import pandas as pd

    found: dict[str, dict[float, pd.DataFrame]] = {}
    for study in selection.drawn(collection.scale):
        sweep = selection.sweep(collection.scale, study, "gates.length_scale2")
        for variant, value in sweep.items():
            columns = {}
            for run in collection.find(study, variant):
                table = run.trajectory()
                if table is not None and (drop := table[table["option"] == "drop"]).size:
                    index = ["gate", "group", "size", "epoch"]
                    columns[run.seed] = drop.set_index(index)["probability"]
            if columns:
                found.setdefault(study, {})[float(value)] = pd.DataFrame(columns)
    return {study: dict(sorted(values.items())) for study, values in found.items()}


def trajectories(collection: Collection) -> Drawing | None:
    """Drop probabilities of the channel gates over training, a panel a value of l²."""
    import pandas as pd
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    found = _channel_trajectories(collection)
    if not found:
        return None
    shown = {study: list(values.items())[:MOST_PANELS] for study, values in found.items()}
    columns = max(len(values) for values in shown.values())
    figure, axes = style.panels(len(shown), columns, height=2.7, sharey="row")
    records = []
    for row, (study, values) in zip(axes, shown.items(), strict=True):
        for axis, (length_scale2, seeds) in zip(row, values, strict=False):
            means = 100 * seeds.mean(axis="columns")
            gates = list(dict.fromkeys(means.index.get_level_values("gate")))
            colours = ListedColormap(style.sequence(max(len(gates), 2)))
            for gate, lines in means.unstack("epoch").groupby(level="gate", sort=False):
                colour = colours(gates.index(gate))
                axis.plot(lines.columns, lines.T, color=colour, linewidth=1.1)
            style.title(axis, f"l² = {length_scale2:g}")
            axis.set_xlabel("epoch")
            axis.set_xlim(0, means.index.get_level_values("epoch").max())
            axis.xaxis.get_major_locator().set_params(integer=True)
            records.append(
                means.rename("drop_probability_pct")
                .reset_index()
                .assign(study=study, length_scale2=length_scale2, seeds=seeds.shape[1])
            )
        for axis in row[len(values) :]:
            axis.set_axis_off()
        row[0].set_ylim(bottom=0)
        row[0].set_ylabel("drop probability [%]\n" + _describe(collection, study))
        bar = figure.colorbar(
            ScalarMappable(BoundaryNorm(np.arange(len(gates) + 1) + 0.5, len(gates)), colours),
            ax=list(row),
            ticks=[1, len(gates)],
            pad=0.01,
            aspect=30,
        )
        bar.set_label("gate, input to output", fontsize=8)
        bar.ax.minorticks_off()
    return Drawing(figure, pd.concat(records, ignore_index=True))


def kept_share(collection: Collection) -> Drawing | None:
    """Share of input channels that the posterior keeps, by layer, spread over seeds."""
    import pandas as pd

    found = _channel_trajectories(collection)
    if not found:
        return None
    figure, axes = style.panels(len(found), 1, height=3.2)
    records = []
    for axis, (study, values) in zip(axes[:, 0], found.items(), strict=True):
        for number, (length_scale2, seeds) in enumerate(values.items()):
            flat = seeds.reset_index()
            last = flat[flat["epoch"] == flat["epoch"].max()]
            sizes = last["size"].to_numpy()[:, None]
            kept = 100 * (1 - last[list(seeds.columns)]) * sizes
            order = last["gate"].drop_duplicates()
            total = last.groupby("gate", sort=False)["size"].sum()
            shares = kept.groupby(last["gate"], sort=False).sum().div(total, axis="index")
            shares = shares.loc[order]
            colour = style.sequence(len(values))[number]
            x = np.arange(1, len(shares) + 1)
            axis.fill_between(
                x,
                shares.min(axis="columns"),
                shares.max(axis="columns"),
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
            marker = "osD^vPX*"[number % 8]
            axis.plot(
                x,
                shares.mean(axis="columns"),
                color=colour,
                marker=marker,
                label=f"l² = {length_scale2:g}",
            )
            tidy = shares.rename_axis(columns="seed").stack().rename("kept_share_pct")
            records.append(tidy.reset_index().assign(study=study, length_scale2=length_scale2))
        rates = [
            run.record["fixed_drop_probability"]
            for run in collection.find(study, RANDOM)
            if run.record.get("fixed_drop_probability") is not None
        ]
        if rates:
            axis.axhline(
                100 * (1 - float(np.mean(rates))),
                color=REFERENCE_COLOUR,
                linestyle="--",
                linewidth=1.2,
                label="random baseline",
            )
        axis.set_ylim(0, 103)
        axis.set_ylabel("input channels kept [%]")
        if len(shares) <= 40:
            axis.set_xticks(x, _without_common_prefix(shares.index), rotation=90, fontsize=7)
            axis.set_xlabel("gate, input to output")
        else:
            axis.set_xlabel("gate number, input to output")
        axis.grid(False, axis="x")
        style.title(axis, _describe(collection, study))
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6, borderaxespad=0.2)
    return Drawing(figure, pd.concat(records, ignore_index=True))


def _without_common_prefix(names: Sequence[str]) -> list[str]:
    """``stages.0.a`` and ``stages.1.b`` as ``0.a`` and ``1.b``."""
    first = names[0].split(".")[0] + "."
    shared = first if all(name.startswith(first) for name in names) else ""
    return [name.removeprefix(shared) for name in names]


# --- the learned posterior over cells -------------------------------------------------------------


def posterior_cells(collection: Collection) -> Drawing | None:
    """Marginal probabilities of every operation on every edge, mean over seeds."""
    import pandas as pd
    import seaborn as sns

    records = []
    for study in selection.over_cells_in_all(collection.scale):
        for run in collection.find(study, GUIDED):
            table = run.trajectory()
            if table is None:
                continue
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
    studies = list(data["study"].unique())
    figure, axes = style.panels(
        1, len(studies), height=3.4, width=min(4.8 * len(studies), 2 * style.WIDTH)
    )
    for axis, study in zip(axes[0], studies, strict=True):
        own = data[data["study"] == study]
        edges, operations = list(own["edge"].unique()), list(own["operation"].unique())
        means = own.pivot(index="edge", columns="operation", values="probability_pct")
        halves = own.pivot(index="edge", columns="operation", values="half_width95_pct")
        means, halves = means.loc[edges, operations], halves.loc[edges, operations]
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
            xticklabels=[OPERATION_NAMES.get(name, name) for name in operations],
            yticklabels=[edge.removeprefix("edge ").replace(">", " → ") for edge in edges],
            cbar_kws={"label": "probability [%]", "pad": 0.02},
        )
        bar = axis.collections[0].colorbar
        bar.outline.set_visible(False)
        uniform = 100 / len(operations)
        bar.ax.axhline(uniform, color=REFERENCE_COLOUR, linewidth=1)
        bar.set_ticks([0, uniform, 40, 60, 80, 100] if uniform == 20 else [0, 50, 100])
        axis.set_xlabel("operation")
        axis.set_ylabel("edge (from node → to node)")
        axis.tick_params(axis="both", length=0, rotation=0)
        style.title(axis, f"{study}, {own['seeds'].max()} seeds")
    return Drawing(figure, data)


def _cell_text(mean: float, half_width: float) -> str:
    return f"{mean:.0f}" if np.isnan(half_width) else f"{mean:.0f} ± {half_width:.0f}"


def _main_efficiencies(collection: Collection) -> dict[str, Sequence[Any]]:
    return {
        study: seeds
        for (study, variant), seeds in collection.efficiencies().items()
        if variant == GUIDED
    }


def samples_to_reach(collection: Collection) -> Drawing | None:
    """Expected samples to reach an accuracy, uniform against learned."""
    import pandas as pd

    found = _main_efficiencies(collection)
    if not found:
        return None
    figure, axes = style.panels(1, len(found), height=3.3, width=5.4 * len(found))
    records = []
    for axis, (study, seeds) in zip(axes[0], found.items(), strict=True):
        curves = [seed.record["mass_by_accuracy"] for seed in seeds]
        for index, threshold in enumerate(curves[0]["threshold"]):
            uniform = expected_draws(curves[0]["uniform_mass"][index])
            learned = expected_draws_over_seeds(curve["mass"][index] for curve in curves)
            records.append((study, 100 * threshold, uniform, *bounds(learned), learned.count))
        names = ["study", "target_pct", "uniform", "learned", "low95", "high95", "seeds"]
        data = pd.DataFrame(records, columns=names)
        own = data[(data["study"] == study) & np.isfinite(data["uniform"])]
        own = own[own["uniform"] >= 1.5]  # below, everybody reaches the target at once
        x = own["target_pct"]
        axis.plot(
            x,
            own["uniform"],
            color=RANDOM_COLOUR,
            linestyle="--",
            marker="s",
            markersize=3.5,
            label="uniform sampling",
        )
        axis.plot(
            x,
            own["learned"],
            color=GUIDED_COLOUR,
            marker="o",
            markersize=3.5,
            label="learned posterior",
        )
        axis.fill_between(x, own["low95"], own["high95"], color=GUIDED_COLOUR, alpha=0.2, lw=0)
        for target in seeds[0].record["targets"]:
            percent = 100 * target["target"]
            marked = own[np.isclose(x, percent)]
            if len(marked):
                above, below = float(marked["uniform"].iloc[0]), float(marked["learned"].iloc[0])
                axis.plot([percent] * 2, [below, above], color="#888888", linewidth=1, zorder=1)
                # Left of the line: the curves rise to its right, where only the last one has room.
                last = percent == x.max()
                axis.annotate(
                    f"{above / below:.1f}x",
                    (percent, np.sqrt(above * below)),
                    (3 if last else -3, 0),
                    textcoords="offset points",
                    ha="left" if last else "right",
                    va="center",
                    fontsize=8,
                )
        axis.set_yscale("log")
        axis.set_ylim(bottom=1)
        axis.set_xlim(right=x.max() + 0.6)  # room for the last ratio
        axis.grid(False, axis="x")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_xlabel(f"target: true test accuracy on {data_name(seeds[0].truth)} [%]")
        axis.set_ylabel("expected number of samples")
        style.title(axis, f"{study}, {len(seeds)} seeds")
        axis.legend(loc="upper left")
    return Drawing(figure, data)


def best_of_n(collection: Collection) -> Drawing | None:
    """Expected best true accuracy of n samples, uniform against learned."""
    import pandas as pd

    found = _main_efficiencies(collection)
    if not found:
        return None
    figure, axes = style.panels(1, len(found), height=3.3, width=5.4 * len(found))
    tables = []
    for axis, (study, seeds) in zip(axes[0], found.items(), strict=True):
        curves = [seed.record["best_of_n"] for seed in seeds]
        learned = [
            bounds(confidence_interval([100 * curve["expected"][index] for curve in curves]))
            for index in range(len(curves[0]["n"]))
        ]
        own = pd.DataFrame(learned, columns=["learned_pct", "low95_pct", "high95_pct"]).assign(
            study=study,
            n=curves[0]["n"],
            uniform_pct=100 * np.array(curves[0]["uniform_expected"]),
            optimum_pct=100 * seeds[0].record["best_accuracy"],
            seeds=len(seeds),
        )
        tables.append(own)
        best = float(own["optimum_pct"].iloc[0])
        best_line(axis, best)
        axis.plot(
            own["n"],
            own["uniform_pct"],
            color=RANDOM_COLOUR,
            linestyle="--",
            label="uniform sampling",
        )
        axis.plot(own["n"], own["learned_pct"], color=GUIDED_COLOUR, label="learned posterior")
        axis.fill_between(
            own["n"], own["low95_pct"], own["high95_pct"], color=GUIDED_COLOUR, alpha=0.2, lw=0
        )
        axis.set_xscale("log")
        axis.set_xlim(1, own["n"].max())
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel("number of samples n")
        axis.set_ylabel(f"expected best true accuracy on {data_name(seeds[0].truth)} [%]")
        style.title(axis, f"{study}, {len(seeds)} seeds")
        axis.legend(loc="lower right")
    return Drawing(figure, pd.concat(tables, ignore_index=True))


def best_line(axis: Axes, best: float) -> None:
    """The true accuracy (percent) that no cell passes."""
    axis.axhline(
        best,
        color=REFERENCE_COLOUR,
        linestyle=":",
        linewidth=1.2,
        label=f"best of all cells ({best:.2f} %)",
    )


def data_name(name: str) -> str:
    known = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16_120": "ImageNet16-120"}
    return known.get(name, name)
