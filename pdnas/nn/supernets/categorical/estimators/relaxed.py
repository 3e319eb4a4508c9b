"""Relaxed choices: every option for every image, weighted."""

from __future__ import annotations

import torch

from pdnas.nn.supernets.categorical.draws import Draws
from pdnas.nn.supernets.categorical.estimators.base import GradientEstimator, Way, register


@register("relaxed")
class Relaxed(GradientEstimator):
    """The weights are a Gumbel softmax."""

    def way(self, draws: Draws, images: int) -> Way:
        per_batch = draws.per_batch
        weights = draws.relaxed(images)
        return Way(lambda mixture, x: mixture.weighted(x, weights, per_batch), per_batch)


@register("softmax")
class Softmax(GradientEstimator):
    """The weights are the probabilities themselves, as in DARTS."""

    def way(self, draws: Draws, images: int) -> Way:
        logits = draws.logits.expand(images, -1, -1)
        weights = torch.softmax(logits / draws.temperature, dim=2)
        return Way(lambda mixture, x: mixture.weighted(x, weights), None)
