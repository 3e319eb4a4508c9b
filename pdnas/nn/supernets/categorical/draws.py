"""Random architectures from the logits of one-of-many switches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from pdnas.space.categorical import CategoricalSpace


@dataclass(frozen=True)
class Draws:
    """Draws an architecture for each image of a batch, or a few that its images share.

    Attributes:
        logits: (switches, options), or of a chain (switches, options, options): row r of a switch
            counts where the switch before it in the space's order has option r.
        space: which switches and options there are.
        temperature: τ of the Gumbel softmax.
        per_batch: how many architectures a batch has that its images share; None: every image has
            its own.
        for_images: draws by a function of the number of images, as
            :meth:`pdnas.nn.noise.DrawsNoise.for_images`.
    """

    logits: Tensor
    space: CategoricalSpace
    temperature: float
    per_batch: int | None
    for_images: Callable[[int, Callable[[int], Tensor]], Tensor]

    def codes(self, images: int) -> Tensor:
        """Hard choices, shape (rows, switches): of each image, or of those that share one."""
        return self._for_rows(images, self._codes)

    def relaxed(self, images: int) -> Tensor:
        """Weights of all options, a Gumbel softmax; shape (rows, switches, options)."""
        return self._for_rows(images, self._weights)

    def _for_rows(self, images: int, draw: Callable[[int], Tensor]) -> Tensor:
        if self.per_batch is None:
            return self.for_images(images, draw)
        return draw(self.per_batch)

    @torch.no_grad()
    def _codes(self, count: int) -> Tensor:
        if self.logits.dim() == 3:
            return self._weights(count).argmax(dim=2)  # an exact draw: the Gumbel maximum
        probabilities = torch.softmax(self.logits.float(), dim=1)
        return torch.multinomial(probabilities, count, replacement=True).T

    def _weights(self, count: int) -> Tensor:
        """A Gumbel softmax for each switch.

        In a chain, switch by switch: the choice of one (its largest entry) says which row of the
        next one's logits counts. Only that row gets a gradient; the choice that led to it gets its
        own, straight through, since another choice would have brought another row.
        """
        if self.logits.dim() == 2:
            return F.gumbel_softmax(self.logits.expand(count, -1, -1), tau=self.temperature)
        order = self.space.ORDER
        soft = [self.logits.new_empty(())] * len(order)
        logits = self.logits[order[0], 0].expand(count, -1)
        for before, switch in pairwise(order):
            soft[before] = F.gumbel_softmax(logits, tau=self.temperature)
            table, chosen = self.logits[switch], soft[before]
            change = chosen - chosen.detach()  # zero, with the gradient of the relaxed choice
            logits = table[chosen.argmax(dim=1)] + change @ table.detach()
        soft[order[-1]] = F.gumbel_softmax(logits, tau=self.temperature)
        return torch.stack(soft, dim=1)
