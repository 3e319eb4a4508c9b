"""The words for what records say."""

from __future__ import annotations

from pdnas.runs.records import describe_hardware, seconds


def test_hardware_in_words() -> None:
    assert describe_hardware({"gpus": ["A", "B", "A"]}) == "2 x A + 1 x B"
    assert describe_hardware({"gpus": [], "cpu": "C", "threads": 2}) == "C, 2 threads"


def test_a_record_that_says_nothing_of_time_has_none() -> None:
    assert seconds({"provenance": {"wall_seconds": 12}}) == 12
    assert seconds({}) is None
