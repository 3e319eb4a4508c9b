"""What is written as a network of its own: a candidate of a run, or a cell that was given."""

from __future__ import annotations

from pathlib import Path

from pdnas.runs.run import Run
from pdnas.stages.extract import extract_run

from .test_retrain import CELL_TEXT


def test_a_given_cell_needs_no_candidates(cells: Path, tmp_path: Path) -> None:
    run = Run.load(cells)
    record = extract_run(run, run.architecture("posterior", cell=CELL_TEXT), tmp_path, "torch")
    assert record["cell"] == CELL_TEXT
    assert record["source"] is None
    assert record["candidate"] is None
    assert record["largest_difference"] < 1e-5 * record["largest_logit"]
    assert (tmp_path / "network.py").is_file()
