"""What every data set says of itself, and its images: in memory or as a list of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from pdnas.spec.names import DataName
from pdnas.support.errors import PdnasError


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

    def state(self) -> str:
        """A sum of the files' names, sizes and times, which a change of any of them changes.

        Among the times is that of the last change of a file's entry: a file that took another's
        place may have its size and its time of writing.

        Raises:
            PdnasError: one is missing.
        """
        total = hashlib.sha256()
        for path in self.paths:
            try:
                found = os.stat(path)
            except OSError as error:
                raise PdnasError(f"{path} is no readable image; replace it") from error
            times = f"{found.st_mtime_ns} {found.st_ctime_ns}"
            total.update(f"{path} {found.st_size} {times}\n".encode())
        return total.hexdigest()


class Images(Protocol):
    """Images of which none need be read before some are asked for."""

    @property
    def labels(self) -> Tensor:
        """Their classes, (N,) int64."""

    def __len__(self) -> int:
        """N."""

    def subset(self, indices: Tensor) -> ImageSet | ImageFiles:
        """Those at ``indices`` (M,) int64, in that order."""


Files = Mapping[str, Images]
"""What a data set consists of: ``train`` and ``test``."""


Contents = dict[str, dict[str, str]]
"""By folder and class: the number of images, a sum of their names and sizes, and one of what they
hold, which records of earlier versions lack."""


class Statistics(NamedTuple):
    """Of each channel over the training images, as fractions of full brightness."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """All that the suite must know of a data set.

    Attributes:
        classes: their number; of folders that users bring, in the data set as published, or 0.
        count: their number in the folder of data that users bring (None: ``PDNAS_DATA``), where
            that decides it; raises as ``load``.
        contents: what tells that folder from one with other images (:meth:`own_contents`).
        size: side of the square images in pixels.
        mean, std: of each channel over the training images, as fractions of full brightness.
        measure: measures these two in the user's folder; they are empty then.
        top5: whether the five most probable classes are looked at, too.
        load: opens it; takes the folder of data that users bring themselves (None:
            ``PDNAS_DATA``), and raises a PdnasError where something is missing or damaged.
        path: where it lies or would lie, None if unknown; absent: with an installed library.
        sources: downloads of which any makes it; empty: users bring it, or it is installed.
        download: makes it of its sources; takes whether to show a bar on standard error.
        check: for more than ``load`` finds wrong; raises as that does.
        summary: what is in the folder that users bring, for people.
    """

    name: DataName
    description: str
    licence: str
    channels: int
    size: int
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    top5: bool = False
    load: Callable[[Path | None], Files]
    path: Callable[[], Path | None] | None = None
    sources: tuple[str, ...] = ()
    download: Callable[[bool], object] | None = None
    check: Callable[[], None] | None = None
    summary: Callable[[], str] | None = None
    count: Callable[[Path | None], int] | None = None
    contents: Callable[[Path | None], Contents | None] | None = None
    measure: Callable[[Path | None], Statistics] | None = None

    def count_classes(self, directory: Path | None = None) -> int:
        """The number of classes in the data that are here."""
        return self.count(directory) if self.count else self.classes

    def own_contents(self, directory: Path | None = None) -> Contents | None:
        """What is in the class folders that users bring; None where images are as published.

        Raises:
            PdnasError: something is missing there.
        """
        return self.contents(directory) if self.contents else None

    def statistics(self, directory: Path | None = None) -> Statistics:
        """Mean and deviation of each channel: as published, else measured; raises as ``load``."""
        return self.measure(directory) if self.measure else Statistics(self.mean, self.std)

    @property
    def installed(self) -> bool:
        """Whether it comes with a library, so that there is no file to show."""
        return self.path is None

    def find(self) -> Path | None:
        """The file or folder in which it lies, if it is here."""
        path = self.path() if self.path else None
        return path if path and path.exists() else None

    def fetch(self, progress: bool = True) -> Path | None:
        """Get it, and say where it lies; an error may say which of the user's files go where."""
        if self.download:
            self.download(progress)
        else:
            self.load(None)
        return self.find()

    def verify(self) -> bool:
        """Check it again; False if it is not here.

        Raises:
            PdnasError: it is damaged.
        """
        if not self.installed and self.find() is None:
            return False
        if self.check:
            self.check()
        else:
            self.load(None)
        return True
