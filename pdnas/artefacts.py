"""Files that are either whole or absent: atomic writing and reading of every artefact.

Every writer goes to a temporary name in the same folder, is flushed to the disk and renamed, so a
kill or a full disk never leaves a half-written file under a final name. Formats: JSON for records,
Parquet for tables, safetensors for tensors. Readers turn damage into one clear line.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdnas.errors import PdnasError

if TYPE_CHECKING:  # heavy libraries are imported only where they are used
    import pandas as pd
    import torch


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
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_failure(path: Path, error: BaseException) -> PdnasError:
    """The error to raise when ``path`` could not be written because of ``error``."""
    reason = getattr(error, "strerror", None) or _first_line(error)
    return PdnasError(
        f"cannot write {path}: {reason}; free space or choose another folder, then run the same "
        "command again (finished work is kept)"
    )


def _damaged(path: Path, what: str, error: Exception) -> PdnasError:
    return PdnasError(
        f"{path} is not a readable {what} ({_first_line(error)}); delete it and make it again"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _require(path: Path) -> None:
    if not path.is_file():
        raise PdnasError(f"{path} does not exist; run the command that makes it first")


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write ``record`` as indented JSON with a final newline."""
    text = json.dumps(record, indent=2, sort_keys=False, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        PdnasError: the file is missing, damaged, or not an object.
    """
    _require(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _damaged(path, "JSON file", error) from error
    if not isinstance(record, dict):
        raise PdnasError(f"{path} holds no JSON object; delete it and make it again")
    return record


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a data frame as Parquet, without its index."""
    import pyarrow as pa

    with atomic_path(path) as temporary:
        try:
            table.to_parquet(temporary, index=False)
        except pa.ArrowException as error:  # ArrowException wraps the disk's own error
            raise write_failure(path, error) from error


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet table.

    Raises:
        PdnasError: the file is missing or damaged.
    """
    import pandas as pd
    import pyarrow as pa

    _require(path)
    try:
        return pd.read_parquet(path)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise _damaged(path, "Parquet table", error) from error


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write tensors as safetensors, with ``metadata`` as JSON in the header's key ``pdnas``."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata={"pdnas": json.dumps(metadata)})
        except SafetensorError as error:
            raise write_failure(path, error) from error


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote: (tensors on the CPU, metadata).

    Raises:
        PdnasError: the file is missing, damaged, or was not written by pdnas.
    """
    from safetensors import SafetensorError, safe_open

    _require(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = json.loads((file.metadata() or {})["pdnas"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise _damaged(path, "pdnas safetensors file", error) from error
    return tensors, metadata
