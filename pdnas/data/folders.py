"""Images from the user's own folders, a class each: what is there, checked, and batches of it.

A folder holds ``train/CLASS/*`` and ``val/CLASS/*`` (or ``test/CLASS/*``), which are the files
``train`` and ``test`` of a split; an image's index is its place in torchvision's sorted list.
Symbolic links may stand for these two as wholes, and lead anywhere within them; any other one
would let images change, or be in both, without a trace.
"""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdnas.data.batches import ALL_ROWS, Batch, count_batches, epoch_seed
from pdnas.data.dataset import Contents, DatasetInfo, ImageFiles
from pdnas.data.decode import Pictures, decode, default_workers
from pdnas.data.sources import cache_directory, data_directory, remembered, users_path
from pdnas.spec.data import IMAGE_SIDE
from pdnas.support.errors import PdnasError, first_line

if TYPE_CHECKING:  # torchvision is imported only where it is used
    from torchvision.transforms import v2


_SETTLED = 10**8
"""Nanoseconds, in which a folder may change twice and keep its time."""


@dataclass(frozen=True)
class _Listing:
    """The files that were found.

    Attributes:
        at: when the search began, in nanoseconds since 1970.
        folders: those that were searched, which they are and when their entries last changed.
    """

    files: dict[str, ImageFiles]
    at: int
    folders: dict[str, tuple[int, int]]

    def holds(self) -> bool:
        """Whether the same would be found now."""
        try:
            settled = all(time + _SETTLED < self.at for _, time in self.folders.values())
            return settled and self.folders == _folders(self.folders)
        except OSError:  # a folder is gone
            return False


_LISTED: dict[tuple[Path, ClassFolders], _Listing] = {}
"""What this process found, by where it looked."""


