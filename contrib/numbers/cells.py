"""Studies of one-of-many switches: NAS-Bench-201 and NAS-Bench-Macro, against their truths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from contrib.numbers.published import RESULTS, part, published
from pdnas.report import catalogue, publish
from pdnas.report.columns import words
from pdnas.report.formats import Cell, Column, Table
from pdnas.report.measures import estimate
from pdnas.report.truth.methods import Method
from pdnas.report.truth.methods import methods as methods_of
from pdnas.support.statistics import expected_draws, geometric_interval, holm, mean_is_zero

GOALS = (0.935, 0.94)
"""The true accuracies to which methods are compared."""


def efficiency(folder: str) -> Table:
    """What the posterior over cells is worth."""
    return part(
        catalogue.table("efficiency", published()[folder]),
        {
            "quantity": "quantity",
            "uniform": "uniform",
            "learned": "guided",
            "ratio": "uniform / guided",
            "ours_seeds": "seeds",
        },
    )


def methods(folder: str) -> Table:
    """One-shot methods against the ground truth."""
    return part(
        catalogue.table("nasbench", published()[folder]),
        {
            "method": "method",
            "ours_mean_accuracy_pct": "mean of a sample [%]",
            "ours_samples_to_930": "samples to 93.0 %",
            "ours_samples_to_935": "to 93.5 %",
            "ours_samples_to_940": "to 94.0 %",
            "ours_mode_accuracy_pct": "most probable cell [%]",
            "ours_chosen_by": "chosen by",
            "ours_chosen_cifar10_pct": "chosen cell [%]",
            "ours_kendall_tau": "τ of scores",
            "ours_kendall_tau_top": "τ, top tenth",
            "ours_search_minutes": "a search [min]",
            "ours_seeds": "seeds",
        },
    )


def compared() -> Table:
    """How many times fewer samples each method needs than uniform sampling, and than ``guided``."""
    found = methods_of(published()["laptop-nasbench"])
    learned = [method for method in found if not method.uniform]
    guided = learned[0]
    tests = [mean_is_zero(np.log(_speedups(method, goal))) for method in learned for goal in GOALS]
    p = iter(holm(tests))
    rows = []
    for method in learned:
        against = [
            cell
            for goal in GOALS
            for cell in (
                geometric_interval(_speedups(method, goal)).within(most=_uniform(method, goal)),
                next(p),
            )
        ]
        rows.append((method.label, *against, *_beside(method, guided), len(method.seeds)))
    columns = (
        words("method"),
        *(
            column
            for goal in ("93.5", "94.0")
            for column in (
                Column(f"to_{goal}", f"fewer than uniform, to {goal} %", digits=3, estimate=True),
                Column(f"p_{goal}", "p, corrected", digits=2),
            )
        ),
        *(
            Column(f"beside_{goal}", f"fewer than guided, to {goal} %", digits=2, estimate=True)
            for goal in ("93.5", "94.0")
        ),
        Column("mean", "mean of a sample minus guided's [points]", estimate=True),
        Column("seeds", "seeds"),
    )
    return Table("compared", "", columns, tuple(rows))


def _target(record: Mapping[str, Any], goal: float) -> Mapping[str, Any]:
    """What a run's record says of one target."""
    found: Mapping[str, Any]
    found = next(each for each in record["targets"] if np.isclose(each["target"], goal))
    return found


def _speedups(method: Method, goal: float) -> list[float]:
    """Uniform expected samples by the method's, a seed each."""
    return [float(_target(record, goal)["speedup"]) for record in method.records]


def _uniform(method: Method, goal: float) -> float:
    return expected_draws(_target(method.records[0], goal)["uniform_mass"])


def _beside(method: Method, guided: Method) -> tuple[Cell, ...]:
    """Ratios of expected samples and the difference of means, paired by seed; none of itself."""
    if method is guided:
        return (None,) * (len(GOALS) + 1)
    by_seed = {each.run.seed: each.record for each in guided.seeds}
    pairs = [(each.record, by_seed[each.run.seed]) for each in method.seeds]
    ratios = (
        geometric_interval([_target(a, goal)["mass"] / _target(b, goal)["mass"] for a, b in pairs])
        for goal in GOALS
    )
    gaps = (100 * (a["mean_accuracy"] - b["mean_accuracy"]) for a, b in pairs)
    return (*ratios, estimate(gaps))


def settings() -> Table:
    """What validation images, and what the truth, say of the settings of ``guided``."""
    choice = publish.published(RESULTS / "laptop-nasbench" / "choice")
    rows = []
    for variant in choice.scale.studies["trial"].variants:
        (run,) = choice.find("trial", variant)
        ranking, efficiency = run.ranking("posterior"), run.efficiency_record()
        assert ranking is not None
        assert efficiency is not None
        spec = run.spec
        epochs = f"{spec.gates.warmup_epochs} + {spec.training.epochs - spec.gates.warmup_epochs}"
        judged = ranking[["validation_accuracy", "validation_loss"]].mean()
        rows.append(
            (
                spec.data.train,
                epochs,
                spec.gates.learning_rate,
                100 * judged.iloc[0],
                judged.iloc[1],
                float(_target(efficiency["datasets"]["cifar10"], GOALS[0])["speedup"]),
            )
        )
    columns = (
        Column("images", "images"),
        words("epochs", "epochs: uniform + learning"),
        Column("rate", "rate of the logits", digits=2),
        Column("accuracy", "validation accuracy of a candidate, mean [%]", decimals=1),
        Column("loss", "its loss", decimals=3),
        Column("speedup", "true: fewer samples to 93.5 %", digits=3),
    )
    return Table("settings", "", columns, tuple(rows))


def searches() -> Table:
    """Searches of NAS-Bench-201's table of short trainings."""
    return part(
        catalogue.table("rivals", published()["laptop-nasbench"]),
        {
            "method": "method",
            "ours_queries_to_930": "queries to 93.0 %",
            "ours_queries_to_935": "to 93.5 %",
            "ours_queries_to_940": "to 94.0 %",
            "ours_chosen_100_pct": "chosen after 100 queries [%]",
            "ours_searches": "searches",
        },
    )


def macro() -> Table:
    """Methods and searches of the table on NAS-Bench-Macro."""
    return part(
        catalogue.table("macro", published()["laptop-macro"]),
        {
            "method": "method",
            "what": "what is counted",
            "ours_mean_accuracy_pct": "mean of a sample [%]",
            "ours_to_930": "to 93 %",
            "ours_to_top": "to the best 1 %",
            "ours_chosen_100_pct": "best of 100 [%]",
            "ours_kendall_tau": "τ of scores",
            "ours_search_minutes": "a search [min]",
            "ours_seeds": "seeds",
        },
    )
