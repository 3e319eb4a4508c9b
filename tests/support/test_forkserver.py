"""Commands that a warm process does: as if each had been started by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from pdnas.support import forkserver, hand_over

from ..conftest import ENVIRONMENT

COMMAND = [sys.executable, "-m", "pdnas.cli"]


@pytest.fixture(scope="module")
def server() -> Iterator[psutil.Process]:
    """A server that has imported the command line; commands find it in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(hand_over.VARIABLE, "")
        started = begin("pdnas.commands.app")
        yield psutil.Process(started.pid)
    assert end(started) == 0


def begin(*modules: str) -> subprocess.Popen[bytes]:
    started = forkserver.start(modules, threads=1)
    if started is None:
        pytest.skip("no such sockets here")
    return started


def end(started: subprocess.Popen[bytes]) -> int:
    assert started.stdin is not None
    started.stdin.close()
    return started.wait(60)


def environment() -> dict[str, str]:
    return ENVIRONMENT | {hand_over.VARIABLE: os.environ[hand_over.VARIABLE]}


def said(
    folder: Path, *words: str, env: dict[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def forked(server: psutil.Process) -> int:
    """Processor seconds of what it has forked, as far as these have ended."""
    times = server.cpu_times()
    return times.children_user + times.children_system


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["nasbench", "query", "3", "--json"], 0),
        (["show", "here"], 2),
        (["show"], 2),
        (["sample", "here", "--source", "nothing"], 2),
    ],
    ids=["version", "query", "error", "usage", "choice"],
)
def test_a_forked_command_says_and_ends_as_one_by_itself(
    server: psutil.Process, tmp_path: Path, words: list[str], code: int
) -> None:
    before = forked(server)
    handed, alone = said(tmp_path, *words, env=environment()), said(tmp_path, *words)
    assert forked(server) > before
    assert handed.returncode == alone.returncode == code
    assert (handed.stdout, handed.stderr) == (alone.stdout, alone.stderr)


def test_its_folder_and_environment_are_those_of_the_command(
    server: psutil.Process, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text("studies: 7")
    done = said(tmp_path, "search", "a", "b", "--scale", "own.yaml", env=environment())
    assert done.stderr.startswith("pdnas: error: own.yaml: ")
    later = environment() | {"PDNAS_STOP_AFTER": "later"}
    assert "stop-after" in said(tmp_path, "search", "a", "b", env=later).stderr


def test_a_process_unlike_the_server_helps_itself(server: psutil.Process, tmp_path: Path) -> None:
    before = forked(server)
    for unlike in ({"OMP_NUM_THREADS": "2"}, {hand_over.VARIABLE: "nowhere 1"}):
        done = said(tmp_path, "--version", env=environment() | unlike)
        assert done.stdout.startswith("pdnas ")
    assert forked(server) == before


def test_a_server_that_has_ended_is_no_obstacle(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(hand_over.VARIABLE, "")
        end(begin())
        assert said(tmp_path, "--version", env=environment()).returncode == 0


def test_a_server_that_ends_at_work_fails_the_command() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(hand_over.VARIABLE, "")
        started = begin("pdnas.commands.app")
        command, child = stuck(psutil.Process(started.pid), stderr=subprocess.PIPE)
    started.kill()
    started.wait(60)
    _, error = command.communicate(timeout=60)
    assert command.returncode == 2
    assert error == b"pdnas: error: the workflow's server has ended; start it again\n"
    child.wait(60)


def test_ctrl_c_ends_a_command_that_waits_for_the_server(tmp_path: Path) -> None:
    """Else it would be done in full as soon as the server has imported everything."""
    waits = "import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)"
    (tmp_path / "slow.py").write_text(waits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(hand_over.VARIABLE, "")
        patch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        patch.chdir(tmp_path)
        started = begin("slow", "pdnas.commands.app")
        command = subprocess.Popen(
            [*COMMAND, "--version"],
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
            # Tests that run in the background have inherited that Ctrl-C is ignored.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        until(lambda: bool(psutil.Process(command.pid).net_connections("unix")))
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 130
        assert command.stderr is not None
        assert command.stderr.readline().startswith("pdnas: interrupted; run the same command")
        (tmp_path / "go").touch()
        assert said(tmp_path, "--version", env=environment()).returncode == 0
        assert end(started) == 0


def test_where_there_can_be_no_socket_there_is_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hand_over.VARIABLE, "")
    deep = tmp_path / ("x" * 100)  # a socket's path is 107 bytes at most
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert forkserver.start([], threads=1) is None
    assert os.environ[hand_over.VARIABLE] == ""


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_command_ends_what_was_forked_for_it(
    server: psutil.Process, signal_number: int
) -> None:
    command, child = stuck(server)
    command.send_signal(signal_number)
    assert command.wait(60) == -signal_number
    child.wait(60)


def test_a_killed_fork_fails_its_command(server: psutil.Process) -> None:
    command, child = stuck(server)
    child.kill()
    assert command.wait(60) == 128 + signal.SIGKILL


def stuck(server: psutil.Process, **streams: Any) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """A command that waits for room in a pipe which nobody reads, and what was forked for it."""
    _, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, bytes(1 << 16))
    os.set_blocking(write, True)
    command = subprocess.Popen([*COMMAND, "--version"], stdout=write, env=environment(), **streams)

    found: list[psutil.Process] = []

    def forks() -> bool:
        """A fork is called like the server; not so git, which says the version of the code."""
        with suppress(psutil.Error):  # it has just ended
            found[:] = [each for each in server.children() if each.cmdline() == server.cmdline()]
        return bool(found)

    until(forks)
    return command, found[0]


def until(so: Callable[[], bool]) -> None:
    """Wait until it is so, a minute at most."""
    latest = time.monotonic() + 60
    while not so():
        assert time.monotonic() < latest
        time.sleep(0.05)
