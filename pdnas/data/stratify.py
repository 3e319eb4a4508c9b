"""Seeded choices of images that keep the proportions of the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shuffled(count: int, seed: int, stream: int) -> NDArray[np.int64]:
    """The numbers below ``count`` in random order.

    NumPy promises that a bit generator's raw output never changes, but not that ``permutation``
    does not; so the order is that of raw random numbers.
    """
    keys = np.random.PCG64([seed, stream]).random_raw(count)
    return np.argsort(keys, kind="stable").astype(np.int64)


def stratified(
    labels: NDArray[np.int64], order: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first ``count`` images of ``order`` that keep the classes' proportions, and the rest.

    Args:
        labels: class of every image of the file.
        order: images to choose from; both results keep this order.
    """
    _, codes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    quotas, remainders = np.divmod(count * sizes, max(len(order), 1))
    short = count - quotas.sum()  # largest remainders get one more; ties: the lower class
    quotas[np.argsort(-remainders, kind="stable")[:short]] += 1
    by_class = np.argsort(codes, kind="stable")
    rank = np.empty_like(by_class)  # of an image among those of its class
    rank[by_class] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = rank < quotas[codes]
    return order[chosen], order[~chosen]
