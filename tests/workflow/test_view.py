"""What one sees of the workflow, with jobs that only pretend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pdnas.support.hand_over import VARIABLE

from ..conftest import ENVIRONMENT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TABLE = """
import pathlib, sys
for form in ("md", "csv", "tex"):
    pathlib.Path(sys.argv[-1], f"{sys.argv[2]}.{form}").write_text("x")
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a target with a `pdnas` that does what it is told."""

    def begin(
        pretence: str, *target: str, scale: str = "smoke", **variables: str
    ) -> subprocess.Popen[str]:
        command = tmp_path / "bin" / "pdnas"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!{sys.executable}\nimport sys\n{pretence}")
        command.chmod(0o755)
        path = f"{command.parent}:{ENVIRONMENT['PATH']}"
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "snakemake", "-s", str(ROOT / "workflow" / "Snakefile")),
                *(*target, "--config", f"scale={scale}"),
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT | {"PATH": path, "PYTHONPATH": str(ROOT)} | variables,
            # Tests that run in the background have inherited that Ctrl-C is ignored.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    return begin


def test_a_run_ends_with_the_path_of_what_was_asked_for(start: Start) -> None:
    said, _ = start(TABLE, "table9").communicate()
    *_, last = said.splitlines()
    assert last.startswith("Done in "), said
    assert "runs/smoke/report/tables/table9.md" in last
    assert "Reason" not in said
    assert "\x1b" not in said
    said, _ = start(TABLE, "table9").communicate()
    assert "Nothing to be done" in said
    assert "table9.md" in said.splitlines()[-1]


def test_a_failure_is_told_in_the_jobs_own_words(start: Start) -> None:
    failing = "print('a line')\nprint('pdnas: error: no luck today')\nsys.exit(2)"
    run = start(failing, "table9")
    said, _ = run.communicate()
    assert run.returncode == 1
    assert "Failed: table table9\npdnas: error: no luck today\n" in said
    assert "runs/smoke/report/log/table-table9.log" in said
    assert "the same command then goes on" in said
    assert "CalledProcessError" not in said


def test_several_jobs_are_forked_from_one_process_and_few_are_not(
    start: Start, tmp_path: Path
) -> None:
    asks = f"import os; print(os.environ.get({VARIABLE!r}))\n{TABLE}"
    tables = ["table1", "table2", "table8", "table9"]
    logs = tmp_path / "runs/smoke/report/log"
    start(asks, tables[0]).communicate()
    assert (logs / "table-table1.log").read_text() == "None\n"
    start(asks, *tables, "--forceall").communicate()
    addresses = [(logs / f"table-{name}.log").read_text().split()[0] for name in tables]
    assert len(set(addresses)) == 1
    wait(lambda: not Path(addresses[0]).parent.exists())


def test_images_that_cannot_be_had_are_named_before_the_first_job(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_text("damaged")
    folders = {"PDNAS_MIRROR": str(tmp_path), "PDNAS_CACHE": str(tmp_path / "cache")}
    run = start("", "table3", scale="laptop", **folders)
    said, _ = run.communicate()
    assert run.returncode != 0
    (line,) = (line for line in said.splitlines() if line.startswith("pdnas: error: "))
    assert "has not the SHA-256 of cifar10-archive; replace or delete it" in line
    assert not list(tmp_path.glob("runs/**/*.log"))


def test_what_the_official_logs_lack_does_not_stop_the_rest(start: Start, tmp_path: Path) -> None:
    run = start("print('pdnas: error: no logs')\nsys.exit(2)", "official", scale="laptop")
    said, _ = run.communicate()
    assert run.returncode == 0
    assert "the official SupNet-D-121 search, from its released logs: no logs" in said


def test_after_a_kill_the_same_command_goes_on(start: Start, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    endless = f"""
import os, pathlib, time
from pdnas.support.workflow import end_with_workflow
end_with_workflow()
pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))
time.sleep(600)
"""
    run = start(endless, "table9")
    wait(lambda: pid_file.exists() and pid_file.read_text() != "")
    run.kill()
    run.communicate()
    job = int(pid_file.read_text())
    wait(lambda: not Path(f"/proc/{job}").exists())
    run = start(TABLE, "table9")
    said, _ = run.communicate()
    assert run.returncode == 0, said
    assert "a killed workflow's lock was removed" in said


def test_an_interrupted_run_says_how_to_go_on(start: Start, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    run = start(f"import time\nopen({str(pid_file)!r}, 'w').close()\ntime.sleep(3)", "table9")
    wait(pid_file.exists)
    os.kill(run.pid, signal.SIGINT)
    said, _ = run.communicate()
    assert said.splitlines()[-2:] == [
        "Stopping the jobs ...",
        "Stopped. The same command goes on where this one stopped.",
    ]


def wait(until: Callable[[], bool]) -> None:
    """Until it is so, a minute at most."""
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end
        time.sleep(0.1)
