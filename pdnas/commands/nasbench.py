"""``pdnas nasbench``: NAS-Bench-201's ground truth and exact sample efficiency."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pdnas.commands.console import number, print_table, require_parquet
from pdnas.commands.pipeline import (
    Device,
    Force,
    Json,
    RunFolder,
    ScaleNow,
    Threads,
    load_run,
    set_threads,
)
from pdnas.spec import limits
from pdnas.spec.names import Encoding, RivalMethod, TruthData
from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    from pdnas.truth.tables import Truth

app = typer.Typer(help="NAS-Bench-201: ground truth of all 15 625 cells, exact sample efficiency.")


@app.command()
def build(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="The benchmark's own archive: NAS-Bench-201-v1_1-096897.pth, or the folder "
            "NATS-tss-v1_0-3ffb9-simple.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("nasbench201.parquet"),
    force: Force = False,
) -> None:
    """Make the package's table of ground truth again, by default from small public files.

    Writes it with a .json that names its sources, and says whether it equals the package's own.

    Example:

        pdnas nasbench build --out nasbench201.parquet
    """
    from pdnas.truth.build import build, build_from_archive, difference
    from pdnas.truth.tables.nasbench201 import NasBench201

    require_parquet(out)
    made = build_from_archive(source, out, force) if source else build(NasBench201, out, force)
    differs = difference(made, NasBench201.load())
    typer.echo(f"{out}: {differs or 'equal to the table of the package'}")


@app.command()
def query(
    architecture: Annotated[
        str, typer.Argument(help="Architecture string, cell id, or six numbers of an --encoding.")
    ],
    benchmark_index: Annotated[
        bool, typer.Option(help="The number is the benchmark's index, not a cell id.")
    ] = False,
    encoding: Annotated[
        Encoding | None,
        typer.Option(help="Whose six operation numbers the cell is written in."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Everything known about one cell.

    Example:

        pdnas nasbench query 5000
    """
    from pdnas.truth.tables.nasbench201 import NasBench201

    truth = NasBench201.load()
    facts = truth.cell_facts(truth.cell_id(architecture, benchmark_index, encoding))
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _print_facts(facts)


