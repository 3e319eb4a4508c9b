"""Pairs of runs timed side by side, for a bounded time."""

from __future__ import annotations

import math
import time

import pytest

from pdnas.support.timing import paired_times


@pytest.mark.parametrize(("within", "pairs"), [(0, 2), (math.inf, 6)])
def test_slow_work_is_timed_less_often(within: float, pairs: int) -> None:
    counted: list[int] = []
    times = paired_times(
        lambda: time.sleep(0.03),
        lambda: time.sleep(0.02),
        6,
        fewest=2,
        within=within,
        after_each=lambda: counted.append(1),
    )
    assert len(times) == len(counted) == pairs
    assert all(slow >= 0.03 and fast >= 0.02 for slow, fast in times)
