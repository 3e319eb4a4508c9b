"""The paper's claims, and what posteriors are worth against the ground truths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean
from typing import Any

import pdnas
from contrib.numbers.published import RESULTS, STAND_INS, part, published
from pdnas.regression.digits import FOLDER
from pdnas.regression.regress import TOP, top
from pdnas.report import catalogue
from pdnas.report.claims import Claim, claims, corrected, table
from pdnas.report.columns import words
from pdnas.report.formats import Cell, Column, Table, text
from pdnas.report.measures import estimate, measured
from pdnas.report.paper.reported import paper
from pdnas.report.truth.macro import macro_methods
from pdnas.report.truth.methods import data_name, retrained
from pdnas.report.truth.sizes import SAMPLERS, bands
from pdnas.runs.run import Run
from pdnas.support.files import read_json
from pdnas.support.statistics import (
    Interval,
    expected_draws,
    expected_draws_over_seeds,
    geometric_interval,
)
from pdnas.truth.columns import DATASETS


@cache
def all_claims() -> tuple[Claim, ...]:
    """The claims of all folders, corrected together; what two of them hold counts once.

    Those of the stand-ins, whose three seeds settle little each, are a family of their own.
    """
    found: dict[tuple[str, ...], Claim] = {}
    for folder, collection in published().items():
        for claim in claims(collection) if folder != STAND_INS else ():
            key = (collection.name, claim.study, claim.question)
            found.setdefault(key, replace(claim, study=f"{folder}: {claim.study}"))
    return tuple(corrected(found.values()))


def stand_in_claims() -> Table:
    """The claims of scale ``stand-ins``, corrected among themselves."""
    made = table(corrected(claims(published()[STAND_INS])))
    return part(
        made,
        {
            "study": "study",
            "question": "question",
            "ours_measured": "measured, 95 % interval",
            "ours_p": "p, corrected",
            "verdict": "verdict",
        },
    )


def answer() -> str:
    """The question's answer in a few sentences."""
    settled, best = _of_laptop("93.5 %"), _of_laptop("94.0 %")
    alone, searches = _of_laptop(ALONE + "94.0 %"), cells_alone()
    minutes = fmean(run.provenance["cpu_seconds"] for run in searches) / 60
    return (
        f"On NAS-Bench-201 the posterior needs **{settled.measured} fewer samples** than uniform "
        f"sampling to find a cell of 93.5 % true accuracy, over {settled.seeds} seeds.\n"
        f"To 94.0 % it needs {best.measured} fewer, which is {best.reading}. "
        "The paper has no such experiment: this is its method on another space. "
        "A second posterior, whose method is ours, needs "
        f"**{alone.measured} fewer samples to 94.0 %**. "
        f"It has no supernet: each search trains {searches[0].record['cells_trained']} cells "
        f"briefly, in {minutes:.0f} minutes of one core."
    )


ALONE = "cells trained alone need than uniform sampling, for a cell of "
"""How a question about the posterior of such cells goes on."""


