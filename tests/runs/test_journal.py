"""A journal goes on after its last whole row, whatever became of the end of its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdnas.runs.journal import Journal
from pdnas.support.errors import PdnasError

ROWS = [{"candidate": number, "loss": 0.1 * number, "ids": [1, 2]} for number in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint" / "work.jsonl"
    journal = Journal(path)
    for row in ROWS:
        journal.append(row)
    return path


def test_rows_and_time_outlast_a_call(path: Path) -> None:
    journal = Journal(path)
    assert journal.rows == ROWS
    journal.append({"candidate": 3})
    assert Journal(path).rows == [*ROWS, {"candidate": 3}]
    journal.remove()
    assert not path.parent.exists()


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_row_that_a_kill_cut_short_is_done_again(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    assert journal.rows == ROWS[:2]
    journal.append(ROWS[2])
    assert Journal(path).rows == ROWS


def test_a_row_that_a_disk_changed_is_done_again_and_what_follows(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"loss": 0.1', b'"loss": 0.3'))
    assert Journal(path).rows == ROWS[:1]


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    journal = Journal()
    journal.append(ROWS[0])
    assert journal.rows == ROWS[:1]
    journal.remove()
    assert not list(tmp_path.iterdir())


def test_a_journal_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("no folder")
    with pytest.raises(PdnasError, match="cannot write"):
        Journal(tmp_path / "checkpoint" / "work.jsonl").append(ROWS[0])
