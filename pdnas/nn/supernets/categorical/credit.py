"""How the weights of options learn: by the slope of the loss at the features that they add to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pdnas.support.errors import PdnasError


class Credit(torch.autograd.Function):
    """Identity on a node; hands each weight the slope ⟨∂loss/∂node, option's output⟩.

    It is what autograd finds for ``node + Σ_o (w_o - stop_gradient(w_o)) output_o``, without
    computing sums of zeros. A second derivative would lack what the outputs depend on, and raises.
    """

    @staticmethod
    def forward(ctx: Any, node: Tensor, weights: Tensor, *outputs: Tensor | None) -> Tensor:
        """``node``, ``outputs``: (images, …), None for zeros; ``weights``: (images, outputs)."""
        ctx.save_for_backward(*outputs)
        return node.view_as(node)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph
            raise PdnasError(
                "the weights of options have no second derivative; leave out create_graph, "
                "or set gates.estimator to score"
            )
        outputs = ctx.saved_tensors
        row = slope.flatten(1)
        credit = [
            row.new_zeros(len(row)) if output is None else products(row, output.flatten(1))
            for output in outputs
        ]
        return slope, torch.stack(credit, dim=1), *(None for _ in outputs)


CACHED_NUMBERS = 2**17
"""What a product of rows on a CPU takes at once: its intermediate, 512 kB of float32, then stays in
the cache. That halves the time for large rows; so would not `bmm`, which takes three times as long.
"""


def products(rows: Tensor, others: Tensor) -> Tensor:
    """Each row's dot product with that of the same number; both (rows, numbers)."""
    if rows.is_cuda:
        return torch.linalg.vecdot(rows, others)
    some = max(1, CACHED_NUMBERS // rows.shape[1])
    pairs = zip(rows.split(some), others.split(some), strict=True)
    return torch.cat([torch.linalg.vecdot(*pair) for pair in pairs])
