"""Tables and figures of the study of NAS-Bench-201, which `snakemake nasbench` makes.

A *method* is a variant of a study over cells: something that is trained once and gives a
distribution over cells. Searches of the table (*rivals*) train nothing and ask for one cell after
the other. All accuracies are true test accuracies on the study's own data set unless said.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdnas.report import figures, style
from pdnas.report.collect import GUIDED, Collection, Rival, RunEfficiency
from pdnas.report.figures import OPERATION_NAMES, Drawing, best_line, bounds, data_name
from pdnas.report.formats import NOT_RUN, OURS, Cell, Column, Table, text
from pdnas.report.style import GUIDED_COLOUR, RANDOM_COLOUR, REFERENCE_COLOUR
from pdnas.report.tables import (
    CHOSEN_BY_TRUTH,
    NOTHING_RUN,
    SEEDS,
    conditions,
    estimate,
    paper,
)
from pdnas.support.errors import PdnasError
from pdnas.support.statistics import (
    Interval,
    confidence_interval,
    expected_draws,
    expected_draws_over_seeds,
)
from pdnas.truth.columns import DATASETS, TARGETS
from pdnas.truth.efficiency import load_probabilities
from pdnas.truth.rivals import queries_to_reach
from pdnas.truth.table import GroundTruth

NAMES = {
    GUIDED: "posterior-guided",
    "chain": "guided, dependent edges",
    "held-out": "guided, held-out images",
    "score-function": "guided, score function",
    "relaxed": "guided, relaxed",
    "no-warm-up": "guided, no warm-up",
    "temperature-1-5": "guided, temperature 1/5",
    "spos": "SPOS (uniform)",
    "gdas": "GDAS",
    "darts": "DARTS",
}
"""What tables and figures call the usual variants; others go by their own name."""

PUBLISHED = {"gdas": "GDAS", "darts": "DARTS"}
PUBLISHED_RIVALS = {"random": "random search", "evolution": "REA", "reinforce": "REINFORCE"}
"""Where the literature reports the same method. RSPS is none of ours: it trains uniform paths, as
SPOS does, but chooses in another way."""

DRAWN = 100
"""Samples among which the one-shot scores choose, and queries of a search of the table."""

_TAUS = {"τ": "kendall_tau", "top tenth": "kendall_tau_top"}
_ENDS = ("", "_low95", "_high95")

PUBLISHED_NOTE = (
    "Published: test accuracy ± standard deviation over searches as the methods' authors report "
    "it, found on the benchmark's own supernets; sources in pdnas/paper/nasbench201_published.csv."
)


def methods(collection: Collection) -> dict[str, list[RunEfficiency]]:
    """Seeds of every method that was run, by variant, the guided one first.

    Raises:
        PdnasError: two studies over cells have a variant of the same name.
    """
    found: dict[str, list[RunEfficiency]] = {}
    for (study, variant), seeds in collection.efficiencies("nasbench").items():
        if variant in found:
            raise PdnasError(
                f"{found[variant][0].run.study} and {study} both have a variant {variant!r}, which "
                "one table cannot tell apart; give one another name"
            )
        found[variant] = seeds
    return dict(sorted(found.items(), key=lambda each: each[0] != GUIDED))


def scored_methods(collection: Collection) -> dict[str, list[RunEfficiency]]:
    """Those of :func:`methods` whose supernets scored every cell."""
    return {variant: seeds for variant, seeds in methods(collection).items() if is_scored(seeds)}


def is_scored(seeds: Sequence[RunEfficiency]) -> bool:
    """Whether the supernets of all seeds scored every cell."""
    return all(seed.record["chosen_of_n"] for seed in seeds)


def is_uniform(seeds: Sequence[RunEfficiency]) -> bool:
    """Whether the method draws every cell alike, so that it prefers none."""
    return seeds[0].run.spec.gates.mode == "fixed"


def published(method: str | None, dataset: str) -> Cell:
    """``mean ± deviation`` in percent, or None where nobody reports it."""
    rows = paper("nasbench201_published")
    rows = rows[(rows["method"] == method) & (rows["dataset"] == dataset)]
    if rows.empty:
        return None
    row = rows.iloc[0]
    spread = f" ± {row['std_pct']:.2f}" if row["std_pct"] > 0 else ""
    return f"{row['test_accuracy_pct']:.2f}{spread}"


def chosen_accuracies(seeds: Sequence[RunEfficiency], dataset: str) -> list[float]:
    """True accuracy (percent) of the cell that a method ends with, by seed.

    That is the best-scored of DRAWN samples (an expectation), or, unless all seeds have scores, the
    mode: so the authors of DARTS and GDAS choose.
    """
    facts = [seed.everything["datasets"][dataset] for seed in seeds]
    if not is_scored(seeds):
        return [100 * float(each["mode_accuracy"]) for each in facts]
    curves = [each["chosen_of_n"] for each in facts]
    return [100 * float(curve["expected"][curve["n"].index(DRAWN)]) for curve in curves]


def search_seconds(seed: RunEfficiency) -> float:
    """What the search cost: processor time, which other work on the machine leaves alone, or on a
    GPU the time by the clock."""
    spent = seed.run.provenance
    return float(spent["wall_seconds" if spent["hardware"]["gpus"] else "cpu_seconds"])


def expected_queries(first: NDArray[np.float64], queries: int) -> Interval:
    """Expected queries until a target is reached, if a failed search is begun anew.

    It is Σ min(first, queries) / (searches that succeed), the counterpart of a distribution's
    expected number of samples; the interval is a bootstrap over searches.

    Args:
        first: queries that each search needed, inf where it failed, shape (searches,).
        queries: after which a search gives up.
    """
    from scipy.stats import bootstrap

    def ratio(needed: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        spent = np.minimum(needed, queries).sum(axis=axis)
        hits = np.isfinite(needed).sum(axis=axis)
        with np.errstate(divide="ignore"):
            whole: NDArray[np.float64] = spent / hits
        return whole

    value = float(ratio(first))
    if not np.isfinite(value) or np.ptp(first) == 0:
        return Interval(value, float("nan"), float("nan"), len(first))
    low, high = bootstrap(
        (first,), ratio, method="percentile", n_resamples=2000, rng=0
    ).confidence_interval
    finite = bool(np.isfinite([low, high]).all())
    return Interval(
        value, low if finite else float("nan"), high if finite else float("nan"), len(first)
    )


def rival_queries(rival: Rival, targets: Sequence[float]) -> list[Interval]:
    """:func:`expected_queries` to each target."""
    reached = rival.trace().pivot(index="seed", columns="query", values="accuracy").to_numpy()
    needed = queries_to_reach(reached, targets)
    return [expected_queries(column, reached.shape[1]) for column in needed.T]


# --- tables ---------------------------------------------------------------------------------------


def nasbench(collection: Collection) -> Table:
    """One-shot methods: how many samples, which cell, how well its scores rank, what it costs."""
    rows: list[tuple[Cell, ...]] = []
    found = methods(collection)
    for variant, seeds in found.items():
        first = seeds[0].record
        by_target = zip(*(seed.record["targets"] for seed in seeds), strict=True)
        samples = [
            expected_draws_over_seeds(target["mass"] for target in same) for same in by_target
        ]
        chosen = [estimate(chosen_accuracies(seeds, name)) for name in DATASETS]
        rows.append(
            (
                NAMES.get(variant, variant),
                variant,
                *(published(PUBLISHED.get(variant), name) for name in DATASETS),
                100 * first["mean_accuracy"]
                if is_uniform(seeds)
                else estimate(100 * seed.record["mean_accuracy"] for seed in seeds),
                *([each.estimate for each in samples] if is_uniform(seeds) else samples),
                None
                if is_uniform(seeds)
                else estimate(100 * seed.record["mode_accuracy"] for seed in seeds),
                "score" if is_scored(seeds) else "mode",
                *chosen,
                *(estimate(seed.record[key] for seed in seeds) for key in _TAUS.values()),
                estimate(search_seconds(seed) / 60 for seed in seeds),
                len(seeds),
            )
        )
    targets = TARGETS["cifar10"]
    known = {PUBLISHED.get(variant) for variant in found}
    for method in ("DARTS", "RSPS", "SETN", "GDAS", "DrNAS", "beta-DARTS"):
        if method not in known:
            gaps = (NOT_RUN,) * (10 + len(targets))
            reported = (published(method, name) for name in DATASETS)
            rows.append((method, None, *reported, *gaps))
    images = {
        seed.run.scores_record["images"]
        for seeds in found.values()
        for seed in seeds
        if is_scored(seeds) and seed.run.scores_record is not None
    }
    return Table(
        "nasbench",
        "NAS-Bench-201: one-shot methods against the ground truth",
        (
            Column("method", "method", is_text=True),
            Column("variant", "variant", is_text=True),
            *(
                Column(f"published_{name}_pct", f"{data_name(name)} [%]", "published")
                for name in DATASETS
            ),
            Column("ours_mean_accuracy_pct", "mean of a sample [%]", OURS, estimate=True),
            *(
                Column(
                    f"ours_samples_to_{1000 * target:.0f}",
                    f"samples to {100 * target:.1f} %",
                    OURS,
                    decimals=1,
                    estimate=True,
                )
                for target in targets
            ),
            Column("ours_mode_accuracy_pct", "mode [%]", OURS, estimate=True),
            Column("ours_chosen_by", "chosen by", OURS, is_text=True),
            Column("ours_chosen_cifar10_pct", "chosen, CIFAR-10 [%]", OURS, estimate=True),
            Column("ours_chosen_cifar100_pct", "chosen, CIFAR-100 [%]", OURS, estimate=True),
            Column("ours_chosen_imagenet_pct", "chosen, ImageNet16-120 [%]", OURS, estimate=True),
            Column("ours_kendall_tau", "Kendall τ", OURS, estimate=True),
            Column("ours_kendall_tau_top", "τ, top tenth", OURS, estimate=True),
            Column("ours_search_minutes", "search [CPU min]", OURS, decimals=1, estimate=True),
            SEEDS,
        ),
        tuple(rows),
        (
            "Samples to a target: expected number, exact by enumeration of all cells; geometric "
            "mean over seeds with the 95 % t-interval of the logarithms, cut at one sample. Other "
            "numbers: mean ± half-width of the 95 % t-interval over seeds.",
            f"Chosen by score: the one with the highest one-shot validation accuracy of {DRAWN} "
            "cells drawn from the method's distribution; expectation over draws, exact. By mode: "
            "the most probable cell, for methods whose supernets did not score the cells. τ: "
            "Kendall's, between one-shot and true accuracy of all cells, and of the truly best "
            "tenth.",
            *(f"Scores are accuracies on {number} validation images." for number in sorted(images)),
            "CPU minutes: of all threads; on a GPU, minutes by the clock.",
            CHOSEN_BY_TRUTH,
            PUBLISHED_NOTE,
            *conditions(collection, dict.fromkeys(seeds[0].run.study for seeds in found.values())),
        ),
    )


def rivals(collection: Collection) -> Table:
    """Searches of the table of 12-epoch accuracies."""
    targets = TARGETS["cifar10"]
    longest = max((rival.record["queries"] for rival in collection.rivals.values()), default=300)
    rows: list[tuple[Cell, ...]] = []
    for method, rival in collection.rivals.items():
        by_query = 100 * rival.trace().pivot(index="seed", columns="query", values="best_accuracy")
        rows.append(
            (
                method,
                published(PUBLISHED_RIVALS.get(method), "cifar10"),
                *(
                    confidence_interval(by_query[query]) if query in by_query else NOT_RUN
                    for query in (DRAWN, longest)
                ),
                float(by_query[DRAWN].std()) if DRAWN in by_query else NOT_RUN,
                *rival_queries(rival, targets),
                int(rival.record["seeds"]),
            )
        )
    for method, name in PUBLISHED_RIVALS.items():
        if method not in collection.rivals:
            gaps = (NOT_RUN,) * (4 + len(targets))
            rows.append((method, published(name, "cifar10"), *gaps))
    return Table(
        "rivals",
        "NAS-Bench-201: searches of the table, CIFAR-10",
        (
            Column("method", "method", is_text=True),
            Column("published_accuracy_pct", "test accuracy [%]", "published"),
            Column("ours_chosen_100_pct", f"chosen, {DRAWN} queries [%]", OURS, estimate=True),
            Column("ours_chosen_last_pct", f"chosen, {longest} queries [%]", OURS, estimate=True),
            Column("ours_deviation_100_pct", "standard deviation [%]", OURS),
            *(
                Column(
                    f"ours_queries_to_{1000 * target:.0f}",
                    f"queries to {100 * target:.1f} %",
                    OURS,
                    decimals=1,
                    estimate=True,
                )
                for target in targets
            ),
            Column("ours_searches", "searches", OURS),
        ),
        tuple(rows),
        (
            "A search sees a cell's validation accuracy after 12 epochs of training and is judged "
            "by the test accuracy after 200 epochs of the best one it saw: mean ± half-width of "
            f"the 95 % t-interval over searches; the standard deviation is that after {DRAWN} "
            "queries.",
            "Queries to a target: expected number until a cell of that true accuracy was asked "
            "for, if a search that fails is begun anew; bootstrap interval over searches. Each "
            "query costs 12 epochs of training one network; a sample of the table of one-shot "
            "methods costs one evaluation.",
            PUBLISHED_NOTE,
            *(() if collection.rivals else (NOTHING_RUN,)),
        ),
    )


# --- figures --------------------------------------------------------------------------------------


def samples_to_target(collection: Collection) -> Drawing | None:
    """Expected samples until a target is reached, every method, with intervals."""
    import pandas as pd

    found = methods(collection)
    if not found:
        return None
    truth = next(iter(found.values()))[0]
    targets = [target["target"] for target in truth.record["targets"]]
    records = [
        (
            "uniform sampling",
            "sampling",
            100 * target["target"],
            *(expected_draws(target["uniform_mass"]), np.nan, np.nan),
        )
        for target in truth.record["targets"]
    ]
    for variant, seeds in found.items():
        if is_uniform(seeds):
            continue
        for number, target in enumerate(targets):
            interval = expected_draws_over_seeds(
                seed.record["targets"][number]["mass"] for seed in seeds
            )
            name = NAMES.get(variant, variant)
            records.append((name, "one-shot", 100 * target, *_triple(interval)))
    for method, rival in collection.rivals.items():
        for target, interval in zip(targets, rival_queries(rival, targets), strict=True):
            records.append((f"{method} (table)", "table", 100 * target, *_triple(interval)))
    names = ["method", "kind", "target_pct", "samples", "low95", "high95"]
    data = pd.DataFrame(records, columns=names)
    order = list(dict.fromkeys(data["method"]))[::-1]
    height = 0.9 + 0.22 * len(order)
    figure, axes = style.panels(1, len(targets), height=height, sharex=True, sharey=True)
    marks = {"sampling": ("s", RANDOM_COLOUR), "one-shot": ("o", GUIDED_COLOUR)}
    row: Any
    for axis, target in zip(axes[0], targets, strict=True):
        for row in data[data["target_pct"] == 100 * target].itertuples():
            marker, colour = marks.get(row.kind, ("D", REFERENCE_COLOUR))
            y = order.index(row.method)
            if not np.isfinite(row.samples):
                continue
            axis.plot([row.low95, row.high95], [y, y], color=colour, linewidth=1.4)
            axis.plot(row.samples, y, marker=marker, color=colour, linestyle="none")
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        # No number is below 1; three seeds that disagree have intervals over many powers of ten.
        axis.set_xlim(0.7, 4 * data["samples"].replace(np.inf, np.nan).max())
        axis.set_yticks(range(len(order)), order)
        axis.set_ylim(-0.6, len(order) - 0.4)
        axis.grid(False, axis="y")
        axis.set_xlabel("expected samples or queries")
        style.title(axis, f"to {100 * target:.1f} % on {data_name(truth.truth)}")
    return Drawing(figure, data)


def _triple(interval: Interval) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high


def best_so_far(collection: Collection) -> Drawing | None:
    """True accuracy of the cell that a method would choose after n samples or queries.

    Of a one-shot method each seed is drawn: they are too few for a band to say where others lie.
    """
    import pandas as pd

    found = {
        name: seeds
        for name, seeds in scored_methods(collection).items()
        if name in (GUIDED, "spos")
    }
    if not found and not collection.rivals:
        return None
    curves: list[tuple[Any, ...]] = []
    for variant, seeds in found.items():
        chosen = [seed.record["chosen_of_n"] for seed in seeds]
        for index, n in enumerate(chosen[0]["n"]):
            interval = confidence_interval([100 * curve["expected"][index] for curve in chosen])
            name = f"{NAMES[variant]}, ranked by one-shot score"
            curves.append((name, "one-shot", None, n, *bounds(interval)))
            for seed, curve in zip(seeds, chosen, strict=True):
                one = 100 * curve["expected"][index]
                curves.append((name, "one-shot", seed.run.seed, n, one, None, None))
    for method, rival in collection.rivals.items():
        by_query = 100 * rival.trace().pivot(index="seed", columns="query", values="best_accuracy")
        for n in np.unique(np.geomspace(1, by_query.shape[1], 40).round().astype(int)):
            interval = confidence_interval(by_query[n])
            curves.append((f"{method} (table)", "table", None, int(n), *bounds(interval)))
    names = ["method", "kind", "seed", "n", "accuracy_pct", "low95_pct", "high95_pct"]
    data = pd.DataFrame(curves, columns=names)
    figure, axes = style.panels(1, 1, height=4.2)
    axis = axes[0, 0]
    dashes = cycle(("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1))))
    greys = iter(style.sequence(max(len(collection.rivals), 1)))
    for label, drawn in data.groupby("method", sort=False):
        rows = drawn[drawn["seed"].isna()]
        one_shot = rows["kind"].iloc[0] == "one-shot"
        if one_shot:
            guided = str(label).startswith(NAMES[GUIDED])
            colour: Any = GUIDED_COLOUR if guided else RANDOM_COLOUR
            line: Any = {"linewidth": 2.2, "linestyle": "-"}
        else:
            colour, line = next(greys), {"linewidth": 1.2, "linestyle": next(dashes)}
        name = f"{label}; thin: its seeds" if one_shot else str(label)
        axis.plot(rows["n"], rows["accuracy_pct"], color=colour, label=name, **line)
        for _, alone in drawn.groupby("seed"):
            axis.plot(alone["n"], alone["accuracy_pct"], color=colour, linewidth=0.6)
        if not one_shot:
            low, high = rows["low95_pct"], rows["high95_pct"]
            axis.fill_between(rows["n"], low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlim(1, data["n"].max())
    best = 100 * GroundTruth.load().accuracy().max()  # rivals search CIFAR-10's table
    best_line(axis, best)
    axis.set_ylim(max(float(data["accuracy_pct"].min()), 88), best + 0.3)
    axis.set_xlabel("samples (one-shot) or queries of 12-epoch trainings (table)")
    axis.set_ylabel("true test accuracy of the choice [%]")
    figure.legend(loc="outside upper center", ncols=2, handlelength=3)
    return Drawing(figure, data)


def _whole_steps(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Edges of about 40 bins of as many possible scores each: those on 60 images have 61 values."""
    steps = np.diff(np.unique(scores))
    step = steps.min() if len(steps) else 1.0
    width = step * max(1, round(np.ptp(scores) / (40 * step)))
    return np.arange(scores.min() - step / 2, scores.max() + width, width)


