"""Scripts run wherever they were checked out: Git never gives them another system's line ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_scripts_keep_their_line_ends() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not in a clone")

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True)
        return done.stdout.decode()

    scripts = git("grep", "-lI", "-E", "^#!.*(sh|python)").splitlines()
    scripts = [name for name in scripts if (ROOT / name).read_bytes().startswith(b"#!")]
    assert ".ci/run" in scripts
    wanted = git("check-attr", "eol", "--", *scripts).splitlines()
    assert wanted == [f"{name}: eol: lf" for name in scripts]
