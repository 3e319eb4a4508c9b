"""``pdnas truth``: what is known of every architecture of a space."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pdnas.commands import complete
from pdnas.commands.console import number, print_table, require_parquet
from pdnas.commands.nasbench import judged_by_scores, search_table
from pdnas.commands.pipeline import Force, Json, RunFolder, ScaleNow, load_run
from pdnas.spec.names import RivalMethod

if TYPE_CHECKING:
    from pdnas.runs.run import Run

app = typer.Typer(help="Ground truths: every architecture of a space, and how good it truly is.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="TRUTH",
        help="A ground truth; `pdnas truth list` shows them.",
        autocompletion=complete.truths,
    ),
]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every ground truth: its architectures, its data sets, and what else is known of it.

    Example:

        pdnas truth list
    """
    from pdnas.truth.tables import names, open_truth

    rows: list[dict[str, Any]] = []
    for name in names():
        truth = open_truth(name)
        first = truth.datasets[0]
        trainings = truth.trainings(first)
        rows.append(
            {
                "name": name,
                "title": truth.title,
                "architectures": len(truth),
                "datasets": list(truth.datasets),
                "trainings": 1 if trainings is None else len(trainings),
                "validation": truth.validation(first) is not None,
                "training_seconds": truth.training_seconds(first) is not None,
                "devices": list(truth.devices),
                "bytes": truth.path().stat().st_size,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    shown = [
        (
            row["name"],
            row["title"],
            f"{row['architectures']}",
            ", ".join(row["datasets"]),
            f"{row['trainings']}",
            f"{row['bytes'] / 1e6:.2f} MB",
        )
        for row in rows
    ]
    columns = ("name", "what", "architectures", "data sets", "trainings", "table")
    print_table(None, columns, shown)


@app.command()
def query(
    name: Name,
    architecture: Annotated[str, typer.Argument(help="How the truth writes it.")],
    as_json: Json = False,
) -> None:
    """Everything known about one architecture.

    Example:

        pdnas truth query natsbench-size 64:64:56:64:24
    """
    from pdnas.truth.tables import open_truth

    truth = open_truth(name)
    facts = truth.facts(truth.find(architecture))
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _print_facts(facts)


@app.command()
def noise(
    name: Name,
    dataset: Annotated[
        str | None, typer.Option(help="Data set; by default the truth's first.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How good a truth is itself: what other trainings would change, and what no score can beat.

    Example:

        pdnas truth noise nasbench201
    """
    from pdnas.truth.noise import quality
    from pdnas.truth.tables import open_truth

    truth = open_truth(name)
    record = quality(truth, truth.known(dataset))
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    else:
        _print_noise(record)


@app.command()
def sizes(
    run: RunFolder, scale: ScaleNow = None, force: Force = False, as_json: Json = False
) -> None:
    """What a run of natsbench-size is worth in its band of parameters; writes sizes.json there.

    Candidates that were ranked are judged too, those of each source.

    Example:

        pdnas truth sizes runs/laptop/natsbench-size/band-200k/seed1
    """
    from pdnas.runs import layout
    from pdnas.truth.sizes import judge_run

    found = load_run(run, scale)
    _write_judgement(found, layout.SIZES, judge_run(found, force), force, as_json, _print_sizes)


@app.command()
def macro(
    run: RunFolder, scale: ScaleNow = None, force: Force = False, as_json: Json = False
) -> None:
    """What a run of nasbench-macro is worth, exactly; writes macro.json there.

    Where `pdnas nasbench score` has scored all networks, the choice by their scores is judged too.

    Example:

        pdnas truth macro runs/laptop/nasbench-macro/posterior/seed1
    """
    from pdnas.runs import layout
    from pdnas.truth.macro import judge_run

    found = load_run(run, scale)
    _write_judgement(found, layout.MACRO, judge_run(found, force), force, as_json, print_measured)


def _write_judgement(
    run: Run,
    file: str,
    record: dict[str, Any],
    force: bool,
    as_json: bool,
    show: Callable[[dict[str, Any]], None],
) -> None:
    """Write what a run is worth into its folder, and print it."""
    from pdnas.runs import kept
    from pdnas.truth.tables import open_truth

    kept.record_like(run.folder / file, record, run.identity, force)
    run.write(file, record)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    show(record)
    if run.spec.data.name not in (known := open_truth(record["truth"]).datasets):
        typer.echo(
            f"The run was searched on {run.spec.data.title}; judged by trainings on "
            f"{', '.join(known)}."
        )


@app.command()
def rival(
    name: Name,
    method: Annotated[RivalMethod, typer.Argument(help="The method.")],
    seeds: Annotated[str, typer.Option(help="A seed, or a range like 0-99.")] = "0-99",
    queries: Annotated[int, typer.Option(help="Architectures that each search asks for.")] = 300,
    dataset: Annotated[
        str | None, typer.Option(help="Data set; by default the truth's first.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write every query to this .parquet, the summary to .json beside it."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Search a truth's table with a method that trains nothing, many times.

    It sees validation accuracies of a short training, or the first training's test accuracies where
    the truth has no other, and is judged by the mean of all trainings.

    Example:

        pdnas truth rival nasbench-macro evolution --seeds 0-499
    """
    from pdnas.truth.tables import open_truth

    truth = open_truth(name)
    config = {
        "truth": name,
        "method": method,
        "dataset": truth.known(dataset),
        "seeds": seeds,
        "queries": queries,
    }
    search_table(truth, config, out, force, as_json)


@app.command()
def build(
    name: Name,
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default TRUTH.parquet in this folder.")
    ] = None,
    force: Force = False,
) -> None:
    """Make a truth's table again from its public files, fetched where they are not here.

    Writes it with a .json that names its sources, and says whether it equals the package's own.

    Example:

        pdnas truth build natsbench-size
    """
    from pdnas.truth.build import build, difference
    from pdnas.truth.tables import named

    truth, path = named(name), out or Path(f"{name}.parquet")
    require_parquet(path)
    differs = difference(build(truth, path, force), truth.load())
    typer.echo(f"{path}: {differs or 'equal to the table of the package'}")


def _print_facts(facts: dict[str, Any]) -> None:
    typer.secho(facts["name"], bold=True)
    size = f"row {facts['row']} of {facts['truth']}, {facts['parameters']:,} parameters"
    if facts["multiply_adds"] is not None:
        size += f", {facts['multiply_adds']:,} multiply-adds"
    if facts["isomorphic"] is not None:
        size += f", {facts['isomorphic']} isomorphic with it (itself counted)"
    typer.echo(size)
    rows = [
        (
            name,
            f"{100 * each['accuracy']:.2f}",
            str(each["rank"]),
            ", ".join(f"{100 * seed:.2f}" for seed in each["trainings"]) or "–",
            "–" if each["validation"] is None else f"{100 * each['validation']:.2f}",
            "–" if each["training_seconds"] is None else f"{each['training_seconds']:.0f}",
        )
        for name, each in facts["datasets"].items()
    ]
    columns = ("accuracy, %", "test", "rank", "single trainings", "validation", "seconds")
    print_table(None, columns, rows)
    for device, milliseconds in facts["latency_ms"].items():
        known = "unknown" if milliseconds is None else f"{milliseconds:.4g} ms"
        typer.echo(f"{device}: {known}")


def _print_sizes(record: dict[str, Any]) -> None:
    low, high = record["parameters"]
    typer.echo(
        f"{record['networks']} networks of {low} to {high} parameters; the posterior expects "
        f"{record['expected_parameters']:.0f}"
    )
    for dataset in record["samplers"]["posterior"]["datasets"]:
        rows = []
        for name, sampler in record["samplers"].items():
            facts = sampler["datasets"][dataset]
            goals = (facts["near_best"]["expected_samples"], facts["top"]["expected_samples"])
            mean = f"{100 * facts['mean_accuracy']:.2f}"
            rows.append((name, f"{sampler['mass_in_band']:.3f}", mean, *map(number, goals)))
        goals = (facts["near_best"], facts["top"])
        samples = (number(each["uniform_expected_samples"]) for each in goals)
        rows.append(("uniform", "–", f"{100 * facts['uniform_mean_accuracy']:.2f}", *samples))
        columns = ("in the band", "mass", "mean, %", "samples to 0.5 below best", "to top 1 %")
        print_table(dataset, columns, rows)


def _print_noise(record: dict[str, Any]) -> None:
    def points(value: float | None) -> str:
        return "unknown" if value is None else f"{100 * value:.3f}"

    deviation, best = record["deviation"], record["best"]
    typer.echo(
        f"{record['truth']} on {record['dataset']}, from {record['source']}: standard deviation "
        f"{points(deviation['all'])} points, among the best tenth {points(deviation['best_tenth'])}"
    )
    # Less noise than the upper bound leaves more to a score.
    least = "at least " if "upper bound" in record["source"] else ""
    ceiling = f"that no score can be expected to beat: {least}"
    for name, what in (("trainings", "between two trainings: "), ("ceiling", ceiling)):
        tau = record[f"tau_{name}"]
        if tau["all"] is not None:
            every, top = f"{tau['all']:.2f}", f"{tau['best_tenth']:.2f}"
            typer.echo(f"Kendall's tau {what}{every}, among the best tenth {top}")
    typer.echo(
        f"best: {best['name']}, {100 * best['accuracy']:.2f} %; expected of another training: "
        f"{100 * best['expected_again']:.2f} %"
    )
    rows = [
        (
            f"{100 * each['target']:.2f} %",
            str(each["reached"]),
            f"{each['by_luck']:.1f}",
            f"{each['missed']:.1f}",
            points(deviation[f"{each['target']:g}"]),
        )
        for each in record["targets"]
    ]
    columns = ("target", "reach it", "by luck", "missed by bad luck", "deviation, points")
    print_table(None, columns, rows)


def print_measured(record: dict[str, Any]) -> None:
    """What :func:`pdnas.truth.measure.measure` says of a distribution."""
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
            row += [ends(each["retrained"][name]) for name in ("expected_samples", "speedup")]
            if hours:
                row += [number(each[name]) for name in ("training_hours", "uniform_training_hours")]
            rows.append(row)
        columns = ["target", "mass", "expected samples", "uniform", "fewer by"]
        columns += ["samples, retrained", "fewer by, retrained"]
        columns += ["hours of training", "uniform"] if hours else []
        print_table(title, columns, rows)
        if facts["chosen_of_n"]:
            typer.echo(judged_by_scores(facts))


def ends(values: dict[str, float | None]) -> str:
    """An interval by its ends."""
    if values["low"] is None:
        return "–"
    return f"{number(values['low'])} to {number(values['high'])}"
