"""Files that are either whole or absent: atomic writing and reading of every artefact.

Every writer goes to a temporary name in the same folder, is flushed to the disk and renamed, so a
kill or a full disk never leaves a half-written file under a final name. Formats: JSON for records,
Parquet for tables, safetensors for tensors. Readers turn damage into one clear line.

Each file carries its own SHA-256, that of its bytes while the digits of the sum itself are zeros,
so a single flipped bit is noticed before anything is parsed. A file may also name the run it
belongs to, its *owner*; a reader that asks for another owner refuses it. Files without these marks
(of earlier versions) are read as they are.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdnas.support.errors import PdnasError, first_line

if TYPE_CHECKING:  # heavy libraries are imported only where they are used
    import pandas as pd
    import torch

_ZEROS = "0" * 64
_UNSEALED = f"self-sha256:{_ZEROS}"
_SEAL = re.compile(rb"self-sha256:([0-9a-f]{64})")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it into place.

    Raises:
        PdnasError: the file could not be written (no space, no permission); ``path`` keeps what it
            held before.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; results are for everybody
        temporary.replace(path)
        temporary = None
        _flush_folder(path.parent)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make a rename in ``folder`` outlast a power cut, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def claim(folder: Path, work: str) -> Iterator[None]:
    """Let nobody else do ``work`` (``search``, ``rank-posterior`` ...) in ``folder`` meanwhile.

    The claim ends with the process, however it ends; the empty file ``.WORK.lock`` stays.

    Raises:
        PdnasError: another process is at it, or the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    path = folder / f".{work}.lock"
    lock = FileLock(path, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise PdnasError(
            f"another process is at work in {folder} ({work}); wait until it has finished"
        ) from error
    except OSError as error:
        raise write_failure(path, error) from error
    try:
        yield
    finally:
        lock.release()


def write_failure(path: Path, error: BaseException) -> PdnasError:
    """The error to raise when ``path`` could not be written because of ``error``."""
    reason = getattr(error, "strerror", None) or first_line(error)
    return PdnasError(
        f"cannot write {path}: {reason}; free space or choose another folder, then run the same "
        "command again (finished work is kept)"
    )


def _damaged(path: Path, what: str, error: Exception) -> PdnasError:
    return PdnasError(
        f"{path} is not a readable {what} ({first_line(error)}); delete it and make it again"
    )


def _write_sealed(path: Path, content: bytes) -> None:
    """Write ``content`` with its checksum in the place that is kept for it."""
    digest = hashlib.sha256(content).hexdigest()
    seal = _UNSEALED.replace(_ZEROS, digest)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.replace(_UNSEALED.encode(), seal.encode(), 1))


def _read_sealed(path: Path, what: str) -> bytes:
    """The bytes of a file, once they are known to be those that were written.

    Raises:
        PdnasError: the file is missing, unreadable, or its checksum does not match.
    """
    if not path.is_file():
        raise PdnasError(f"{path} does not exist; run the command that makes it first")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _damaged(path, what, error) from error
    if seal := _SEAL.search(content):
        sum_of_all = hashlib.sha256(content[: seal.start(1)])
        sum_of_all.update(_ZEROS.encode())
        sum_of_all.update(memoryview(content)[seal.end(1) :])
        if sum_of_all.hexdigest().encode() != seal[1]:
            raise _damaged(path, what, ValueError("its bytes do not match its checksum"))
    return content


def _require_owner(path: Path, found: object, owner: str | None) -> None:
    """Raise if a file names another owner than the one asked for."""
    if owner is not None and found not in (None, owner):
        raise PdnasError(f"{path} belongs to another run; put this run's own back or make it again")


def write_json(path: Path, record: Mapping[str, Any], owner: str | None = None) -> None:
    """Write ``record`` as indented JSON with a final newline."""
    marks = {"run": owner} if owner is not None else {}
    marked = {**record, **marks, "checksum": _UNSEALED}
    text = json.dumps(marked, indent=2, sort_keys=False, allow_nan=False) + "\n"
    _write_sealed(path, text.encode())


def read_json(path: Path, owner: str | None = None) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        PdnasError: the file is missing, damaged, not an object, or another run's than ``owner``.
    """
    content = _read_sealed(path, "JSON file")
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "JSON file", error) from error
    if not isinstance(record, dict):
        raise PdnasError(f"{path} holds no JSON object; delete it and make it again")
    record.pop("checksum", None)
    _require_owner(path, record.pop("run", None), owner)
    return record


def write_table(path: Path, table: pd.DataFrame, owner: str | None = None) -> None:
    """Write a data frame as Parquet, without its index."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = pa.Table.from_pandas(table, preserve_index=False)
    marks = {"checksum": _UNSEALED, **({"run": owner} if owner is not None else {})}
    buffer = io.BytesIO()
    marked = content.replace_schema_metadata({**content.schema.metadata, **marks})
    pq.write_table(marked, buffer, compression="zstd")
    _write_sealed(path, buffer.getvalue())


def read_table(path: Path, owner: str | None = None) -> pd.DataFrame:
    """Read a Parquet table.

    Raises:
        PdnasError: the file is missing, damaged, or another run's than ``owner``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = _read_sealed(path, "Parquet table")
    try:
        table = pq.read_table(pa.BufferReader(content))
        frame = table.to_pandas()
    except (pa.ArrowException, ValueError, OSError, KeyError, TypeError) as error:
        raise _damaged(path, "Parquet table", error) from error
    found = (table.schema.metadata or {}).get(b"run")
    _require_owner(path, None if found is None else found.decode(errors="replace"), owner)
    return frame


def write_tensors(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, Any],
    owner: str | None = None,
) -> None:
    """Write tensors as safetensors, with ``metadata`` as JSON in the header's key ``pdnas``.

    Equal content gives equal bytes.
    """
    from safetensors.torch import save

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    marks = {"pdnas": json.dumps(metadata), "checksum": _UNSEALED}
    if owner is not None:
        marks["run"] = owner
    _write_sealed(path, _with_metadata(save(contiguous), marks))


def _with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with metadata in their order; the library would write them in any."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = {"__metadata__": metadata, **json.loads(content[8:end])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[end:]))


def read_tensors(
    path: Path, owner: str | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote: (tensors on the CPU, metadata).

    Raises:
        PdnasError: the file is missing, damaged, was not written by pdnas, or is another run's
            than ``owner``.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = _read_sealed(path, "pdnas safetensors file")
    try:
        tensors = load(content)  # which checks the header that is read again here
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])["__metadata__"]
        metadata = json.loads(header["pdnas"])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, "pdnas safetensors file", error) from error
    if not isinstance(metadata, dict):
        raise _damaged(path, "pdnas safetensors file", ValueError("its metadata are no object"))
    _require_owner(path, header.get("run"), owner)
    return tensors, metadata
