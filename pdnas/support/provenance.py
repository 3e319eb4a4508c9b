"""What stands beside every number: configuration, seed, code version, libraries, hardware, time."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pdnas

LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "scipy", "snakemake")


def fingerprint(description: Mapping[str, Any]) -> str:
    """A short name for everything that decides an outcome: 16 hexadecimal digits."""
    text = json.dumps(description, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_identity(record: Mapping[str, Any]) -> str:
    """What tells one run from another, from its ``run.json``: the *owner* of a run's files."""
    keys = ("spec", "seed", "fixed_drop_probability")
    return fingerprint({key: record.get(key) for key in keys})


@cache
def code_version() -> str:
    """Package version, commit, and ``+changes`` where the working tree differs from the commit.

    In a copy of the tree that has no history, the commit is what ``PDNAS_COMMIT`` says. A package
    installed into a folder of another repository has none of that one's commits.
    """
    source = Path(pdnas.__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        own = git("ls-files", "--full-name", "__init__.py") == "pdnas/__init__.py"
        commit = git("rev-parse", "--short=12", "HEAD") if own else ""
        # Only code and scales decide the numbers; a new result file does not make it dirty.
        changed = git("status", "--porcelain", "--untracked-files=all", "--", ".")
    except OSError:  # git is not installed
        commit = changed = ""
    commit = commit or os.environ.get("PDNAS_COMMIT", "")
    if not commit:
        return f"{pdnas.__version__} (no git checkout)"
    return f"{pdnas.__version__} {commit}" + ("+changes" if changed else "")


def is_committed(code: str) -> bool:
    """Whether a :func:`code_version` is that of a commit and nothing else."""
    return not code.endswith(("+changes", "(no git checkout)"))


def _installed(library: str) -> str | None:
    """A library's version; None where it is absent, as snakemake is where nothing needs it."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


@cache
def hardware() -> dict[str, Any]:
    """The processor, the cores this process may use, the memory; threads and processes."""
    import torch

    from pdnas.support import distributed

    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):  # not Linux
        memory = float("nan")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": model,
        "cores": cores,
        "memory_gib": round(memory, 1) if memory == memory else None,
        "threads": torch.get_num_threads(),
        "processes": distributed.ranks(),
    }


def gpus_used() -> list[str]:
    """Names of the GPUs that this process and its peers computed on, one each.

    The machine may have more; and a job on the processor, which never starts CUDA, has none.
    """
    import torch

    from pdnas.support import distributed

    started = torch.cuda.is_initialized()
    return [torch.cuda.get_device_name()] * distributed.ranks() if started else []


def maker() -> dict[str, Any]:
    """The code that runs here, and on what."""
    return {"code": code_version(), "hardware": {**hardware(), "gpus": gpus_used()}}


class Stopwatch:
    """Wall and processor seconds since it was made, plus those of interrupted calls before.

    Args:
        earlier: the :meth:`state` that the last of these left.
    """

    def __init__(self, earlier: Mapping[str, Any] | None = None) -> None:
        # The code that runs is the one imported, whatever is checked out until the work is done.
        code_version()
        earlier = earlier or {}
        self._wall = time.monotonic() - earlier.get("wall_seconds", 0.0)
        self._cpu = time.process_time() - earlier.get("cpu_seconds", 0.0)
        self._makers: list[dict[str, Any]] = earlier.get("makers", [])

    @property
    def others(self) -> list[dict[str, Any]]:
        """Each other :func:`maker` of a part of the work."""
        return [each for each in self._makers if each != maker()]

    def state(self) -> dict[str, Any]:
        """What a later call goes on from."""
        return {**self.read(), "makers": [*self.others, maker()]}

    def read(self) -> dict[str, float]:
        return {
            "wall_seconds": round(time.monotonic() - self._wall, 3),
            "cpu_seconds": round(time.process_time() - self._cpu, 3),
        }


def provenance(config: Mapping[str, Any], seed: int | None, stopwatch: Stopwatch) -> dict[str, Any]:
    """The record written beside an artefact."""
    return {
        "config": dict(config),
        "seed": seed,
        **maker(),
        **({"others": others} if (others := stopwatch.others) else {}),
        "libraries": {name: _installed(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **stopwatch.read(),
    }
