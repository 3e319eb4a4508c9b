"""What is written as a network of its own: a candidate of a run, or a cell that was given."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdnas.runs.run import Run
from pdnas.stages import extract as stage
from pdnas.stages.extract import extract_run
from pdnas.support.progress import read

from .test_retrain import CELL_TEXT


def test_a_given_cell_needs_no_candidates(cells: Path, tmp_path: Path) -> None:
    run = Run.load(cells)
    record = extract_run(run, run.architecture("posterior", cell=CELL_TEXT), tmp_path, "torch")
    assert record["cell"] == CELL_TEXT
    assert record["source"] is None
    assert record["candidate"] is None
    assert record["largest_difference"] < 1e-5 * record["largest_logit"]
    assert (tmp_path / "network.py").is_file()


def test_slow_networks_are_timed_less_often_and_progress_is_shown(
    cells: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Run.load(cells)
    architecture = run.architecture("posterior", cell=CELL_TEXT)
    assert extract_run(run, architecture, tmp_path, "torch")["speedup"]["pairs"] == 20
    capsys.readouterr()
    monkeypatch.setattr(stage, "TIMED_SECONDS", 0)
    assert extract_run(run, architecture, tmp_path, "torch")["speedup"]["pairs"] == 3
    first, *_, last = map(read, capsys.readouterr().err.splitlines())
    assert first is not None
    assert last is not None
    assert first.done == 1
    assert last.done == last.total == first.total > 20
