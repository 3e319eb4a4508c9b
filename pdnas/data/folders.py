"""Images from the user's own folders: JPEG files decoded and augmented by worker processes.

The folder (``PDNAS_DATA``) holds ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``, which are the
files ``train`` and ``test`` of a split; an image's index is its place in torchvision's sorted list.
Symbolic links may stand for ``train`` and ``val`` as wholes, and lead anywhere within these; any
other one would let images change, or be in both, without a trace.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pdnas.data.batches import ALL_ROWS, Batch, count_batches, epoch_seed
from pdnas.data.dataset import Contents, DatasetInfo, ImageFiles
from pdnas.data.sources import data_directory, users_path
from pdnas.spec.data import IMAGE_SIDE
from pdnas.support import distributed
from pdnas.support.errors import PdnasError, first_line

if TYPE_CHECKING:  # torchvision is imported only where it is used
    from torchvision.transforms import v2

_FOLDERS = {"train": "train", "test": "val"}
"""The files of a split, and the folders that hold their images."""

_LAYOUT = "ImageNet as train/CLASS/*.JPEG and val/CLASS/*.JPEG"


def _load(directory: Path | None) -> dict[str, ImageFiles]:
    """Lists the images and their classes; decodes nothing."""
    from torchvision.datasets import ImageFolder

    root = data_directory(directory, _LAYOUT)
    with _understood(root):
        _require_same_classes(root)
        _require_no_way_out(root)
        folders = {file: ImageFolder(root / folder) for file, folder in _FOLDERS.items()}
    return {
        file: ImageFiles([path for path, _ in folder.samples], torch.tensor(folder.targets))
        for file, folder in folders.items()
    }


def _count_classes(directory: Path | None) -> int:
    root = data_directory(directory, _LAYOUT)
    with _understood(root):
        return _require_same_classes(root)


def _contents(directory: Path | None) -> Contents:
    """For train and val, by class: the number of images, and a sum of their names and sizes."""
    found: Contents = {}
    root = data_directory(directory, _LAYOUT)
    for file, images in _load(directory).items():
        folder = str(root / _FOLDERS[file])
        listed: dict[str, list[str]] = {}
        for path in images.paths:
            name, _, image = path[len(folder) + 1 :].partition(os.sep)
            listed.setdefault(name, []).append(f"{image} {os.stat(path).st_size}")
        found[_FOLDERS[file]] = {
            name: f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"
            for name, lines in listed.items()
        }
    return found


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
    return _some(sorted(found)) if found else None


def _require_no_way_out(root: Path) -> None:
    """Raise where a symbolic link among the images leads out of ``train`` and ``val``."""
    homes = [os.path.realpath(folder) for folder in (root, *map(root.joinpath, _FOLDERS.values()))]

    def leads_out(entry: os.DirEntry[str]) -> bool:
        end = os.path.realpath(entry.path)
        return not any(os.path.commonpath([home, end]) == home for home in homes)

    out: list[str] = []
    left = [str(root / folder) for folder in _FOLDERS.values()]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_symlink() and leads_out(entry):
                    out.append(os.path.relpath(entry.path, root))
                elif entry.is_dir():
                    left.append(entry.path)
    if out:
        raise PdnasError(
            f"{root} has symbolic links that lead out of it ({_some(sorted(out))}); put copies in "
            "their place, or link all of train or val"
        )


@contextmanager
def _understood(root: Path) -> Iterator[None]:
    """Turn torchvision's errors into one line."""
    try:
        yield
    except OSError as error:  # no such folder, or a class without images
        reason = first_line(error)
        raise PdnasError(f"no ImageNet in {root} ({reason}); it has to hold {_LAYOUT}") from error


