"""The paper's claims, each with what was measured for or against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pdnas.report import formats
from pdnas.report.collect import Collection
from pdnas.report.formats import Column
from pdnas.report.measures import measured
from pdnas.report.truth.methods import data_name
from pdnas.report.truth.sizes import bands
from pdnas.spec import selection
from pdnas.spec.names import RetrainMode
from pdnas.support.statistics import Interval, confidence_interval, geometric_interval


@dataclass(frozen=True)
class Headline:
    """A comparison with its 95 % interval; ``verdict`` reads it, ``claim`` is the paper's."""

    study: str
    question: str
    measured: str
    seeds: int
    verdict: str
    claim: str


def headlines(collection: Collection) -> Iterator[Headline]:
    """The claims that a scale can support or contradict, those that were run."""
    for study in selection.main(collection.scale):
        yield from _guided_against_random(collection, study)
        yield from _number_of_candidates(collection, study)
        yield from _length_scale(collection, study)
    yield from _sample_efficiency(collection)
    yield from _equal_sizes(collection)


def _guided_against_random(collection: Collection, study: str) -> Iterator[Headline]:
    """Table 3: the same size and budget, without and with fine-tuning."""
    roles = collection.roles[study]
    inherited, gains = {}, {}
    for kind, variant in (("random", roles.random), ("guided", roles.guided)):
        inherited[kind] = _values(collection, study, variant)
        gains[kind] = _minus(inherited[kind], _values(collection, study, variant, "finetune"))
    full = _values(collection, study, roles.full)
    for question, by_seed, verdicts, claim in (
        (
            "test error of guided minus random candidates of about equal size, without fine-tuning",
            _minus(inherited["guided"], inherited["random"]),
            ("random is better", "guided is better"),
            "guided is better",
        ),
        (
            "by how much does fine-tuning lower the test error of random candidates?",
            gains["random"],
            ("it helps", "it hurts"),
            "it helps a lot",
        ),
        (
            "by how much does fine-tuning lower the test error of guided candidates?",
            gains["guided"],
            ("it helps", "it hurts"),
            "it is not needed",
        ),
        (
            "how much more does fine-tuning help random candidates than guided ones?",
            _minus(gains["random"], gains["guided"]),
            ("random candidates gain more", "guided candidates gain more"),
            "random candidates gain more",
        ),
        (
            "test error of guided candidates minus the whole network's, trained as long",
            _minus(inherited["guided"], full),
            ("the whole network is better", "guided is better"),
            "guided is better",
        ),
    ):
        if by_seed:
            yield _headline(study, question, _interval(by_seed), "{} points", verdicts, claim)


def _number_of_candidates(collection: Collection, study: str) -> Iterator[Headline]:
    """Table 6. The images that choose flatter the choice, so it is held against the test."""
    guided = collection.roles[study].guided
    runs = collection.find(study, guided)
    average = {
        run.seed: 100 * (1 - float(ranking["validation_accuracy"].mean()))
        for run in runs
        if (ranking := run.ranking("posterior")) is not None
    }
    if gain := _minus(_values(collection, study, guided), average):
        count = runs[0].spec.candidates.count
        yield _headline(
            study,
            f"test error of the best of {count} guided candidates minus the error of one alone "
            "(the mean validation error of all)",
            _interval(gain),
            "{} points",
            ("more candidates hurt", "more candidates help"),
            "more candidates help",
        )


def _length_scale(collection: Collection, study: str) -> Iterator[Headline]:
    """Table 4, from each value of l² to the next."""
    sweep = selection.sweep(collection.scale, study, "gates.length_scale2")
    for pair in pairwise(sorted(sweep, key=lambda variant: float(sweep[variant]))):
        for quantity, column, unit, factor, claim in (
            ("size", "parameters", "{} thousand parameters", 1e-3, "falls"),
            ("test error", "test_error", "{} points", 1, "falls, then rises"),
        ):
            before, after = (_values(collection, study, variant, column=column) for variant in pair)
            if change := _minus(after, before):
                yield _headline(
                    study,
                    f"change of the chosen candidate's {quantity} from l² = {sweep[pair[0]]:g} to "
                    f"{sweep[pair[1]]:g}",
                    _interval({seed: factor * value for seed, value in change.items()}),
                    unit,
                    ("rises", "falls"),
                    claim,
                )


def _sample_efficiency(collection: Collection) -> Iterator[Headline]:
    """NAS-Bench-201, which the paper does not have."""
    for (study, variant), found in collection.efficiencies().items():
        if variant != collection.roles[study].guided:
            continue
        for targets in zip(*(each.record["targets"] for each in found), strict=True):
            ratios = [each["speedup"] for each in targets]
            if None not in ratios:
                percent = 100 * targets[0]["target"]
                yield _headline(
                    study,
                    "how many times fewer samples does the posterior need than uniform sampling, "
                    f"for a cell of {percent:.1f} % true accuracy?",
                    geometric_interval(ratios).within(most=targets[0]["uniform_expected_samples"]),
                    "{} times",
                    ("fewer", "more"),
                    "–",
                    neutral=1,
                    decimals=1,
                )


def _equal_sizes(collection: Collection) -> Iterator[Headline]:
    """The size space: the paper's comparison at equal size, in true accuracy."""
    for band in bands(collection):
        dataset = band.own
        yield _headline(
            f"{band.study}/{band.variant}",
            f"true accuracy on {data_name(dataset)} of guided networks of {band.label} parameters "
            "minus that of one drop probability for all widths, at equal expected parameters",
            confidence_interval(band.gain(dataset)),
            "{} points",
            ("guided is better", "random is better"),
            "guided is better",
        )
        speedup = band.speedup("posterior", dataset, "top")
        assert isinstance(speedup, Interval)
        yield _headline(
            f"{band.study}/{band.variant}",
            "how many times fewer samples does the posterior need than uniform sampling, for the "
            f"best 1 % of networks of {band.label} parameters?",
            speedup,
            "{} times",
            ("fewer", "more"),
            "–",
            neutral=1,
            decimals=1,
        )


def _values(
    collection: Collection,
    study: str,
    variant: str | None,
    mode: RetrainMode = "none",
    column: str = "test_error",
) -> dict[int, float]:
    """One of the measurements' columns by seed."""
    rows = measured(collection, study, variant, mode)
    return {int(seed): float(v) for seed, v in zip(rows["seed"], rows[column], strict=True)}


def _minus(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    """Differences of the seeds that both have."""
    return {seed: first[seed] - second[seed] for seed in first if seed in second}


def _interval(by_seed: dict[int, float]) -> Interval:
    return confidence_interval(list(by_seed.values()))


def _headline(
    study: str,
    question: str,
    interval: Interval,
    unit: str,
    verdicts: Sequence[str],
    claim: str,
    neutral: int = 0,
    decimals: int = 2,
) -> Headline:
    """``verdicts``: what an interval above and one below ``neutral`` say."""
    number = formats.text(interval, Column("", "", decimals=decimals))
    if interval.low > neutral:
        verdict = verdicts[0]
    elif interval.high < neutral:
        verdict = verdicts[1]
    elif interval.count == 1:
        verdict = "one seed: no interval"
    else:
        verdict = f"not settled: {neutral} lies in the interval"
    return Headline(study, question, unit.format(number), interval.count, verdict, claim)
