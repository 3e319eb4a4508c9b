"""Processes that begin with what they need imported, which takes longer than most tests."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import chdir
from functools import cache, partial
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path

from snakemake.cli import main

from .conftest import ENVIRONMENT

Work = Callable[[], object]


def forked(
    work: Work, folder: Path, environment: Mapping[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[str]:
    """Do something in a fork of this process; what it said."""
    return _done(multiprocessing.get_context("fork"), work, folder, environment)


def snakemake(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Snakemake in a fork of a process that has imported it, and nothing of what tests do."""
    return _done(_planner(), partial(main, list(words)), folder, ENVIRONMENT)


@cache
def _planner() -> BaseContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            *(__name__, "docutils.core", "snakemake.assets", "snakemake.profiles"),
            *("snakemake.report", "snakemake.storage", "pdnas.data.absence"),
            *("pdnas.runs.left_out", "pdnas.spec.products", "pdnas.support.workflow_view"),
        ]
    )
    with chdir(Path(__file__).parents[1]):  # where these modules are found
        forkserver.ensure_running()
    return context


def _done(
    context: BaseContext, work: Work, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place, name) for name in ("out", "err")]
        process = context.Process(target=_begin, args=(work, folder, dict(environment), files))
        process.start()
        process.join()
        assert process.exitcode is not None
        said = [file.read_text() for file in files]
    return subprocess.CompletedProcess([], process.exitcode, *said)


def _begin(work: Work, folder: Path, environment: Mapping[str, str], files: list[Path]) -> None:
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    # pytest has replaced them.
    sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    work()
