"""``pdnas extract``: a candidate as a network of its own."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pdnas.commands.pipeline import (
    Json,
    RunFolder,
    ScaleNow,
    Source,
    Threads,
    load_run,
    set_threads,
)


class Format(StrEnum):
    torch = "torch"
    export = "export"
    onnx = "onnx"


def extract(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    source: Annotated[Source, typer.Option(help="Which candidates.")] = Source.posterior,
    candidate: Annotated[
        int | None, typer.Option(min=0, help="Its number; the best of the ranking by default.")
    ] = None,
    format: Annotated[
        Format,
        typer.Option(
            help="torch: Python source and safetensors; export: torch.export program; onnx."
        ),
    ] = Format.torch,
    multiple: Annotated[
        int,
        typer.Option(
            min=1,
            help="Fill up channels to a multiple: not as small, but faster where vectors hold it.",
        ),
    ] = 1,
    threads: Threads = 1,
    scale: ScaleNow = None,
    as_json: Json = False,
) -> None:
    """Write a candidate as a physically smaller network with the same outputs.

    Example: pdnas extract runs/laptop/multibranch/guided/seed1 --out small --format onnx
    """
    from pdnas.stages.extract import extract_run

    set_threads(threads)
    record = extract_run(load_run(run, scale), source.value, candidate, out, format.value, multiple)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    masked, small = record["masked"], record["extracted"]
    typer.echo(
        f"candidate {record['candidate']} of {source.value}: {small['parameters']:,} parameters "
        f"(masked {masked['parameters']:,}), {small['multiply_adds']:,} multiply-adds (masked "
        f"{masked['multiply_adds']:,}), {record['speedup']['median']:.2f} times as fast: {out}"
    )
