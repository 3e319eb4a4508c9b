"""Which optimizer moves what, and what is not to move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from pdnas.nn.supernets import Supernet
from pdnas.spec.gates import GateConfig
from pdnas.spec.training import TrainingConfig


def make_optimizers(
    supernet: Supernet, training: TrainingConfig, gates: GateConfig
) -> list[Optimizer]:
    """SGD with Nesterov momentum for the weights; for the switches the same, or their own Adam.

    Weight decay acts on ungated weights only: gated ones have their Gaussian prior instead.
    """
    logits = [p for p in supernet.distribution_parameters() if p.requires_grad]
    special = {id(p) for p in (*supernet.distribution_parameters(), *supernet.gated_weights())}
    ungated = [p for p in supernet.parameters() if id(p) not in special]
    groups: list[dict[str, Any]] = [
        {"params": ungated, "weight_decay": training.weight_decay},
        {"params": supernet.gated_weights()},
    ]
    if logits and gates.learning_rate is None:
        groups.append({"params": logits})
    nesterov = training.momentum > 0
    optimizers: list[Optimizer] = [
        SGD(groups, lr=training.learning_rate, momentum=training.momentum, nesterov=nesterov)
    ]
    if logits and gates.learning_rate is not None:
        optimizers.append(Adam(logits, lr=gates.learning_rate))
    return optimizers


def parameters_of(optimizer: Optimizer) -> list[nn.Parameter]:
    """All that an optimizer moves."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


@contextmanager
def held_still(parameters: Iterable[torch.Tensor]) -> Iterator[None]:
    """Within the block, take no gradients of ``parameters``."""
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
