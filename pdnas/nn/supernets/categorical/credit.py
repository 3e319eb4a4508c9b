"""How the weights of options learn: by the slope of the loss at the features that they add to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from pdnas.support.errors import PdnasError


class Credit(torch.autograd.Function):
    """Identity on a node; hands each weight the slope ⟨∂loss/∂node, option's output⟩.

    It is what autograd finds for ``node + Σ_o (w_o - stop_gradient(w_o)) output_o``, without
    computing sums of zeros. What options would add can be computed when the slope is there, a few
    rows at a time, so it needs no memory and stays in the cache. A second derivative would lack
    what the outputs depend on, and raises.
    """

    @staticmethod
    def forward(
        ctx: Any,
        node: Tensor,
        weights: Tensor,
        credit: Callable[..., Tensor],
        *needed: Tensor | None,
    ) -> Tensor:
        """``node``, ``needed``, ``weights``: (rows, …). ``credit`` gives that of some rows, in the
        shape of their weights, of the same rows of the slope and of all that it needs."""
        ctx.save_for_backward(*needed)
        ctx.credit = credit
        ctx.autocast = _autocast(node.device.type)
        return node.view_as(node)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("the weights of options", "set gates.estimator to score")
        some = max(1, len(slope) if slope.is_cuda else CACHED_NUMBERS * len(slope) // slope.numel())
        pieces = (repeat(None) if each is None else each.split(some) for each in ctx.saved_tensors)
        credit = []
        with ctx.autocast:
            for rows in zip(slope.split(some), *pieces, strict=False):
                credit.append(ctx.credit(*rows))
        return slope, torch.cat(credit), None, *(None for _ in ctx.saved_tensors)


def refuse_second_derivative(what: str, remedy: str) -> None:
    """Raise where a backward pass is to be differentiated, by which it would be wrong.

    Torch's mark ``once_differentiable`` does not see to that (findings/).
    """
    if torch.is_grad_enabled():  # create_graph
        raise PdnasError(f"{what} have no second derivative; leave out create_graph, or {remedy}")


CACHED_NUMBERS = 2**18
"""Of a node, at once on a CPU: 1 MB of float32, which with what is computed of them stays in the
cache."""


def product(rows: Tensor, others: Tensor | None) -> Tensor:
    """Each row's dot product with that of the same number, (rows,); None for zeros."""
    if others is None:
        return rows.new_zeros(len(rows))
    return torch.linalg.vecdot(rows.flatten(1), others.flatten(1).to(rows.dtype))


def products_of_rows(shape: Sequence[int], slope: Tensor, *outputs: Tensor | None) -> Tensor:
    """The products of each output with the slope, (rows, *shape)."""
    products = [product(slope, output) for output in outputs]
    return torch.stack(products, dim=1).unflatten(1, shape)


def _autocast(device: str) -> torch.autocast:
    """The context of mixed precision as it is now."""
    enabled = torch.is_autocast_enabled(device)
    return torch.autocast(device, torch.get_autocast_dtype(device), enabled=enabled)