def reproduced() -> Table:
    """The paper's claims beside what was measured, those that a reader asks for first."""
    table3 = paper("table3_guided_vs_random").set_index(["supernet", "method"])["test_error_pct"]

    def gaps(one: str, other: str) -> str:
        each = {net: table3[net, one] - table3[net, other] for net in ("M", "MI", "E", "EI")}
        known = (f"{net} {gap:.2f}" for net, gap in each.items() if not math.isnan(gap))
        return ", ".join(known).replace("-", "−")

    def row(what: str, said: str, part: str) -> tuple[Cell, ...]:
        claim = _of_laptop(part)
        return what, said, claim.measured.replace("-", "−"), claim.seeds, claim.verdict

    orders = "orders of magnitude fewer"
    best = paper("table1_cifar10")["test_error_pct"].iloc[-1]
    cifar100 = paper("table2_cifar100")["test_error_pct"].iloc[-1]
    imagenet = paper("table8_imagenet")["top1_error_pct"].iloc[-1]

    def error_of(folder: str, study: str) -> tuple[str, int]:
        found = measured(published()[folder], study, "guided", "none")["test_error"]
        return f"{text(estimate(found), Column('', '', decimals=1))} %", len(found)

    runs = published()["laptop"]
    parameters = measured(runs, "multibranch", "guided", "none")["parameters"]
    epochs = runs.scale.spec("multibranch", "guided").training.epochs
    size = f"{parameters.mean() / 1000:.0f} k parameters, {epochs} epochs"
    errors, seeds = zip(
        error_of("laptop", "multibranch"),
        error_of(STAND_INS, "mi-cifar100"),
        error_of(STAND_INS, "d121"),
        strict=True,
    )
    rows = (
        (
            "test error on CIFAR-10; CIFAR-100; ImageNet",
            f"{best} % (MI); {cifar100} % (MI); {imagenet} % (D-121)",
            f"M: {errors[0]} ({size}); MI: {errors[1]}; D-121: {errors[2]} (stand-ins, 20 classes "
            "of Tiny-ImageNet)",
            "; ".join(map(str, seeds)),
            "–",
        ),
        row(
            "test error, guided minus random of equal size, no fine-tuning (below 0: guided is "
            "better)",
            gaps("PGNAS", "random w/o FT"),
            "guided minus random",
        ),
        row(
            "test error that fine-tuning takes from random ones",
            gaps("random w/o FT", "random w/ FT"),
            "lower the test error of random",
        ),
        row(
            "test error that fine-tuning takes from guided ones",
            "not needed",
            "lower the test error of guided",
        ),
        row(
            "test error, guided minus the whole network",
            gaps("PGNAS", "full model"),
            "whole network's",
        ),
        row("fewer samples to 93.5 % on NAS-Bench-201 (not in the paper)", orders, "93.5 %"),
        row("fewer samples to 94.0 % on NAS-Bench-201 (not in the paper)", orders, "94.0 %"),
        row(
            "fewer samples to 94.0 % with our posterior of cells trained alone",
            "–",
            ALONE + "94.0 %",
        ),
        row(
            "fewer samples to the best 1 % of NAS-Bench-Macro (not in the paper)",
            orders,
            "NAS-Bench-Macro's",
        ),
        *(
            row(
                f"true accuracy on {data}, guided minus one drop probability (above 0: guided is "
                "better), NATS-Bench's size space, 180–220 k parameters",
                "guided is better",
                f"true accuracy on {data} of guided networks of 180",
            )
            for data in ("CIFAR-10", "CIFAR-100")
        ),
    )
    columns = (
        words("claim"),
        words("paper", "the paper"),
        words("here", "here, scaled down"),
        Column("seeds", "seeds"),
        words("verdict"),
    )
    return Table("reproduced", "", columns, rows)


def _of_laptop(part: str) -> Claim:
    """The claim of scale ``laptop`` whose question has these words."""
    return next(
        each for each in all_claims() if each.study.startswith("laptop") and part in each.question
    )


def guidance() -> Table:
    """How many samples a posterior saves, a row for each ground truth and goal."""
    runs = published()
    shared = runs["laptop"].find("nasbench201", "guided")
    rows = [
        *_of_cells("nasbench201", "all cells", shared, "cifar10"),
        *_of_cells("nasbench201", "all cells, posterior of cells alone", cells_alone(), "cifar10"),
    ]
    for band in bands(runs["laptop-truths"]):
        facts = band.facts("posterior", band.own)
        rows += _ends("natsbench-size", f"{band.label}, {data_name(band.own)}", facts)
    for method in macro_methods(runs["laptop-macro"]):
        if method.guided:
            rows += _ends("nasbench-macro", "all networks", method.records)
    kept = read_json(FOLDER / "intervals.json")["metrics"]["speedup"]
    uniform = expected_draws(top(pdnas.truth("digits").accuracy("digits"))[1])
    ratio = geometric_interval(kept).within(most=uniform)
    samples = Interval(
        uniform / ratio.estimate, uniform / ratio.high, uniform / ratio.low, ratio.count
    )
    goal = f"best {100 * TOP:g} %"
    rows.append(("digits", "all cells", goal, uniform, samples, ratio, None, ratio.count))
    return Table(
        "guidance",
        "",
        (
            words("truth"),
            words("among"),
            words("goal"),
            Column("uniform", "uniform samples", digits=3),
            Column("guided", "guided samples", digits=3, estimate=True),
            Column("ratio", "fewer by", digits=3, estimate=True),
            Column("retrained", "new trainings", digits=3, estimate=True),
            Column("seeds", "seeds"),
        ),
        tuple(rows),
    )


