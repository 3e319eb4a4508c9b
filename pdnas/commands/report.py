"""From the files of runs to what people read: tables, figures, the page, summaries."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pdnas.commands import complete
from pdnas.commands.pipeline import Force, Json, Scale
from pdnas.runs import layout
from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    from pdnas.report.collect import Collection
    from pdnas.report.compare import Comparison
    from pdnas.spec.products import Selector

Runs = Annotated[
    Path | None, typer.Option(help="Folder with the scale's runs; runs/SCALE by default.")
]


def table(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=complete.tables,
            help="1 to 9 as in the paper, ablations, extraction, efficiency, nasbench, rivals or "
            "truths.",
        ),
    ],
    scale: Scale = "laptop",
    runs: Runs = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for NAME.csv, NAME.md and NAME.tex.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a table: the paper's numbers and ours in columns of their own.

    Examples:

        pdnas table 3 --scale laptop

        pdnas table efficiency --scale gpu --runs runs/gpu --out report/tables
    """
    from pdnas.report import catalogue, formats
    from pdnas.runs import kept

    product = catalogue.find_table(name)
    collection = _collect(scale, runs, product.studies)
    made = catalogue.table(product.name, collection)
    if out is not None:
        files = [out / f"{made.name}.{form}" for form in formats.WRITERS]
        text = out / f"{made.name}.md"
        before = formats.made_of(text.read_text(errors="replace")) if text.is_file() else None
        kept.product(files, before, str(formats.made_of(formats.to_markdown(made))), force)
        formats.write(made, out)
    if as_json:
        typer.echo(json.dumps(formats.to_json(made), indent=2, ensure_ascii=False))
    else:
        typer.echo(formats.to_markdown(made))


def figure(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=complete.figures,
            help="figure1, figure2, mismatch, pareto, candidates, error-cost, trajectories, "
            "kept-share, posterior-cells, efficiency or best-of-n; of NAS-Bench-201's study "
            "samples-to-target, best-so-far, one-shot, posterior-training, posterior-mass or cost; "
            "of ground truths size-widths, size-samples or truth-noise.",
        ),
    ],
    scale: Scale = "laptop",
    runs: Runs = None,
    out: Annotated[Path, typer.Option(help="Folder for NAME.pdf, NAME.png and NAME.csv.")] = Path(),
    force: Force = False,
) -> None:
    """Draw a figure, and write the data in it.

    Example:

        pdnas figure efficiency --scale laptop --out report/figures
    """
    from pdnas.report import catalogue, style

    product = catalogue.find_figure(name)
    collection = _collect(scale, runs, product.studies)
    style.require_same(out, product.name, f"scale {collection.name}", force)
    for path in catalogue.draw(product.name, collection, out):
        typer.echo(path)


def report(
    scale: Scale = "laptop",
    runs: Runs = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; report/report.html in RUNS by default.")
    ] = None,
    besides: Annotated[
        list[Path] | None,
        typer.Option(help="Published folders of other scales, for tables that have no run here."),
    ] = None,
    force: Force = False,
) -> None:
    """Write one self-contained HTML page of a scale's tables and figures.

    Example:

        pdnas report --scale laptop
    """
    from pdnas.report import page
    from pdnas.report.publish import published
    from pdnas.runs import kept

    collection = _collect(scale, runs)
    target = out or collection.folder / layout.REPORT / "report.html"
    kept.product([target], page.made_of(target), f"scale {collection.name}", force)
    page.write(collection, target, [published(folder) for folder in besides or ()])
    typer.echo(target)


def claims(scale: Scale = "laptop", runs: Runs = None, as_json: Json = False) -> None:
    """Hold the paper's claims against what was measured, with p corrected for their number.

    Example:

        pdnas claims --scale laptop
    """
    from pdnas.report import claims as made
    from pdnas.report import formats

    found = made.table(made.corrected(made.claims(_collect(scale, runs))))
    if as_json:
        typer.echo(json.dumps(formats.to_json(found), indent=2, ensure_ascii=False))
    else:
        typer.echo(formats.to_markdown(found))


