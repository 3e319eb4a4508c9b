"""Straight-through Gumbel: images take one operation, and all operations get credit."""

from __future__ import annotations

from functools import partial

from pdnas.nn.supernets.cells.draws import CellDraws
from pdnas.nn.supernets.cells.estimators.base import GradientEstimator, Way, register
from pdnas.nn.supernets.cells.mixture import CellMixture, find_routes


@register("straight-through")
class StraightThrough(GradientEstimator):
    """An operation's credit is the product of its output and the loss's gradient at its node.

    The output is computed without gradients for all images. Where each image has its own cell,
    BatchNorm uses its running statistics for that: images that did not choose an operation have no
    part in its batch.
    """

    def way(self, draws: CellDraws, images: int) -> Way:
        if not draws.logits.requires_grad:  # nobody needs credit in a step of the weights alone
            return super().way(draws, images)
        soft = draws.relaxed(images)
        routes = find_routes(soft.argmax(dim=2), draws.operations)
        cells_per_batch = draws.cells_per_batch
        through = partial(
            CellMixture.forward, routes=routes, soft=soft, cells_per_batch=cells_per_batch
        )
        return Way(through, cells_per_batch)
