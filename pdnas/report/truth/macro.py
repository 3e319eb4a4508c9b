"""The study of NAS-Bench-Macro: what distributions over its networks are worth, and searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pdnas.report import style
from pdnas.report.collect import Collection, RunEfficiency
from pdnas.report.columns import SEEDS, words
from pdnas.report.formats import NOT_RUN, OURS, Cell, Column, Table
from pdnas.report.measures import bounds, estimate
from pdnas.report.notes import conditions
from pdnas.report.style import GUIDED_COLOUR, Drawing
from pdnas.report.truth.methods import DRAWN, TAUS, Method, retrained, rival_queries
from pdnas.report.truth.samples import draw_samples
from pdnas.spec import selection
from pdnas.support.statistics import (
    Interval,
    confidence_interval,
    expected_draws,
    expected_draws_over_seeds,
    geometric_interval,
)

TRUTH, DATASET = "nasbench-macro", "cifar10"

GOALS = {"near_best": "0.5 points below the best", "top": "the best 1 %"}
"""Goals besides the truth's targets."""

BLOCKS = ("identity", "expansion 3, kernel 3", "expansion 6, kernel 5")


def macro_methods(collection: Collection) -> list[Method]:
    """Every variant of the scale's studies that was judged, in the order of the scale.

    What learns as the study's base does is the guided one.
    """
    found = []
    for study in selection.over_macro(collection.scale):
        content = collection.scale.studies[study]
        for variant, overrides in content.variants.items():
            seeds = [
                RunEfficiency(run, DATASET, record)
                for run in collection.find(study, variant)
                if (record := run.macro_record()) is not None
            ]
            if seeds:
                learned = seeds[0].run.spec.gates.mode == "learned"
                guided = learned and not overrides
                found.append(Method(variant, collection.label(study, variant), guided, seeds))
    return found


