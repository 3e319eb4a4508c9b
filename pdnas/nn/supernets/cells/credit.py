"""Credit of a cell's operations: by the slope of the loss at the node that they lead to."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from pdnas.nn.supernets.categorical.credit import Credit
from pdnas.space.cells import entering

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
