"""Commands in processes that are forked from a warm one, so that nothing is imported again.

Of a short job's time most goes into importing torch and what comes with it. So a workflow on one
machine starts a server that has imported all that once. A command hands its arguments, folder,
environment, input and output over, waits, and ends as the forked process did.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from pdnas.support.hand_over import VARIABLE, kind
from pdnas.support.provenance import code_version
from pdnas.support.workflow import end_with

_LONGEST = 1 << 20  # bytes of a request
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_servers: list[subprocess.Popen[bytes]] = []  # each ends when this process does

REPORTING = (
    "pdnas.commands.app",
    "pyarrow.parquet",
    "seaborn",
    "pdnas.report.page",
    "pdnas.report.paper.candidates",
    "pdnas.report.paper.comparison",
    "pdnas.report.paper.gates",
    "pdnas.report.paper.published",
    "pdnas.report.paper.settings",
    "pdnas.report.truth.tables",
)
"""What tables, figures and searches of a table need."""

COMPUTING = (
    *REPORTING,
    "torch._dynamo",  # as soon as an optimizer is made
    "sklearn.datasets",
    "pdnas.report.paper.architecture",
    "pdnas.stages.search",
    "pdnas.stages.sample",
    "pdnas.stages.rank",
    "pdnas.stages.retrain",
    "pdnas.stages.extract",
    "pdnas.stages.score",
)
"""What all stages need."""


def start(modules: Iterable[str], threads: int) -> subprocess.Popen[bytes] | None:
    """Start a server for the commands of this process's children; it ends with this process.

    Args:
        modules: what it imports.
        threads: of numpy and the like, which read them once. Commands that want another number
            are left alone.

    Returns:
        the server, which also ends when its standard input is closed; None: this system has no such
        sockets, or the path of temporary files is too long for one.
    """
    folder = tempfile.mkdtemp(prefix="pdnas-")
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(f"{folder}/socket")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    listener.listen(128)
    words = [sys.executable, "-P", "-m", __name__, str(listener.fileno()), folder, *modules]
    server = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *words],  # Ctrl-C is for what it forks
        stdin=subprocess.PIPE,  # closed when this process ends
        env=os.environ | dict.fromkeys(_THREADS, str(threads)),
        pass_fds=[listener.fileno()],
    )
    listener.close()
    _servers.append(server)
    os.environ[VARIABLE] = f"{folder}/socket {kind(str(threads))}"
    return server


def serve(listener: socket.socket) -> None:
    """Fork a process for each command until standard input is closed."""
    fork = multiprocessing.get_context("fork")
    jobs: dict[int, tuple[BaseProcess, socket.socket]] = {}
    while True:
        for ready in wait([listener, sys.stdin.fileno(), *jobs]):
            if ready is listener:
                command, _ = listener.accept()
                request, streams, *_ = socket.recv_fds(command, _LONGEST, 3)
                if not request:  # it was interrupted
                    command.close()
                    continue
                servers = [listener, *(other for _, other in jobs.values())]
                arguments = json.loads(request), streams, command, servers
                process: BaseProcess = fork.Process(target=_work, args=arguments)
                process.start()
                for stream in streams:
                    os.close(stream)
                jobs[process.sentinel] = process, command
            elif ready in jobs:
                process, command = jobs.pop(ready)
                process.join()
                code = process.exitcode or 0
                with suppress(OSError), command:  # it may have been killed
                    command.send(str(code if code >= 0 else 128 - code).encode())
            else:
                return


def _work(
    request: dict[str, Any],
    streams: list[int],
    command: socket.socket,
    servers: list[socket.socket],
) -> None:
    """Do a command in this process, as if it had been started for it.

    Args:
        command: where it waits; it is told when Ctrl-C is taken here.
        servers: the server's other sockets. All are its alone: when it ends, commands shall notice.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(OSError):  # it may have been interrupted
        command.send(b"begun")
    for each in (command, *servers):
        each.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - multiprocessing has closed it
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["pdnas", *request["arguments"]]
    end_with(request["process"])
    runpy.run_module("pdnas.cli", run_name="__main__", alter_sys=True)


def _main(descriptor: str, folder: str, *modules: str) -> None:
    with socket.socket(fileno=int(descriptor)) as listener:
        code_version()  # the code that runs is the one imported
        for name in modules:
            with suppress(ImportError):  # for the command to say
                import_module(name)
        gc.collect()
        gc.freeze()  # objects that are never looked at stay shared
        serve(listener)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # at once: commands that are left end by themselves


if __name__ == "__main__":
    _main(*sys.argv[1:])
