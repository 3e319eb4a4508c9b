"""Switches as a Markov chain: each one's option depends on that of the switch before it.

Their order is :attr:`pdnas.space.categorical.CategoricalSpace.ORDER`. Independent switches are a
chain whose tables of conditional probabilities have a single row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def rows_used(codes: Tensor, rows: int, order: Sequence[int]) -> Tensor:
    """Which row of a switch's conditional probabilities an architecture makes use of.

    Args:
        codes: shape (architectures, switches).
        rows: of a switch: 1 if switches are independent, else the number of options.
        order: of the switches.

    Returns:
        Shape (architectures, switches).
    """
    used = torch.zeros_like(codes)
    if rows > 1:
        used[:, order[1:]] = codes[:, order[:-1]]
    return used


def row_weights(conditionals: Tensor, order: Sequence[int]) -> Tensor:
    """Probability that a row is the one made use of, shape (switches, rows): forward recursion.

    Args:
        conditionals: shape (switches, rows, options), as in :class:`CategoricalPosterior`.
        order: of the switches.
    """
    switches, rows, _ = conditionals.shape
    if rows == 1:
        return conditionals.new_ones(switches, 1)
    weight = torch.eye(rows, dtype=conditionals.dtype, device=conditionals.device)[0]
    weights = [weight] * switches
    for before, switch in pairwise(order):
        weight = weight @ conditionals[before]
        weights[switch] = weight
    return torch.stack(weights)


def option_marginals(conditionals: Tensor, order: Sequence[int]) -> Tensor:
    """Marginal probability of each option of each switch, shape (switches, options).

    Args:
        conditionals: shape (switches, rows, options), as in :class:`CategoricalPosterior`.
        order: of the switches.
    """
    return (row_weights(conditionals, order)[:, :, None] * conditionals).sum(dim=1)
