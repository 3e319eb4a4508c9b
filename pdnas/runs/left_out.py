"""Studies of a scale that a workflow left out, since their images could not be had."""

from __future__ import annotations

from pathlib import Path

from pdnas.runs import layout
from pdnas.support.files import read_json, write_json


def left_out(runs: Path) -> dict[str, str]:
    """The reason, by study.

    Args:
        runs: folder of a scale's runs.
    """
    path = runs / layout.LEFT_OUT
    return dict(read_json(path)) if path.is_file() else {}


def remember(runs: Path, study: str, reason: str | None) -> None:
    """Note why a study is left out, or (None) that it is not."""
    before = left_out(runs)
    now = {name: why for name, why in before.items() if name != study}
    if reason is not None:
        now[study] = reason
    if now != before:
        write_json(runs / layout.LEFT_OUT, now)
