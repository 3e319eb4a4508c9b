"""The workflow's jobs in calls of limited time, without Snakemake, internet or history there.

    python -m contrib.lent_gpu.jobs plan FILE TARGET... --scale SCALE   (at home, before)
    python -m contrib.lent_gpu.jobs run FILE --minutes MINUTES          (there)
    python -m contrib.lent_gpu.jobs collect FILE FOLDER                 (there)
    python -m contrib.lent_gpu.jobs report FILE                         (at home, after)

A plan holds the commands that Snakemake would run, and which job makes which file. Finished work is
kept: a call that stopped in time (exit code 75) or was cut off goes on when it is made again.
"""

from __future__ import annotations

import io
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from pdnas.cli import main
from pdnas.runs import layout
from pdnas.support.errors import Unfinished
from pdnas.support.files import read_json, write_json

ROOT = Path(__file__).parents[2]
PART = 15_000_000
"""Largest file, in bytes, that comes back from such a machine."""
LARGEST_CHECKPOINT = 20_000_000

app = typer.Typer(
    help="The workflow's jobs on a GPU lent for minutes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Plan = Annotated[Path, typer.Argument(help="File that `plan` wrote.")]


class Job(TypedDict):
    """A job of the workflow: its command, and its files."""

    command: str
    input: list[str]
    output: list[str]
    log: list[str]


@app.command()
def plan(
    file: Annotated[Path, typer.Argument(help="Where to write the plan.")],
    targets: Annotated[list[str], typer.Argument(help="Of Snakemake: all, nasbench, table3 …")],
    scale: Annotated[str, typer.Option(help="Name of a scale, or path of its YAML file.")] = "gpu",
    studies: Annotated[
        str, typer.Option(help="Those to run, with commas between; all if none.")
    ] = "",
) -> None:
    """Write the jobs that Snakemake would run if nothing were there."""
    from snakemake.cli import main as snakemake
    from snakemake.logging import logger
    from snakemake_interface_logger_plugins.common import LogEvent

    jobs: list[Job] = []

    def keep(record: logging.LogRecord) -> bool:
        if (
            getattr(record, "event", None) == LogEvent.JOB_INFO
            and (found := vars(record))["shellcmd"]
        ):
            files = {key: list(map(str, found[key])) for key in ("input", "output", "log")}
            jobs.append(Job(command=found["shellcmd"], **files))  # type: ignore[typeddict-item]
        return True

    logger.addFilter(keep)
    options = ["--snakefile", str(ROOT / "workflow" / "Snakefile"), "--cores", "1"]
    config = [f"scale={scale}", *([f"studies=[{studies}]"] if studies else [])]
    try:
        snakemake([*options, "--dry-run", "--forceall", *targets, "--config", *config])
    except SystemExit as end:
        if end.code:
            raise
    write_json(file, {"jobs": jobs})


@app.command()
def run(
    file: Plan,
    minutes: Annotated[float | None, typer.Option(help="Longest a training may take.")] = None,
) -> None:
    """Run what is not yet there but the report, side by side as far as one job needs no other.

    A small network leaves most of a GPU idle.
    """
    if minutes is not None:
        os.environ["PDNAS_STOP_AFTER"] = str(minutes)
    share_gpu()
    jobs = [job for job in read_json(file)["jobs"] if not of_report(job)]
    perform([job for job in jobs if not all(Path(name).is_file() for name in job["output"])])


@app.command()
def report(file: Plan) -> None:
    """Make every table and figure anew from what was collected, then the page."""
    perform([job for job in read_json(file)["jobs"] if of_report(job)], os.cpu_count())


@app.command()
def collect(
    file: Plan, folder: Annotated[Path, typer.Argument(help="What comes back from the machine.")]
) -> None:
    """Write what the report needs into files of at most 15 MB, to be joined and unpacked.

    Of a search that goes on, its newest checkpoint comes too if that is small enough.
    """
    runs = {
        "/".join(Path(name).parts[:2]) for job in read_json(file)["jobs"] for name in job["output"]
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for path in sorted(path for each in runs for path in wanted(Path(each))):
            tar.add(path)
    whole = archive.getvalue()
    for number, start in enumerate(range(0, len(whole), PART)):
        (folder / f"runs.tar.gz.{number:02d}").write_bytes(whole[start : start + PART])


def of_report(job: Job) -> bool:
    """Whether a job makes a table, a figure or the page."""
    return all(layout.REPORT in Path(name).parts for name in job["output"])


def wanted(runs: Path) -> Iterator[Path]:
    """The files of a scale's runs that come back."""
    left = {layout.TENSORBOARD, layout.WARM_UPS, layout.WEIGHTS}
    for path in runs.rglob("*"):
        parts = path.relative_to(runs).parts
        if any(part.startswith(layout.CHECKPOINT) for part in parts):
            if path.is_dir() and (states := sorted(path.glob("*.safetensors"))):
                yield from (
                    each for each in states[-1:] if each.stat().st_size < LARGEST_CHECKPOINT
                )
        elif path.is_file() and left.isdisjoint(parts) and not path.name.startswith("."):
            yield path


def perform(jobs: Sequence[Job], at_once: int | None = None) -> None:
    """Run jobs, each as soon as those that make its inputs have ended.

    Args:
        at_once: how many at the same time; None: all that can.

    Raises:
        Unfinished: some stopped in time, and none failed.
        SystemExit: some failed; with the exit code of one.
    """
    waiting = list(jobs)
    running: dict[Future[int], Job] = {}
    lacking = {name for job in waiting for name in job["output"]}
    codes = set()
    with ThreadPoolExecutor(at_once or max(len(waiting), 1)) as pool:
        while True:
            for job in [job for job in waiting if lacking.isdisjoint(job["input"])]:
                waiting.remove(job)
                running[pool.submit(execute, job)] = job
            if not running:
                break
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(ended)
                if code := ended.result():
                    codes.add(code)
                else:
                    lacking.difference_update(job["output"])
    if failed := codes - {os.EX_TEMPFAIL}:
        sys.exit(min(failed))
    if codes:
        raise Unfinished("time was over")


def execute(job: Job) -> int:
    """Run a job's command, in which ``pdnas`` is this Python's; its exit code."""
    for name in (*job["output"], *job["log"]):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    pdnas = f'pdnas() {{ {shlex.quote(sys.executable)} -m pdnas.cli "$@"; }}\n'
    code = subprocess.run(["bash", "-c", pdnas + job["command"]], check=False).returncode
    print(f"exit code {code}: {job['command']}", flush=True)
    return code


def share_gpu() -> None:
    """Let kernels of several processes run at the same time: by one connection to the GPU."""
    if shutil.which("nvidia-cuda-mps-control") is None:
        return
    folder = Path("/tmp/mps")
    folder.mkdir(exist_ok=True)
    os.environ |= {"CUDA_MPS_PIPE_DIRECTORY": str(folder), "CUDA_MPS_LOG_DIRECTORY": str(folder)}
    if not (folder / "control").exists():
        subprocess.run(["nvidia-cuda-mps-control", "-d"], check=True)


if __name__ == "__main__":
    main(app)
