"""All commands: a thin layer over the library, which imports torch only when it computes."""

from __future__ import annotations

from typing import Annotated

import typer

import pdnas
from pdnas.commands import analysis, data, efficiency, nasbench, pipeline, regress, report, truth

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"pdnas {pdnas.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_say_version, help="Say which version this is."
        ),
    ] = False,
) -> None:
    """Posterior-guided one-shot neural architecture search: reproduce, ablate, benchmark."""


for command in (
    pipeline.search,
    pipeline.sample,
    pipeline.rank,
    pipeline.retrain,
    pipeline.extract,
    pipeline.describe,
    efficiency.efficiency,
    regress.regress,
    report.table,
    report.figure,
    report.report,
    report.claims,
    report.show,
    report.compare,
    report.publish,
    analysis.audit,
    analysis.official,
    analysis.draw,
):
    app.command()(command)
app.add_typer(data.app, name="data")
app.add_typer(nasbench.app, name="nasbench")
app.add_typer(truth.app, name="truth")
