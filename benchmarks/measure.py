"""What every benchmark shares: interleaved pairs of runs, peak memory, measures against aims."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.profiler import profile

from pdnas.support.timing import Work


@dataclass(frozen=True)
class Effort:
    """How thoroughly to measure.

    Attributes:
        pairs: interleaved runs of a cheap pair; expensive rows take a share of them.
        tiny: smallest problems, only to see that the row works.
        device: where networks run.
    """

    pairs: int = 20
    tiny: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def choose(self, full: int, tiny: int) -> int:
        """A problem's size."""
        return tiny if self.tiny else full

    def share(self, part: float) -> int:
        """So many pairs for a row that is expensive."""
        return max(2, round(self.pairs * part))


@dataclass(frozen=True)
class Aim:
    """The value that a measure should reach: at least it, or at most."""

    value: float
    least: bool

    def reached(self, value: float) -> bool:
        return value >= self.value if self.least else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {self.value:g}"


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    Attributes:
        part: what was measured.
        against: what it was compared with.
        value: ratio of medians, or a quantity in ``unit``; None where it was not run.
        quartiles: of the single pairs or runs.
        runs: number of these.
        unit: ``x`` for a ratio, else ``s``, ``MB`` or ``%``.
        aim: None where there is none.
        note: what one must know to read the value.
        obstacle: what stands in the way, for an aim that is not reached.
    """

    part: str
    against: str
    value: float | None
    quartiles: tuple[float, float] | None = None
    runs: int = 0
    unit: str = "x"
    aim: Aim | None = None
    note: str = ""
    obstacle: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None without aim or value."""
        return None if self.aim is None or self.value is None else self.aim.reached(self.value)

    def to_json(self) -> dict[str, Any]:
        record = {name: value for name, value in vars(self).items() if value not in ("", None)}
        return {**record, "aim": str(self.aim) if self.aim else None, "reached": self.reached}


def ratio(part: str, against: str, times: Sequence[tuple[float, float]], **more: Any) -> Measure:
    """The measure first / second: ratio of medians, and the quartiles of the pairs' own ratios."""
    value = statistics.median(one for one, _ in times) / statistics.median(two for _, two in times)
    spread = quartiles([one / two for one, two in times])
    return Measure(part, against, value, spread, len(times), **more)


def quantity(part: str, against: str, values: Sequence[float], unit: str, **more: Any) -> Measure:
    """The measure of one thing: median and quartiles of its runs."""
    middle = statistics.median(values)
    return Measure(part, against, middle, quartiles(values), len(values), unit, **more)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper quartile; of one value, twice that."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def no_gpu(part: str, against: str, aim: Aim) -> Measure:
    """What stands in the table for a row that needs a GPU."""
    return Measure(part, against, None, aim=aim, note="not run: no GPU here")


def peak_bytes(work: Work, device: torch.device) -> int:
    """Most memory that tensors held at once during ``work``, beyond what they held before.

    On a CPU it is summed up from the allocations that torch's profiler sees; what a convolution
    takes within oneDNN is not among them.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(profile_memory=True, acc_events=True) as run:
        work()
    events = [event for event in run.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest
