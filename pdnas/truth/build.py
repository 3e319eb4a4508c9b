"""Making a truth's table again, and the record of where its numbers come from.

The package carries both in ``pdnas/truth/tables/``; nothing else needs what is here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from pdnas.data.sources import SOURCES, Source
from pdnas.runs import kept
from pdnas.support import files
from pdnas.truth import official
from pdnas.truth.tables import Truth
from pdnas.truth.tables.nasbench201 import NasBench201


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


def build(truth: type[Truth], out: Path, force: bool = False) -> Truth:
    """Make a table from its public files, fetched if they are not on this machine.

    Args:
        truth: whose table.
        out: the Parquet file to write; its record of sources goes into a ``.json`` beside it.
        force: replace another table.

    Raises:
        PdnasError: a file can neither be found nor fetched, or is damaged; the table comes from no
            public file; or another table or file is there.
    """
    paths = [SOURCES[name].fetch() for name in truth.sources]
    made = truth(truth.assemble(*paths))
    _write(out, made, [_origin(SOURCES[name]) for name in truth.sources], force)
    return made


def build_from_archive(archive: Path, out: Path, force: bool = False) -> NasBench201:
    """NAS-Bench-201's accuracies from one of the benchmark's own archives; writes as :func:`build`.

    Raises:
        PdnasError: the archive is damaged, or of another kind; or another table or file is there.
    """
    made = NasBench201(official.assemble(archive))
    _write(out, made, [{"file": archive.name}], force)
    return made


def _write(out: Path, truth: Truth, sources: list[dict[str, Any]], force: bool) -> None:
    record = {"name": truth.name, "architectures": len(truth), "sources": sources}
    kept.record_like(out.with_suffix(".json"), record, None, force, others=[out])
    files.write_table(out, truth.table)
    files.write_json(out.with_suffix(".json"), record)


def difference(made: Truth, other: Truth) -> str | None:
    """In which columns a table differs from another, for people; None where it does not."""
    found = []
    for name in map(str, made.table):
        ours, theirs = made.column(name), other.column(name)
        both_unknown = (ours != ours) & (theirs != theirs)
        if count := int(np.sum((ours != theirs) & ~both_unknown)):
            found.append(f"{name} ({count} rows)")
    return f"differs from the table of the package in {', '.join(found)}" if found else None