def show(
    run: Annotated[Path, typer.Argument(help="Folder of a run: it holds run.json.")],
    as_json: Json = False,
) -> None:
    """Sum up one run.

    Example:

        pdnas show runs/laptop/multibranch/guided/seed6
    """
    from pdnas.report.summary import lines, summarise_run
    from pdnas.runs.run import Run

    summary = summarise_run(Run.load(run))
    if as_json:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        _print_pairs(lines(summary))


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run, or of a variant: seed*/ in it.")],
    second: Annotated[Path, typer.Argument(help="Another of the same kind.")],
    as_json: Json = False,
) -> None:
    """Hold two runs, or two variants seed by seed, against each other, with 95 % intervals.

    Examples:

        pdnas compare runs/laptop/multibranch/guided runs/laptop/multibranch/random

        pdnas compare runs/laptop/multibranch/guided/seed6 runs/laptop/multibranch/full/seed6 --json
    """
    from pdnas.report.compare import compare as hold
    from pdnas.report.compare import read

    made = hold(read(first), read(second))
    if as_json:
        typer.echo(json.dumps(made.to_json(), indent=2, ensure_ascii=False))
    else:
        _print_comparison(made)


def publish(
    out: Annotated[Path, typer.Argument(help="Folder to write, such as results/laptop.")],
    scale: Scale = "laptop",
    runs: Runs = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Copy what a scale's numbers rest on (report, records, posteriors) to a folder to commit.

    Example:

        pdnas publish results/laptop --scale laptop
    """
    from pdnas.report.publish import publish as copy

    summary = copy(scale, _runs(scale, runs), out, force)
    if as_json:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        _print_pairs([(key, str(value)) for key, value in summary.items()])


def _collect(scale: str, runs: Path | None, select: Selector | None = None) -> Collection:
    from pdnas.report.collect import collect

    return collect(scale, _runs(scale, runs), select)


def _runs(scale: str, named: Path | None) -> Path:
    """The folder of a scale's runs.

    Raises:
        PdnasError: there is none: a table of nothing would look as if nothing were wrong.
    """
    from pdnas.runs.kept import runs_folder

    folder = named or runs_folder(scale)
    if not folder.is_dir():
        raise PdnasError(
            f"{folder} is no folder; name the one that holds the scale's studies with --runs, or "
            f"run it first: snakemake all --config scale={scale}"
        )
    return folder


def _print_comparison(made: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    from pdnas.commands.console import console_of_width
    from pdnas.report.formats import Column, text

    console = console_of_width()
    if made.settings:
        settings = Table("setting", made.first, made.second, box=None, header_style="bold")
        for key, values in made.settings.items():
            settings.add_row(key, *("–" if each is None else str(each) for each in values))
        console.print(settings, "")
    numbers = Table(box=None, header_style="bold")
    numbers.add_column("measured")
    for heading in (made.first, made.second, "second - first"):
        numbers.add_column(heading, justify="right")
    for each in made.differences:
        decimals = 2
        if each.quantity.endswith("[M]"):  # three digits of the smaller network
            size = min(abs(side.estimate) for side in (each.first, each.second)) or 1
            decimals = min(max(3, 2 - math.floor(math.log10(size))), 6)
        column = Column("", "", decimals=decimals)
        cells = (text(value, column) for value in (each.first, each.second, each.difference))
        numbers.add_row(Text(each.quantity), *cells)  # as it stands: [min] is no markup
    console.print(numbers, "")
    if len(made.seeds) > 1:
        what = "mean ± half-width of the 95 % t-interval, differences paired by seed"
        console.print(f"{len(made.seeds)} seeds: {what}.")
    console.print(*made.notes, sep="\n")


def _print_pairs(pairs: list[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from pdnas.commands.console import console_of_width

    grid: Any = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in pairs:
        grid.add_row(Text(label), Text(text))
    console_of_width().print(grid)
