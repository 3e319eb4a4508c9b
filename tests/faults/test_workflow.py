"""The workflow, killed at random moments and started again, ends with the files of a quiet run.

SIGKILL hits Snakemake and all its jobs at once, as a power cut would.
"""

from __future__ import annotations

import base64
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pdnas.support.files import read_json

from .conftest import Ledger
from .same import differences

ROOT = Path(__file__).parents[2]
SCALE = Path(__file__).with_name("kills.yaml")
TARGETS = ["table3", "table_extraction", "figure1"]
STAGES = ("search", "sample", "rank", "retrain", "extract", "table", "figure")
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
}

pytestmark = pytest.mark.faults


def workflow(folder: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")),
        *("--directory", str(folder), "--cores", "2", *options),
        *("--config", f"scale={SCALE}"),
    ]


def start(folder: Path, log: Path, *options: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            workflow(folder, *TARGETS, *options),
            stdout=file,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            start_new_session=True,
        )


def stages_at_work(process: subprocess.Popen[bytes]) -> set[str]:
    """Which commands are running, of those that the workflow starts."""
    found: set[str] = set()
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:  # it has just ended
        return found
    for child in children:
        try:
            words = child.cmdline()
        except psutil.Error:  # it has just ended
            continue
        found |= {word for word in words if word in STAGES and "python" in words[0]}
    return found


def finished(folder: Path) -> dict[Path, str]:
    """When each record of a finished job was made; Snakemake marks jobs that were cut short."""
    marks = folder / ".snakemake" / "incomplete"
    cut_short = {
        base64.urlsafe_b64decode(mark.name).decode() for mark in marks.glob("*") if mark.is_file()
    }
    records = {
        path: read_json(path)
        for path in folder.rglob("[!.]*.json")
        if ".snakemake" not in path.parts and str(path.relative_to(folder)) not in cut_short
    }
    return {path: record["provenance"]["finished"] for path, record in records.items()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Where the workflow ran undisturbed, and the seconds that a job took of its two cores."""
    folder = tmp_path_factory.mktemp("reference")
    log = folder.parent / "reference.log"
    began = time.monotonic()
    # Only its own messages count the jobs that have finished.
    assert start(folder, log, "--printshellcmds").wait() == 0, log.read_text()[-3000:]
    return folder, 2 * (time.monotonic() - began) / log.read_text().count("Finished jobid")


def test_kills_at_random_moments(
    reference: tuple[Path, float], tmp_path: Path, request: pytest.FixtureRequest, ledger: Ledger
) -> None:
    undisturbed, seconds = reference
    kills = 0
    while kills < request.config.getoption("--kills"):
        folder = tmp_path / f"after{kills}"
        folder.mkdir()
        left = request.config.getoption("--kills") - kills
        struck, made = kill_until_finished(folder, tmp_path / "log", left, seconds)
        kills += len(struck)
        after = finished(folder)
        lost = sum(after.get(path) != moment for path, moment in made.items())
        wrong = differences(folder / "runs", undisturbed / "runs")
        outcome = "run again, the workflow goes on and ends with the same files"
        for stage in struck:
            ledger.add(f"SIGKILL during {stage}", outcome, lost=lost, silent=len(wrong))
        assert (lost, wrong) == (0, [])


def kill_until_finished(
    folder: Path, log: Path, kills: int, seconds: float
) -> tuple[list[str], dict[Path, str]]:
    """Kill the workflow ``kills`` times, or until it was quicker, and let it come to its end.

    Returns:
        the stages that were struck, and all records of jobs that had finished before a kill.
    """
    dice = random.Random()
    struck: list[str] = []
    made: dict[Path, str] = {}
    while True:
        process = start(folder, log, "--nolock", "--rerun-incomplete")
        if len(struck) == kills:
            assert process.wait() == 0, log.read_text()[-3000:]
            return struck, made
        while process.poll() is None and not stages_at_work(process):
            time.sleep(0.05)
        # Long enough for a job to finish now and then, or nothing would get on.
        moment = time.monotonic() + dice.uniform(0, 2 * seconds)
        while process.poll() is None and time.monotonic() < moment:
            time.sleep(0.05)
        at_work = stages_at_work(process)
        if process.poll() is not None:
            assert process.returncode == 0, log.read_text()[-3000:]
            return struck, made
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        struck.append(" and ".join(sorted(at_work)) or "Snakemake's own work")
        made |= finished(folder)


def test_two_workflows_in_one_folder(tmp_path: Path, ledger: Ledger) -> None:
    """The second is told so; after a kill, ``--unlock`` is the way on that Snakemake names."""
    first = start(tmp_path, tmp_path / "first.log")
    while not stages_at_work(first):
        assert first.poll() is None, (tmp_path / "first.log").read_text()[-3000:]
        time.sleep(0.05)
    second = start(tmp_path, tmp_path / "second.log")
    assert second.wait() == 1
    text = (tmp_path / "second.log").read_text()
    assert "cannot be locked" in text
    assert "--unlock" in text
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    unlock = workflow(tmp_path, "--unlock")
    assert subprocess.run(unlock, env=ENVIRONMENT, check=False, capture_output=True).returncode == 0
    third = start(tmp_path, tmp_path / "third.log", "--rerun-incomplete", "--dry-run")
    assert third.wait() == 0
    ledger.add("two workflows in one folder", "the second stops: Snakemake's lock")
