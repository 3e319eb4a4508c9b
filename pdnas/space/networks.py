"""Candidates of the size space's supernet that are networks of the space, with any distribution."""

from __future__ import annotations

from math import comb

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pdnas.space.candidates import Candidates
from pdnas.space.posterior import Sampler
from pdnas.space.sizes import LARGEST, NAMES, SizeSpace, kept_channels


class NetworkSampler(Sampler):
    """A network is drawn, then which channels of each width are kept, all choices alike.

    Under a posterior with one drop probability a width, channels of a width are alike too.

    Args:
        probabilities: of the space's networks, shape (32768,), summing to 1.
        channels: of the supernet's widths, a share of 64 and a multiple of 8.

    Raises:
        PdnasError: the supernet is too narrow to tell the space's widths apart.
    """

    def __init__(self, probabilities: ArrayLike, channels: int) -> None:
        self.probabilities = np.asarray(probabilities, dtype=np.float64)
        self.channels = channels
        self._kept = kept_channels(SizeSpace().counts, channels)  # of each network, (32768, 5)

    def sample(self, count: int, seed: int) -> Candidates:
        generator = torch.Generator().manual_seed(seed)
        # One row a candidate, so that a longer draw begins with the shorter one's candidates.
        size = (count, 1 + len(NAMES) * self.channels)
        uniform = torch.rand(size, dtype=torch.float64, generator=generator)
        cumulative = np.cumsum(self.probabilities)
        rows = np.searchsorted(cumulative, uniform[:, 0].numpy() * cumulative[-1], side="right")
        kept = torch.from_numpy(self._kept[rows])
        order = uniform[:, 1:].reshape(count, len(NAMES), self.channels).argsort(dim=2)
        masks = order.argsort(dim=2) < kept[:, :, None]
        return Candidates({name: masks[:, place] for place, name in enumerate(NAMES)})

    def log_probability(self, candidates: Candidates) -> NDArray[np.float64]:
        candidates.check_masks(dict.fromkeys(NAMES, self.channels))
        masks = torch.stack([candidates.choices[name] for name in NAMES], dim=1)
        kept = masks.sum(dim=2).numpy()
        rows = SizeSpace().rows(kept * LARGEST // self.channels)
        ways = np.log([float(comb(self.channels, each)) for each in range(self.channels + 1)])
        with np.errstate(divide="ignore"):  # log 0 = -inf is meant
            log: NDArray[np.float64] = np.log(self.probabilities[rows]) - ways[kept].sum(axis=1)
        return log