def _folders(paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Each folder's number in its file system, and when its entries last changed, in
    nanoseconds since 1970."""
    found = {path: os.stat(path) for path in paths}
    return {path: (each.st_ino, each.st_mtime_ns) for path, each in found.items()}


def _sums(images: list[tuple[str, str]]) -> tuple[str, list[bytes]]:
    """The number of images of a class, a sum of their names and sizes, and one of their bytes.

    Args:
        images: name and path of each.

    Returns:
        these three as text, and a sum of each image.

    Raises:
        PdnasError: one cannot be read.
    """
    lines: list[str] = []
    each: list[bytes] = []
    for name, path in images:
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise PdnasError(f"{path} is no readable image; replace it") from error
        lines.append(f"{name} {len(content)}")
        each.append(hashlib.sha256(content).digest())
    names, whole = hashlib.sha256("\n".join(lines).encode()), hashlib.sha256(b"".join(each))
    return f"{len(images)} {names.hexdigest()[:16]} {whole.hexdigest()[:16]}", each


def _repeated(repeated: Sequence[list[tuple[str, str, str]]]) -> str | None:
    """What is said of images that are there more than once, whatever their names.

    Args:
        repeated: of each, folder, class and name wherever it lies.
    """
    if not repeated:
        return None
    parts, classes = (
        [len({at[index] for at in found}) > 1 for found in repeated] for index in (0, 1)
    )
    such = " and ".join("/".join(at) for at in repeated[0][:2])
    return (
        f"images there more than once: {len(repeated)} ({sum(parts)} both to train and to test on, "
        f"{sum(classes)} in more than one class), such as {such}"
    )


@dataclass(frozen=True)
class ClassFolders:
    """A folder with images to train on and to test on, by class.

    Args:
        what: the images' name, for errors.
        layout: what the folder has to hold, for errors.
        tests: names that the folder of test images may have; the first that is there counts.
    """

    root: Path
    what: str
    layout: str
    tests: tuple[str, ...]

    @property
    def parts(self) -> dict[str, str]:
        """The files of a split, and the folders that hold their images."""
        found = (name for name in self.tests if (self.root / name).is_dir())
        return {"train": "train", "test": next(found, self.tests[0])}

    def files(self) -> dict[str, ImageFiles]:
        """Lists the images and their classes; decodes nothing.

        A process lists a folder once, and again when something was added, removed or renamed.

        Raises:
            PdnasError: a folder or an image of a class is missing, classes differ between the
                folders, there is one only, or a link leads out.
        """
        key = (self.root.absolute(), self)
        known = _LISTED.get(key)
        if known is None or not known.holds():
            known = _LISTED[key] = self._list()
        return known.files

    def _list(self) -> _Listing:
        from torchvision.datasets import ImageFolder

        at = time.time_ns()
        with self._understood():
            self._require_same_classes()
            searched = _folders([str(self.root), *self._searched()])
            listed = {file: ImageFolder(self.root / name) for file, name in self.parts.items()}
        files = {
            file: ImageFiles([path for path, _ in folder.samples], torch.tensor(folder.targets))
            for file, folder in listed.items()
        }
        return _Listing(files, at, searched)

    def count_classes(self) -> int:
        """The number of classes; raises as :meth:`files`."""
        with self._understood():
            return self._require_same_classes()

    def contents(self) -> Contents:
        """By folder and class: the number of images, and sums of their names and of their bytes.

        A warning says which images are there more than once.

        Raises:
            PdnasError: as :meth:`files`, or an image cannot be read.
        """
        found = self._read()
        if found["repeated"]:
            warnings.warn(f"{self.root}: {found['repeated']}", stacklevel=2)
        contents: Contents = found["contents"]
        return contents

    def _read(self) -> Mapping[str, Any]:
        """What all images say, each read once; the cache keeps it while times and sizes stay."""
        every = [images.state() for images in self.files().values()]
        place = hashlib.sha256(os.path.realpath(self.root).encode()).hexdigest()[:16]
        path = cache_directory() / f"folders-{place}.json"
        return remembered(path, self.root, " ".join(every), self._contents)

    def _contents(self) -> dict[str, Any]:
        listed: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for file, listing in self.files().items():
            part = self.parts[file]
            folder = str(self.root / part)
            for path in listing.paths:
                name, _, image = path[len(folder) + 1 :].partition(os.sep)
                listed.setdefault((part, name), []).append((image, path))
        with ThreadPoolExecutor(default_workers()) as pool:
            sums = list(pool.map(_sums, listed.values()))
        counts = Counter(one for _, each in sums for one in each)
        found: Contents = {part: {} for part in self.parts.values()}
        places: dict[bytes, list[tuple[str, str, str]]] = {}
        for ((part, name), images), (said, each) in zip(listed.items(), sums, strict=True):
            found[part][name] = said
            for (image, _), one in zip(images, each, strict=True):
                if counts[one] > 1:
                    places.setdefault(one, []).append((part, name, image))
        return {"contents": found, "repeated": _repeated(list(places.values()))}

    def summary(self) -> str:
        """How many images of how many classes there are, which are there more than once, and which
        files were passed over."""
        files = self.files()
        images = {path for part in files.values() for path in part.paths}
        others = Counter(
            path.suffix or path.name
            for name in self.parts.values()
            for path in (self.root / name).rglob("*")
            if path.is_file() and str(path) not in images
        )
        counts = [f"{len(part)} {self.what} in {self.parts[file]}" for file, part in files.items()]
        words = ", ".join([f"{self.count_classes()} classes", *counts])
        passed = some([f"{number} {kind}" for kind, number in others.most_common()])
        said = [words, self._read()["repeated"], others and f"passed over: {passed}"]
        return "; ".join(filter(None, said))

    def _searched(self) -> list[str]:
        """The folders that images are searched in, links followed.

        Raises:
            PdnasError: a symbolic link among the images leads out of ``train`` and ``test``, or a
                folder in a class is hidden.
        """
        tops = [self.root / name for name in self.parts.values()]
        homes = [os.path.realpath(folder) for folder in (self.root, *tops)]

        def leads_out(entry: os.DirEntry[str]) -> bool:
            end = os.path.realpath(entry.path)
            return not any(os.path.commonpath([home, end]) == home for home in homes)

        out: list[str] = []
        hidden: list[str] = []
        searched: list[str] = []
        left = list(map(str, tops))
        while left:
            searched.append(left.pop())
            with os.scandir(searched[-1]) as entries:
                for entry in entries:
                    place = os.path.relpath(entry.path, self.root)
                    if entry.is_symlink() and leads_out(entry):
                        out.append(place)
                    elif entry.is_dir():
                        left.append(entry.path)
                        if entry.name.startswith("."):
                            hidden.append(place)
        if out:
            raise PdnasError(
                f"{self.root} has symbolic links that lead out of it ({some(sorted(out))}); put "
                f"copies in their place, or link all of {' or '.join(self.parts.values())}"
            )
        self._require_none_hidden(hidden)
        return searched

    def _require_none_hidden(self, found: list[str]) -> None:
        if found:
            raise PdnasError(
                f"{self.root} has hidden folders among its classes ({some(sorted(found))}); delete "
                "them"
            )

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Turn torchvision's errors into one line."""
        try:
            yield
        except OSError as error:  # no such folder, or a class without images
            raise PdnasError(
                f"no {self.what} in {self.root} ({first_line(error)}); it has to hold {self.layout}"
            ) from error

    def _require_same_classes(self) -> int:
        """The number of classes, which the two folders have to have in common.

        torchvision numbers the folders of each, so that a missing one shifts all labels after it.
        """
        from torchvision.datasets.folder import find_classes

        names = {part: find_classes(self.root / part)[0] for part in self.parts.values()}
        self._require_none_hidden(
            [f"{part}/{name}" for part in names for name in names[part] if name[0] == "."]
        )
        train, test = map(set, names.values())
        alone = [f"{part}/{name}" for part in names for name in names[part] if name in train ^ test]
        if alone:
            raise PdnasError(
                f"{' and '.join(names)} of {self.root} have different classes (only "
                f"{some(alone)}); give each class a folder of the same name in both"
            )
        if len(train) < 2:
            raise PdnasError(
                f"{self.root} has one class only (train/{train.pop()}); a network needs two or "
                "more to tell apart"
            )
        return len(train)


def difference(then: Contents, now: Contents) -> str | None:
    """What is other now in the contents of a data set's folders, for people; None: nothing."""
    found = []
    for folder, classes in then.items():
        there = now.get(folder, {})
        found += [f"{folder}/{name} is gone" for name in classes if name not in there]
        found += [f"{folder}/{name} is new" for name in there if name not in classes]
        for name in classes.keys() & there.keys():
            before, after = classes[name].split(), there[name].split()
            if before[0] != after[0]:
                found.append(f"{folder}/{name} has {after[0]} images and had {before[0]}")
            elif before[1] != after[1]:
                found.append(f"images of {folder}/{name} have other names or sizes")
            elif before[2:] != after[2:] and len(before) == len(after):  # earlier ones kept no sum
                found.append(f"images of {folder}/{name} are other ones of the same names")
    return some(sorted(found)) if found else None


def some(names: list[str], between: str = ", ") -> str:
    """The first few of many names."""
    return between.join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _imagenet(directory: Path | None) -> ClassFolders:
    layout = "ImageNet as train/CLASS/*.JPEG and val/CLASS/*.JPEG"
    return ClassFolders(data_directory(directory, layout), "ImageNet", layout, ("val",))


IMAGENET = DatasetInfo(
    name="imagenet",
    description="ImageNet, in a folder of the user's (PDNAS_DATA)",
    licence="research only",
    channels=3,
    size=IMAGE_SIDE["imagenet"],
    classes=1000,
    count=lambda directory: _imagenet(directory).count_classes(),
    contents=lambda directory: _imagenet(directory).contents(),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    top5=True,
    load=lambda directory: _imagenet(directory).files(),
    path=partial(users_path, "train"),
)


def transform(size: int, train: bool) -> v2.Compose:
    """What makes an image of ImageNet of a file: (3, size, size) uint8; augmented to train on."""
    from torchvision.transforms import v2

    if train:
        crop = [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()]
    else:
        crop = [v2.Resize(256, antialias=True), v2.CenterCrop(size)]
    return v2.Compose([*crop, v2.PILToTensor()])


class FolderLoader:
    """Batches of one part of a data set of files; see :class:`pdnas.data.batches.Loader`.

    An image's augmentation depends on the seed, the epoch and its place in the part, so neither
    the number of workers nor a resumed run changes the data.

    Args:
        train: random resized crop and flip, a new order every epoch, no incomplete batch; else the
            central crop in the part's order.
        rows: those of each batch that are wanted; the others are not decoded.
        workers: decoding processes; default: as many as there are cores, at most 16.

    Raises:
        PdnasError: the part is smaller than a training batch.
    """

    def __init__(
        self,
        part: ImageFiles,
        info: DatasetInfo,
        batch: int,
        device: torch.device | str,
        *,
        train: bool,
        seed: int,
        rows: slice = ALL_ROWS,
        workers: int | None = None,
    ) -> None:
        self.examples = len(part)
        self._batches = count_batches(self.examples, batch, train=train)
        self._part = part
        self._transform = transform(info.size, train)
        self._batch = batch
        self._device = torch.device(device)
        self._train = train
        self._seed = seed
        self._rows = rows
        self._workers = default_workers() if workers is None else workers
        self._mean = torch.tensor(info.mean, device=self._device)[:, None, None]
        self._std = torch.tensor(info.std, device=self._device)[:, None, None]

    def __len__(self) -> int:
        return self._batches

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch ``number`` (0 or more), from batch ``start`` on.

        Raises:
            PdnasError: an image cannot be read.
        """
        seed = epoch_seed(self._seed, number)
        order = torch.arange(self.examples)
        if self._train:
            generator = torch.Generator().manual_seed(seed)
            order = torch.randperm(self.examples, generator=generator)
        batches = [
            order[first : first + self._batch][self._rows].tolist()
            for first in range(start * self._batch, len(self) * self._batch, self._batch)
        ]
        decoding = decode(
            Pictures(self._part, self._transform, seed if self._train else None),
            batches,
            workers=self._workers,
            pin_memory=self._device.type == "cuda",
        )
        for pixels, labels in decoding:
            yield (self._normalise(pixels), labels.to(self._device, non_blocking=True))

    def _normalise(self, pixels: Tensor) -> Tensor:
        """On the device: a byte a channel travels there four times faster than a float."""
        pixels = pixels.to(self._device, non_blocking=True)
        pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
        return pixels.div_(255).sub_(self._mean).div_(self._std)