def _goals(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is said of each target, then of each goal."""
    return [*record["targets"], *(record[goal] for goal in GOALS)]


def _samples(method: Method) -> list[Interval]:
    """Expected samples to each target and goal."""
    by_goal = zip(*map(_goals, method.records), strict=True)
    return [expected_draws_over_seeds(each["mass"] for each in same) for same in by_goal]


def macro(collection: Collection) -> Table:
    """One-shot methods and searches of the table against NAS-Bench-Macro's ground truth."""
    found, rivals = macro_methods(collection), collection.rivals_of(TRUTH)
    targets, rows = _named_goals(found), [*map(_method_cells, found)]
    if found:
        thresholds = [each["target"] for each in _goals(found[0].records[0])]
        uniform = found[0].records[0]
        drawn = [expected_draws(each["uniform_mass"]) for each in _goals(uniform)]
        mean = 100 * uniform["uniform_mean_accuracy"]
        gaps = (None,) * (len(GOALS) * 2 + 4)
        rows.insert(0, ("uniform sampling", "samples", mean, *drawn, *gaps, None))
        for method, rival in rivals.items():
            by_query = 100 * rival.trace().pivot(
                index="seed", columns="query", values="best_accuracy"
            )
            chosen = confidence_interval(by_query[DRAWN]) if DRAWN in by_query else NOT_RUN
            rows.append(
                (
                    rival.label or method,
                    "queries",
                    None,
                    *rival_queries(rival, thresholds),
                    *(None,) * (len(GOALS) * 2),
                    chosen,
                    None,
                    None,
                    None,
                    int(rival.record["seeds"]),
                )
            )
    rows = rows or [("guided", "samples", *(NOT_RUN,) * (len(targets) + 2 * len(GOALS) + 6))]
    return Table(
        "macro",
        "NAS-Bench-Macro: one-shot methods and searches of the table against the ground truth",
        (
            words("method"),
            words("what", "what is counted"),
            Column("ours_mean_accuracy_pct", "mean of a sample [%]", OURS, estimate=True),
            *(
                Column(f"ours_to_{key}", f"to {what}", OURS, digits=3, estimate=True)
                for key, what in targets.items()
            ),
            *(
                column
                for goal, what in GOALS.items()
                for column in (
                    Column(
                        f"ours_speedup_{goal}",
                        f"fewer than uniform to {what} by",
                        OURS,
                        digits=3,
                        estimate=True,
                    ),
                    Column(
                        f"ours_retrained_{goal}", "new trainings", OURS, digits=3, estimate=True
                    ),
                )
            ),
            Column(f"ours_chosen_{DRAWN}_pct", f"best of {DRAWN} [%]", OURS, estimate=True),
            Column("ours_kendall_tau", "Kendall τ", OURS, estimate=True),
            Column("ours_kendall_tau_top", "τ, top tenth", OURS, estimate=True),
            Column("ours_search_minutes", "search [CPU min]", OURS, decimals=1, estimate=True),
            SEEDS,
        ),
        tuple(rows),
        (
            "Every network was trained by itself three times; its true accuracy is the mean. What "
            "is said of samples is exact, by enumeration of all 6 561 networks, and no method saw "
            "these accuracies.",
            "Samples and ratios: geometric mean over seeds with the 95 % t-interval of the "
            "logarithms, cut at one sample. Other numbers: mean ± half-width of the 95 % "
            "t-interval. New trainings: what the noise of the trainings leaves of the same ratio, "
            "95 % (docs/truths.md).",
            f"Best of {DRAWN}: true accuracy of the one with the highest accuracy with inherited "
            f"weights of {DRAWN} samples, an expectation; the mode where the supernet did not "
            f"score the networks; of a search, the one with the best signal of {DRAWN} queries. τ: "
            "Kendall's, between inherited and true accuracy of all networks, and of the truly best "
            "tenth.",
            "Queries: searches of the table. One query is one whole training: the benchmark has no "
            "shorter one. It shows the test accuracy of the first training, which is also a third "
            "of the true accuracy, so these searches know a part of what judges them. Expected "
            "queries if a search that fails is begun anew; bootstrap interval over searches.",
            *conditions(collection, dict.fromkeys(method.study for method in found)),
        ),
    )


def _named_goals(found: Sequence[Method]) -> dict[str, str]:
    """Targets and goals as columns call them."""
    from pdnas.truth.tables.nasbench_macro import NasBenchMacro

    targets = NasBenchMacro.targets[DATASET]
    if found:
        targets = tuple(each["target"] for each in found[0].records[0]["targets"])
    return {f"{1000 * each:.0f}": f"{100 * each:g} %" for each in targets} | GOALS


def _method_cells(method: Method) -> tuple[Cell, ...]:
    """A method's row; what is said of a uniform distribution is exact, without an interval."""
    samples, mean = _samples(method), method.percent("mean_accuracy")
    exact = method.uniform
    saved: list[Cell] = []
    for goal in GOALS:
        seeds = [record[goal] for record in method.records]
        most = expected_draws(seeds[0]["uniform_mass"])
        ratio = geometric_interval([each["speedup"] for each in seeds]).within(most=most)
        saved += [None, None] if exact else [ratio, retrained(seeds, "speedup")]
    return (
        method.label,
        "samples",
        mean[0] if exact else estimate(mean),
        *([each.estimate for each in samples] if exact else samples),
        *saved,
        estimate(method.chosen(DATASET)),
        *(estimate(record[key] for record in method.records) for key in TAUS.values()),
        estimate(seconds / 60 for seconds in method.search_seconds()),
        len(method.seeds),
    )


def macro_samples(collection: Collection) -> Drawing | None:
    """Expected samples or queries to the targets and to the best hundredth, every method."""
    found = macro_methods(collection)
    if not found:
        return None
    goals = [*found[0].records[0]["targets"], found[0].records[0]["top"]]
    titles = {each["target"]: f"to {100 * each['target']:g} %" for each in goals[:-1]}
    titles[goals[-1]["target"]] = f"best 1 %: {100 * goals[-1]['target']:.2f} %"
    kept = [*range(len(goals) - 1), -1]
    exact = [Interval(expected_draws(each["uniform_mass"]), np.nan, np.nan, 1) for each in goals]
    kinds = [("uniform sampling", "sampling", exact)]
    for method in found:
        if not method.uniform:
            samples = _samples(method)
            kinds.append((method.label, "one-shot", [samples[place] for place in kept]))
    for rival in collection.rivals_of(TRUTH).values():
        kinds.append((f"{rival.label} (table)", "table", rival_queries(rival, list(titles))))
    return draw_samples(kinds, titles)


def macro_blocks(collection: Collection) -> Drawing | None:
    """What learned distributions choose in each layer, and what the truly best networks have."""
    import pandas as pd

    found = [method for method in macro_methods(collection) if not method.uniform]
    if not found:
        return None
    learned = {
        method.label: [seed.everything["blocks"]["posterior"] for seed in method.seeds]
        for method in found
    }
    best = [found[0].seeds[0].everything["blocks"]["best"]]
    layers = np.arange(len(best[0]))
    figure, axes = style.panels(1, len(BLOCKS), height=3.3, sharex=True, sharey=True)
    tables = []
    for code, (axis, block) in enumerate(zip(axes[0], BLOCKS, strict=True)):
        for (name, seeds), look in zip(
            {**learned, "best 1 %": best}.items(), _looks(found), strict=True
        ):
            shares = np.transpose(np.array(seeds)[:, :, code])
            ends = np.array([bounds(confidence_interval(100 * each)) for each in shares]).T
            style.line(axis, layers, [*ends], within=(0, 100), label=name, **look)
            values = dict(zip(("probability_pct", "low95", "high95"), ends, strict=True))
            drawn = {"networks": name, "block": code, "layer": layers, **values}
            tables.append(pd.DataFrame({**drawn, "seeds": len(seeds)}))
        style.title(axis, f"{code}: {block}")
        axis.set(xlabel="layer", ylim=(0, 102))
        axis.set_xticks(layers)
    axes[0, 0].set_ylabel("probability, or share of the best [%]")
    style.explain_bands(axes[0, 0])
    style.legend_above(figure)
    return Drawing(figure, pd.concat(tables, ignore_index=True))


def _looks(found: Sequence[Method]) -> list[dict[str, Any]]:
    """The guided method, others, and the truly best."""
    looks: list[dict[str, Any]] = []
    colours = iter(style.others(len(found)))
    for number, method in enumerate(found):
        look: dict[str, Any] = {"color": next(colours), "marker": style.MARKERS[1 + number % 7]}
        looks.append(
            {"color": GUIDED_COLOUR, "marker": "o", "linewidth": 2.2} if method.guided else look
        )
    return [*looks, {"color": style.REFERENCE_COLOUR, "linestyle": ":", "linewidth": 1.4}]
