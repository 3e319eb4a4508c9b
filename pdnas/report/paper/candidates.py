"""Ranked candidates: Figure 1, Table 6, the best of n, and error against size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pdnas.report import style
from pdnas.report.collect import Collection
from pdnas.report.columns import ERROR, PAPER_ERROR, SEEDS, STUDY, join
from pdnas.report.formats import OURS, PAPER, Cell, Column, Table
from pdnas.report.measures import bounds, by_candidates, estimate, measured, most_candidates
from pdnas.report.notes import MEAN, conditions
from pdnas.report.paper.reported import reported
from pdnas.report.style import GUIDED_COLOUR, RANDOM_COLOUR, REFERENCE_COLOUR, Drawing
from pdnas.runs.run import Run
from pdnas.spec import selection
from pdnas.support.statistics import (
    confidence_interval,
    expected_best_of_subset,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def figure1(collection: Collection) -> Drawing | None:
    """Histograms of candidates' validation accuracy, guided and random, a panel a seed."""
    import pandas as pd

    looks = {
        "guided": ("posterior", "--", {"facecolor": GUIDED_COLOUR, "hatch": ""}),
        "random": ("random", ":", {"facecolor": RANDOM_COLOUR, "hatch": "////"}),
    }
    found: dict[str, dict[int, dict[str, tuple[Any, float | None]]]] = {}
    for study in selection.guided_and_random(collection.scale):
        seeds: dict[int, dict[str, tuple[Any, float | None]]] = {}
        for role, (source, _, _) in looks.items():
            for run in collection.find(study, getattr(collection.roles[study], role)):
                if (ranking := run.ranking(source)) is not None:
                    values = 100 * ranking["validation_accuracy"].to_numpy()
                    seeds.setdefault(run.seed, {})[role] = values, _whole(run, source)
        if {role for judged in seeds.values() for role in judged} == looks.keys():
            found[study] = seeds
    if not found:
        return None
    rows = max(len(seeds) for seeds in found.values())
    figure, axes = style.panels(
        rows, len(found), height=1.35 if rows > 1 else 2.6, sharex="col", sharey="col"
    )
    records = []
    for column, (study, seeds) in zip(axes.T, found.items(), strict=True):
        bins = _bins(
            np.concatenate([values for judged in seeds.values() for values, _ in judged.values()])
        )
        for axis, (seed, judged) in zip(column, seeds.items(), strict=False):
            for role, (_, dashes, look) in looks.items():
                if role not in judged:
                    continue
                values, whole = judged[role]
                variant = getattr(collection.roles[study], role)
                counts, _ = np.histogram(values, bins)
                label = f"{variant} candidates"
                axis.stairs(
                    counts, bins, fill=True, edgecolor="white", alpha=0.9, label=label, **look
                )
                axis.stairs(counts, bins, color=look["facecolor"], linewidth=1)
                if whole is not None:
                    axis.axvline(
                        whole,
                        color=REFERENCE_COLOUR,
                        linewidth=1.4,
                        linestyle=dashes,
                        label=f"whole supernet, {variant} training",
                    )
                table = {
                    "study": study,
                    "seed": seed,
                    "variant": variant,
                    "bin_low_pct": bins[:-1],
                    "bin_high_pct": bins[1:],
                    "candidates": counts,
                    "whole_supernet_pct": whole,
                }
                records.append(pd.DataFrame(table))
            axis.grid(False)
            beside: Any = {"transform": axis.transAxes, "va": "center", "rotation": 270}
            axis.text(1.01, 0.5, f"seed {seed}", fontsize=8, **beside)
        style.title(column[0], collection.describe(study))
        last = column[len(seeds) - 1]
        last.set_xlabel("validation accuracy with inherited weights [%]")
        last.tick_params(labelbottom=True)
    figure.supylabel("candidates", fontsize=9)
    style.legend_above(figure)
    return Drawing(figure, pd.concat(records, ignore_index=True))


def _whole(run: Run, source: str) -> float | None:
    """Validation accuracy (percent) of the supernet with everything kept."""
    value = run.ranking_records.get(source, {}).get("supernet_validation_accuracy")
    return None if value is None else 100 * float(value)


def _bins(values: Any) -> Any:
    """Twenty to fifty bins over all values, on round numbers, the same for everybody."""
    span = max(float(np.ptp(values)), 1e-3)
    steps = np.array([1, 2, 5]) * 10.0 ** np.arange(-4, 3)[:, None]
    width = float(steps[steps >= span / 50].min())
    low = np.floor(values.min() / width) * width
    return low + width * np.arange(int(np.ceil((values.max() - low) / width + 1e-9)) + 1)


