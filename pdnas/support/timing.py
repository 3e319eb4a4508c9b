"""Two pieces of work timed side by side, so that a machine that slows down slows both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

Work = Callable[[], object]
Pairs = list[tuple[float, float]]
"""Seconds of a first and a second piece of work, run one right after the other."""


def seconds(work: Work) -> float:
    """Wall time of one run; waits for the GPU where there is one."""
    _synchronise()
    start = time.perf_counter()
    work()
    _synchronise()
    return time.perf_counter() - start


def paired_times(
    first: Work,
    second: Work,
    pairs: int,
    *,
    fewest: int = 0,
    within: float = math.inf,
    after_each: Work = lambda: None,
) -> Pairs:
    """Seconds of both in ``pairs`` interleaved runs, in changing order, after one that is lost.

    Args:
        fewest: pairs to time however long they take.
        within: seconds after which no more than these are begun.
        after_each: called after every pair that counts.
    """
    times: Pairs = []
    start = time.perf_counter()
    for pair in range(pairs + 1):
        if pair > fewest and time.perf_counter() - start > within:
            break
        if pair % 2:
            one, other = seconds(first), seconds(second)
        else:
            other, one = seconds(second), seconds(first)
        if pair:
            times.append((one, other))
            after_each()
    return times


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
