"""What people type: numbers out of range, names as they say them, the Tab key."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pdnas.cli import app

HUGE = "9" * 30


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("search multibranch guided", "--seed"),
        ("sample run", "--seed"),
        ("sample run", "--count"),
        ("rank run", "--threads"),
        ("describe supernet-m", "--width"),
        ("describe supernet-m", "--classes"),
        ("describe supernet-m", "--size"),
    ],
)
def test_a_huge_number_is_out_of_range(command: str, option: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), option, HUGE])
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit), "a traceback"
    assert "Invalid value" in done.output
