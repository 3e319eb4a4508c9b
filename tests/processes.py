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


class Forked:
    """Something that is done in a process, folder and environment of its own, from now on."""

    def __init__(
        self, work: Work, folder: Path, environment: Mapping[str, str] = ENVIRONMENT
    ) -> None:
        self._said = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=self._begin, args=(work, folder, environment))
        self._process.start()

    def _begin(self, work: Work, folder: Path, environment: Mapping[str, str]) -> None:
        for number, file in enumerate(self._said, 1):
            os.dup2(file.fileno(), number)
        # pytest has replaced them.
        sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        work()

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end; what it said."""
        self._process.join()
        assert self._process.exitcode is not None
        said = []
        for file in self._said:
            file.seek(0)
            said.append(file.read())
            file.close()
        return subprocess.CompletedProcess([], self._process.exitcode, *said)


def forked(
    work: Work, folder: Path, environment: Mapping[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[str]:
    """Do something in a process of its own, and wait for it."""
    return Forked(work, folder, environment).end()