def one_shot(collection: Collection) -> Drawing | None:
    """One-shot against true accuracy of all cells, a panel a method."""
    import pandas as pd

    found = scored_methods(collection)
    if not found:
        return None
    columns = min(len(found), figures.MOST_PANELS)
    rows = -(-len(found) // columns)
    figure, axes = style.panels(rows, columns, height=2.1, sharey=True)
    records = []
    for axis, (variant, seeds) in zip(axes.flat, found.items(), strict=False):
        truth = 100 * GroundTruth.load().accuracy(seeds[0].truth)
        table = seeds[0].run.scores()
        assert table is not None  # efficiency-scored.json was made from it
        scores = 100 * table.sort_values("cell_id")["score"].to_numpy()
        shown = truth >= 60  # the rest, a few hundred cells, hardly learned anything
        axis.hist2d(
            scores[shown],
            truth[shown],
            bins=(_whole_steps(scores[shown]), 40),
            cmin=1,
            norm="log",
            cmap="Blues",
        )
        taus = [estimate(seed.record[key] for seed in seeds) for key in _TAUS.values()]
        column = Column("tau", "τ")
        values = [f"{label} {text(tau, column)}" for label, tau in zip(_TAUS, taus, strict=True)]
        axis.text(0.98, 0.04, "\n".join(values), transform=axis.transAxes, ha="right", fontsize=7.5)
        style.title(axis, NAMES.get(variant, variant))
        axis.set_xlabel("one-shot accuracy [%]")
        records.append(
            pd.DataFrame(
                {"cell_id": np.arange(len(truth)), "one_shot_pct": scores, "true_pct": truth}
            ).assign(variant=variant, seed=seeds[0].run.seed)
        )
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("true accuracy [%]")
    return Drawing(figure, pd.concat(records, ignore_index=True))


def posterior_training(collection: Collection) -> Drawing | None:
    """Marginal probabilities over the epochs of the search, a panel an edge."""
    import pandas as pd

    seeds = methods(collection).get(GUIDED)
    if not seeds:
        return None
    trajectories = [table for seed in seeds if (table := seed.run.trajectory()) is not None]
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
    edges = list(data["gate"].unique())
    figure, axes = style.panels(2, 3, height=1.7, sharex=True, sharey=True)
    for axis, edge in zip(axes.flat, edges, strict=True):
        grid = data[data["gate"] == edge].pivot(
            index="option", columns="epoch", values="probability_pct"
        )
        grid = grid.loc[list(data["option"].unique())]
        image = axis.imshow(
            grid, aspect="auto", cmap="Blues", vmin=0, vmax=100, interpolation="nearest"
        )
        axis.set_yticks(range(len(grid)), [OPERATION_NAMES.get(name, name) for name in grid.index])
        axis.grid(False)
        axis.tick_params(length=0)
        axis.xaxis.get_major_locator().set_params(integer=True)
        style.title(axis, edge.replace(">", " → "))
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    figure.colorbar(image, ax=axes, label="probability [%]", pad=0.01, aspect=30)
    return Drawing(figure, data)


def posterior_mass(collection: Collection) -> Drawing | None:
    """Probability that a sample is among the truly best x cells."""
    import pandas as pd

    found = {name: seeds for name, seeds in methods(collection).items() if not is_uniform(seeds)}
    if not found:
        return None
    table = GroundTruth.load()
    records = []
    for variant, seeds in found.items():
        truth = table.accuracy(seeds[0].truth)
        order = np.argsort(-truth, kind="stable")
        ranks = np.unique(np.geomspace(1, len(order), 120).round().astype(int))
        masses = np.stack(
            [np.cumsum(load_probabilities(seed.run.folder)[order])[ranks - 1] for seed in seeds]
        )
        for rank, values in zip(ranks, masses.T, strict=True):
            interval = confidence_interval(100 * values).within(0, 100)
            records.append((variant, int(rank), *bounds(interval), len(seeds)))
    names = ["variant", "best_cells", "mass_pct", "low95_pct", "high95_pct", "seeds"]
    data = pd.DataFrame(records, columns=names)
    figure, axes = style.panels(1, 1, height=4.2)
    axis = axes[0, 0]
    colours = style.sequence(len(found))
    dashes = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))
    for number, (name, rows) in enumerate(data.groupby("variant", sort=False)):
        guided = name == GUIDED
        colour = GUIDED_COLOUR if guided else colours[number]
        axis.plot(
            rows["best_cells"],
            rows["mass_pct"],
            color=colour,
            linewidth=2.2 if guided else 1.2,
            linestyle=dashes[number % len(dashes)],
            label=NAMES.get(str(name), str(name)),
        )
        if guided:
            axis.fill_between(
                rows["best_cells"],
                rows["low95_pct"],
                rows["high95_pct"],
                color=colour,
                alpha=0.2,
                lw=0,
            )
    cells = int(data["best_cells"].max())
    axis.plot(
        (x := np.geomspace(1, cells, 200)),
        100 * x / cells,
        color=RANDOM_COLOUR,
        linestyle="--",
        label="uniform sampling",
    )
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=0.1)
    axis.set_ylim(0, 105)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlim(1, cells)
    axis.set_xlabel("the truly best … cells")
    axis.set_ylabel("probability of a sample among them [%]")
    figure.legend(loc="outside upper center", ncols=3, handlelength=3)
    return Drawing(figure, data)


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
            variant,
            *bounds(confidence_interval([search_seconds(seed) for seed in seeds])),
            *bounds(confidence_interval(chosen_accuracies(seeds, seeds[0].truth))),
            len(seeds),
        )
        for variant, seeds in found.items()
    ]
    quantities = [f"{name}{end}" for name in ("seconds", "accuracy_pct") for end in _ENDS]
    data = pd.DataFrame(records, columns=["variant", *quantities, "seeds"])
    figure, axes = style.panels(1, 1, height=3.4)
    axis = axes[0, 0]
    colours = style.sequence(len(data))
    shown = data["accuracy_pct"][data["accuracy_pct"] >= data["accuracy_pct"].max() - _COLLAPSED]
    floor = float(shown.min()) - 1
    row: Any
    for number, row in enumerate(data.itertuples()):
        name = NAMES.get(row.variant, row.variant)
        below = row.accuracy_pct < floor
        axis.errorbar(
            row.seconds,
            floor if below else row.accuracy_pct,
            None
            if below
            else _lengths(row.accuracy_pct, row.accuracy_pct_low95, row.accuracy_pct_high95),
            _lengths(row.seconds, row.seconds_low95, row.seconds_high95),
            color=GUIDED_COLOUR if row.variant == GUIDED else colours[number],
            marker="osD^vPX*"[number % 8],
            markersize=7,
            linestyle="none",
            capsize=2,
            linewidth=1,
            label=f"{name}: {row.accuracy_pct:.1f}, below the frame" if below else name,
            clip_on=not below,
        )
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.set_xlim(left=0)
    axis.set_ylim(floor, float(shown.max()) + 1)
    axis.set_xlabel("time of the search [s]")
    axis.set_ylabel("true accuracy of the chosen cell [%]")
    return Drawing(figure, data)


def _lengths(estimate: float, low: float, high: float) -> list[list[float]]:
    """Lengths of an error bar downwards and upwards."""
    return [[estimate - low], [high - estimate]]
