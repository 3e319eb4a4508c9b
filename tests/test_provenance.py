"""What a record says of the code that made it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pdnas"

WORK = """
import subprocess
from pdnas.provenance import Stopwatch, provenance

stopwatch = Stopwatch()
subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "later"], check=True)
print(provenance({}, 0, stopwatch)["code"])
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_the_code_is_what_was_checked_out_when_the_work_began(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "pdnas", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".gitignore").write_text("__pycache__\n")

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    run("git", "init", "-q")
    run("git", "config", "user.name", "nobody")
    run("git", "config", "user.email", "nobody@example.com")
    run("git", "add", ".")
    run("git", "commit", "-q", "-m", "first")
    first = run("git", "rev-parse", "--short=12", "HEAD")
    said = run(sys.executable, "-c", WORK)
    assert said.endswith(first)
    assert first != run("git", "rev-parse", "--short=12", "HEAD")

    (tmp_path / "pdnas" / "cells.py").write_text("# changed\n")
    assert run(sys.executable, "-c", WORK).endswith("+changes")
