"""`pdnas data`: what it prints, gets and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pdnas.commands.data import app
from pdnas.data import cifar10, sources
from pdnas.data.sets import INFO
from pdnas.support.errors import PdnasError

from .conftest import Register, Server

CONTENT = b"content"


def run(*arguments: str) -> Result:
    """Run the command; errors come through as they do to the command line that catches them."""
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def rows(*arguments: str) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(run(*arguments, "--json").stdout)}


def test_list(register: Register, cache: Path) -> None:
    source = register(CONTENT, "http://127.0.0.1:9/x")
    listed = rows("list")
    assert set(sources.SOURCES) | {"cifar10", "cifar100", "imagenet", "digits"} == set(listed)
    assert listed["digits"]["present"] is True
    assert listed["thing"]["present"] is False
    assert listed["thing"]["size"] == source.size
    cache.mkdir()
    (cache / "thing.bin").write_bytes(CONTENT)
    assert rows("list")["thing"]["path"] == str(cache / "thing.bin")
    assert "thing" in run("list").stdout


def test_fetch_a_source(register: Register, server: Server, cache: Path) -> None:
    register(CONTENT, f"{server.address}/x")
    server.content = CONTENT
    assert rows("fetch", "thing")["thing"]["path"] == str(cache / "thing.bin")
    assert run("fetch", "thing", "digits").stdout.splitlines() == [
        f"thing: {cache / 'thing.bin'}",
        "digits: nothing to get",
    ]


def test_fetch_by_default_needs_no_folder_of_the_users(
    monkeypatch: pytest.MonkeyPatch, register: Register, server: Server
) -> None:
    monkeypatch.setattr(sources, "SOURCES", {})
    for name in ("thing", "cifar10-archive", "cifar100-archive"):
        source = register(CONTENT, f"{server.address}/x", name, f"{name}.bin")
        sources.SOURCES[name] = source
    for name in ("cifar10", "cifar100"):
        made = replace(INFO[name], download=lambda progress: None)
        monkeypatch.setitem(INFO, name, made)
    server.content = CONTENT
    assert set(rows("fetch")) == {"cifar10", "cifar100", "thing"}


def test_fetch_tries_all_and_sums_up(register: Register, server: Server, cache: Path) -> None:
    register(CONTENT, "http://127.0.0.1:9/x", "absent", "absent.bin")
    register(CONTENT, f"{server.address}/x")
    server.content = CONTENT
    with pytest.raises(PdnasError, match=r"^1 of 2 are not to be had: cannot get absent\.bin"):
        run("fetch", "absent", "thing")
    assert (cache / "thing.bin").is_file()


def test_fetch_cannot_get_the_users_data(register: Register) -> None:
    register(b"", "http://127.0.0.1:9/x", "cifar100-archive", "cifar-100-python.tar.gz")
    for name, words in (("cifar100", "cifar-100-python"), ("imagenet", "train/CLASS")):
        with pytest.raises(PdnasError, match=words):
            run("fetch", name)


def test_unknown_name() -> None:
    for command in ("fetch", "verify"):
        with pytest.raises(PdnasError, match="choose one of cifar10"):
            run(command, "cifar11")


def test_verify(register: Register, cache: Path) -> None:
    register(CONTENT, "http://127.0.0.1:9/x")
    checked = rows("verify")
    assert (checked["thing"]["state"], checked["digits"]["state"]) == ("absent", "whole")
    assert checked["cifar100"]["state"] == checked["imagenet"]["state"] == "absent"
    with pytest.raises(PdnasError, match="pdnas data fetch thing"):
        run("verify", "thing")
    cache.mkdir()
    (cache / "thing.bin").write_bytes(CONTENT)
    assert rows("verify", "thing")["thing"]["state"] == "whole"
    (cache / "thing.bin").write_bytes(CONTENT[::-1])
    for arguments in (["verify"], ["verify", "thing"]):
        with pytest.raises(PdnasError, match="wrong SHA-256"):
            run(*arguments)


def test_verify_looks_into_the_compact_file(cache: Path) -> None:
    import torch

    from pdnas.support.files import write_tensors

    write_tensors(cifar10.path(), {"train_images": torch.zeros(1)}, {})
    with pytest.raises(PdnasError, match="does not hold CIFAR-10"):
        run("verify", "cifar10")
