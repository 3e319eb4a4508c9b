"""Progress of long work: a bar in a terminal, a line now and then in a log file."""

from __future__ import annotations

import re
import time
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

_SECONDS_BETWEEN_LINES = 10.0
_BAR, _CLOCK = 10, len("00:00:00 left")
_LINE = re.compile(r": (\d+)/(\d+), ((?:\d+:)?\d+:\d\d) left")


def clock(seconds: float) -> str:
    """``0:07``, ``12:30`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Reading(NamedTuple):
    """What a line of a log says: steps done, their number, seconds left."""

    done: int
    total: int
    left: float


def read(line: str) -> Reading | None:
    """Understand a line that :class:`Progress` wrote; None for any other."""
    if not (found := _LINE.search(line)):
        return None
    done, total, left = found.groups()
    parts = reversed(left.split(":"))
    seconds = sum(int(part) * 60**power for power, part in enumerate(parts))
    return Reading(int(done), int(total), float(seconds))


class Progress:
    """Counts finished steps of work on standard error.

    A terminal of 80 columns has room for all but the end of the note.

    Args:
        description: what is being done.
        total: number of steps.
        done: steps that an earlier, interrupted run has finished.
        quiet: show nothing.
    """

    def __init__(self, description: str, total: int, done: int = 0, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._description, self._total, self._done = description, total, done
        self._before, self._start = done, time.monotonic()
        self._last_line = -float("inf")
        widths = [min(len(description), 36), _BAR, 2 * len(str(total)) + 1, _CLOCK]
        room = self._console.width - sum(widths) - len(widths)
        fields = ["{task.description}", "{task.fields[count]}", "{task.fields[left]}"]
        first, count, left = (
            TextColumn(text, table_column=Column(width=width, no_wrap=True, overflow="ellipsis"))
            for text, width in zip(fields, [widths[0], *widths[2:]], strict=True)
        )
        columns: list[ProgressColumn] = [first, BarColumn(_BAR), count, left]
        if room > 0:
            narrow = Column(width=room, no_wrap=True, overflow="ellipsis")
            columns.append(TextColumn("{task.fields[note]}", table_column=narrow))
        self._bar = RichProgress(
            *columns, console=self._console, disable=not self._console.is_terminal
        )
        self._task = self._bar.add_task(
            description, total=total, completed=done, count=f"{done}/{total}", left="", note=""
        )

    def __enter__(self) -> Self:
        self._start = time.monotonic()
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
        count, left = f"{self._done}/{self._total}", f"{clock(self._left())} left"
        self._bar.update(self._task, completed=self._done, count=count, left=left, note=note)
        if self._console.is_terminal:
            return
        now = time.monotonic()
        if now - self._last_line >= _SECONDS_BETWEEN_LINES or self._done == self._total:
            self._last_line = now
            line = f"{self._description}: {count}, {left}{note and ', '}{note}"
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _left(self) -> float:
        """Seconds until the end, if the steps to come take as long as those of this process."""
        spent = time.monotonic() - self._start
        return spent * (self._total - self._done) / max(self._done - self._before, 1)