@app.command()
def efficiency(
    runs: Annotated[list[Path], typer.Argument(help="Folders with posterior.safetensors.")],
    target: Annotated[
        list[float] | None, typer.Option(help="Accuracy in percent to reach; repeatable.")
    ] = None,
    dataset: Annotated[
        TruthData | None,
        typer.Option(
            help="Data set that --target is about; by default the one that the runs were trained "
            "on. Runs of another data set than the benchmark's need it."
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            help="One-shot scores of all cells by a single run (Parquet: cell_id, score)."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the record of a single run to this file.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """How many samples a posterior saves against uniform sampling, by exact enumeration.

    Several runs count as seeds of one search: means with 95 % intervals.

    Example:

        pdnas nasbench efficiency runs/laptop/nasbench201/guided/seed1 --target 93.5
    """
    from pdnas.support.provenance import Stopwatch
    from pdnas.truth import efficiency as exact
    from pdnas.truth.columns import DATASETS, TARGETS
    from pdnas.truth.measure import exact_efficiency
    from pdnas.truth.tables.nasbench201 import NasBench201

    stopwatch = Stopwatch()
    targets = dict(TARGETS)
    if len(runs) > 1 and (out is not None or scores is not None):
        raise PdnasError("--out and --scores belong to a single run; name one run")
    exact.require_seeds_of_one_search(runs)
    dataset = dataset or exact.own_truth(runs, DATASETS, "NAS-Bench-201")
    if target:
        targets[dataset] = tuple(map(fraction, target))
    truth, records = NasBench201.load(), []
    for run in runs:
        space, probabilities = exact.load_probabilities(run)
        scored = None
        if scores is not None:
            scored = exact.load_scores(scores, space, exact.owner_of(run))
        records.append(exact_efficiency(probabilities, truth, targets, scored, space))
    if out is not None:
        exact.write_efficiency(out, records[0], runs[0], targets, stopwatch, force)
    summary = exact.summarise_seeds(records)
    if as_json:
        named = {"runs": dict(zip(map(str, runs), records, strict=True)), **summary}
        typer.echo(json.dumps(records[0] if len(runs) == 1 else named, indent=2))
    else:
        _print_efficiency(records, summary)


@app.command()
def score(
    run: RunFolder,
    images: Annotated[
        int | None,
        typer.Option(min=1, max=limits.MOST, help="Validation images to use; by default all."),
    ] = None,
    device: Device = "auto",
    threads: Threads = 1,
    scale: ScaleNow = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """One-shot validation accuracy of every cell of the run's space, with inherited weights.

    Example:

        pdnas nasbench score runs/laptop/nasbench201/guided/seed1 --images 1000
    """
    import numpy as np

    from pdnas.runs import kept
    from pdnas.stages.score import score_run
    from pdnas.support.files import claim
    from pdnas.train.device import choose_device

    set_threads(threads)
    found = load_run(run, scale)
    with claim(run, "score"):
        done = None if force else kept.scores(found, images)
        record = done or score_run(found, images, choose_device(device))
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    else:
        space = found.spec.space
        assert space is not None
        row = int(np.flatnonzero(space.benchmark_ids() == record["best"])[0])
        best = space.to_string(space.codes[row])
        typer.echo(
            "finished already: "
            * bool(done)
            + f"scored {record['distinct_cells']} distinct {space.ARCHITECTURE}s on "
            f"{record['images']} images; the best is {best}"
        )


@app.command()
def rival(
    method: Annotated[RivalMethod, typer.Argument(help="The method.")],
    seeds: Annotated[str, typer.Option(help="A seed, or a range like 0-99.")] = "0-99",
    queries: Annotated[int, typer.Option(help="Cells that each search asks for.")] = 300,
    dataset: Annotated[
        TruthData, typer.Option(help="Data set to search on and to be judged on.")
    ] = "cifar10",
    out: Annotated[
        Path | None,
        typer.Option(help="Write every query to this .parquet, the summary to .json beside it."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Search the table with a method that trains nothing, many times.

    It sees validation accuracies after 12 epochs and is judged by test accuracy after 200.
    Example: pdnas nasbench rival evolution --seeds 0-499 --queries 100
    """
    from pdnas.truth.tables.nasbench201 import NasBench201

    config = {"method": method, "dataset": dataset, "seeds": seeds, "queries": queries}
    search_table(NasBench201.load(), config, out, force, as_json)


def search_table(
    truth: Truth, config: dict[str, Any], out: Path | None, force: bool, as_json: bool
) -> None:
    """Search a truth's table and print, or write, how that went.

    Args:
        config: ``method``, ``dataset``, ``seeds``, ``queries``, and what else the record is to
            keep of how it was made.
    """
    from pdnas.runs import kept
    from pdnas.support import files
    from pdnas.support.provenance import Stopwatch, provenance
    from pdnas.truth.rivals import compete

    stopwatch = Stopwatch()
    if out is not None:
        require_parquet(out)
        summary = out.with_suffix(".json")
        kept.configured_like(summary, config, None, force, others=[out])
    seeds = seed_range(config["seeds"])
    table, record = compete(config["method"], truth, config["dataset"], seeds, config["queries"])
    if out is not None:
        written = {**record, "provenance": provenance(config, None, stopwatch)}
        kept.record_like(summary, written, None, force, others=[out])
        files.write_table(out, table)
        files.write_json(summary, written)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    else:
        print_rival(record)


@app.command()
def alone(
    study: Annotated[Path, typer.Argument(help="YAML: cells, seeds and ways of training.")],
    out: Annotated[
        Path, typer.Option(help="Write every training to this .parquet, the summary to .json.")
    ],
    jobs: Annotated[int, typer.Option(min=1, max=limits.THREADS, help="Processes.")] = 1,
    figure: Annotated[
        Path | None, typer.Option(help="Draw what a cell's seconds buy, as PDF, PNG and CSV.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train cells alone for a few steps: what does such evidence say of their true accuracy?

    A killed call goes on after the trainings that it finished.
    Example: pdnas nasbench alone alone.yaml --out alone.parquet
    """
    from pdnas.runs import kept
    from pdnas.runs.tasks import cached_journal, work_done
    from pdnas.spec.alone import AloneStudy
    from pdnas.spec.scale import read_model
    from pdnas.spec.selection import judged_by
    from pdnas.stages.alone import searches_of, train_sample
    from pdnas.support import files
    from pdnas.truth.evidence import ceiling, compare, stratified_sample
    from pdnas.truth.tables.nasbench201 import NasBench201

    require_parquet(out)
    set_threads(1)
    asked, truth = read_model(study, AloneStudy), NasBench201.load()
    drawn, judge = asked.sample, judged_by(asked.dataset)
    sample = stratified_sample(truth.accuracy(judge), drawn.bounds, drawn.counts, drawn.seed)
    summary = out.with_suffix(".json")
    config = {**asked.model_dump(mode="json"), "searches": searches_of(asked)}
    with files.claim(out.parent, f"alone-{out.stem}"):
        record = kept.study_of_cells(summary, out, config, force)
        if record is None:
            journal = cached_journal("alone", config, asked.seeds)
            trained = train_sample(asked, sample.ids.tolist(), jobs, journal)
            every, best = ceiling(truth, judge, sample)
            record = {
                "cells": sample.ids.size,
                "judged_by": judge,
                "tau_ceiling": {"all": every, "best_tenth": best},
                "evidence": compare(asked, trained, sample, truth),
                "provenance": work_done(config, trained, journal),
            }
            files.write_table(out, trained)
            files.write_json(summary, record)
            journal.remove()
    if figure is not None:
        from pdnas.report import style
        from pdnas.report.truth.alone import worth_of_seconds
        from pdnas.support.provenance import fingerprint

        of = f"cells trained alone #{fingerprint(record)}"
        style.write_at(figure, lambda: worth_of_seconds(record), of, force)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    else:
        _print_evidence(record, asked.dataset)


def fraction(percent: float) -> float:
    """An accuracy in percent as the nearest fraction: 93.9 / 100 itself is a little above 0.939."""
    if not 1 <= percent <= 100:  # NaN fails as well
        raise PdnasError(f"--target is an accuracy in percent, from 1 to 100, not {percent:g}")
    return round(percent / 100, 10)


def seed_range(text: str) -> range:
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() if dash else not last)):
        raise PdnasError(f"write --seeds as a number or a range like 0-99, not {text!r}")
    found = range(int(first), int(last or first) + 1)
    if not found:
        raise PdnasError(f"--seeds {text} is empty; write the smaller seed first")
    if found[-1] > limits.SEED or found[-1] - found[0] >= limits.CANDIDATES:
        raise PdnasError(
            f"--seeds {text} is too much; ask for {limits.CANDIDATES} seeds at most, none above "
            f"{limits.SEED}"
        )
    return found


def _print_facts(facts: dict[str, Any]) -> None:
    from pdnas.truth.columns import DATASETS

    typer.secho(facts["cell"], bold=True)
    typer.echo(
        f"cell {facts['id']}, benchmark index {facts['benchmark_index']}, isomorphism class "
        f"{facts['isomorphism_class']} ({facts['isomorphic_cells']} cells)\n"
        f"{facts['parameters']:,} parameters, {facts['multiply_adds']:,} multiply-adds"
    )
    rows = []
    for name in DATASETS:
        values = (facts[f"{column}_{name}"] for column in ("test_200", "validation_12", "test_12"))
        final, validation, short = (f"{100 * value:.2f}" for value in values)
        rows.append((name, final, str(facts[f"rank_{name}"]), validation, short))
    columns = ("accuracy, %", "test, 200 epochs", "rank", "validation, 12", "test, 12")
    print_table(None, columns, rows)


def _print_efficiency(records: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    if len(records) == 1:
        record = records[0]
        typer.echo(
            f"entropy {record['entropy']:.3f} nats = {record['effective_cells']:.1f} equally "
            f"likely cells; mode {record['mode']} ({record['mode_probability']:.2%})"
        )
    for name, facts in summary["datasets"].items():
        title = (
            f"{name}: mean accuracy of a sample {_interval(facts['mean_accuracy'], 100)} % "
            f"(uniform {100 * facts['uniform_mean_accuracy']:.2f} %), "
            f"mode {_interval(facts['mode_accuracy'], 100)} %"
        )
        rows = [
            (
                f"{100 * each['target']:.2f} %",
                _interval(each["mass"]),
                _interval(each["expected_samples"]),
                number(each["uniform_expected_samples"]),
                _interval(each["speedup"]),
            )
            for each in facts["targets"]
        ]
        print_table(title, ("target", "mass", "expected samples", "uniform", "fewer by"), rows)
        if len(records) == 1 and (judged := records[0]["datasets"][name])["chosen_of_n"]:
            typer.echo(judged_by_scores(judged))


def judged_by_scores(facts: Mapping[str, Any]) -> str:
    """What one-shot scores are worth, by a data set's part of ``efficiency.json``."""
    chosen = facts["chosen_of_n"]
    count = min(100, chosen["n"][-1])
    expected = 100 * chosen["expected"][chosen["n"].index(count)]
    return (
        f"scores: Kendall's tau {number(facts['kendall_tau'])}, among the best tenth "
        f"{number(facts['kendall_tau_top'])}; the one of {count} samples that they choose has "
        f"{expected:.2f} %"
    )


def print_rival(record: dict[str, Any]) -> None:
    chosen, rows = record["chosen_accuracy"], []
    for each in record["targets"]:
        low, median, high = (number(each[f"quantile_{level}"]) for level in ("05", "50", "95"))
        target, reached = f"{100 * each['target']:.2f} %", f"{each['reached']:.1%}"
        hours = _interval(each["gpu_hours"])
        rows.append(
            (target, reached, _interval(each["queries"]), median, f"{low} to {high}", hours)
        )
    print_table(
        f"{record['method']} on {record['dataset']}, {record['seeds']} × "
        f"{record['queries']} queries: chosen cell {_interval(chosen, 100)} %, standard "
        f"deviation {number(chosen['standard_deviation'], 100)}; "
        f"{_interval(record['gpu_hours'])} GPU hours",
        ("target", "seeds that reach it", "mean queries", "median", "5 % to 95 %", "GPU hours"),
        rows,
    )


def _print_evidence(record: Mapping[str, Any], dataset: str) -> None:
    from pdnas.truth.columns import DATASETS

    shown = [
        name for name in record["evidence"][0] if isinstance(record["evidence"][0][name], dict)
    ]
    rows = [
        (
            each["variant"],
            f"{each['steps']}",
            each["evidence"],
            number(each["seconds"]),
            *(_interval(each[name]) for name in shown),
        )
        for each in record["evidence"]
    ]
    ceiling = record["tau_ceiling"]
    judge = record.get("judged_by", DATASETS[0])  # which judged all in earlier versions
    print_table(
        f"{record['cells']} cells trained on {dataset}, judged by accuracies on {judge}; no tau "
        f"can be expected above {number(ceiling['all'])} (best "
        f"tenth: {number(ceiling['best_tenth'])})",
        ("variant", "steps", "evidence", "seconds", *shown),
        rows,
    )


def _interval(interval: dict[str, Any] | None, scale: float = 1) -> str:
    if interval is None:
        return "–"
    text = number(interval["estimate"], scale)
    if interval["low"] is None:
        return text
    return f"{text} [{number(interval['low'], scale)}, {number(interval['high'], scale)}]"
