"""Images from the user's own folders, a class each: what is there, checked, and batches of it.

A folder holds ``train/CLASS/*`` and ``val/CLASS/*`` (or ``test/CLASS/*``), which are the files
``train`` and ``test`` of a split; an image's index is its place in torchvision's sorted list.
Symbolic links may stand for these two as wholes, and lead anywhere within them; any other one
would let images change, or be in both, without a trace.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pdnas.data.batches import ALL_ROWS, Batch, count_batches, epoch_seed
from pdnas.data.dataset import Contents, DatasetInfo, ImageFiles
from pdnas.data.decode import Pictures, decode, default_workers
from pdnas.data.sources import data_directory, users_path
from pdnas.spec.data import IMAGE_SIDE
from pdnas.support.errors import PdnasError, first_line

if TYPE_CHECKING:  # torchvision is imported only where it is used
    from torchvision.transforms import v2


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

        Raises:
            PdnasError: a folder or an image of a class is missing, classes differ between the
                folders, there is one only, or a link leads out.
        """
        from torchvision.datasets import ImageFolder

        with self._understood():
            self._require_same_classes()
            self._require_no_way_out()
            folders = {file: ImageFolder(self.root / name) for file, name in self.parts.items()}
        return {
            file: ImageFiles([path for path, _ in folder.samples], torch.tensor(folder.targets))
            for file, folder in folders.items()
        }

    def count_classes(self) -> int:
        """The number of classes; raises as :meth:`files`."""
        with self._understood():
            return self._require_same_classes()

    def contents(self) -> Contents:
        """By folder and class: the number of images, and a sum of their names and sizes."""
        found: Contents = {}
        for file, images in self.files().items():
            folder = str(self.root / self.parts[file])
            listed: dict[str, list[str]] = {}
            for path in images.paths:
                name, _, image = path[len(folder) + 1 :].partition(os.sep)
                listed.setdefault(name, []).append(f"{image} {os.stat(path).st_size}")
            sums = {
                name: hashlib.sha256("\n".join(lines).encode()) for name, lines in listed.items()
            }
            found[self.parts[file]] = {
                name: f"{len(lines)} {sums[name].hexdigest()[:16]}"
                for name, lines in listed.items()
            }
        return found

    def _require_no_way_out(self) -> None:
        """Raise where a symbolic link among the images leads out of the two folders."""
        tops = [self.root / name for name in self.parts.values()]
        homes = [os.path.realpath(folder) for folder in (self.root, *tops)]

        def leads_out(entry: os.DirEntry[str]) -> bool:
            end = os.path.realpath(entry.path)
            return not any(os.path.commonpath([home, end]) == home for home in homes)

        out: list[str] = []
        left = list(map(str, tops))
        while left:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink() and leads_out(entry):
                        out.append(os.path.relpath(entry.path, self.root))
                    elif entry.is_dir():
                        left.append(entry.path)
        if out:
            raise PdnasError(
                f"{self.root} has symbolic links that lead out of it ({some(sorted(out))}); put "
                f"copies in their place, or link all of {' or '.join(self.parts.values())}"
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
        hidden = [f"{part}/{name}" for part in names for name in names[part] if name[0] == "."]
        if hidden:
            raise PdnasError(
                f"{self.root} has hidden folders among its classes ({some(hidden)}); delete them"
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
            before, after = classes[name].split()[0], there[name].split()[0]
            if before != after:
                found.append(f"{folder}/{name} has {after} images and had {before}")
            elif classes[name] != there[name]:
                found.append(f"images of {folder}/{name} have other names or sizes")
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


def _transform(size: int, train: bool) -> v2.Compose:
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
        self._transform = _transform(info.size, train)
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
