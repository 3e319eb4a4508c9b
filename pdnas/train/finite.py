"""Where a number that is not finite came from, while the network still is as it was before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pdnas.nn.objective import Terms
from pdnas.nn.supernets import Supernet


class NotFiniteError(Exception):
    """The loss or the state is not finite; the text says where it begins."""


def require_finite(terms: Terms, supernet: Supernet, x: Tensor) -> None:
    """Raise :class:`NotFiniteError` unless the loss is a finite number.

    The text names the term, and the first layer or gate, in the network's order, that holds or
    computes such a number.

    Args:
        x: the images of the step, shape (images, channels, height, width).
    """
    if bool(torch.isfinite(terms.loss)):
        return
    names = ("nll", "prior", "entropy", "auxiliary")
    term = next((n for n in names if not bool(torch.isfinite(getattr(terms, n)))), "sum")
    # Statistics of BatchNorm are no cause: the step itself has just spoilt them.
    stored = _first(supernet.named_parameters())
    origin = stored or _first_computed(supernet, x) or "no layer is to blame"
    raise NotFiniteError(f"the loss became {terms.loss.item()}, first its term {term}; {origin}")


def require_finite_state(supernet: Supernet) -> None:
    """Raise :class:`NotFiniteError` unless every weight, logit and statistic is finite."""
    if origin := _first(supernet.state_dict().items()):
        raise NotFiniteError(origin)


def _first(named: Iterable[tuple[str, Tensor]]) -> str | None:
    for name, value in named:
        # Logits of -inf throughout are a gate that is off (mode none).
        if not bool(torch.isfinite(value).all()) and not bool(torch.isneginf(value).all()):
            return f"{name} is not finite"
    return None


@torch.no_grad()
def _first_computed(supernet: Supernet, x: Tensor) -> str | None:
    """The first layer with an output that is not finite, when ``x`` goes through once more."""
    found: list[str] = []
    handles = []
    for name, module in supernet.named_modules():

        def look(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            if isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
                found.append(name)

        handles.append(module.register_forward_hook(look))
    try:
        supernet(x)
    finally:
        for handle in handles:
            handle.remove()
    return f"{found[0]} computes what is not finite" if found else None
