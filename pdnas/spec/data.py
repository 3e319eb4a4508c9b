"""Configuration of a data set, its split and its augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pdnas.spec import limits
from pdnas.spec.base import Count, Natural, Seed, Strict
from pdnas.spec.names import PublishedData

IMAGE_SIDE: dict[PublishedData, int] = {"cifar10": 32, "cifar100": 32, "digits": 8, "imagenet": 224}
"""Pixels a side of a published data set's square images, as a network sees them."""


class Augmentation(Strict):
    """Batch-wise augmentation of small images; 0 switches one off."""

    crop: Natural = 4
    """Zero padding of the random crop, in pixels."""
    flip: bool = True
    """Whether half of the images are mirrored."""
    cutout: Natural = 16
    """Side of the square that is set to the mean, in pixels."""


class DataConfig(Strict):
    """A data set and its fixed, seeded split."""

    name: PublishedData
    """The data set."""
    train: Count | None = None
    """Training images; null: all that are left."""
    validation: Natural
    """Images held out of the training set, on which candidates are judged."""
    heldout: Natural = 0
    """Images that move the switches; 0: the training images do both."""
    test: Count | None = None
    """Test images; null: all."""
    split_seed: Seed = 0
    """Seed of the split, which all seeds of a study have in common."""
    augmentation: Augmentation = Augmentation()
    """Of the training images."""

    @property
    def image_side(self) -> int:
        """Pixels a side of its images, as a network sees them."""
        return IMAGE_SIDE[self.name]

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name


class FoldersConfig(DataConfig):
    """Pictures of the user's own, in `root/train/CLASS/*` and `root/test/CLASS/*` (or `val`)."""

    name: Literal["folders"]  # type: ignore[assignment]
    """The data set."""
    root: Annotated[str, Field(min_length=1)]
    """The folder; a relative one lies in PDNAS_DATA, or in the working folder if that is unset."""
    side: Annotated[int, Field(ge=4, le=limits.SIDE)]
    """Pixels to which the short side is resized; the centre is taken."""
    memory_mb: Natural = 2000
    """Decoded pictures up to so many megabytes are kept in memory and in a file of the cache;
    more are decoded anew in every epoch, with the same results."""

    @property
    def image_side(self) -> int:
        return self.side

    @property
    def title(self) -> str:
        return f"folder {Path(self.root).name or self.root}"


AnyDataConfig = Annotated[DataConfig | FoldersConfig, Field(discriminator="name")]
