"""``pdnas efficiency``: what anybody's distribution over a ground truth is worth, exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pdnas.commands.console import print_table
from pdnas.commands.nasbench import fraction, number
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
    from pdnas.truth.measure import measure
    from pdnas.truth.tables import open_truth

    truth = open_truth(name)
    dataset = truth.known(dataset)
    targets = {dataset: tuple(map(fraction, target))} if target else None
    q = _read(probabilities, truth)
    record = measure(truth, q, parameters=band(parameters), targets=targets)
    if figure is not None:
        from pdnas.report.truth.sampler import draw

        said = draw(record, dataset, figure, force)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    print_efficiency(record)
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


def _read(path: Path, truth: Any) -> Any:
    import numpy as np

    from pdnas.truth import efficiency as exact
    from pdnas.truth import samplers

    if not path.is_dir():
        return samplers.read(path, truth)
    if truth.name == "natsbench-size":
        return exact.load_size_probabilities(path)
    if truth.name != "nasbench201":
        raise PdnasError(
            f"{path} is a folder; only runs of nasbench201 and natsbench-size are read as one"
        )
    space, chosen = exact.load_probabilities(path)
    q = np.zeros(len(truth))
    q[space.benchmark_ids()] = chosen
    return q


def print_efficiency(record: dict[str, Any]) -> None:
    """A record of :func:`pdnas.truth.measure.measure`, for people."""
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
        goals = [("", each) for each in facts["targets"]]
        goals += [("near the best", facts["near_best"]), ("top 1 %", facts["top"])]
        rows = [
            (
                f"{100 * each['target']:.2f} % {what}".rstrip(),
                number(each["mass"]),
                number(each["expected_samples"]),
                number(each["uniform_expected_samples"]),
                number(each["speedup"]),
                _interval(each["retrained"]["expected_samples"]),
                _interval(each["retrained"]["speedup"]),
            )
            for what, each in goals
        ]
        columns = ("target", "mass", "expected samples", "uniform", "fewer by")
        print_table(title, (*columns, "samples, retrained", "fewer by, retrained"), rows)
    typer.echo("retrained: between which 95 % lie if all architectures were trained anew")


def _interval(values: dict[str, float | None]) -> str:
    return f"{number(values['low'])} to {number(values['high'])}"
