"""Processes that are forked from this one, so that what it has imported is there."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from .conftest import ENVIRONMENT

Work = Callable[[], object]


def forked(
    work: Work, folder: Path, environment: Mapping[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[str]:
    """Do something in a process, folder and environment of its own; what it said."""
    files = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115

    def begin() -> None:
        for number, file in enumerate(files, 1):
            os.dup2(file.fileno(), number)
        # pytest has replaced them.
        sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        work()

    process = multiprocessing.get_context("fork").Process(target=begin)
    process.start()
    process.join()
    assert process.exitcode is not None
    said = []
    for file in files:
        file.seek(0)
        said.append(file.read())
        file.close()
    return subprocess.CompletedProcess([], process.exitcode, *said)