def _require_same_classes(root: Path) -> int:
    """The number of classes, which ``train`` and ``val`` have to have in common.

    torchvision numbers the folders of each, so that one that is missing shifts all labels after it.
    """
    from torchvision.datasets.folder import find_classes

    names = {part: find_classes(root / part)[0] for part in _FOLDERS.values()}
    hidden = [f"{part}/{name}" for part in names for name in names[part] if name.startswith(".")]
    if hidden:
        raise PdnasError(
            f"{root} has hidden folders among its classes ({_some(hidden)}); delete them"
        )
    odd = set(names["train"]) ^ set(names["val"])
    alone = [f"{part}/{name}" for part in names for name in names[part] if name in odd]
    if alone:
        raise PdnasError(
            f"train and val of {root} have different classes (only {_some(alone)}); give each "
            "class a folder of the same name in both"
        )
    if len(names["train"]) < 2:
        raise PdnasError(
            f"{root} has one class only (train/{names['train'][0]}); a network needs two or more "
            "to tell apart"
        )
    return len(names["train"])


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


IMAGENET = DatasetInfo(
    name="imagenet",
    description="ImageNet, in a folder of the user's (PDNAS_DATA)",
    licence="research only",
    channels=3,
    size=IMAGE_SIDE["imagenet"],
    classes=1000,
    count=_count_classes,
    contents=_contents,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    load=_load,
    path=partial(users_path, "train"),
)


def _transform(size: int, train: bool) -> v2.Compose:
    from torchvision.transforms import v2

    if train:
        crop = [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()]
    else:
        crop = [v2.Resize(256, antialias=True), v2.CenterCrop(size)]
    return v2.Compose([*crop, v2.PILToTensor()])


def _cores() -> int:
    """Cores for this process, which on a shared machine are fewer than there are."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(allowed // distributed.local_ranks(), 1)


class _Images(Dataset[tuple[Tensor, int]]):
    """Decoded images, each transformed with random numbers of its own seed (None: not random)."""

    def __init__(self, files: ImageFiles, transform: v2.Compose, seed: int | None) -> None:
        self._files = files
        self._transform = transform
        self._seed = seed

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        from PIL import Image

        path = self._files.paths[number]
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")  # some are greyscale, some CMYK
        except Image.DecompressionBombError as error:
            raise PdnasError(f"{path} has too many pixels to be decoded; scale it down") from error
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's ways to say damaged
            raise PdnasError(f"{path} is no readable image; replace it") from error
        with torch.random.fork_rng(devices=[]):  # transforms draw from the global generator
            if self._seed is not None:
                torch.manual_seed(epoch_seed(self._seed, number))
            return self._transform(image), int(self._files.labels[number])


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
        self._workers = min(_cores(), 16) if workers is None else workers
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
        generator = torch.Generator().manual_seed(seed)
        order = torch.arange(self.examples)
        if self._train:
            order = torch.randperm(self.examples, generator=generator)
        batches = [
            order[first : first + self._batch][self._rows].tolist()
            for first in range(start * self._batch, len(self) * self._batch, self._batch)
        ]
        loader: DataLoader[Any] = DataLoader(
            _Images(self._part, self._transform, seed if self._train else None),
            batch_sampler=batches,
            num_workers=self._workers,
            pin_memory=self._device.type == "cuda",
            generator=generator,
        )
        try:
            for pixels, labels in loader:
                yield (self._normalise(pixels), labels.to(self._device, non_blocking=True))
        except PdnasError as error:  # a worker's error arrives with its traceback as the text
            last = error.args[0].strip().splitlines()[-1]
            raise PdnasError(last.removeprefix("pdnas.support.errors.PdnasError: ")) from error
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            raise PdnasError(
                f"a process that decodes images died ({' '.join(str(error).split())}), often for "
                "want of memory; run the same command again to go on"
            ) from error

    def _normalise(self, pixels: Tensor) -> Tensor:
        """On the device: a byte a channel travels there four times faster than a float."""
        pixels = pixels.to(self._device, non_blocking=True)
        pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
        return pixels.div_(255).sub_(self._mean).div_(self._std)
