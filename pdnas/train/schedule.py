"""What each epoch is like: warm-up, temperature, drop-path and learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


class Schedule:
    """What each epoch is like; their numbers begin with 1.

    Attributes:
        rates: sets the learning rate of the weights; its steps are those of the training.

    Args:
        batches: that an epoch has.
    """

    def __init__(
        self, training: TrainingConfig, gates: GateConfig, weights: Optimizer, batches: int
    ) -> None:
        self._training, self._gates = training, gates
        self.rates = _learning_rates(training, weights, batches)

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return float(self.rates.get_last_lr()[0])

    def warms_up(self, epoch: int) -> bool:
        """Whether weights learn under the broad initial distribution, which stays as it is."""
        return epoch <= self._gates.warmup_epochs

    def identity(self, epoch: int) -> float:
        """From 1 in the first epoch in equal steps to 0 in that after the warm-up."""
        warm_up = self._gates.warmup_epochs
        return max(0.0, 1 - (epoch - 1) / warm_up) if warm_up else 0.0

    def temperature(self, epoch: int) -> float:
        """From the first to the last epoch in equal steps."""
        gates = self._gates
        if gates.temperature_end is None:
            return gates.temperature
        share = (epoch - 1) / max(self._training.epochs - 1, 1)
        return gates.temperature + share * (gates.temperature_end - gates.temperature)

    def drop_path(self, epoch: int) -> float:
        """As in ENAS, from 0 to its full value over the training; ENAS counts steps, not epochs."""
        return self._training.drop_path * epoch / self._training.epochs

    @contextmanager
    def applied(self, supernet: Supernet, epoch: int) -> Iterator[None]:
        """Within the block, ``supernet`` is in training mode and as the epoch wants it."""
        if self._training.compile and epoch == self._gates.warmup_epochs + 1:
            torch.compiler.reset()  # what was compiled gives the distribution no gradient
        if self._gates.temperature_end is not None:
            supernet.set_temperature(self.temperature(epoch))
        supernet.set_drop_path(self.drop_path(epoch))
        supernet.set_warm_up(self.warms_up(epoch))
        supernet.set_identity(self.identity(epoch))
        supernet.train()
        with held_still(supernet.distribution_parameters() if self.warms_up(epoch) else []):
            yield


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
