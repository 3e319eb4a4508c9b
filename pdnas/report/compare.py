"""Two runs, or two variants over their seeds, against each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdnas.runs import layout
from pdnas.runs.run import Run, different_images
from pdnas.spec.names import RetrainMode
from pdnas.spec.roles import source_of
from pdnas.support.errors import PdnasError
from pdnas.support.statistics import Interval, confidence_interval

MODES: dict[RetrainMode, str] = {
    "none": "inherited weights",
    "finetune": "fine-tuned",
    "scratch": "from scratch",
}


@dataclass(frozen=True)
class Difference:
    """A quantity of both sides, means over the seeds they share, and second minus first.

    The interval of ``difference`` is that of the differences seed by seed: what a seed does to
    both sides cancels.
    """

    quantity: str
    first: Interval
    second: Interval
    difference: Interval


@dataclass(frozen=True)
class Comparison:
    """``settings`` are the keys of the resolved specification that differ, with both values."""

    first: str
    second: str
    seeds: tuple[tuple[int, int], ...]
    settings: dict[str, tuple[Any, Any]]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The comparison as a record; ``difference`` is second minus first."""
        return vars(self) | {
            "settings": {
                key: {"first": one, "second": two} for key, (one, two) in self.settings.items()
            },
            "differences": [
                {
                    key: value.to_json() if isinstance(value, Interval) else value
                    for key, value in vars(each).items()
                }
                for each in self.differences
            ],
        }


def read(path: Path) -> list[Run]:
    """The run in a folder, or a variant's runs in the folders ``seed*`` below it.

    Raises:
        PdnasError: there is neither, a run is of another version of pdnas, a folder is named after
            another seed, the runs are of two variants or one seed twice, or a ranking is of other
            candidates than there are.
    """
    if (path / layout.RUN).is_file():
        return [_load(path)]
    runs = [_load(record.parent) for record in sorted(path.glob(f"seed*/{layout.RUN}"))]
    if not runs:
        raise PdnasError(
            f"{path} is neither a run (it has no run.json) nor a variant (it has no "
            "seed*/run.json below it)"
        )
    found: dict[int, Run] = {}
    for run in runs:
        same = found.setdefault(run.seed, run)
        if same is not run:
            raise PdnasError(
                f"{same.folder} and {run.folder} are both of seed {run.seed}; keep one of them"
            )
        if (run.study, run.variant) != (runs[0].study, runs[0].variant):
            raise PdnasError(
                f"{runs[0].folder} is of {_variant(runs[0])} and {run.folder} of {_variant(run)}; "
                "keep the seeds of one variant in a folder"
            )
    return [found[seed] for seed in sorted(found)]


def _load(folder: Path) -> Run:
    run, name = Run.load(folder), folder.resolve().name
    if re.fullmatch(r"seed\d+", name) and name != f"seed{run.seed}":
        raise PdnasError(
            f"{folder} holds a run of seed {run.seed}, so its name is wrong; rename it"
        )
    run.require_current()
    return run


