"""A workflow and its jobs after a kill: jobs do not outlive it, and its lock does not stay.

Snakemake's own lock is a file that a kill leaves behind. Beside it a claim is kept, which ends
with its process. So a lock is known to be left over when nobody has the claim.
"""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

_VARIABLE = "PDNAS_WORKFLOW"
_SECONDS = 1.0
_claims: list[IO[str]] = []  # open as long as this process lives


def explain_interrupt() -> None:
    """From now on Ctrl-C ends this process with a line, not a traceback."""
    usual = sys.excepthook

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("pdnas: interrupted before the first job began", file=sys.stderr)
        else:
            usual(kind, error, trace)

    sys.excepthook = say


def mark_jobs() -> None:
    """Let the jobs that this process starts end with it (:func:`end_with_workflow`)."""
    os.environ[_VARIABLE] = f"{os.getpid()}@{platform.node()}"


def end_with_workflow() -> None:
    """End this process soon after the workflow that started it, if one of this machine did.

    As after any kill, the same command goes on from the last checkpoint.
    """
    pid, _, host = os.environ.get(_VARIABLE, "").partition("@")
    if pid.isdigit() and host == platform.node():
        end_with(int(pid))


def end_with(pid: int) -> None:
    """End this process soon after another one of this machine."""
    threading.Thread(target=_watch, args=(pid,), daemon=True).start()


def _watch(pid: int) -> None:
    while _lives(pid):
        time.sleep(_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A killed process that nobody has waited for yet is no longer at work.
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def claim_folder(folder: Path) -> int:
    """Claim a folder for a workflow, and remove the locks that a killed one has left there.

    Other workflows may have the same claim: whether they meet is for Snakemake's locks to say.
    Locks of another machine are left alone, since not every network file system knows the claim.

    Returns:
        how many locks were removed.
    """
    state = folder / ".snakemake"
    locks = state / "locks"
    try:
        state.mkdir(parents=True, exist_ok=True)
        claim = (state / "pdnas.lock").open("a+")
    except OSError:  # Snakemake will say it
        return 0
    removed = 0
    with suppress(OSError):
        _claims.append(claim)
        with _alone(claim) as alone:
            claim.seek(0)
            found = list(locks.glob("*")) if locks.is_dir() else []
            if alone and (not found or claim.read() in ("", platform.node())):
                for lock in found:
                    lock.unlink(missing_ok=True)
                    removed += 1
                claim.truncate(0)
                claim.write(platform.node())
                claim.flush()
    return removed


@contextmanager
def _alone(claim: IO[str]) -> Iterator[bool]:
    """Whether nobody else has the claim; afterwards this process shares it."""
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except BlockingIOError:
        alone = False
    yield alone
    fcntl.flock(claim, fcntl.LOCK_SH)
