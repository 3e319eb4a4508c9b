"""A journal of work that is done row by row, so that a killed call goes on where it was."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pdnas.support import distributed
from pdnas.support.files import write_failure
from pdnas.support.provenance import Stopwatch


class Journal:
    """Rows of finished work, one a line of a file, with the time spent so far.

    Of several processes, the first reads and writes the file; all have its rows.

    Args:
        path: the file; its name tells what the work belongs to. None: nothing outlasts a kill.

    Attributes:
        rows: those of an earlier call that was killed, and those appended since.
        stopwatch: interrupted calls included.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        entries = distributed.from_first(lambda: _read(path)) if path is not None else []
        self.rows: list[dict[str, Any]] = [entry["row"] for entry in entries]
        self.stopwatch = Stopwatch(entries[-1]["spent"] if entries else None)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row, whole or not at all.

        Raises:
            PdnasError: it could not be written; earlier ones are still there.
        """
        self.rows.append(dict(row))
        if self._path is None or not distributed.is_first():
            return
        text = json.dumps({"row": row, "spent": self.stopwatch.state()}).encode()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"%08x %s\n" % (zlib.crc32(text), text))
        except OSError as error:
            raise write_failure(self._path, error) from error

    def remove(self) -> None:
        """Delete the file: its work is done, and the results are on disk."""
        if self._path is not None and distributed.is_first():
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # another journal may still lie there
                self._path.parent.rmdir()


def _read(path: Path) -> list[dict[str, Any]]:
    """The entries up to the first that a kill or a disk damaged; from there on, the file is cut."""
    if not path.is_file():
        return []
    entries, whole = [], 0
    content = path.read_bytes()
    for line in content.splitlines(keepends=True):
        checksum, _, text = line.partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text[:-1]):
            break
        entries.append(json.loads(text))
        whole += len(line)
    if whole < len(content):
        with path.open("rb+") as file:
            file.truncate(whole)
    return entries
