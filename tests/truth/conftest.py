"""The ground truth for tests, and its public sources: those never from the network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NoReturn

import pytest

from pdnas.data.sources import SOURCES
from pdnas.truth.tables import Truth
from pdnas.truth.tables.nasbench201 import NasBench201


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "data: needs public files (in the cache or PDNAS_MIRROR)")


def public_files(truth: type[Truth]) -> list[Path]:
    """The files that a truth's table is built from; without them the test is skipped."""
    found = [SOURCES[name].find() for name in truth.sources]
    if None in found:
        pytest.skip(f"no public files of {truth.name}; set PDNAS_MIRROR")
    return [path for path in found if path is not None]


@pytest.fixture(scope="session")
def source_files() -> tuple[Path, Path]:
    """The two files with NAS-Bench-201's accuracies."""
    final, short, *_ = public_files(NasBench201)
    return final, short


@pytest.fixture(scope="session")
def truth() -> NasBench201:
    return NasBench201.load()


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, no mirror, no network."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the network is asked")

    monkeypatch.setenv("PDNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PDNAS_MIRROR", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
