"""Relaxed choices: every operation for every image, weighted."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from pdnas.nn.supernets.cells.credit import Outputs
from pdnas.nn.supernets.cells.draws import CellDraws
from pdnas.nn.supernets.cells.estimators.base import GradientEstimator, Way, register
from pdnas.nn.supernets.cells.mixture import CHANNELS_LAST, CellMixture, node_by_node
from pdnas.nn.supernets.cells.operations import convolved
from pdnas.space.cells import EDGES, leaving


@register("relaxed")
class Relaxed(GradientEstimator):
    """The weights are a Gumbel softmax."""

    def way(self, draws: CellDraws, images: int) -> Way:
        cells_per_batch = draws.cells_per_batch
        weights = draws.relaxed(images)
        through = partial(weighted, weights=weights, cells_per_batch=cells_per_batch)
        return Way(through, cells_per_batch)


@register("softmax")
class Softmax(GradientEstimator):
    """The weights are the probabilities themselves, as in DARTS."""

    def way(self, draws: CellDraws, images: int) -> Way:
        logits = draws.logits.expand(images, -1, -1)
        weights = torch.softmax(logits / draws.temperature, dim=2)
        return Way(partial(weighted, weights=weights), None)


def weighted(
    cell: CellMixture, x: Tensor, weights: Tensor, cells_per_batch: int | None = None
) -> Tensor:
    """Every operation on every image; ``weights``: (images, edges, operations).

    The weights' gradient is computed as credit: autograd would fill two more full-size tensors for
    each.
    """
    through = partial(convolved, cells_per_batch=cells_per_batch)

    def send(source: int, nodes: list[Tensor]) -> Outputs:
        images = nodes[source].permute(CHANNELS_LAST.to_images)
        outputs = cell.outputs(images, leaving(source), through)
        for edge, added in outputs.items():
            for weight, out in zip(weights.detach()[:, edge].unbind(1), added, strict=True):
                if out is not None:
                    share = weight.to(x.dtype)[:, None, None, None]
                    rows = out.permute(CHANNELS_LAST.to_rows)
                    nodes[EDGES[edge][1]].addcmul_(share, rows)
        return outputs

    # Channels last is how convolutions of few channels are fast on a CPU. Nobody needs credit in a
    # step of the weights of the network alone.
    credited = weights if weights.requires_grad else None
    return node_by_node(x, CHANNELS_LAST, credited, send)
