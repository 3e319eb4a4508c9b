"""Configuration of a data set, its split and its augmentation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pdnas.spec.base import Count, Strict
from pdnas.spec.names import DataName


class Augmentation(Strict):
    """Batch-wise augmentation of small images; 0 switches one off (lengths in pixels)."""

    crop: Annotated[int, Field(ge=0, description="zero padding of the random crop")] = 4
    flip: bool = True
    cutout: Annotated[int, Field(ge=0, description="side of the square set to the mean")] = 16


IMAGE_SIDE: dict[DataName, int] = {"cifar10": 32, "cifar100": 32, "digits": 8, "imagenet": 224}
"""Pixels a side of a data set's square images, as a network sees them."""


class DataConfig(Strict):
    """A data set and its fixed, seeded split."""

    name: DataName
    train: Annotated[Count | None, Field(description="training images; null: all that is left")] = (
        None
    )
    validation: Annotated[int, Field(ge=0, description="images held out of the training set")]
    heldout: Annotated[
        int,
        Field(ge=0, description="images that move the switches; 0: the training images do both"),
    ] = 0
    test: Annotated[Count | None, Field(description="test images; null: all")] = None
    split_seed: int = 0
    augmentation: Augmentation = Augmentation()
