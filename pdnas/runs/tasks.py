"""Work of minutes in several processes: rows of a table, kept in a journal against a kill."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr
from functools import partial
from itertools import starmap
from time import process_time
from typing import Any

import pandas as pd
import torch

from pdnas.data.sources import cache_directory
from pdnas.runs.journal import Journal
from pdnas.support.progress import Progress
from pdnas.support.provenance import code_version, fingerprint, provenance


def cached_journal(name: str, config: Mapping[str, Any], seeds: Sequence[int]) -> Journal:
    """A journal in the cache of work that this code does with a configuration and seeds."""
    identity = {"config": config, "seeds": [*seeds], "code": code_version()}
    return Journal(cache_directory() / "journals" / f"{name}-{fingerprint(identity)}")


def rows_of(
    function: Callable[..., dict[str, Any]],
    tasks: Sequence[tuple[Any, ...]],
    jobs: int,
    journal: Journal,
    description: str,
    total: int | None = None,
) -> pd.DataFrame:
    """What ``function(*task)`` says of every task, a row each; those in the journal are done.

    Args:
        jobs: processes; one is this process itself.
        total: the number that progress counts to, where further tasks will follow.

    Returns:
        its rows, with their ``cpu_seconds``.
    """
    function = partial(_timed, function)
    todo = tasks[len(journal.rows) :]
    with (
        Progress(description, total or len(tasks), len(journal.rows)) as progress,
        ExitStack() as stack,
    ):
        done: Iterator[dict[str, Any]] = starmap(function, todo)
        if jobs > 1 and todo:
            # Forked processes would inherit the locks of torch's threads.
            spawn = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(jobs, spawn, torch.set_num_threads, (1,))
            done = stack.enter_context(pool).map(function, *zip(*todo, strict=True))
        for row in done:
            journal.append(row)
            progress.advance()
    return pd.DataFrame(journal.rows[: len(tasks)])


def _timed(function: Callable[..., dict[str, Any]], *task: Any) -> dict[str, Any]:
    started = process_time()
    return {**function(*task), "cpu_seconds": process_time() - started}


def work_done(config: Mapping[str, Any], rows: pd.DataFrame, journal: Journal) -> dict[str, Any]:
    """Provenance of a result, with the processor time of all processes."""
    made = provenance(config, None, journal.stopwatch)
    return {**made, "cpu_seconds": round(float(rows["cpu_seconds"].sum()), 3)}


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what single trainings say of their progress; there are hundreds of them."""
    with redirect_stderr(io.StringIO()):
        yield
