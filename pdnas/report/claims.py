"""The paper's claims, each with what was measured for or against it.

A claim is tested over seeds, and its p corrected by Holm's method for the number of claims that are
read together: those of a scale, or of all that was published.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from pdnas.report import fair, formats
from pdnas.report.collect import Collection
from pdnas.report.columns import SEEDS, words
from pdnas.report.formats import NOT_RUN, OURS, PAPER, Column, Table
from pdnas.report.measures import by_seed, mean_validation_error, minus
from pdnas.report.truth.macro import DATASET, macro_methods
from pdnas.report.truth.methods import data_name
from pdnas.report.truth.sizes import bands
from pdnas.runs.run import Run
from pdnas.spec import selection
from pdnas.support.statistics import (
    Interval,
    confidence_interval,
    expected_draws,
    geometric_interval,
    holm,
    mean_is_zero,
)

LEVEL = 0.05
"""Of the corrected p, below which a claim is settled."""

Side = Literal["above", "below", "neither"]


@dataclass(frozen=True)
class Claim:
    """A comparison over seeds.

    Attributes:
        study: where it was measured.
        question: what was compared.
        interval: the estimate, with its 95 % interval, of ``unit``.
        neutral: what it is if there is no difference: 0 of differences, 1 of ratios.
        p: two-sided, of the test that it is ``neutral``; NaN where there is none.
        readings: what an estimate above and one below ``neutral`` say.
        paper: what the paper says.
        claimed: on which side of ``neutral`` that is; None: no single number decides.
        least: beyond which the paper says that it is; None: any difference will do.
    """

    study: str
    question: str
    interval: Interval
    unit: str
    neutral: int
    p: float
    readings: tuple[str, str]
    paper: str
    claimed: Side | None
    least: float | None = None

    @property
    def seeds(self) -> int:
        return self.interval.count

    @property
    def measured(self) -> str:
        """The estimate with its interval and unit."""
        decimals = 1 if self.neutral else 2
        return self.unit.format(formats.text(self.interval, Column("", "", decimals=decimals)))

    @property
    def side(self) -> Side | None:
        """Where the estimate lies, once it is settled; None: it is open."""
        if not self.p < LEVEL:
            return None
        return "above" if self.interval.estimate > self.neutral else "below"

    @property
    def reading(self) -> str:
        """What was measured, in words."""
        if self.side is None:
            return "one seed: no interval" if self.seeds == 1 else "not settled"
        return self.readings[self.side == "below"]

    @property
    def verdict(self) -> str:
        """Whether that supports the paper."""
        if self.claimed is None:
            return "–"
        if self.side is None:
            return "open"
        if self.side != self.claimed:
            return "not supported"
        return "supported" if self.least is None or self.interval.low >= self.least else "in part"


def claims(collection: Collection) -> Iterator[Claim]:
    """The claims that a scale can support or contradict, those that were run; p is not corrected
    for their number (:func:`corrected`)."""
    for study in selection.main(collection.scale):
        yield from _guided_against_random(collection, study)
        yield from _number_of_candidates(collection, study)
        yield from _length_scale(collection, study)
        yield from _constant_prior(collection, study)
    yield from _sample_efficiency(collection)
    yield from _equal_sizes(collection)
    yield from _macro(collection)


def corrected(together: Iterable[Claim]) -> list[Claim]:
    """Claims that are read together, with p corrected for their number."""
    found = list(together)
    return [replace(each, p=p) for each, p in zip(found, holm([c.p for c in found]), strict=True)]


def table(together: Iterable[Claim]) -> Table:
    """Claims that are read together (:func:`corrected`), a row each."""
    shown = list(together)
    tests = sum(not math.isnan(each.p) for each in shown)
    rows = [
        (
            *(each.study, each.question, each.measured, each.seeds),
            None if math.isnan(each.p) else each.p,
            *(each.reading, each.paper, each.verdict),
        )
        for each in shown
    ]
    return Table(
        "claims",
        "The paper's claims, and what was measured",
        (
            words("study"),
            words("question"),
            Column("ours_measured", "measured, 95 % interval", OURS, is_text=True),
            SEEDS,
            Column("ours_p", "p, corrected", OURS, digits=2),
            Column("ours_reading", "reads as", OURS, is_text=True),
            Column("paper_claim", "says", PAPER, is_text=True),
            words("verdict"),
        ),
        tuple(rows) or ((*(None,) * 2, *(NOT_RUN,) * 4, None, None),),
        (
            "Differences are paired by seed: mean ± half-width of the 95 % t-interval. Ratios: "
            "geometric mean with the interval of the logarithms.",
            f"p: of a t-test over seeds, corrected by Holm's method for the {tests} tests of the "
            f"table. Below {LEVEL} a claim is settled, else it is open. Seeds that are all equal "
            "cannot be tested.",
            "Supported: settled, and as the paper says; an interval of fewer samples also begins "
            "at ten times or above. In part: fewer is settled, but its interval begins below ten "
            "times. Not supported: settled the other way. –: no single number decides what the "
            "paper says.",
            "The paper's claims are of its own supernets at its own budget.",
        ),
    )


def _guided_against_random(collection: Collection, study: str) -> Iterator[Claim]:
    """Table 3, without and with fine-tuning."""
    roles = collection.roles[study]
    inherited, gains = {}, {}
    for kind, variant in (("random", roles.random), ("guided", roles.guided)):
        inherited[kind] = by_seed(collection, study, variant)
        gains[kind] = minus(inherited[kind], by_seed(collection, study, variant, "finetune"))
    full = by_seed(collection, study, roles.full)
    size = " of about equal size" if fair.equal_size(collection, study) else ""
    time = ", trained as long" if fair.equal_epochs(collection, study) else ""
    questions: tuple[tuple[str, dict[int, float], tuple[str, str], str, Side], ...] = (
        (
            f"test error of guided minus random candidates{size}, without fine-tuning",
            minus(inherited["guided"], inherited["random"]),
            ("random is better", "guided is better"),
            "guided is better",
            "below",
        ),
        (
            "by how much does fine-tuning lower the test error of random candidates?",
            gains["random"],
            ("it helps", "it hurts"),
            "it helps a lot",
            "above",
        ),
        (
            "by how much does fine-tuning lower the test error of guided candidates?",
            gains["guided"],
            ("it helps", "it hurts"),
            "it is not needed",
            "neither",
        ),
        (
            "how much more does fine-tuning help random candidates than guided ones?",
            minus(gains["random"], gains["guided"]),
            ("random candidates gain more", "guided candidates gain more"),
            "random candidates gain more",
            "above",
        ),
        (
            f"test error of guided candidates minus the whole network's{time}",
            minus(inherited["guided"], full),
            ("the whole network is better", "guided is better"),
            "guided is better",
            "below",
        ),
    )
    for question, gaps, readings, paper, claimed in questions:
        if gaps:
            yield _difference(study, question, gaps, "{} points", readings, paper, claimed)


def _number_of_candidates(collection: Collection, study: str) -> Iterator[Claim]:
    """Table 6. The images that choose flatter the choice, so it is held against the test."""
    guided = collection.roles[study].guided
    runs = collection.find(study, guided)
    average = mean_validation_error(runs, "posterior")
    if gain := minus(by_seed(collection, study, guided), average):
        count = runs[0].spec.candidates.count
        yield _difference(
            study,
            f"test error of the best of {count} guided candidates minus the error of one alone "
            "(the mean validation error of all)",
            gain,
            "{} points",
            ("more candidates hurt", "more candidates help"),
            "more candidates help",
            "below",
        )


def _length_scale(collection: Collection, study: str) -> Iterator[Claim]:
    """Table 4, from each value of l² to the next."""
    sweep = selection.sweep(collection.scale, study, "gates.length_scale2")
    for pair in pairwise(sorted(sweep, key=lambda variant: float(sweep[variant]))):
        quantities: tuple[tuple[str, str, str, float, str, Side | None], ...] = (
            ("size", "parameters", "{} thousand parameters", 1e-3, "falls", "below"),
            ("test error", "test_error", "{} points", 1, "falls, then rises", None),
        )
        for quantity, column, unit, factor, paper, claimed in quantities:
            before, after = (by_seed(collection, study, variant, column=column) for variant in pair)
            if change := minus(after, before):
                yield _difference(
                    study,
                    f"change of the chosen candidate's {quantity} from l² = {sweep[pair[0]]:g} to "
                    f"{sweep[pair[1]]:g}",
                    {seed: factor * value for seed, value in change.items()},
                    unit,
                    ("rises", "falls"),
                    paper,
                    claimed,
                )


def _constant_prior(collection: Collection, study: str) -> Iterator[Claim]:
    """Table 2: the L2 term weighted by what is kept, against a constant one."""
    guided = collection.roles[study].guided
    for variant, prior in selection.sweep(collection.scale, study, "gates.prior").items():
        change = minus(by_seed(collection, study, variant), by_seed(collection, study, guided))
        if prior == "constant" and change:
            yield _difference(
                study,
                "test error with a constant L2 term minus that with one weighted by the "
                "probability of being kept",
                change,
                "{} points",
                ("weighted is better", "constant is better"),
                "weighted is better",
                "above",
            )


def _sample_efficiency(collection: Collection) -> Iterator[Claim]:
    """NAS-Bench-201, which the paper does not have."""
    asked = [
        ("the posterior", found)
        for (study, variant), found in collection.efficiencies().items()
        if variant == collection.roles[study].guided
    ] + [
        ("the posterior of cells trained alone", found)
        for found in collection.efficiencies("nasbench").values()
        if found[0].run.spec.alone
    ]
    for whose, found in asked:
        for targets in zip(*(each.record["targets"] for each in found), strict=True):
            ratios = [each["speedup"] for each in targets]
            if None not in ratios:
                percent = 100 * targets[0]["target"]
                yield _fewer_samples(
                    found[0].run.study,
                    f"how many times fewer samples does {whose} need than uniform sampling, "
                    f"for a cell of {percent:.1f} % true accuracy?",
                    ratios,
                    targets[0]["uniform_expected_samples"],
                )


def _equal_sizes(collection: Collection) -> Iterator[Claim]:
    """The size space: the paper's comparison at equal size, in true accuracy."""
    for band in bands(collection):
        dataset = band.own
        place = f"{band.study}/{band.variant}{_elsewhere(band.runs[0], dataset)}"
        yield _difference(
            place,
            f"true accuracy on {data_name(dataset)} of guided networks of {band.size} parameters "
            "minus that of one drop probability for all widths, at equal expected parameters",
            dict(enumerate(band.gain(dataset))),
            "{} points",
            ("guided is better", "random is better"),
            "guided is better",
            "above",
        )
        yield _fewer_samples(
            place,
            "how many times fewer samples does the posterior need than uniform sampling, for the "
            f"best 1 % of networks of {band.size} parameters?",
            band.speedups("posterior", dataset, "top"),
            band.most(dataset, "top"),
        )


