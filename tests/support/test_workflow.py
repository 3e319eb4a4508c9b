"""The lock of a killed workflow, and jobs that end with theirs."""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pdnas.support import workflow


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock of Snakemake's in a folder."""
    monkeypatch.setattr(workflow, "_claims", [])
    path = tmp_path / ".snakemake" / "locks" / "0.input.lock"
    path.parent.mkdir(parents=True)
    path.write_text("x\n")
    return path


def test_a_lock_that_nobody_holds_is_removed(lock: Path, tmp_path: Path) -> None:
    assert workflow.claim_folder(tmp_path) == 1
    assert not lock.exists()
    assert workflow.claim_folder(tmp_path) == 0


def test_the_lock_of_a_workflow_at_work_stays(lock: Path, tmp_path: Path) -> None:
    with (tmp_path / ".snakemake" / "pdnas.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert workflow.claim_folder(tmp_path) == 0
    assert lock.exists()


def test_another_machines_lock_stays(lock: Path, tmp_path: Path) -> None:
    claim = tmp_path / ".snakemake" / "pdnas.lock"
    claim.write_text("elsewhere")
    assert workflow.claim_folder(tmp_path) == 0
    assert lock.exists()
    lock.unlink()
    workflow._claims.clear()  # as if the first had ended
    assert workflow.claim_folder(tmp_path) == 0
    assert claim.read_text() == platform.node()


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "ValueError"])
def test_ctrl_c_before_the_first_job_is_a_line(error: str) -> None:
    code = f"from pdnas.support.workflow import *; explain_interrupt(); raise {error}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    line = "pdnas: interrupted before the first job began\n"
    assert (done.stderr == line) == (error == "KeyboardInterrupt")
    assert ("Traceback" in done.stderr) == (error == "ValueError")


@pytest.mark.parametrize("waited_for", [True, False])
def test_a_job_ends_with_its_workflow(waited_for: bool) -> None:
    job = "import time; from pdnas.support.workflow import *; end_with_workflow(); time.sleep(60)"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    if waited_for:
        gone.wait()
    where = f"{gone.pid}@{platform.node()}"
    done = subprocess.run([sys.executable, "-c", job], env=os.environ | {"PDNAS_WORKFLOW": where})
    gone.wait()
    assert done.returncode == -15