def compare(first: Sequence[Run], second: Sequence[Run]) -> Comparison:
    """Hold two runs, or two variants paired by seed, against each other.

    Args:
        first: the runs of one side, as :func:`read` gives them.
        second: the runs of the other side. Two single runs may have different seeds.

    Raises:
        PdnasError: a run is on both sides, they saw different data sets or images, or share no
            seed.
    """
    names = _name(first), _name(second)
    owners = {run.identity: run for run in first}
    for run in second:
        if same := owners.get(run.identity):
            raise PdnasError(
                f"{same.folder} and {run.folder} are the same run; give another one to compare with"
            )
    data = first[0].spec.data.title, second[0].spec.data.title
    if data[0] != data[1]:
        raise PdnasError(
            f"{names[0]} was run on {data[0]} and {names[1]} on {data[1]}: "
            "their numbers cannot be compared"
        )
    for run in (*first[1:], *second):
        if found := different_images(first[0], run):
            raise PdnasError(
                f"{first[0].folder} and {run.folder} were searched with different images "
                f"({found}): their numbers cannot be compared"
            )
    pairs = _pairs(first, second)
    if not pairs:
        seeds = (", ".join(str(run.seed) for run in side) for side in (first, second))
        raise PdnasError(
            f"{names[0]} and {names[1]} share no seed: they have {' and '.join(seeds)}"
        )
    flat = [side[0].settings for side in (first, second)]
    notes = [
        f"The seeds of {name} were not all made alike; shown are the settings of seed "
        f"{side[0].seed}."
        for name, side in zip(names, (first, second), strict=True)
        if any(run.settings != side[0].settings for run in side)
    ]
    hardware = [{str(run.provenance.get("hardware")) for run in side} for side in (first, second)]
    if hardware[0] != hardware[1]:
        notes.append("They ran on different machines or threads: times cannot be compared.")
    if alone := len(first) + len(second) - 2 * len(pairs):
        notes.append(f"Left out: {alone} run{'s' * (alone > 1)} whose seed the other side lacks.")
    if len(pairs) == 1:
        one, two = (run.seed for run in pairs[0])
        notes.append(
            f"One seed, {one}: a difference without an interval may be chance."
            if one == two
            else f"The seeds differ ({one} and {two}): the difference may be theirs alone."
        )
    return Comparison(
        *names,
        seeds=tuple((one.seed, two.seed) for one, two in pairs),
        settings={
            key: (flat[0].get(key), flat[1].get(key))
            for key in {**flat[0], **flat[1]}
            if flat[0].get(key) != flat[1].get(key)
        },
        differences=paired(pairs),
        notes=tuple(notes),
    )


def _variant(run: Run) -> str:
    return f"{run.study}/{run.variant}"


def _name(side: Sequence[Run]) -> str:
    run = side[0]
    return _variant(run) + (f" seed {run.seed}" if len(side) == 1 else "")


def _pairs(first: Sequence[Run], second: Sequence[Run]) -> list[tuple[Run, Run]]:
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    others = {run.seed: run for run in second}
    return [(run, others[run.seed]) for run in first if run.seed in others]


def paired(pairs: Sequence[tuple[Run, Run]]) -> tuple[Difference, ...]:
    """Every quantity that all runs of the pairs have."""
    values = [(_quantities(one), _quantities(two)) for one, two in pairs]
    shared = [
        name for name in values[0][0] if all(name in side for pair in values for side in pair)
    ]
    return tuple(
        Difference(
            name,
            confidence_interval([one[name] for one, _ in values]),
            confidence_interval([two[name] for _, two in values]),
            confidence_interval([two[name] - one[name] for one, two in values]),
        )
        for name in shared
    )


def _quantities(run: Run) -> dict[str, float]:
    """What was measured of a run: errors in percent, parameters, minutes."""
    source, found = source_of(run.spec), {}
    for mode, words in MODES.items():
        result = run.results.get((source, mode))
        if result is not None:
            found[f"test error, {words} [%]"] = 100 * (1 - result["test_accuracy"])
            if result.get("validation_accuracy") is not None:
                validation = 100 * (1 - result["validation_accuracy"])
                found[f"validation error, {words} [%]"] = validation
            found["parameters of the chosen network [M]"] = result["parameters"] / 1e6
    ranking = run.ranking(source)
    if ranking is not None:
        errors = 100 * (1 - ranking["validation_accuracy"])
        found["validation error, mean of all candidates [%]"] = float(errors.mean())
        found["validation error, best candidate [%]"] = float(errors.min())
        found["parameters, mean of all candidates [M]"] = float(ranking["parameters"].mean()) / 1e6
    efficiency = run.efficiency_record()
    if efficiency is not None:
        for name, record in efficiency["datasets"].items():
            found[f"true accuracy of a sample, {name} [%]"] = 100 * record["mean_accuracy"]
    seconds = run.provenance.get("wall_seconds")
    if seconds is not None:
        found["search time [min]"] = seconds / 60
    return found
