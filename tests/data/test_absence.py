"""Images that cannot be had are known before anything is searched."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdnas.data.absence import absent
from pdnas.spec.data import DataConfig, FoldersConfig


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PDNAS_DATA", str(tmp_path))
    return tmp_path


def test_folders_are_absent_until_they_are_there(home: Path) -> None:
    config = FoldersConfig(name="folders", root="mine", side=8, validation=1)
    assert absent(config) == ("mine (data.root) is no folder in PDNAS_DATA; put the pictures there")
    (home / "mine").mkdir()
    assert absent(config) is None, "what is wrong with it is said by those that use it"


def test_imagenet(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig(name="imagenet", validation=1)
    assert "PDNAS_DATA" in str(absent(config))
    (home / "train").mkdir()
    assert absent(config) is None
    monkeypatch.delenv("PDNAS_DATA")
    assert "PDNAS_DATA" in str(absent(config))


def test_a_download_that_fails_says_why(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, mirror = DataConfig(name="cifar100", validation=1), tmp_path_factory.mktemp("mirror")
    (mirror / "cifar-100-python.tar.gz").write_bytes(b"damaged")
    monkeypatch.setenv("PDNAS_MIRROR", str(mirror))
    monkeypatch.setenv("PDNAS_CACHE", str(home / "cache"))
    assert "has not the SHA-256 of cifar100-archive; replace or delete it" in str(absent(config))
    assert absent(config, fetch=False) is None


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_what_the_package_gets_itself_is_never_absent(name: str) -> None:
    assert absent(DataConfig.model_validate({"name": name, "validation": 1})) is None
