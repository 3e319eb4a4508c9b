"""What the records of runs say, in the words that stages and report have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe_hardware(hardware: Mapping[str, Any]) -> str:
    """The machine in words: the GPUs where there are any, else the processor."""
    gpus = list(hardware.get("gpus") or [])
    threads = hardware.get("threads")
    if gpus:
        return " + ".join(f"{gpus.count(gpu)} x {gpu}" for gpu in dict.fromkeys(gpus))
    return f"{hardware.get('cpu')}, {threads} thread{'' if threads == 1 else 's'}"


def makers(provenance: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ``code`` and ``hardware`` of all calls that had a part: those cut off, then the last."""
    return [*provenance.get("others", ()), provenance]


def seconds(record: Mapping[str, Any]) -> float | None:
    """The wall time that a record's work took; None where it does not say."""
    wall = (record.get("provenance") or {}).get("wall_seconds")
    return None if wall is None else float(wall)


def older(record: Mapping[str, Any], source: Mapping[str, Any]) -> bool:
    """Whether a record is older than what it was made from: it says nothing any more."""
    made, since = (each["provenance"]["finished"] for each in (record, source))
    return bool(made < since)
