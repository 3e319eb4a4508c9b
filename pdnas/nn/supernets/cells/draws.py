"""Random cells from the logits of a supernet's operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from pdnas.nn.noise import shared
from pdnas.space.cells import CHAIN, EDGES


@dataclass(frozen=True)
class CellDraws:
    """Draws a cell for each image of a batch, or a few cells that its images share.

    Attributes:
        logits: (6, operations), or of a chain (6, operations, operations): row r of an edge counts
            where the edge before it in :data:`pdnas.space.cells.CHAIN` has operation r.
        operations: their names.
        temperature: τ of the Gumbel softmax.
        cells_per_batch: how many cells a batch has, of which image i takes number i modulo this;
            None: every image has its own.
        for_images: draws by a function of the number of images, as
            :meth:`pdnas.nn.noise.DrawsNoise.for_images`.
    """

    logits: Tensor
    operations: tuple[str, ...]
    temperature: float
    cells_per_batch: int | None
    for_images: Callable[[int, Callable[[int], Tensor]], Tensor]

    def cells(self, images: int) -> Tensor:
        """Operation codes, shape (images, 6)."""
        return self._for_all(images, self._codes)

    def relaxed(self, images: int) -> Tensor:
        """Weights of all operations, a Gumbel softmax; shape (images, 6, operations)."""
        return self._for_all(images, self._weights)

    def _for_all(self, images: int, draw: Callable[[int], Tensor]) -> Tensor:
        if self.cells_per_batch is None:
            return self.for_images(images, draw)
        return shared(draw(self.cells_per_batch), images)

    @torch.no_grad()
    def _codes(self, count: int) -> Tensor:
        if self.logits.dim() == 3:
            return self._weights(count).argmax(dim=2)  # an exact draw: the Gumbel maximum
        probabilities = torch.softmax(self.logits.float(), dim=1)
        return torch.multinomial(probabilities, count, replacement=True).T

    def _weights(self, count: int) -> Tensor:
        """A Gumbel softmax for each edge.

        In a chain, edge by edge: the choice on one edge (its largest entry) says which row of the
        next edge's logits counts. Only that row gets a gradient; the choice that led to it gets its
        own, straight through, since another choice would have brought another row.
        """
        if self.logits.dim() == 2:
            return F.gumbel_softmax(self.logits.expand(count, -1, -1), tau=self.temperature)
        soft = [self.logits.new_empty(())] * len(EDGES)
        logits = self.logits[CHAIN[0], 0].expand(count, -1)
        for before, edge in pairwise(CHAIN):
            soft[before] = F.gumbel_softmax(logits, tau=self.temperature)
            table, chosen = self.logits[edge], soft[before]
            change = chosen - chosen.detach()  # zero, with the gradient of the relaxed choice
            logits = table[chosen.argmax(dim=1)] + change @ table.detach()
        soft[CHAIN[-1]] = F.gumbel_softmax(logits, tau=self.temperature)
        return torch.stack(soft, dim=1)