def table6(collection: Collection) -> Table:
    """Number of candidates."""
    published = reported(
        "table6_num_candidates",
        lambda row: int(row["candidates"]),
        ("test_error_pct", "extra_gpu_days"),
    )
    ours: dict[int, list[Sequence[Cell]]] = {}
    limits = []
    studies = selection.on_cifar10(collection.scale)
    for study in studies:
        tested = {
            count: measured(collection, study, variant, "none")["test_error"]
            for count, variant in by_candidates(collection, study).items()
        }
        rankings = []
        for run in collection.find(study, most_candidates(collection, study)):
            ranking = run.ranking("posterior")
            if ranking is not None:
                seconds = run.ranking_records["posterior"]["provenance"]["wall_seconds"]
                rankings.append((ranking["validation_accuracy"].to_numpy(), seconds))
        if not rankings:
            continue
        total = min(len(accuracies) for accuracies, _ in rankings)
        if total < max(published):
            each = float(np.mean([seconds / len(values) for values, seconds in rankings]))
            hours = max(published) * each / 3600
            limits.append(
                f"{study}: more than {total} candidates were not run. Judging one takes {each:.2g} "
                f"s on this hardware, so {max(published)} would take {hours:.1f} hours a seed."
            )
        for count in sorted({1, 10, total, *tested, *published}):
            if count > total:
                continue
            best = (expected_best_of_subset(values, count) for values, _ in rankings)
            cells: Sequence[Cell] = (
                study,
                estimate(100 * (1 - value) for value in best),
                estimate(tested.get(count, ())),
                estimate(count * seconds / len(values) / 60 for values, seconds in rankings),
                len(rankings),
            )
            ours.setdefault(count, []).append(cells)
    expected = "expected validation error of the best [%]"
    columns = (
        Column("candidates", "candidates"),
        PAPER_ERROR,
        Column("paper_extra_gpu_days", "extra GPU days", PAPER),
        STUDY,
        Column("ours_expected_validation_error_pct", expected, OURS, estimate=True),
        ERROR,
        Column("ours_minutes", "extra time [min]", OURS, decimals=2, estimate=True),
        SEEDS,
    )
    return Table(
        "table6",
        "Table 6 of the paper: number of candidates",
        columns,
        join(columns, published, ours, sorted({*published, *ours})),
        (
            "The paper's numbers are SupNet-MI's, on the test set.",
            "Ours is the VALIDATION error of the best of n candidates, its expectation over which "
            "n of a seed's ranked candidates are drawn (without replacement, exact by order "
            "statistics). It is the quantity that is selected, so it is optimistic; the test error "
            "is known where a variant drew just so many, for the one that it chose.",
            "Extra time is n times the measured wall time of judging one candidate.",
            *limits,
            f"{MEAN}.",
            *conditions(collection, studies),
        ),
    )


def _judged(
    collection: Collection, study: str, guided: str | None = None
) -> Iterator[tuple[str, Run, Any]]:
    """(label, run, ranking) of the guided variant, those that differ in l², and the random one.

    ``guided``: the variant that stands for the guided one; None: itself.
    """
    roles = collection.roles[study]
    sweep = selection.sweep(collection.scale, study, "gates.length_scale2")
    kinds: list[tuple[str, str | None, str]] = [
        (
            f"guided, l² = {value:g}",
            (guided or variant) if variant == roles.guided else variant,
            "posterior",
        )
        for variant, value in sorted(sweep.items(), key=lambda item: float(item[1]))
    ]
    for label, variant, source in [*kinds, ("random", roles.random, "random")]:
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
    from matplotlib.ticker import MaxNLocator

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
    unit, size = ("M", 1e6) if data["parameters"].max() >= 1e6 else ("thousands", 1e3)
    studies = dict(list(data.groupby("study", sort=False)))
    shown = {
        study: sorted(own["seed"].unique())[: style.MOST_PANELS] for study, own in studies.items()
    }
    columns = max(len(seeds) for seeds in shown.values())
    figure, axes = style.panels(len(studies), columns, height=3.0, sharex="row", sharey="row")
    for row, (study, seeds) in zip(axes, shown.items(), strict=True):
        for axis, seed in zip(row, seeds, strict=False):
            own = studies[study][studies[study]["seed"] == seed]
            for kind, points in own.groupby("kind", sort=False):
                axis.scatter(
                    points["parameters"] / size,
                    points["validation_error_pct"],
                    s=9,
                    alpha=0.75,
                    linewidths=0,
                    label=kind,
                    **looks[str(kind)],
                )
            front = own[own["on_front"]].sort_values("parameters")
            axis.step(
                front["parameters"] / size,
                front["validation_error_pct"],
                where="post",
                color=REFERENCE_COLOUR,
                linewidth=1.1,
                label="Pareto front of all",
            )
            axis.set_title(f"seed {seed}")
            axis.xaxis.set_major_locator(MaxNLocator(max(8 // columns, 4)))
        label = "validation error, inherited weights [%]"
        row[0].set_ylabel(f"{label}\n{collection.describe(str(study))}")
    figure.supxlabel(f"parameters [{unit}]", fontsize=9)
    style.legend_above(figure)
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
            for count in style.spread(min(map(len, seeds))):
                errors = [100 * (1 - expected_best_of_subset(values, count)) for values in seeds]
                interval = confidence_interval(errors)
                records.append((study, label, count, *bounds(interval), interval.count))
    if not records:
        return None
    names = ["study", "kind", "candidates", "validation_error_pct", "low95_pct", "high95_pct"]
    data = pd.DataFrame(records, columns=[*names, "seeds"])
    looks = _looks(data["kind"])
    count = data["study"].nunique()
    figure, axes = style.panels(1, count, height=3.3, width=5.4 * count)
    for axis, study, rows in style.by_study(axes[0], data):
        for kind, own in rows.groupby("kind", sort=False):
            n, *curve = (own[name] for name in names[2:])
            style.line(axis, n, curve, 0.15, markevery=0.15, label=kind, **looks[str(kind)])
        style.explain_bands(axis)
        style.log_x(axis)
        axis.set_xlabel("number of candidates n")
        axis.set_ylabel("expected validation error of the best [%]")
        style.title(axis, collection.describe(study))
    style.legend_above(figure)
    return Drawing(figure, data)