def cells_alone() -> list[Run]:
    """The searches whose cells were trained alone."""
    return published()["laptop-alone"].find("nasbench201-alone", "alone")


def transfer() -> Table:
    """What the posteriors of cells trained alone on CIFAR-10 are worth on every data set."""
    found = cells_alone()
    rows = [row for name in DATASETS for row in _of_cells(data_name(name), "", found, name)]
    columns = (
        words("data", "judged on"),
        words("goal"),
        Column("uniform", "uniform samples", digits=3),
        Column("samples", "samples", digits=3, estimate=True),
        Column("ratio", "fewer by", digits=3, estimate=True),
        Column("retrained", "new trainings", digits=3, estimate=True),
    )
    return Table("transfer", "", columns, tuple((row[0], *row[2:-1]) for row in rows))


def seeds_alone() -> Table:
    """Each of these searches by itself, judged on CIFAR-10."""
    rows = []
    for run in cells_alone():
        record = run.efficiency_record()
        assert record is not None
        facts = record["datasets"]["cifar10"]
        goals = {each["target"]: each["expected_samples"] for each in facts["targets"]}
        likeliest = (record["mode"], 100 * facts["mode_accuracy"])
        spent = run.provenance["cpu_seconds"] / 60
        rows.append(
            (str(run.seed), *goals.values(), 100 * facts["mean_accuracy"], *likeliest, spent)
        )
    columns = (
        words("seed"),
        *(Column(f"to{goal}", f"samples to {100 * goal:g} %", digits=3) for goal in goals),
        Column("mean", "mean of a sample [%]"),
        words("mode", "most probable cell"),
        Column("mode_accuracy", "its accuracy [%]"),
        Column("minutes", "search [CPU min]", decimals=1),
    )
    return Table("seeds-alone", "", columns, tuple(rows))


def choice() -> Table:
    """How evidence of short trainings agrees with longer and deeper ones, the truth aside."""
    record = read_json(RESULTS / "laptop-alone" / "choice.json")
    short = [each for each in record["evidence"] if each["variant"] != "long"]
    rows = []
    for variant, steps in dict.fromkeys((each["variant"], each["steps"]) for each in short):
        of = {e["evidence"]: e for e in short if (e["variant"], e["steps"]) == (variant, steps)}
        cells = (
            _over_cells(record, of[name]["tau_reference"]) for name in ("loss_sum", "loss_end")
        )
        if steps >= 50:  # before, nothing is learned
            rows.append((variant, steps, of["loss_end"]["seconds"], *cells))
    columns = (
        words("variant", "kernels, cells a stage"),
        Column("steps", "steps"),
        Column("seconds", "seconds a cell", decimals=1),
        Column("sum", "tau of the mean loss", estimate=True),
        Column("end", "tau of the last quarter's", estimate=True),
    )
    return Table("choice", "", columns, tuple(rows))


