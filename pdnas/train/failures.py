"""What goes wrong in a training, in words that say how to mend it.

Where a number that is not finite came from is found while the network still is as it was before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from pdnas.nn.objective import Terms
from pdnas.nn.supernets import Supernet
from pdnas.support import distributed
from pdnas.support.errors import PdnasError
from pdnas.train.checkpoint import Checkpoints
from pdnas.train.memory import out_of_memory
from pdnas.train.state import TrainingState


class NotFiniteError(Exception):
    """The loss or the state is not finite; the text says where it begins."""


@contextmanager
def explained(state: TrainingState, checkpoints: Checkpoints | None) -> Iterator[None]:
    """Within the block, failures that a setting mends become :class:`PdnasError` and name it."""
    try:
        yield
    except NotFiniteError as error:
        good = f" (the last good state is in {checkpoints.folder})" if checkpoints else ""
        raise PdnasError(
            f"{state.place}: {error}; lower training.learning_rate or gates.length_scale2{good}"
        ) from error
    except (MemoryError, RuntimeError, ValueError) as error:
        if out_of_memory(error):
            at_once = state.training.micro_batch or state.training.batch // distributed.ranks()
            raise PdnasError(
                f"out of memory in {state.place}; set training.micro_batch to {at_once // 2} "
                "images or fewer (and begin anew), or free memory and go on"
            ) from error
        if "more than 1 value per channel" in str(error):
            raise PdnasError(
                "an image went through the network alone and was a single pixel in the end, of "
                "which BatchNorm has no statistics; set training.batch and training.micro_batch "
                "such that each part has two images or more"
            ) from error
        raise


def require_finite(terms: Terms, supernet: Supernet, x: Tensor) -> None:
    """Raise :class:`NotFiniteError` unless the loss is a finite number.

    The text names the term, and the first layer or gate, in the network's order, that holds or
    computes such a number.

    Args:
        x: the images of the step, shape (images, channels, height, width).
    """
    if bool(torch.isfinite(terms.loss)):
        return
    names = ("nll", "prior", "size", "entropy", "auxiliary")
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
    names = {module: name for name, module in supernet.named_modules()}
    found: list[str] = []

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
            found.append(names[module])

    with register_module_forward_hook(look):
        supernet(x)
    return f"{found[0]} computes what is not finite" if found else None
