"""What every data set says of itself, and its images: in memory or as a list of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class ImageSet:
    """Images and their classes: ``images`` (N, C, H, W) uint8, ``labels`` (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> ImageSet:
        """A copy of the images at ``indices`` (M,) int64, in that order."""
        return ImageSet(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class ImageFiles:
    """Files of one image each and their classes: N ``paths``, ``labels`` (N,) int64."""

    paths: Sequence[str]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> ImageFiles:
        """The files at ``indices`` (M,) int64, in that order."""
        return ImageFiles([self.paths[index] for index in indices.tolist()], self.labels[indices])


@dataclass(frozen=True)
class DatasetInfo:
    """What a network and a loader must know of a data set, and how to open it.

    ``size`` is the side of the square images in pixels; ``mean`` and ``std`` are those of each
    channel over the training images, as fractions of full brightness. ``load`` gives the files
    ``train`` and ``test``; its argument is the folder of data that users bring themselves (None:
    ``PDNAS_DATA``), and it raises a PdnasError where they are missing or damaged.
    """

    name: str
    channels: int
    size: int
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    load: Callable[[Path | None], Mapping[str, ImageSet | ImageFiles]]
