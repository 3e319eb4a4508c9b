"""``pdnas efficiency``: what anybody's distribution over a ground truth is worth, exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pdnas.commands.console import number, print_table
from pdnas.commands.nasbench import fraction
from pdnas.commands.pipeline import Force, Json
from pdnas.commands.truth import Name, ends, print_measured
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
        str | None,
        typer.Option(
            help="Data set of --target and --figure; by default the run's own, or the first."
        ),
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
    from pdnas.truth.samplers import Sampler
    from pdnas.truth.tables import open_truth

    truth = open_truth(name)
    sampler = Sampler.of(probabilities, truth)
    dataset = sampler.dataset(dataset, truth)
    targets = {dataset: tuple(map(fraction, target))} if target else None
    if device is not None and parameters is not None:
        raise PdnasError("--device and --parameters are two ways to ask; leave one out")
    q, rows = sampler.q, sampler.rows
    record = measure(truth, q, parameters=band(parameters), only=rows, targets=targets)
    if device is not None:
        asked = (targets or truth.targets)[dataset]
        record["latency"] = by_latency(truth, q, device, only=rows, dataset=dataset, targets=asked)
    if figure is not None:
        from pdnas.report.truth.sampler import draw

        said = draw(record, dataset, figure, force)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    print_measured(record)
    if rows is not None and rows.size < len(truth):
        typer.echo(
            f"{probabilities} chooses among {rows.size} of {len(truth)} architectures, and uniform "
            "sampling here too"
        )
    if device is not None:
        _print_latency(record["latency"], truth.datasets[0])
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


def _print_latency(record: dict[str, Any], network: str) -> None:
    """``network``: the data set whose network the latency is of."""
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
                    ends(each["retrained"]["expected_samples"]),
                )
            )
    columns = ("latency", "mass", "best", "target", "expected samples", "uniform", "fewer by")
    on = f"{record['device']}, the network for {network}"
    title = f"{record['dataset']}, within each quartile of latency on {on}"
    print_table(title, (*columns, "samples, retrained"), rows)
