"""Image files decoded, by worker processes where there are many, with one line for each fault."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pdnas.data.batches import epoch_seed
from pdnas.data.dataset import ImageFiles, ImageSet
from pdnas.data.sources import cache_directory
from pdnas.support import distributed
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_tensors, write_tensors

if TYPE_CHECKING:  # Pillow is imported only where it is used
    from PIL.Image import Image

_FEW = 1000
"""Images that one process decodes sooner than workers begin."""


def read_picture(path: str) -> Image:
    """An image in RGB, whatever its file holds: transparency lies on white.

    Raises:
        PdnasError: it is unreadable, has too many pixels, or such as have no known white.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            if file.mode in ("I", "F"):  # Pillow would clip them to 8 bits
                raise PdnasError(f"{path} has 32 bits a pixel; save it with 8 or 16")
            return _rgb(file)
    except Image.DecompressionBombError as error:
        raise PdnasError(f"{path} has too many pixels to be decoded; scale it down") from error
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's ways to say damaged
        raise PdnasError(f"{path} is no readable image; replace it") from error


def _rgb(image: Image) -> Image:
    from PIL import Image

    if image.mode.startswith("I;16"):  # greyscale of 16 bits, which Pillow would clip to 8
        made = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        clear = image.convert("RGBA")
        made = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    else:
        return image.convert("RGB")  # some are greyscale, some CMYK
    made = made.convert("RGB")
    made.info = image.info  # a new image has none, and this one's EXIF says what is up
    return made


@dataclass(frozen=True)
class Fit:
    """Brings an image to ``side``: upright, its short side resized to it, and the centre taken.

    Args:
        exact: nothing of this is to be needed; an image of another size is an error.
    """

    side: int
    exact: bool = False

    def __call__(self, image: Image) -> Tensor:
        """(3, side, side) uint8.

        Raises:
            PdnasError: the size is wrong.
        """
        from PIL import ImageOps
        from PIL.Image import Resampling
        from torchvision.transforms.v2.functional import pil_to_tensor

        square = (self.side, self.side)
        if self.exact and image.size != square:
            raise PdnasError(
                f"has {image.width}x{image.height} pixels, not {self.side}x{self.side}"
            )
        upright = ImageOps.exif_transpose(image)
        if upright.size != square:
            upright = ImageOps.fit(upright, square, Resampling.BILINEAR)
        return pil_to_tensor(upright)


class Pictures(Dataset[tuple[Tensor, int]]):
    """Decoded images, each transformed with random numbers of its own seed (None: not random)."""

    def __init__(
        self, files: ImageFiles, transform: Callable[[Image], Tensor], seed: int | None = None
    ) -> None:
        self._files = files
        self._transform = transform
        self._seed = seed

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        path = self._files.paths[number]
        image = read_picture(path)
        with torch.random.fork_rng(devices=[]):  # transforms draw from the global generator
            if self._seed is not None:
                torch.manual_seed(epoch_seed(self._seed, number))
            try:
                return self._transform(image), int(self._files.labels[number])
            except PdnasError as error:
                raise PdnasError(f"{path} {error}; replace it") from error


def default_workers() -> int:
    """One for each core of this process, which on a shared machine are fewer than there are."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(max(allowed // distributed.local_ranks(), 1), 16)


def decode(
    pictures: Pictures, batches: Iterable[list[int]], *, workers: int, pin_memory: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images (B, C, H, W) uint8 and labels (B,) int64 of batches of indices.

    Raises:
        PdnasError: an image cannot be read, or a worker died.
    """
    loader: DataLoader[Any] = DataLoader(
        pictures,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # it would draw from the global one
    )
    try:
        yield from loader
    except PdnasError as error:  # a worker's error arrives with its traceback as the text
        last = error.args[0].strip().splitlines()[-1]
        # Its own traceback would keep the workers alive for as long as the error is.
        cause = error.with_traceback(None)
        raise PdnasError(last.removeprefix("pdnas.support.errors.PdnasError: ")) from cause
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise PdnasError(
            f"a process that decodes images died ({' '.join(str(error).split())}), often for "
            "want of memory; run the same command again to go on"
        ) from error


@dataclass(frozen=True)
class CompactImages:
    """Files of one image each, which are decoded once, into a compact file in the cache.

    Args:
        folder: in which the files lie: each folder and ``fit`` has its own compact file, which is
            made anew when names, sizes or times of images have changed.
    """

    folder: Path
    files: ImageFiles
    fit: Fit

    @property
    def labels(self) -> Tensor:
        """Classes (N,) int64, for which nothing is decoded."""
        return self.files.labels

    def __len__(self) -> int:
        return len(self.files)

    def subset(self, indices: Tensor) -> ImageSet:
        """The images at ``indices`` (M,) int64, in that order.

        Raises:
            PdnasError: an image cannot be read.
        """
        return ImageSet(self.images()[indices], self.labels[indices])

    def images(self) -> Tensor:
        """All images, (N, 3, side, side) uint8; raises as :meth:`subset`."""
        path, state = self.path, self.files.state()
        try:
            tensors, metadata = read_tensors(path)
            if metadata.get("files") == state:
                return tensors["images"]
        except (PdnasError, KeyError):
            pass  # absent or damaged: made from the images, which are here
        images = self._decoded()
        write_tensors(path, {"images": images}, {"folder": str(self.folder), "files": state})
        return images

    @property
    def path(self) -> Path:
        """The compact file."""
        name = hashlib.sha256(f"{os.path.realpath(self.folder)} {self.fit}".encode()).hexdigest()
        return cache_directory() / f"pictures-{name[:16]}.safetensors"

    def _decoded(self) -> Tensor:
        count, side = len(self), self.fit.side
        workers = default_workers() if count > _FEW else 0
        images = torch.empty((count, 3, side, side), dtype=torch.uint8)
        batches = [list(range(count))[first : first + 256] for first in range(0, count, 256)]
        decoding = decode(Pictures(self.files, self.fit), batches, workers=workers)
        for batch, (pixels, _) in zip(batches, decoding, strict=True):
            images[batch] = pixels
        return images
