"""Progress of long work: a bar in a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts finished steps of work on standard error.

    Args:
        description: what is being done.
        total: number of steps.
        done: steps that an earlier, interrupted run has finished.
        quiet: show nothing.
    """

    def __init__(self, description: str, total: int, done: int = 0, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._description, self._total, self._done = description, total, done
        self._last_line = -float("inf")
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(description, total=total, completed=done, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count ``steps`` as done; ``note`` is shown beside the count."""
        self._done += steps
        self._bar.update(self._task, completed=self._done, note=note)
        if self._console.is_terminal:
            return
        now = time.monotonic()
        if now - self._last_line >= _SECONDS_BETWEEN_LINES or self._done == self._total:
            self._last_line = now
            line = f"{self._description}: {self._done}/{self._total} {note}".rstrip()
            self._console.print(line, highlight=False, soft_wrap=True)
