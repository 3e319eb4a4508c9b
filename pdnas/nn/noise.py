"""A training batch that goes through its network in parts: micro-batches, and those of all ranks.

Each part draws the random numbers of the whole batch, from the state in which the batch began, and
takes its own rows. So every image gets the switches it would have got had the batch gone through at
once, and how it is cut changes rounding alone.

BatchNorm is the exception: it normalises a part by that part's own mean and variance. Its running
statistics move as much as in one pass, towards the mean of the parts' statistics. So two ranks
compute what one process does with micro-batches of half a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pdnas.support import distributed
from pdnas.support.errors import PdnasError


class PartOfBatch(NamedTuple):
    """Which images of a batch are at hand."""

    first: int
    """Row of the first of them in the batch."""
    batch: int
    """Images of the whole batch."""


class DrawsNoise(nn.Module):
    """A module that draws random numbers for each image.

    While a part of a batch goes through its network, :func:`micro_batches` has told it which.
    """

    part: PartOfBatch | None = None

    def for_images(self, images: int, draw: Callable[[int], Tensor], dim: int = 0) -> Tensor:
        """Random numbers for the ``images`` at hand, be they a whole batch or a part of one.

        Args:
            draw: draws them for a number of images, in which dimension ``dim`` counts the images.
        """
        if self.part is None:
            return draw(images)
        return draw(self.part.batch).narrow(dim, self.part.first, images)


def shared(drawn: Tensor, images: int) -> Tensor:
    """What each of ``images`` images gets of what was drawn for few: image i, row i modulo those.

    Args:
        drawn: (rows, ...).

    Raises:
        PdnasError: the images at hand cannot be shared out evenly.
    """
    rows = len(drawn)
    _require_even(images, rows)
    if rows == 1:
        return drawn.expand(images, *drawn.shape[1:])
    return drawn.repeat(images // rows, *(1,) * (drawn.dim() - 1))


def together(images: Tensor, rows: int) -> Tensor:
    """The images that share a row (:func:`shared`) one after the other.

    The same with ``len(images) // rows`` takes it back.

    Raises:
        PdnasError: as :func:`shared`.
    """
    _require_even(len(images), rows)
    return images.unflatten(0, (-1, rows)).transpose(0, 1).flatten(0, 1)


def _require_even(images: int, rows: int) -> None:
    if images % rows:
        raise PdnasError(
            f"gates.noise: {images} images go through at once, which {rows} masks cannot share "
            "evenly; set it to a divisor"
        )


def micro_batches(
    network: nn.Module, x: Tensor, y: Tensor, size: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a batch into parts of ``size`` images (None: one part), each ready to go through.

    Before it asks for the next part, the caller takes the last one through ``network``.

    Args:
        x: (images, ...); with several ranks, this one's rows of the batch.
        y: (images,).
    """
    size = size or len(y)
    if size >= len(y) and distributed.ranks() == 1:
        yield x, y
        return
    random = _random_state(x.device)
    drawing = [module for module in network.modules() if isinstance(module, DrawsNoise)]
    statistics = _running_statistics(network)
    before = [value.clone() for value in statistics]
    mean = [torch.zeros_like(value) for value in statistics]
    first = distributed.rank() * len(y)
    batch = distributed.ranks() * len(y)
    for images, labels in zip(x.split(size), y.split(size), strict=True):
        _set_random_state(x.device, random)
        for value, at_first in zip(statistics, before, strict=True):
            value.copy_(at_first)
        for module in drawing:
            module.part = PartOfBatch(first, batch)
        try:
            yield images, labels
        finally:
            for module in drawing:
                module.part = None
        first += len(labels)
        for value, total in zip(statistics, mean, strict=True):
            total.add_(value, alpha=len(labels) / len(y))
    distributed.average(mean)
    for value, total in zip(statistics, mean, strict=True):
        value.copy_(total)


def _running_statistics(network: nn.Module) -> list[Tensor]:
    """Running mean and variance of every BatchNorm layer."""
    return [
        value
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
        for value in (module.running_mean, module.running_var)
        if value is not None
    ]


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
