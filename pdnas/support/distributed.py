"""Several processes at one piece of work, started by torchrun; a plain process is alone.

In training, each rank takes its rows of every batch (:func:`rows`), as if they were a micro-batch
(:mod:`pdnas.nn.noise`), and DistributedDataParallel averages the gradients. Independent evaluations
are shared out (:func:`spread`). The first rank alone writes files.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pdnas.support.errors import PdnasError

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE = timedelta(hours=12)
"""How long ranks wait for each other. torchrun notices one that died; a slow one is no error."""


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Within the block, processes that torchrun has started work together: nccl or gloo."""
    if not dist.is_torchelastic_launched():
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    yield
    dist.destroy_process_group()  # an error ends the process, and torchrun then the others


def ranks() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this is the process that writes files and talks."""
    return rank() == 0


def local_ranks() -> int:
    """Number of processes on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if dist.is_initialized() else 1


def own_gpu() -> torch.device:
    """The GPU of this process, which becomes its current one: each has its own."""
    if not dist.is_torchelastic_launched():
        return torch.device("cuda")
    number = int(os.environ["LOCAL_RANK"])
    if number >= torch.cuda.device_count():
        raise PdnasError(
            f"there are {torch.cuda.device_count()} GPUs for {number + 1} or more processes; set "
            "torchrun's --nproc-per-node to the number of GPUs"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def rows(batch: int) -> slice:
    """This rank's rows of a batch.

    Raises:
        PdnasError: they cannot be the same number for each.
    """
    size, left = divmod(batch, ranks())
    if left:
        raise PdnasError(
            f"a batch of {batch} cannot be shared evenly by {ranks()} processes; change "
            "training.batch or their number"
        )
    return slice(rank() * size, (rank() + 1) * size)


def parallel(module: nn.Module) -> nn.Module:
    """``module``, with gradients that are the mean over ranks.

    A parameter may be without gradient in a step: switches in a warm-up, operations that no image
    took. BatchNorm statistics are :mod:`pdnas.nn.noise`' business.
    """
    if ranks() == 1:
        return module
    return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)


def average(tensors: Sequence[Tensor]) -> None:
    """Make each tensor the mean over ranks, in place; they have one type and device."""
    if ranks() == 1 or not tensors:
        return
    together = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(together)
    together /= ranks()
    for tensor, mean in zip(tensors, together.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def from_first(make: Callable[[], T]) -> T:
    """What ``make`` returns on the first rank, on all of them."""
    if ranks() == 1:
        return make()
    box = [make() if is_first() else None]
    dist.broadcast_object_list(box)
    return box[0]  # type: ignore[return-value]


def chunk(items: int, most: int) -> int:
    """How many of ``items`` a rank takes at a time: ``most``, unless some rank would have none."""
    return max(1, min(most, math.ceil(items / ranks())))


def spread(function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield ``function`` of each item, in order and on every rank; each rank computes its share."""
    if ranks() == 1:
        yield from map(function, items)
        return
    for first in range(0, len(items), ranks()):
        together = items[first : first + ranks()]
        own = [function(item) for item in together[rank() : rank() + 1]]
        results: list[list[R]] = [[]] * ranks()
        dist.all_gather_object(results, own)
        for result in results:
            yield from result
