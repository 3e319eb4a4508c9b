"""What a record says of the code and the libraries that made it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import pdnas
from pdnas.support import provenance

PACKAGE = Path(__file__).parents[2] / "pdnas"

STATE = """
import json, sys
from pdnas.runs.records import makers
from pdnas.support.provenance import Stopwatch, provenance

stopwatch = Stopwatch(json.loads(sys.argv[1]) if len(sys.argv) > 1 else None)
made = makers(provenance({}, 0, stopwatch))
print(json.dumps([stopwatch.state(), [each["code"] for each in made]]))
"""

WORK = """
import subprocess
from pdnas.support.provenance import Stopwatch, provenance

stopwatch = Stopwatch()
subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "later"], check=True)
print(provenance({}, 0, stopwatch)["code"])
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Runs a command in a repository that holds the package and nothing else."""
    if shutil.which("git") is None:
        pytest.skip("no git")
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
    return run


def test_the_code_is_what_was_checked_out_when_the_work_began(
    run: Callable[..., str], tmp_path: Path
) -> None:
    first = run("git", "rev-parse", "--short=12", "HEAD")
    said = run(sys.executable, "-c", WORK)
    assert said.endswith(first)
    assert first != run("git", "rev-parse", "--short=12", "HEAD")

    (tmp_path / "pdnas" / "cells.py").write_text("# changed\n")
    assert run(sys.executable, "-c", WORK).endswith("+changes")


def test_work_that_was_cut_off_names_the_code_of_all_its_parts(run: Callable[..., str]) -> None:
    state, codes = json.loads(run(sys.executable, "-c", STATE))
    again, same = json.loads(run(sys.executable, "-c", STATE, json.dumps(state)))
    assert same == codes
    run("git", "commit", "-q", "--allow-empty", "-m", "later")
    _, both = json.loads(run(sys.executable, "-c", STATE, json.dumps(again)))
    assert both[0] == codes[0]
    assert both[1:] == [f"{pdnas.__version__} {run('git', 'rev-parse', '--short=12', 'HEAD')}"]


@pytest.fixture
def copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a copy of the package without the history would lie."""
    folder = tmp_path / "site-packages" / "pdnas"
    monkeypatch.setattr(pdnas, "__file__", str(folder / "__init__.py"))
    monkeypatch.delenv("PDNAS_COMMIT", raising=False)
    return folder


def code_version() -> str:
    return provenance.code_version.__wrapped__()


def test_a_copy_without_history_says_so_unless_it_is_told_its_commit(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code_version() == f"{pdnas.__version__} (no git checkout)"
    monkeypatch.setenv("PDNAS_COMMIT", "0123456789ab")
    assert code_version() == f"{pdnas.__version__} 0123456789ab"


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
@pytest.mark.parametrize("tracked", [False, True])
def test_an_installed_package_has_no_commit_of_the_repository_around_it(
    copy: Path, tracked: bool
) -> None:
    copy.mkdir(parents=True)
    (copy / "__init__.py").touch()

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com"]
        subprocess.run(["git", "-C", str(copy.parents[1]), *identity, *arguments], check=True)

    git("init", "-q")
    if tracked:
        git("add", ".")
    git("commit", "-q", "--allow-empty", "-m", "another project's")
    assert code_version() == f"{pdnas.__version__} (no git checkout)"


def test_a_checkout_knows_its_own_commit_better(monkeypatch: pytest.MonkeyPatch) -> None:
    if "no git checkout" in code_version():
        pytest.skip("the tests run in a copy without the history")
    monkeypatch.setenv("PDNAS_COMMIT", "0123456789ab")
    assert "0123456789ab" not in code_version()


def test_absent_libraries_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "LIBRARIES", ("torch", "no-such-library"))
    record = provenance.provenance({}, 0, provenance.Stopwatch())
    assert record["libraries"]["torch"]
    assert record["libraries"]["no-such-library"] is None


def test_gpus_are_those_that_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    stopwatch = provenance.Stopwatch()
    assert provenance.provenance({}, 0, stopwatch)["hardware"]["gpus"] == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert provenance.provenance({}, 0, stopwatch)["hardware"]["gpus"] == ["Card"]
