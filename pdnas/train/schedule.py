"""What each epoch is like: warm-up, temperature, drop-path and learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LambdaLR,
    LRScheduler,
    MultiStepLR,
)

from pdnas.nn.supernets import Supernet
from pdnas.spec.gates import GateConfig
from pdnas.spec.training import CosineSchedule, StepSchedule, TrainingConfig, WarmRestartSchedule
from pdnas.train.optimizers import held_still


@dataclass(frozen=True)
class EpochPlan:
    """How the supernet trains in one epoch.

    Attributes:
        number: from 1.
        warm_up: weights learn under the broad initial distribution, which stays as it is.
        temperature: of the switches; None: that of the supernet.
        drop_path: probability of the last cell.
        recompile: what was compiled gives the distribution no gradient.
    """

    number: int
    warm_up: bool
    temperature: float | None
    drop_path: float
    recompile: bool

    @contextmanager
    def applied(self, supernet: Supernet) -> Iterator[None]:
        """Within the block, ``supernet`` is in training mode and as this epoch wants it."""
        if self.recompile:
            torch.compiler.reset()
        if self.temperature is not None:
            supernet.set_temperature(self.temperature)
        supernet.set_drop_path(self.drop_path)
        supernet.set_warm_up(self.warm_up)
        supernet.train()
        with held_still(supernet.distribution_parameters() if self.warm_up else ()):
            yield


class Schedule:
    """The plan of every epoch, and the learning rate of the weights, step by step.

    Args:
        weights: the optimizer whose learning rate is set.
        batches: that an epoch has.
    """

    def __init__(
        self, training: TrainingConfig, gates: GateConfig, weights: Optimizer, batches: int
    ) -> None:
        self._training, self._gates = training, gates
        self._rates = _learning_rates(training, weights, batches)

    def epoch(self, number: int) -> EpochPlan:
        """The plan of an epoch; numbers begin with 1."""
        training, gates = self._training, self._gates
        temperature = None
        if gates.temperature_end is not None:
            share = (number - 1) / max(training.epochs - 1, 1)
            temperature = gates.temperature + share * (gates.temperature_end - gates.temperature)
        return EpochPlan(
            number,
            warm_up=number <= gates.warmup_epochs,
            temperature=temperature,
            # As in ENAS, from 0 to its full value over the training; ENAS counts steps, not epochs.
            drop_path=training.drop_path * number / training.epochs,
            recompile=training.compile and number == gates.warmup_epochs + 1,
        )

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return float(self._rates.get_last_lr()[0])

    def step(self) -> None:
        """Go on to the learning rate of the next step."""
        self._rates.step()

    def state_dict(self) -> dict[str, Any]:
        return self._rates.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rates.load_state_dict(state)


def _learning_rates(training: TrainingConfig, weights: Optimizer, batches: int) -> LRScheduler:
    settings = training.schedule
    if isinstance(settings, CosineSchedule):
        return CosineAnnealingLR(weights, T_max=training.epochs * batches)
    if isinstance(settings, WarmRestartSchedule):
        return CosineAnnealingWarmRestarts(
            weights, settings.period * batches, settings.growth, settings.minimum
        )
    if isinstance(settings, StepSchedule):
        milestones = [epoch * batches for epoch in settings.milestones]
        return MultiStepLR(weights, milestones, settings.factor)
    return LambdaLR(weights, lambda step: 1.0)
