"""``pdnas efficiency``: what anybody's distribution over a ground truth is worth, exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pdnas.commands.console import number, print_table
from pdnas.commands.nasbench import fraction
from pdnas.commands.pipeline import Force, Json
from pdnas.commands.truth import Name
from pdnas.support.errors import PdnasError


def efficiency(
    name: Name,
    probabilities: Annotated[
        Path,
        typer.Option(
            help="CSV or Parquet: name, probability; or switch, option, probability; or the names "
            "of samples. Or the folder of a run over the truth's cells."
        ),
    ],
    parameters: Annotated[
        str | None, typer.Option(metavar="LOW-HIGH", help="Only architectures of this size.")
    ] = None,
    target: Annotated[
        list[float] | None, typer.Option(help="Accuracy in percent to reach; repeatable.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set of --target and --figure; by default the first.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Also within each quartile of its latency; --dataset only.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw it; PDF, PNG and CSV by this name.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """How many samples a distribution saves against uniform sampling, by exact enumeration.

    Example:

        pdnas efficiency natsbench-size --probabilities mine.csv --parameters 180000-220000
    """
    from pdnas.truth.measure import by_latency, measure
    from pdnas.truth.samplers import read
    from pdnas.truth.tables import open_truth

    truth = open_truth(name)
    dataset = truth.known(dataset)
    targets = {dataset: tuple(map(fraction, target))} if target else None
    q = read(probabilities, truth)
    if device is not None and parameters is not None:
        raise PdnasError("--device and --parameters are two ways to ask; leave one out")
    record = measure(truth, q, parameters=band(parameters), targets=targets)
    if device is not None:
        asked = (targets or truth.targets)[dataset]
        record["latency"] = by_latency(truth, q, device, dataset=dataset, targets=asked)
    if figure is not None:
        from pdnas.report.truth.sampler import draw

        said = draw(record, dataset, figure, force)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    _print_efficiency(record)
    if device is not None:
        _print_latency(record["latency"])
    typer.echo("retrained: the 95 % interval that the noise of the trainings leaves")
    if figure is not None:
        for path in said:
            typer.echo(path)


def band(text: str | None) -> tuple[float, float] | None:
    """Fewest and most parameters, from ``180000-220000``.

    Raises:
        PdnasError: the text is no band.
    """
    if text is None:
        return None
    low, dash, high = text.replace("_", "").partition("-")
    if not (dash and low.isdecimal() and high.isdecimal() and int(low) <= int(high)):
        raise PdnasError(f"write --parameters as a band like 180000-220000, not {text!r}")
    return int(low), int(high)


def _print_efficiency(record: dict[str, Any]) -> None:
    typer.echo(
        f"entropy {record['entropy']:.3f} nats = {record['effective_cells']:.1f} equally likely "
        f"architectures; mode {record['mode']} ({record['mode_probability']:.2%})"
    )
    size = f"{record['mean_parameters'] / 1e3:.1f} k parameters a sample"
    if record["parameters"] is not None:
        low, high = record["parameters"]
        size += (
            f"; {record['cells']} architectures of {low:.0f} to {high:.0f} parameters, "
            f"{record['mass_in_band']:.4g} of the distribution"
        )
    typer.echo(size)
    for name, facts in record["datasets"].items():
        title = (
            f"{name}: mean accuracy of a sample {100 * facts['mean_accuracy']:.2f} % "
            f"(uniform {100 * facts['uniform_mean_accuracy']:.2f} %), mode "
            f"{100 * facts['mode_accuracy']:.2f} %, best {100 * facts['best_accuracy']:.2f} %"
        )
        hours = facts["near_best"]["uniform_training_hours"] is not None
        goals = [("", each) for each in facts["targets"]]
        goals += [("near the best", facts["near_best"]), ("top 1 %", facts["top"])]
        rows = []
        for what, each in goals:
            row = [f"{100 * each['target']:.2f} % {what}".rstrip()]
            names = ("mass", "expected_samples", "uniform_expected_samples", "speedup")
            row += [number(each[name]) for name in names]
            row += [_interval(each["retrained"][name]) for name in ("expected_samples", "speedup")]
            if hours:
                row += [number(each[name]) for name in ("training_hours", "uniform_training_hours")]
            rows.append(row)
        columns = ["target", "mass", "expected samples", "uniform", "fewer by"]
        columns += ["samples, retrained", "fewer by, retrained"]
        columns += ["hours of training", "uniform"] if hours else []
        print_table(title, columns, rows)


def _print_latency(record: dict[str, Any]) -> None:
    rows = []
    for quartile in record["quartiles"]:
        low, high = quartile["latency"]
        where = f"{low:.3g} to {high:.3g} ms"
        for each in quartile["targets"] or []:
            rows.append(
                (
                    where,
                    number(quartile["mass"]),
                    f"{100 * quartile['best_accuracy']:.2f} %",
                    f"{100 * each['target']:.2f} %",
                    number(each["expected_samples"]),
                    number(each["uniform_expected_samples"]),
                    number(each["speedup"]),
                    _interval(each["retrained"]["expected_samples"]),
                )
            )
    columns = ("latency", "mass", "best", "target", "expected samples", "uniform", "fewer by")
    title = f"{record['dataset']}, within each quartile of latency on {record['device']}"
    print_table(title, (*columns, "samples, retrained"), rows)


def _interval(values: dict[str, float | None]) -> str:
    if values["low"] is None:
        return "–"
    return f"{number(values['low'])} to {number(values['high'])}"
