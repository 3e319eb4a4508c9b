"""Nothing that a user may call a file reaches a shell unquoted."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Ledger
from .test_workflow import ENVIRONMENT, SCALE, workflow

HOSTILE = "a b; touch x $(touch y) 'z"


@pytest.mark.faults
def test_the_path_of_a_scale_file_stays_one_word(tmp_path: Path, ledger: Ledger) -> None:
    scale = tmp_path / HOSTILE / "kills.yaml"
    scale.parent.mkdir()
    shutil.copyfile(SCALE, scale)
    folder = tmp_path / "work"
    command = [*workflow(folder, "all", "--dry-run", "--printshellcmds")[:-1], f"scale={scale}"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = re.findall(r"^Shell command: (.*)$", done.stdout + done.stderr, re.MULTILINE)
    commands = [shlex.split(line) for line in shown]
    named = [words[words.index("--scale") + 1] for words in commands if "--scale" in words]
    assert len(named) > 10
    assert set(named) == {str(scale)}
    for words in commands:
        # What is left after the quoted path are ordinary words, and where the log goes.
        rest = " ".join(word for word in words if word != str(scale))
        assert re.fullmatch(r"[\w./=>&1 -]+", rest), rest
    ledger.add("hostile name of a folder", "one quoted word of every command", tried=len(commands))
