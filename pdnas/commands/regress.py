"""``pdnas regress``: the study on the small benchmark against its stored intervals."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pdnas.commands.console import print_table
from pdnas.commands.pipeline import Json, set_threads
from pdnas.spec import limits

if TYPE_CHECKING:
    from pdnas.regression.regress import Verdict


class Rebuild(StrEnum):
    table = "table"
    intervals = "intervals"


def regress(
    jobs: Annotated[int, typer.Option(min=1, max=limits.THREADS, help="Processes.")] = 2,
    rebuild: Annotated[
        Rebuild | None,
        typer.Option(help="Compare nothing; train all cells anew, or run the study many times."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the study on the small benchmark; exit code 1 if a metric has left its stored interval.

    729 cells on scikit-learn's digits, no download, under a minute on two cores.

    Example:

        pdnas regress --jobs 2
    """
    from pdnas.regression import digits
    from pdnas.regression import regress as study
    from pdnas.truth.tables.digits import SEEDS, Digits

    set_threads(1)
    if rebuild is Rebuild.table:
        digits.build_table(digits.specification("truth"), range(SEEDS), jobs)
    elif rebuild is Rebuild.intervals:
        study.calibrate(study.CALIBRATION_SEEDS, jobs)
    if rebuild is not None:
        table = rebuild is Rebuild.table
        typer.echo(Digits.path() if table else digits.FOLDER / "intervals.json")
        return
    calibration = study.load_calibration()
    measured = study.run_seeds(digits.specification("guided"), study.SEEDS, jobs)
    verdicts = study.compare(measured, calibration)
    if as_json:
        report = {name: {**asdict(each), "passed": each.passed} for name, each in verdicts.items()}
        typer.echo(json.dumps(report, indent=2))
    else:
        _print(verdicts, len(study.SEEDS))
    failed = {name: each for name, each in verdicts.items() if not each.passed}
    for name, each in failed.items():
        print(
            f"pdnas: regression: {name} is {each.mean:.4g}, outside {each.low:.4g} to "
            f"{each.high:.4g}; if the change is meant, run `pdnas regress --rebuild intervals`",
            file=sys.stderr,
        )
    if failed:
        raise typer.Exit(1)


def _print(verdicts: dict[str, Verdict], seeds: int) -> None:
    from pdnas.regression.regress import METRICS

    print_table(
        None,
        ("metric", "meaning", f"mean of {seeds} seeds", "interval", ""),
        (
            (
                name,
                METRICS[name],
                f"{each.mean:.4g}",
                f"{each.low:.4g} to {each.high:.4g}",
                "passed" if each.passed else "FAILED",
            )
            for name, each in verdicts.items()
        ),
    )
