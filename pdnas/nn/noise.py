"""A training batch that goes through its network in parts: micro-batches, and those of all ranks.

Each part draws the random numbers of the whole batch, from the state in which the batch began, and
takes its own rows. So every image gets the switches it would have got had the batch gone through at
once, and how it is cut changes rounding alone.

BatchNorm is the exception: it normalises a part by that part's own mean and variance. Its running
statistics move as much as in one pass, towards the mean of the parts' statistics. So two ranks
compute what one process does with micro-batches of half a batch.

In evaluation images know nothing of each other, so there a batch may be cut however memory asks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pdnas.support import distributed
from pdnas.support.errors import PdnasError

_rows: tuple[int, int] | None = None
"""While a part goes through: its first row in the batch, and the images of the whole batch."""


def for_images(images: int, draw: Callable[[int], Tensor], dim: int = 0) -> Tensor:
    """Random numbers for the ``images`` at hand, be they a whole batch or a part of one.

    Args:
        draw: draws them for a number of images, in which dimension ``dim`` counts the images.
    """
    if _rows is None:
        return draw(images)
    first, batch = _rows
    return draw(batch).narrow(dim, first, images)


def shared(drawn: Tensor, images: int) -> Tensor:
    """What each of ``images`` images gets of what was drawn for few: image i, row i modulo those.

    Args:
        drawn: (rows, ...).

    Raises:
        PdnasError: the images at hand cannot be shared out evenly.
    """
    rows = len(drawn)
    if images % rows:
        raise PdnasError(
            f"gates.noise: {images} images go through at once, which {rows} masks cannot share "
            "evenly; set it to a divisor"
        )
    if rows == 1:
        return drawn.expand(images, *drawn.shape[1:])
    return drawn.repeat(images // rows, *(1,) * (drawn.dim() - 1))


def micro_batches(
    network: nn.Module, x: Tensor, y: Tensor, size: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a batch into parts of ``size`` images (None: one part), each ready to go through.

    Before it asks for the next part, the caller takes the last one through ``network``.

    Args:
        x: (images, ...); with several ranks, this one's rows of the batch.
        y: (images,).
    """
    global _rows
    size = size or len(y)
    if size >= len(y) and distributed.ranks() == 1:
        yield x, y
        return
    random = _random_state(x.device)
    statistics = _running_statistics(network)
    before = [value.clone() for value in statistics]
    mean = [torch.zeros_like(value) for value in statistics]
    first = distributed.rank() * len(y)
    batch = distributed.ranks() * len(y)
    for images, labels in zip(x.split(size), y.split(size), strict=True):
        _set_random_state(x.device, random)
        for value, at_first in zip(statistics, before, strict=True):
            value.copy_(at_first)
        _rows = first, batch
        try:
            yield images, labels
        finally:
            _rows = None
        first += len(labels)
        for value, total in zip(statistics, mean, strict=True):
            total.add_(value, alpha=len(labels) / len(y))
    distributed.average(mean)
    for value, total in zip(statistics, mean, strict=True):
        value.copy_(total)


def out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on a GPU, in torch on a CPU, or elsewhere."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "DefaultCPUAllocator" in str(error)


def as_memory_allows(
    judge: Callable[[Tensor, Tensor], tuple[Tensor, ...]], x: Tensor, y: Tensor
) -> tuple[Tensor, ...]:
    """``judge(x, y)``, by halves, quarters and so on if memory does not do for all images at once.

    Args:
        judge: of images (images, ...) and labels (images,); images are the last dimension of each
            of its results, and do not depend on each other.
    """
    try:
        return judge(x, y)
    except (MemoryError, RuntimeError) as error:
        if len(y) == 1 or not out_of_memory(error):
            raise
    # Not in the handler: the error holds on to all that the attempt had allocated.
    warnings.warn(f"out of memory with {len(y)} images at once; going on by halves", stacklevel=2)
    halves = zip(x.tensor_split(2), y.tensor_split(2), strict=True)
    parts = [as_memory_allows(judge, *half) for half in halves]
    return tuple(torch.cat(part, dim=-1) for part in zip(*parts, strict=True))


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