def _elsewhere(run: Run, dataset: str) -> str:
    """Which images a run was searched on, if not those that its truth is about."""
    own = run.spec.data
    return "" if own.name == dataset else f", searched on {data_name(own.title)}"


def _macro(collection: Collection) -> Iterator[Claim]:
    """NAS-Bench-Macro, which the paper does not have."""
    for method in macro_methods(collection):
        if method.guided:
            top = [record["top"] for record in method.records]
            yield _fewer_samples(
                f"{method.study}{_elsewhere(method.seeds[0].run, DATASET)}",
                "how many times fewer samples does the posterior need than uniform sampling, for "
                "the best 1 % of NAS-Bench-Macro's networks?",
                [float(each["speedup"]) for each in top],
                expected_draws(top[0]["uniform_mass"]),
            )


def _difference(
    study: str,
    question: str,
    by_seed: Mapping[int, float],
    unit: str,
    readings: tuple[str, str],
    paper: str,
    claimed: Side | None,
) -> Claim:
    """Of differences by seed."""
    values = list(by_seed.values())
    interval, p = confidence_interval(values), mean_is_zero(values)
    if math.isnan(p):  # equal seeds have no interval either
        interval = replace(interval, low=p, high=p)
    return Claim(study, question, interval, unit, 0, p, readings, paper, claimed)


def _fewer_samples(study: str, question: str, ratios: Sequence[float], most: float) -> Claim:
    """Of uniform samples by those of a posterior, a ratio a seed, none above ``most``."""
    interval = geometric_interval(ratios).within(most=most)
    finite = np.isfinite(ratios).all() and np.min(ratios) > 0
    p = mean_is_zero(np.log(ratios)) if finite else float("nan")
    readings, paper = ("fewer", "more"), "orders of magnitude fewer"
    return Claim(study, question, interval, "{} times", 1, p, readings, paper, "above", least=10)
