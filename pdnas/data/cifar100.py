"""CIFAR-100: the official archive, unpacked or not, or class folders of its images.

What the user has comes first: ``PDNAS_DATA`` may hold ``cifar-100-python``, the archive unpacked
as torchvision does it, or the images as ``cifar100/train/CLASS/*`` and ``cifar100/test/CLASS/*``,
any number of each class. Otherwise the archive is downloaded, and decoded once into the cache.
Classes are numbered by the alphabet, as the archive does.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pdnas.data import cifar10
from pdnas.data.dataset import Contents, DatasetInfo, Files, ImageSet
from pdnas.data.decode import CompactImages, Fit
from pdnas.data.folders import ClassFolders
from pdnas.data.sources import SOURCES, cache_directory, data_directory, users_path
from pdnas.spec.data import IMAGE_SIDE
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_tensors, write_tensors

_SOURCE = "cifar100-archive"
_CLASSES = 100
_UNPACKED = "cifar-100-python"
_LAYOUT = (
    f"the folder {_UNPACKED} of the official archive (files train, test and meta), or the images "
    "as cifar100/train/CLASS/* and cifar100/test/CLASS/*"
)


def _compact() -> Path:
    return cache_directory() / "cifar100.safetensors"


def _home(directory: Path | None) -> Path | None:
    """The user's folder of data, where one is named; it need not hold CIFAR-100."""
    named = directory or os.environ.get("PDNAS_DATA")
    return data_directory(directory, _LAYOUT) if named else None


def _folders(directory: Path | None) -> ClassFolders | None:
    """Class folders of the user's, where there is no unpacked archive: ``cifar100``, or all.

    Raises:
        PdnasError: ``cifar100`` has another number of classes.
    """
    home = _home(directory)
    if home is None or (home / _UNPACKED).is_dir():
        return None
    for root in (home / "cifar100", home):
        if not (root / "train").is_dir():
            continue
        folders = ClassFolders(root, "CIFAR-100", _LAYOUT, ("test", "val"))
        classes = sum(entry.is_dir() for entry in os.scandir(root / "train"))
        if classes == _CLASSES:
            return folders
        if root != home:  # its folder train may be of ImageNet
            raise PdnasError(f"{root}/train has {classes} classes; CIFAR-100 has {_CLASSES}")
    return None


def _load(directory: Path | None, progress: bool = True) -> Files:
    if folders := _folders(directory):
        fit = Fit(IMAGE_SIDE["cifar100"], exact=True)
        return {
            file: CompactImages(folders.root / folders.parts[file], images, fit)
            for file, images in folders.files().items()
        }
    home = _home(directory)
    if home and (home / _UNPACKED).is_dir():
        return _images(_unpacked(home))
    return _images(_decoded(progress))


def _images(tensors: dict[str, Tensor]) -> dict[str, ImageSet]:
    return {
        file: ImageSet(tensors[f"{file}_images"], tensors[f"{file}_labels"])
        for file in ("train", "test")
    }


def _read(file: str, content: bytes) -> dict[str, Tensor]:
    """The images and fine labels of one file of the archive; raises ``cifar10.DAMAGE``."""
    batch = cifar10.read_batch(content, encoding="latin1")
    images = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
    labels = np.asarray(batch["fine_labels"], dtype=np.int64)
    return {f"{file}_images": torch.from_numpy(images), f"{file}_labels": torch.from_numpy(labels)}


def _unpacked(home: Path) -> dict[str, Tensor]:
    from torchvision.datasets import CIFAR100
    from torchvision.datasets.utils import check_integrity

    tensors: dict[str, Tensor] = {}
    for [[file, md5]] in (CIFAR100.train_list, CIFAR100.test_list):
        path = home / _UNPACKED / file
        try:
            if not check_integrity(str(path), md5):
                raise ValueError("missing or changed")
            # torchvision would unpickle it the ordinary way, which can run code.
            tensors |= _read(file, path.read_bytes())
        except cifar10.DAMAGE as error:
            raise PdnasError(
                f"no complete CIFAR-100 in {home}; put {_LAYOUT} there, unpacked and unchanged"
            ) from error
    return tensors


def _decoded(progress: bool) -> dict[str, Tensor]:
    """The whole data set from the compact file, which is made from the archive on first use.

    Raises:
        PdnasError: the file or the archive is damaged, or the archive cannot be had.
    """
    if not _compact().is_file():
        source = SOURCES[_SOURCE]
        try:
            archive = source.fetch(progress)
        except PdnasError as error:
            raise PdnasError(
                f"{error}; or set PDNAS_DATA to a folder that holds {_LAYOUT}"
            ) from error
        files = ("train", "test")
        tensors: dict[str, Tensor] = {}
        try:
            contents = cifar10.members(archive, [f"{_UNPACKED}/{file}" for file in files])
            for file, content in zip(files, contents, strict=True):
                tensors |= _read(file, content)
        except cifar10.DAMAGE as error:
            raise PdnasError(f"{archive} is no CIFAR-100 archive; fetch it again") from error
        write_tensors(_compact(), tensors, {"source": source.name, "sha256": source.sha256})
    return read_tensors(_compact())[0]


def _path() -> Path:
    """Where the images that count lie, or would lie."""
    unpacked = users_path(_UNPACKED)
    if unpacked and unpacked.is_dir():
        return unpacked
    with suppress(PdnasError):
        if folders := _folders(None):
            return folders.root
    return _compact()


def _contents(directory: Path | None) -> Contents | None:
    folders = _folders(directory)
    return folders.contents() if folders else None


CIFAR100 = DatasetInfo(
    name="cifar100",
    description="CIFAR-100 from cifar100-archive, or of the user's (PDNAS_DATA)",
    licence="none stated",
    channels=3,
    size=IMAGE_SIDE["cifar100"],
    classes=_CLASSES,
    contents=_contents,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    load=_load,
    path=_path,
    sources=(_SOURCE,),
    download=partial(_load, None),
)
