"""Artefacts are whole or absent, whatever goes wrong."""

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

import numpy as np
import pandas as pd
import pytest
import torch

from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.support.files import (
    atomic_path,
    read_json,
    read_table,
    read_tensors,
    write_json,
    write_table,
    write_tensors,
)
from pdnas.support.provenance import fingerprint

# name -> (write something small, write something of about a megabyte, read)
KINDS = {
    "json": (
        lambda path: write_json(path, {"a": 1.5, "b": ["x", None]}),
        lambda path: write_json(path, {"a": "x" * 2**20}),
        read_json,
    ),
    "table": (
        lambda path: write_table(path, pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})),
        lambda path: write_table(path, pd.DataFrame({"a": np.random.default_rng(0).random(2**17)})),
        read_table,
    ),
    "tensors": (
        lambda path: write_tensors(path, {"t": torch.arange(6).reshape(2, 3)}, {"m": [1, "é"]}),
        lambda path: write_tensors(path, {"t": torch.rand(2**18)}, {}),
        read_tensors,
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@contextmanager
def small_disk(size: int = 4096) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes, the nearest thing to a full disk without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def one_line(raised: pytest.ExceptionInfo[PdnasError]) -> str:
    text = str(raised.value)
    assert text
    assert "\n" not in text
    return text


def test_json_round_trip(tmp_path: Path) -> None:
    record = {"b": [1, 2.5, None], "a": {"x": True}}
    write_json(tmp_path / "new" / "r.json", record)
    assert read_json(tmp_path / "new" / "r.json") == record
    assert (tmp_path / "new" / "r.json").read_text().endswith("}\n")


def test_json_refuses_what_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "r.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_table_round_trip(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [0.1, np.nan], "b": ["x", "y"], "c": [1, 2]}, index=[5, 9])
    write_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), table.reset_index(drop=True))


def test_tensors_round_trip(tmp_path: Path) -> None:
    transposed = torch.rand(3, 4, requires_grad=True).T
    tensors = {"a": transposed, "b": torch.tensor([True, False]), "c": torch.rand(2).double()}
    write_tensors(tmp_path / "t", tensors, {"deep": {"list": [1, None, "τ"]}})
    back, metadata = read_tensors(tmp_path / "t")
    assert metadata == {"deep": {"list": [1, None, "τ"]}}
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor.detach())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyError("x")])
def test_a_failure_inside_leaves_the_old_file(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> Never:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "old"
            raise error

    with pytest.raises(PdnasError if isinstance(error, OSError) else KeyError) as raised:
        fail()
    if isinstance(error, OSError):
        assert "No space left on device" in one_line(raised)
        assert str(path) in str(raised.value)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_kill_inside_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path):
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_file_appears_only_when_it_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    flushed = []

    def fsync(handle: int) -> None:
        assert path.exists() == bool(flushed)
        flushed.append(os.fstat(handle).st_size)

    monkeypatch.setattr(files.os, "fsync", fsync)
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path  # a rename is atomic only within one file system
        temporary.write_text("whole")
    assert flushed[0] == 5
    assert len(flushed) == 2, "the folder, whose new entry a power cut would undo"
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["file"]


def test_results_have_ordinary_permissions(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {})
    (tmp_path / "plain").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("r.json", "plain")]
    assert modes[0] == modes[1]


@every_kind
def test_a_failing_flush_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    small, big, _ = KINDS[kind]
    path = tmp_path / "file"
    small(path)
    before = path.read_bytes()

    def fsync(handle: int) -> Never:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(PdnasError, match="No space left") as raised:
        big(path)
    assert str(path) in one_line(raised)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["file"]


@every_kind
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, kind: str) -> None:
    small, big, read = KINDS[kind]
    path = tmp_path / "file"
    small(path)
    before = path.read_bytes()
    with small_disk(), pytest.raises(PdnasError, match="cannot write") as raised:
        big(path)
    one_line(raised)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["file"]
    big(path)  # with space again
    read(path)


@every_kind
def test_a_folder_that_cannot_be_made(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(PdnasError, match="cannot write") as raised:
        KINDS[kind][0](tmp_path / "file" / "below" / "x")
    one_line(raised)


@every_kind
def test_a_missing_file(tmp_path: Path, kind: str) -> None:
    with pytest.raises(PdnasError, match="does not exist") as raised:
        KINDS[kind][2](tmp_path / "missing")
    assert str(tmp_path / "missing") in one_line(raised)


@every_kind
@pytest.mark.parametrize("damage", ["empty", "half", "last byte", "noise"])
def test_a_damaged_file(tmp_path: Path, kind: str, damage: str) -> None:
    small, _, read = KINDS[kind]
    path = tmp_path / "file"
    small(path)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "last byte": whole.rstrip(b"\n")[:-1],
            "noise": bytes(range(255, 0, -1)) * 4,
        }[damage]
    )
    with pytest.raises(PdnasError, match="not a readable") as raised:
        read(path)
    assert str(path) in one_line(raised)


def test_json_that_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("[1]")
    with pytest.raises(PdnasError, match="no JSON object"):
        read_json(tmp_path / "r.json")


def test_tensors_of_another_program(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"t": torch.zeros(2)}, tmp_path / "t")
    with pytest.raises(PdnasError, match="not a readable pdnas"):
        read_tensors(tmp_path / "t")


def test_equal_tensors_are_equal_files(tmp_path: Path) -> None:
    """As any program of safetensors reads them; the library itself shuffles their metadata."""
    from safetensors import safe_open

    tensors = {"t": torch.arange(3), "half": torch.ones(1, 5, dtype=torch.bfloat16)}
    written = set()
    for _ in range(20):
        write_tensors(tmp_path / "t", tensors, {"m": "é", "a": [1]}, owner="one")
        written.add((tmp_path / "t").read_bytes())
    assert len(written) == 1
    with safe_open(tmp_path / "t", "pt") as file:
        assert file.metadata()["run"] == "one"
        for name, tensor in tensors.items():
            assert torch.equal(file.get_tensor(name), tensor)


@every_kind
def test_a_file_of_another_owner_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    content = {"json": {"a": 1}, "table": pd.DataFrame({"a": [1]}), "tensors": {"t": torch.ones(1)}}
    write = {"json": write_json, "table": write_table, "tensors": write_tensors}[kind]
    read = KINDS[kind][2]
    arguments = (content[kind], {}) if kind == "tensors" else (content[kind],)
    write(path, *arguments, owner="one")
    read(path)
    read(path, owner="one")
    with pytest.raises(PdnasError, match="belongs to another run") as raised:
        read(path, owner="two")
    assert str(path) in one_line(raised)
    write(path, *arguments)  # as earlier versions wrote it
    read(path, owner="two")


def test_fingerprints_tell_descriptions_apart() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
