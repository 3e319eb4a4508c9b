"""Progress in a terminal of 80 columns and in a log."""

from __future__ import annotations

import re

import pytest

from pdnas.support.progress import Progress, Reading, clock, read

NAME = "search multibranch-cifar10/guided-dependent seed 0"
NOTE = "nll 12.345 accuracy 100.0% 123456 images/s"


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0, 7.4, 750, 3723)] == [
        *("0:00", "0:07", "12:30", "1:02:03")
    ]


@pytest.mark.parametrize("name", ["search a/b seed 0", NAME])
def test_80_columns_show_the_epoch_and_the_time_left(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, value in {"TTY_COMPATIBLE": "1", "COLUMNS": "80", "TERM": "xterm"}.items():
        monkeypatch.setenv(key, value)
    with Progress(name, 180, done=3) as progress:
        progress.advance(note=NOTE)
    shown = re.split(r"[\r\n]+", re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", capsys.readouterr().err))
    assert max(map(len, shown)) <= 80
    assert any(re.search(r"4/180 +\d+:\d\d left +nll", line) for line in shown)


def test_a_log_has_lines_that_can_be_read_again(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(NAME, 3, done=1) as progress:
        progress.advance(note=NOTE)
        progress.advance()
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"{NAME}: 2/3, 0:00 left, {NOTE}"
    assert read(last) == Reading(3, 3, 0.0)
    assert read("score a/b: 10/40, 1:02:03 left") == Reading(10, 40, 3723.0)
    assert read("pdnas: error: 3/4 is no number") is None