def worth(path: str, steps: tuple[int, ...], evidence: str) -> Table:
    """What evidence of short trainings says of the truth, after some numbers of steps.

    Args:
        path: of the summary, within results/.
    """
    record = read_json(RESULTS / path)
    keys = ("tau", "tau_top", "speedup_93.5", "speedup_94")
    rows = [
        (
            *(each["variant"], each["steps"], each["seconds"]),
            *(_over_cells(record, each[key]) for key in keys),
        )
        for each in record["evidence"]
        if each["steps"] in steps and each["evidence"] == evidence
    ]
    columns = (
        words("variant", "cells"),
        Column("steps", "steps"),
        Column("seconds", "seconds a cell", decimals=1),
        Column("all", "tau", estimate=True),
        Column("top", "tau, best tenth", estimate=True),
        Column("good", "times fewer samples to 93.5 %", digits=2, estimate=True),
        Column("best", "to 94.0 %", digits=2, estimate=True),
    )
    return Table("worth", "", columns, tuple(rows))


def _over_cells(record: Mapping[str, Any], of: Mapping[str, float]) -> Interval:
    """A statistic of cells trained alone, whose interval is over these; to two decimals."""
    estimate, low, high = (round(of[key], 2) for key in ("estimate", "low", "high"))
    return Interval(estimate, low, high, record["cells"])


def sizes() -> Table:
    """The size space: true accuracies of guided networks and of one p's, in each band."""
    made = catalogue.table("truths", published()["laptop-truths"])
    keys = [column.key for column in made.columns]
    rows = [dict(zip(keys, row, strict=True)) for row in made.rows]
    each = len(SAMPLERS)
    cells: list[tuple[Cell, ...]] = []
    for same in (rows[start : start + each] for start in range(0, len(rows), each)):
        of = dict(zip(SAMPLERS, same, strict=True))
        guided = of["posterior"]
        cells.append(
            (
                *(guided[key] for key in ("band", "searched_on", "dataset")),
                *(of[name]["ours_mean_accuracy_pct"] for name in ("posterior", "uniform")),
                *(guided["ours_above_one_p"], guided["ours_p_holm"]),
                *(of[name]["ours_samples_top"] for name in ("posterior", "random", "uniform")),
                guided["ours_seeds"],
            )
        )
    columns = (
        words("band", "parameters"),
        words("searched", "searched on"),
        words("dataset", "judged on"),
        Column("guided", "guided [%]", estimate=True),
        Column("uniform", "uniform [%]"),
        Column("gain", "guided − one drop probability [points]", estimate=True),
        Column("p", "p, corrected", digits=2),
        Column("samples", "samples to the best 1 %: guided", digits=3, estimate=True),
        Column("one", "one drop probability", digits=3, estimate=True),
        Column("uniform_samples", "uniform", digits=3),
        Column("seeds", "seeds"),
    )
    return Table("sizes", "", columns, tuple(cells))


Facts = Mapping[str, Any]
"""What is said of a data set, or of one goal."""


def _saved(truth: str, among: str, seeds: Sequence[Facts]) -> Iterator[tuple[Cell, ...]]:
    """Rows of one truth, from what is said of each goal, by its name, a mapping a seed."""
    for goal in seeds[0]:
        facts = [each[goal] for each in seeds]
        uniform = expected_draws(facts[0]["uniform_mass"])
        yield (
            *(truth, among, goal, uniform),
            expected_draws_over_seeds(each["mass"] for each in facts),
            geometric_interval([each["speedup"] for each in facts]).within(most=uniform),
            retrained(facts, "speedup"),
            len(facts),
        )


def _of_cells(
    truth: str, among: str, runs: Sequence[Run], dataset: str
) -> Iterator[tuple[Cell, ...]]:
    """Rows of posteriors over NAS-Bench-201's cells, to each target and to the goals of all."""
    found = [pdnas.efficiency("nasbench201", run.folder, dataset=dataset) for run in runs]
    targets = [
        {f"{100 * each['target']:g} %": each for each in record["targets"]} for record in found
    ]
    yield from _saved(truth, among, targets)
    yield from _ends(truth, among, found)


def _ends(truth: str, among: str, seeds: Sequence[Facts]) -> Iterator[tuple[Cell, ...]]:
    """The same of the two goals that every truth has."""
    named = {"near_best": "0.5 points below the best", "top": "best 1 %"}
    return _saved(truth, among, [{named[key]: each[key] for key in named} for each in seeds])
