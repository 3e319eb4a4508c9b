"""Batches as large as memory allows.

In evaluation images know nothing of each other, so a batch may be cut as memory asks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor


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
