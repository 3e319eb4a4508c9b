"""Whether two folders hold the same results; when and how fast they were made does not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pdnas.support.files import read_json, read_table, read_tensors

TIMES = {"finished", "wall_seconds", "cpu_seconds", "hardware", "code", "speedup"}
NO_TIME = r"^(?!.*(minutes|seconds))"
"""Columns of a table of the report."""


def differences(one: Path, other: Path) -> list[str]:
    """Names of the files that one of the folders lacks or that differ.

    Raises:
        PdnasError: a file is damaged.
    """
    names = {
        str(path.relative_to(folder))
        for folder in (one, other)
        for kind in ("json", "parquet", "safetensors", "csv")
        for path in folder.rglob(f"[!.]*.{kind}")  # not whose scale the runs are of
    }
    return [name for name in sorted(names) if not same(one / name, other / name)]


def same(one: Path, other: Path) -> bool:
    if not (one.is_file() and other.is_file()):
        return False
    match one.suffix:
        case ".json":
            return without_times(read_json(one)) == without_times(read_json(other))
        case ".parquet":
            tables = [
                read_table(path).drop(columns=["seconds", "images_per_second"], errors="ignore")
                for path in (one, other)
            ]
            return tables[0].equals(tables[1])
        case ".safetensors":
            (tensors, facts), (others, other_facts) = map(read_tensors, (one, other))
            return (
                without_times(facts) == without_times(other_facts)
                and tensors.keys() == others.keys()
                and all(torch.equal(tensors[name], others[name]) for name in tensors)
            )
        case _:
            tables = [pd.read_csv(path) for path in (one, other)]
            return tables[0].filter(regex=NO_TIME).equals(tables[1].filter(regex=NO_TIME))


def without_times(record: Any) -> Any:
    if isinstance(record, dict):
        kept = {key: value for key, value in record.items() if key not in TIMES}
        # A ranking names its candidates by the sum of their file, which holds times.
        kept.pop("candidates_sha256", None)
        return {key: without_times(value) for key, value in kept.items()}
    return record
