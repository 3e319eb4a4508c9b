"""Configuration of a data set, its split and its augmentation."""

from __future__ import annotations

from pdnas.spec.base import Count, Natural, Seed, Strict
from pdnas.spec.names import DataName

IMAGE_SIDE: dict[DataName, int] = {"cifar10": 32, "cifar100": 32, "digits": 8, "imagenet": 224}
"""Pixels a side of a data set's square images, as a network sees them."""


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

    name: DataName
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
