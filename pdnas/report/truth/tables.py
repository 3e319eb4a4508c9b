"""Tables of the studies against ground truth: sample efficiency, methods, rivals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pdnas.report.collect import Collection, Rival
from pdnas.report.columns import SEEDS, words
from pdnas.report.formats import NOT_RUN, OURS, Cell, Column, Table
from pdnas.report.measures import estimate
from pdnas.report.notes import NOTHING_RUN, chosen_by_truth, conditions
from pdnas.report.truth.methods import (
    DRAWN,
    PUBLISHED_NOTE,
    PUBLISHED_RIVALS,
    TAUS,
    Method,
    data_name,
    methods,
    published,
    retrained,
    rival_hours,
    rival_queries,
)
from pdnas.runs.run import Run
from pdnas.support.statistics import (
    Interval,
    confidence_interval,
    expected_draws,
    expected_draws_over_seeds,
    geometric_interval,
)
from pdnas.truth.columns import DATASETS, TARGETS
from pdnas.truth.tables.nasbench201 import NasBench201


def sample_efficiency(collection: Collection) -> Table:
    """NAS-Bench-201: how many samples the learned posterior saves."""
    rows: list[tuple[Cell, ...]] = []
    found = collection.efficiencies()
    for (study, variant), seeds in found.items():
        records, truth = [seed.record for seed in seeds], seeds[0].truth
        quantities: list[tuple[str, Cell, Cell, Cell, Cell]] = []
        for same in zip(*(record["targets"] for record in records), strict=True):
            uniform_mass, masses = same[0]["uniform_mass"], [target["mass"] for target in same]
            ratios = [mass / uniform_mass for mass in masses] if uniform_mass else []
            most = expected_draws(uniform_mass)
            quantities.append(
                (
                    f"expected samples to {100 * same[0]['target']:.1f} % on {truth}",
                    most,
                    expected_draws_over_seeds(masses),
                    geometric_interval(ratios).within(most=most) if ratios else None,
                    retrained(same, "speedup") if ratios and "retrained" in same[0] else None,
                )
            )
        chosen = _chosen_accuracies((seed.run for seed in seeds), truth)
        for name, uniform, learned in (
            (
                "a sample, mean",
                100 * records[0]["uniform_mean_accuracy"],
                estimate(100 * record["mean_accuracy"] for record in records),
            ),
            ("the mode", None, estimate(100 * record["mode_accuracy"] for record in records)),
            ("the chosen cell", None, estimate(chosen)),
            ("the best of all cells", *(100 * records[0]["best_accuracy"],) * 2),
        ):
            quantities.append((f"true accuracy of {name} [%]", uniform, learned, None, None))
        rows += [(study, variant, *quantity, len(seeds)) for quantity in quantities]
    if not rows:
        rows.append((None, None, "expected samples", *(NOT_RUN,) * 5))
    return Table(
        "efficiency",
        "Sample efficiency on NAS-Bench-201",
        (
            *(words(key) for key in ("study", "variant", "quantity")),
            Column("uniform", "uniform sampling", OURS, estimate=True),
            Column("learned", "learned posterior", OURS, estimate=True),
            Column("ratio", "uniform / learned", OURS, estimate=True),
            Column("retrained", "new trainings", OURS, estimate=True),
            SEEDS,
        ),
        tuple(rows),
        (
            "The paper has no such table. Sample counts are exact, by enumeration of all cells of "
            "the run's operations (15 625 of all five): 1 / the probability of drawing a cell "
            "whose true test accuracy (NAS-Bench-201, 200 epochs) reaches the target. The "
            "posterior never saw these accuracies.",
            *chosen_by_truth(collection),
            "Sample counts and their ratio: geometric mean over seeds with the 95 % t-interval of "
            "the logarithms in brackets; accuracies: mean ± half-width of the 95 % t-interval. "
            "What is said of uniform sampling is exact.",
            "New trainings: what the noise of the truth leaves of the ratio, 95 % "
            "(docs/truths.md); – where the record is older.",
            "The chosen cell has the highest one-shot validation accuracy of the candidates that "
            "were drawn and judged.",
            *conditions(collection, dict.fromkeys(study for study, _ in found)),
        ),
    )


def _chosen_accuracies(runs: Iterable[Run], truth: str) -> list[float]:
    """True accuracies (percent) of the best-ranked candidates of the posterior, a run each."""
    cells = [str(chosen["cell"]) for run in runs if (chosen := run.chosen("posterior")) is not None]
    if not cells:
        return []
    table = NasBench201.load()
    accuracy = table.accuracy(truth)
    return [100 * float(accuracy[table.cell_id(cell)]) for cell in cells]


def nasbench(collection: Collection) -> Table:
    """One-shot methods: how many samples, which cell, how well its scores rank, what it costs."""
    found, targets = methods(collection), TARGETS["cifar10"]
    rows = [_method_cells(method) for method in found]
    known = {method.label for method in found}
    for name in ("DARTS", "RSPS", "SETN", "GDAS", "DrNAS", "beta-DARTS"):
        if name not in known:
            gaps = (NOT_RUN,) * (10 + len(targets))
            rows.append((name, None, *(published(name, data) for data in DATASETS), *gaps))
    images = {
        record["images"]
        for method in found
        for seed in method.seeds
        if method.scored and (record := seed.run.scores_record) is not None
    }
    return Table(
        "nasbench",
        "NAS-Bench-201: one-shot methods against the ground truth",
        (
            words("method"),
            words("variant"),
            *(
                Column(f"published_{name}_pct", f"{data_name(name)} [%]", "published")
                for name in DATASETS
            ),
            Column("ours_mean_accuracy_pct", "mean of a sample [%]", OURS, estimate=True),
            *_to_targets("samples", targets),
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
            *chosen_by_truth(collection),
            PUBLISHED_NOTE,
            *conditions(collection, dict.fromkeys(method.study for method in found)),
        ),
    )


def _method_cells(method: Method) -> tuple[Cell, ...]:
    """A method's row; what is said of uniform sampling is exact, without an interval."""
    mean, samples = method.percent("mean_accuracy"), method.samples()
    return (
        method.label,
        method.variant,
        *(published(method.label, name) for name in DATASETS),
        mean[0] if method.uniform else estimate(mean),
        *([each.estimate for each in samples] if method.uniform else samples),
        None if method.uniform else estimate(method.percent("mode_accuracy")),
        "score" if method.scored else "mode",
        *(estimate(method.chosen(name)) for name in DATASETS),
        *(estimate(record[key] for record in method.records) for key in TAUS.values()),
        estimate(seconds / 60 for seconds in method.search_seconds()),
        len(method.seeds),
    )


