"""What a loader of batches promises: the same ones whenever the same epoch is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pdnas.support.errors import PdnasError

Batch = tuple[Tensor, Tensor]
"""Images (B, C, H, W) float32, normalised, channels last or first; labels (B,) int64."""

ALL_ROWS = slice(None)
"""Of a batch."""


class Loader(Protocol):
    """Batches of one part of a data set; ``examples`` is its number of images."""

    examples: int

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, a pure function of the loader's seed and ``number``.

        Args:
            start: how many to leave out at the beginning, at no cost.
        """


class ChannelsFirst:
    """The same batches as a loader's, with images channels first."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self.examples = loader.examples

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        for images, labels in self._loader.epoch(number, start):
            yield images.clone(memory_format=torch.contiguous_format), labels


def count_batches(examples: int, batch: int, *, train: bool) -> int:
    """Number of batches in an epoch, which in training has no incomplete one.

    Raises:
        PdnasError: too few images for one batch of training.
    """
    whole, left = divmod(examples, batch)
    if not train:
        return whole + (left > 0)
    if not whole:
        raise PdnasError(
            f"a training batch of {batch} needs more than the {examples} images there are; "
            "set training.batch lower, or data.train or data.heldout higher"
        )
    return whole


def epoch_seed(seed: int, number: int) -> int:
    """A 64-bit seed for one epoch of one run; NumPy guarantees that it stays the same."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def heldout_seed(seed: int) -> int:
    """A 64-bit seed for held-out images, whose order and crops are not to be those of others."""
    sequence = np.random.SeedSequence(seed, spawn_key=(1,))
    return int(sequence.generate_state(1, np.uint64)[0])
