"""Both CIFAR-10 decoders on small archives in the real formats, honest, damaged and hostile."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pdnas.data import cifar10
from pdnas.data.sources import cache_directory
from pdnas.support.errors import PdnasError
from pdnas.support.files import write_tensors

from .conftest import Register

Batches = list[tuple[NDArray[np.uint8], list[int]]]
Tensors = dict[str, torch.Tensor]
Decode = Callable[[Path], Tensors]
Members = Callable[[Batches], dict[str, bytes]]

PER_BATCH = 4


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes byte strings as Python 2 did, which is how the official files are."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, text: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(text)) + text)
        self.memoize(text)

    dispatch[bytes] = save_bytes


def python2_pickle(content: Any) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(content)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def batches() -> Batches:
    """Six batches of (images (N, 3, 32, 32) uint8, labels)."""
    random = np.random.default_rng(0)
    return [
        (
            random.integers(0, 256, (PER_BATCH, 3, 32, 32), dtype=np.uint8),
            random.integers(0, 10, PER_BATCH).tolist(),
        )
        for _ in range(6)
    ]


def official_members(batches: Batches) -> dict[str, bytes]:
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    return {
        f"cifar-10-batches-py/{name}": python2_pickle(
            {
                b"batch_label": name.encode(),
                b"labels": labels,
                b"data": images.reshape(len(images), -1),
                b"filenames": [b"a.png"] * len(images),
            }
        )
        for name, (images, labels) in zip(names, batches, strict=True)
    }


def npm_members(batches: Batches) -> dict[str, bytes]:
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    members = {"package/README.md": b"hello"}
    for name, (images, _) in zip(names, batches, strict=True):
        stream = io.BytesIO()
        rows = images.transpose(0, 2, 3, 1).reshape(len(images), 1024, 3)
        Image.fromarray(rows).save(stream, "PNG")
        members[f"package/{name}.png"] = stream.getvalue()
    train = [label for _, labels in batches[:5] for label in labels]
    members["package/train_lables.json"] = json.dumps(train).encode()
    members["package/test_lables.json"] = json.dumps(batches[5][1]).encode()
    return members


@pytest.mark.parametrize(
    ("decode", "members"),
    [
        (partial(cifar10.decode, "cifar10-archive"), official_members),
        (partial(cifar10.decode, "cifar10-npm"), npm_members),
    ],
)
class TestBothDecoders:
    def test_pixels_and_labels(
        self, tmp_path: Path, batches: Batches, decode: Decode, members: Members
    ) -> None:
        tensors = decode(pack(tmp_path / "archive", members(batches)))
        train = np.concatenate([images for images, _ in batches[:5]])
        assert tensors["train_images"].dtype == torch.uint8
        assert tensors["train_labels"].dtype == torch.int64
        np.testing.assert_array_equal(tensors["train_images"], train)
        np.testing.assert_array_equal(tensors["test_images"], batches[5][0])
        assert tensors["train_labels"].tolist() == [x for _, labels in batches[:5] for x in labels]
        assert tensors["test_labels"].tolist() == batches[5][1]

    def test_order_of_members_does_not_matter(
        self, tmp_path: Path, batches: Batches, decode: Decode, members: Members
    ) -> None:
        forwards = decode(pack(tmp_path / "forwards", members(batches)))
        turned = dict(reversed(members(batches).items()))
        backwards = decode(pack(tmp_path / "backwards", turned))
        assert all(torch.equal(forwards[name], backwards[name]) for name in forwards)

    def test_missing_member(
        self, tmp_path: Path, batches: Batches, decode: Decode, members: Members
    ) -> None:
        content = members(batches)
        gone = next(name for name in content if "data_batch_3" in name)
        del content[gone]
        with pytest.raises(PdnasError, match=gone):
            decode(pack(tmp_path / "archive", content))

    def test_damage(
        self, tmp_path: Path, batches: Batches, decode: Decode, members: Members
    ) -> None:
        archive = pack(tmp_path / "archive", members(batches))
        whole = archive.read_bytes()
        for damaged in (b"", b"no tar at all", whole[: len(whole) // 2]):
            archive.write_bytes(damaged)
            with pytest.raises(PdnasError) as error:
                decode(archive)
            assert str(archive) in str(error.value)
            assert "\n" not in str(error.value)

    def test_damaged_member(
        self, tmp_path: Path, batches: Batches, decode: Decode, members: Members
    ) -> None:
        for position in range(6):
            content = members(batches)
            name = [name for name in content if "batch" in name][position]
            content[name] = content[name][:100]
            with pytest.raises(PdnasError, match="archive"):
                decode(pack(tmp_path / "archive", content))

    def test_paths_outside_are_harmless(
        self, tmp_path: Path, batches: Batches, decode: Decode, members: Members
    ) -> None:
        inside = tmp_path / "a" / "b"
        inside.mkdir(parents=True)
        evil = {"../evil": b"x", str(tmp_path / "absolute"): b"x"}
        archive = pack(inside / "archive", evil | members(batches))
        assert len(decode(archive)["train_labels"]) == 5 * PER_BATCH
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "archive", "b"]

    def test_link_is_not_followed(
        self, tmp_path: Path, batches: Batches, decode: Decode, members: Members
    ) -> None:
        content = members(batches)
        name = next(name for name in content if "data_batch_1" in name)
        secret = content.pop(name)
        (tmp_path / "secret").write_bytes(secret)
        archive = pack(tmp_path / "archive", content)
        with tarfile.open(archive, "w:gz") as tar:
            for other, text in content.items():
                member = tarfile.TarInfo(other)
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
            tar.addfile(link)
        with pytest.raises(PdnasError, match="no member"):
            decode(archive)


class Hostile:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("where", ["top", "inside"])
def test_hostile_pickle_is_refused(tmp_path: Path, batches: Batches, where: str) -> None:
    trace = tmp_path / "trace"
    members = official_members(batches)
    bomb: Any = Hostile(os.system, f"touch {trace}")
    if where == "inside":
        bomb = {"labels": [0] * PER_BATCH, "data": [bomb]}
    members["cifar-10-batches-py/data_batch_2"] = pickle.dumps(bomb, protocol=2)
    with pytest.raises(PdnasError, match=r"it asks for posix\.system"):
        cifar10.decode("cifar10-archive", pack(tmp_path / "archive", members))
    assert not trace.exists()


def official_like() -> Tensors:
    """Tensors with the shapes, labels and channel statistics of CIFAR-10, cheap to make."""
    tensors = {}
    for part, per_class in (("train", 5000), ("test", 1000)):
        first = torch.tensor(cifar10.FIRST_LABELS[part])
        quota = per_class - first.bincount(minlength=10)
        rest = torch.arange(10).repeat_interleave(quota)
        tensors[f"{part}_labels"] = torch.cat([first, rest])
        images = torch.empty((10 * per_class, 3, 32, 32), dtype=torch.uint8)
        for channel, (mean, std) in enumerate(zip(cifar10.MEAN, cifar10.STD, strict=True)):
            # Half the pixels above the mean and half below, the exact mix that hits both numbers.
            high, low = 255 * (mean + std), 255 * (mean - std)
            images[:, channel, :16] = _mixture(high, 16)
            images[:, channel, 16:] = _mixture(low, 16)
        tensors[f"{part}_images"] = images
    return tensors


def _mixture(level: float, rows: int) -> torch.Tensor:
    """(rows, 32) bytes whose mean is ``level``, of the two nearest values."""
    count = rows * 32
    above = round((level - int(level)) * count)
    values = torch.full((count,), int(level), dtype=torch.uint8)
    values[:above] += 1
    return values.view(rows, 32)


@pytest.fixture(scope="module")
def genuine() -> Tensors:
    return official_like()


def test_verify_accepts_the_official_numbers(genuine: Tensors) -> None:
    cifar10.verify(genuine, Path("x"))


def swapped_channels(tensors: Tensors) -> Tensors:
    return tensors | {"train_images": tensors["train_images"].flip(1)}


def other_order(tensors: Tensors) -> Tensors:
    return tensors | {"test_labels": tensors["test_labels"].flip(0)}


def one_label_wrong(tensors: Tensors) -> Tensors:
    labels = tensors["train_labels"].clone()
    labels[-1] = 0
    return tensors | {"train_labels": labels}


def too_few(tensors: Tensors) -> Tensors:
    return tensors | {"test_images": tensors["test_images"][:-1]}


def without_test(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != "test_labels"}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (swapped_channels, "training mean"),
        (other_order, "wrong order of the test labels"),
        (one_label_wrong, "not 5000 train images a class"),
        (too_few, "shape"),
        (without_test, "no test images"),
    ],
)
def test_verify_refuses(genuine: Tensors, spoil: Callable[[Tensors], Tensors], reason: str) -> None:
    with pytest.raises(PdnasError, match=reason):
        cifar10.verify(spoil(genuine), Path("x"))


def test_load_refuses_an_archive_that_is_not_cifar10(
    cache: Path,
    tmp_path: Path,
    batches: Batches,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = pack(tmp_path / "small.tar.gz", official_members(batches))
    register(archive.read_bytes(), "http://127.0.0.1:9/x", "cifar10-archive", archive.name)
    monkeypatch.setenv("PDNAS_MIRROR", str(tmp_path))
    with pytest.raises(PdnasError, match="does not hold CIFAR-10"):
        cifar10.load()
    assert not cifar10.path().exists()


def test_load_makes_the_compact_file_once(
    genuine: Tensors, tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tgz").write_bytes(b"anything")
    register(b"anything", "http://127.0.0.1:9/x", "cifar10-npm", "a.tgz")
    monkeypatch.setenv("PDNAS_MIRROR", str(tmp_path))
    calls = []

    def decode(source: str, archive: Path) -> Tensors:
        calls.append(archive)
        return genuine

    monkeypatch.setattr(cifar10, "decode", decode)
    first, second = cifar10.load(), cifar10.load()
    assert calls == [tmp_path / "a.tgz"]
    assert all(torch.equal(first[name], genuine[name]) for name in genuine)
    assert torch.equal(first["train_images"], second["train_images"])


def test_damaged_compact_file(genuine: Tensors) -> None:
    write_tensors(cifar10.path(), {"train_labels": genuine["train_labels"]}, {})
    whole = cifar10.path().read_bytes()
    cifar10.path().write_bytes(whole[:-100])
    with pytest.raises(PdnasError, match="delete it"):
        cifar10.load()


@pytest.mark.data
def test_real_cifar10() -> None:
    if not cifar10.path().is_file():
        pytest.skip("CIFAR-10 is not in the cache; `pdnas data fetch cifar10` puts it there")
    cifar10.verify(cifar10.load(), cifar10.path())


@pytest.mark.data
def test_real_first_image() -> None:
    """The first training image, the frog, and that rows are rows: pixels of the official file."""
    if not cifar10.path().is_file():
        pytest.skip("CIFAR-10 is not in the cache; `pdnas data fetch cifar10` puts it there")
    frog = cifar10.load()["train_images"][0]
    assert frog[0, 0, :3].tolist() == [59, 43, 50]
    assert frog[:, 0, 0].tolist() == [59, 62, 63]
    assert frog[0, 1, :2].tolist() == [16, 0]
    assert cache_directory() == cifar10.path().parent