def _to_targets(what: str, targets: Sequence[float], how: str = "") -> list[Column]:
    """Columns of the expected cost to each target."""
    return [
        Column(
            f"ours_{what.lower().replace(' ', '_')}_to_{1000 * target:.0f}" + f"_{how}" * bool(how),
            f"{what} to {100 * target:.1f} %" + f", {how}" * bool(how),
            OURS,
            decimals=1,
            estimate=True,
        )
        for target in targets
    ]


def _retrained_choice(rival: Rival) -> Cell:
    """The chosen accuracy (percent) with the interval of the truth's noise; None: not on record."""
    chosen = rival.record["chosen_accuracy"]
    if "retrained" not in chosen:
        return None
    noise = chosen["retrained"]
    mean, low, high = (100 * each for each in (chosen["estimate"], noise["low"], noise["high"]))
    return Interval(mean, low, high, rival.record["seeds"])


def _retrained_queries(rival: Rival, targets: Sequence[float]) -> list[Cell]:
    """Expected queries to each target, likewise."""
    found = {each["target"]: each.get("retrained") for each in rival.record["targets"]}
    cells: list[Cell] = []
    for noise in map(found.get, targets):
        if noise is None or noise["low"] is None:
            cells.append(None)
        else:
            value, low, high = (noise[name] for name in ("expected_queries", "low", "high"))
            cells.append(Interval(value, low, high, rival.record["seeds"]))
    return cells


def rivals(collection: Collection) -> Table:
    """Searches of the table of 12-epoch accuracies."""
    targets = TARGETS["cifar10"]
    longest = max((rival.record["queries"] for rival in collection.rivals.values()), default=300)
    rows: list[tuple[Cell, ...]] = []
    for method, rival in collection.rivals.items():
        by_query = 100 * rival.trace().pivot(index="seed", columns="query", values="best_accuracy")
        rows.append(
            (
                rival.label,
                published(PUBLISHED_RIVALS.get(method), "cifar10"),
                *(
                    confidence_interval(by_query[query]) if query in by_query else NOT_RUN
                    for query in (DRAWN, longest)
                ),
                float(by_query[DRAWN].std()) if DRAWN in by_query else NOT_RUN,
                _retrained_choice(rival),
                *rival_queries(rival, targets),
                *_retrained_queries(rival, targets),
                *rival_hours(rival, targets),
                int(rival.record["seeds"]),
            )
        )
    for method, name in PUBLISHED_RIVALS.items():
        if method not in collection.rivals:
            gaps = (NOT_RUN,) * (5 + 3 * len(targets))
            rows.append((method, published(name, "cifar10"), *gaps))
    return Table(
        "rivals",
        "NAS-Bench-201: searches of the table, CIFAR-10",
        (
            words("method"),
            Column("published_accuracy_pct", "test accuracy [%]", "published"),
            Column("ours_chosen_100_pct", f"chosen, {DRAWN} queries [%]", OURS, estimate=True),
            Column("ours_chosen_last_pct", f"chosen, {longest} queries [%]", OURS, estimate=True),
            Column("ours_deviation_100_pct", "standard deviation [%]", OURS),
            Column(
                "ours_chosen_retrained_pct", "chosen in the end, retrained [%]", OURS, estimate=True
            ),
            *_to_targets("queries", targets),
            *_to_targets("queries", targets, "retrained"),
            *_to_targets("GPU hours", targets),
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
            "Retrained: the 95 % interval that the noise of the truth leaves, as other trainings "
            "of the same cells for 200 epochs would have given other accuracies; – where the "
            "record is older. GPU hours: of the same queries, by the benchmark's own seconds.",
            PUBLISHED_NOTE,
            *(() if collection.rivals else (NOTHING_RUN,)),
        ),
    )
