"""Straight-through Gumbel: images take one option, and all options get credit."""

from __future__ import annotations

from pdnas.nn.supernets.categorical.draws import Draws
from pdnas.nn.supernets.categorical.estimators.base import GradientEstimator, Way, register
from pdnas.nn.supernets.categorical.mixture import find_routes


@register("straight-through")
class StraightThrough(GradientEstimator):
    """An option's credit is the product of its output and the loss's gradient where it is added.

    The output is computed without gradients for all images. Where each image has its own
    architecture, BatchNorm uses its running statistics for that: images that did not choose an
    option have no part in its batch.
    """

    def way(self, draws: Draws, images: int) -> Way:
        if not draws.logits.requires_grad:  # nobody needs credit in a step of the weights alone
            return super().way(draws, images)
        soft, per_batch = draws.relaxed(images), draws.per_batch
        routes = find_routes(soft.argmax(dim=2), draws.space.options)
        return Way(lambda mixture, x: mixture(x, routes, soft, per_batch), per_batch)
