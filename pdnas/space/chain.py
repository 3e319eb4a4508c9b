"""A cell's edges as a Markov chain: each one's operation depends on that of the edge before it.

The order is :data:`pdnas.space.cells.CHAIN`. Independent edges are a chain whose tables of
conditional probabilities have a single row.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from pdnas.space.cells import CHAIN


def rows_used(cells: Tensor, rows: int) -> Tensor:
    """Which row of an edge's conditional probabilities a cell makes use of, shape (cells, 6).

    Args:
        cells: operation codes, shape (cells, 6).
        rows: rows of an edge: 1 if edges are independent, else the number of operations.
    """
    used = torch.zeros_like(cells)
    if rows > 1:
        used[:, CHAIN[1:]] = cells[:, CHAIN[:-1]]
    return used


def row_weights(conditionals: Tensor) -> Tensor:
    """Probability that a row is the one made use of, shape (6, rows): the forward recursion.

    Args:
        conditionals: shape (6, rows, operations), as in :class:`CellPosterior`.
    """
    edges, rows, _ = conditionals.shape
    if rows == 1:
        return conditionals.new_ones(edges, 1)
    weight = torch.eye(rows, dtype=conditionals.dtype, device=conditionals.device)[0]
    weights = [weight] * edges
    for before, edge in pairwise(CHAIN):
        weight = weight @ conditionals[before]
        weights[edge] = weight
    return torch.stack(weights)


def edge_marginals(conditionals: Tensor) -> Tensor:
    """Marginal probability of each operation on each edge, shape (6, operations).

    Args:
        conditionals: shape (6, rows, operations), as in :class:`CellPosterior`.
    """
    return (row_weights(conditionals)[:, :, None] * conditionals).sum(dim=1)
