"""ImageNet from the user's own folders: JPEG files decoded and augmented by worker processes.

The folder (``PDNAS_DATA``) holds ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``, which are the
files ``train`` and ``test`` of a split; an image's index is its place in torchvision's sorted list.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from pdnas.data.images import INFO, part_indices
from pdnas.data.loader import ALL_ROWS, Batch, epoch_seed
from pdnas.data.sources import data_directory
from pdnas.support import distributed
from pdnas.support.errors import PdnasError, first_line

_LAYOUT = "ImageNet as train/CLASS/*.JPEG and val/CLASS/*.JPEG"
_SIZE = INFO["imagenet"].size

_AUGMENTED = v2.Compose(
    [v2.RandomResizedCrop(_SIZE, antialias=True), v2.RandomHorizontalFlip(), v2.PILToTensor()]
)
_CENTRED = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(_SIZE), v2.PILToTensor()])


def folder(file: str, directory: Path | None = None) -> ImageFolder:
    """The list of images of ``train`` or ``test`` with their classes; decodes nothing.

    Raises:
        PdnasError: the folders are missing or empty.
    """
    root = data_directory(directory, _LAYOUT)
    try:
        return ImageFolder(str(root / ("val" if file == "test" else "train")))
    except OSError as error:  # no such folder, or a class without images
        reason = first_line(error)
        raise PdnasError(f"no ImageNet in {root} ({reason}); it has to hold {_LAYOUT}") from error


def _cores() -> int:
    """Cores for this process, which on a shared machine are fewer than there are."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(allowed // distributed.local_ranks(), 1)


class _Images(Dataset[tuple[Tensor, int]]):
    """Chosen images, each transformed with random numbers of its own seed (None: not random)."""

    def __init__(
        self, samples: list[tuple[str, int]], transform: v2.Compose, seed: int | None
    ) -> None:
        self._samples = samples
        self._transform = transform
        self._seed = seed

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        from PIL import Image

        path, label = self._samples[number]
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")  # some are greyscale, some CMYK
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's ways to say damaged
            raise PdnasError(f"{path} is no readable image; replace it") from error
        with torch.random.fork_rng(devices=[]):  # transforms draw from the global generator
            if self._seed is not None:
                torch.manual_seed(epoch_seed(self._seed, number))
            return self._transform(image), label


class ImageNetLoader:
    """Batches of one part of ImageNet, with the interface of :class:`pdnas.data.loader.Loader`.

    An image's augmentation depends on the seed, the epoch and its place in the part, so neither
    the number of workers nor a resumed run changes the data.

    Args:
        part: ``train``, ``validation`` or ``test`` of ``splits``.
        train: random resized crop and flip, a new order every epoch, no incomplete batch; else the
            central crop in the part's order.
        rows: those of each batch that are wanted; the others are not decoded.
        workers: decoding processes; default: as many as there are cores, at most 16.

    Raises:
        PdnasError: no ImageNet there, the splits do not fit, the part is smaller than a batch.
    """

    def __init__(
        self,
        part: str,
        splits: pd.DataFrame,
        batch: int,
        device: torch.device | str,
        *,
        train: bool,
        seed: int,
        rows: slice = ALL_ROWS,
        directory: Path | None = None,
        workers: int | None = None,
    ) -> None:
        files = {file: folder(file, directory).samples for file in ("train", "test")}
        sizes = {file: len(samples) for file, samples in files.items()}
        chosen = part_indices("imagenet", part, splits, sizes)
        samples = files["test" if part == "test" else "train"]
        self._samples = [samples[index] for index in chosen]
        self.examples = len(self._samples)
        if train and self.examples < batch:
            raise PdnasError(
                f"a training batch of {batch} needs more than the {self.examples} images there "
                "are; set training.batch lower or data.train higher"
            )
        self._batch = batch
        self._device = torch.device(device)
        self._train = train
        self._seed = seed
        self._rows = rows
        self._workers = min(_cores(), 16) if workers is None else workers
        info = INFO["imagenet"]
        self._mean = torch.tensor(info.mean, device=self._device)[:, None, None]
        self._std = torch.tensor(info.std, device=self._device)[:, None, None]

    def __len__(self) -> int:
        whole, left = divmod(self.examples, self._batch)
        return whole + (left > 0 and not self._train)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch ``number`` (0 or more), from batch ``start`` on.

        Raises:
            PdnasError: an image cannot be read.
        """
        seed = epoch_seed(self._seed, number)
        images = _Images(
            self._samples, _AUGMENTED if self._train else _CENTRED, seed if self._train else None
        )
        generator = torch.Generator().manual_seed(seed)
        order = torch.arange(self.examples)
        if self._train:
            order = torch.randperm(self.examples, generator=generator)
        batches = [
            order[first : first + self._batch][self._rows].tolist()
            for first in range(start * self._batch, len(self) * self._batch, self._batch)
        ]
        loader: DataLoader[Any] = DataLoader(
            images,
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
