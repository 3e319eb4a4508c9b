"""Data in parts: what is unpacked is what was packed, bit by bit, or a clear refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from contrib.lent_gpu import parcel
from pdnas.data import cifar10
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_tensors, write_tensors

LIMIT = 100_000


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Parts of a small data set, which lies in the cache no more."""
    monkeypatch.setenv("PDNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(parcel, "_STRIP", 20)
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for part, count in (("train", 50), ("test", 30)):
        noise = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
        tensors[f"{part}_images"] = noise
        tensors[f"{part}_labels"] = torch.randint(10, (count,), generator=generator)
    write_tensors(cifar10.path(), tensors, {"source": "test"})
    folder = tmp_path / "parts"
    manifest, *parts = parcel.pack(folder, LIMIT)
    assert len(json.loads(manifest.read_text())["parts"]) == len(parts) > 1
    assert [path.stat().st_size for path in parts[:-1]] == [LIMIT] * (len(parts) - 1)
    cifar10.path().rename(tmp_path / "before")
    return folder


def test_what_is_unpacked_is_what_was_packed(packed: Path, tmp_path: Path) -> None:
    assert parcel.unpack(packed) == cifar10.path()
    (before, metadata), (after, kept) = (
        read_tensors(tmp_path / "before"),
        read_tensors(cifar10.path()),
    )
    assert metadata == kept == {"source": "test"}
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.dtype == after[name].dtype
        assert torch.equal(value, after[name]), name


def test_parts_that_are_missing_or_damaged_are_named(packed: Path) -> None:
    part = packed / "pdnas-data.1"
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(PdnasError, match=r"pdnas-data\.1 has not the checksum"):
        parcel.unpack(packed)
    part.unlink()
    with pytest.raises(PdnasError, match=r"pdnas-data\.1 is missing"):
        parcel.unpack(packed)
    (packed / "pdnas-data.json").unlink()
    with pytest.raises(PdnasError, match=r"pdnas-data\.json"):
        parcel.unpack(packed)
    assert not cifar10.path().exists()
