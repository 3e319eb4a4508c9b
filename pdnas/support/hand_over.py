"""A command line's side of :mod:`pdnas.support.forkserver`; it imports next to nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress

VARIABLE = "PDNAS_FORK_SERVER"
"""Where the server is, and for which processes: ``SOCKET KIND``."""


def kind(threads: str | None) -> str:
    """Of the processes that can stand in for each other: equally many threads, the same Python."""
    return f"{threads} {sys.prefix}"


def hand_over(arguments: list[str]) -> int | None:
    """Have a command done by a forked process.

    Args:
        arguments: what follows ``pdnas`` on its command line.

    Returns:
        its exit code; None: there is no such server, or none for processes like this one.
    """
    address, _, served = os.environ.get(VARIABLE, "").partition(" ")
    if served != kind(os.environ.get("OMP_NUM_THREADS")):
        return None
    request = {
        "arguments": arguments,
        "folder": os.getcwd(),
        "environment": {key: os.environ[key] for key in os.environ if key != VARIABLE},
        "process": os.getpid(),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        try:
            server.connect(address)
            socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
        except OSError:  # it has ended, or the request is too long
            return None
        answer = b""
        with suppress(OSError):
            if server.recv(16):  # it has begun
                # Ctrl-C reaches the forked process as well, which says the last word.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                answer = server.recv(16)
    if not answer:
        print("pdnas: error: the workflow's server has ended; start it again", file=sys.stderr)
    return int(answer or 2)
