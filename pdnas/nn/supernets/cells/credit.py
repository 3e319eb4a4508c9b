"""How the weights of operations learn: by the slope of the loss at the node that they lead to."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from pdnas.space.cells import entering
from pdnas.support.errors import PdnasError

Outputs = dict[int, list[Tensor | None]]
"""By edge: each operation's output for all images; None for zeros."""


class Credits:
    """Gives each operation its credit: the product of its output and the loss's gradient.

    That is computed where a node is finished, for every image, without a gradient through the sum
    of what leads to the node.

    Args:
        weights: of all operations, (images, edges, operations); None: nobody needs credit.
        to_rows: the order of dimensions in which an image of an output is one contiguous row.
    """

    def __init__(self, weights: Tensor | None, to_rows: tuple[int, ...]) -> None:
        self._weights = weights
        self._to_rows = to_rows
        self._outputs: Outputs = {}

    def consider(self, outputs: Outputs) -> None:
        """Remember what the operations of some edges give."""
        if self._weights is not None:
            self._outputs |= outputs

    def finished(self, rows: Tensor, node: int) -> Tensor:
        """The images of a node; their slope is the credit of the operations that lead there."""
        if self._weights is not None:
            for edge in entering(node):
                outputs = (
                    None if out is None else out.permute(self._to_rows)
                    for out in self._outputs[edge]
                )
                rows = cast(Tensor, Credit.apply(rows, self._weights[:, edge], *outputs))
        return rows


class Credit(torch.autograd.Function):
    """Identity on a node; hands each weight the slope ⟨∂loss/∂node, operation's output⟩.

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
                "the weights of operations have no second derivative; leave out create_graph, "
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
