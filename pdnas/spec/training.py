"""Configuration of training: schedules of the learning rate, the search, and fine-tuning."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pdnas.spec.base import Count, NonNegative, Positive, Probability, Share, Strict
from pdnas.spec.names import Precision


class ConstantSchedule(Strict):
    """The learning rate stays."""

    name: Literal["constant"] = "constant"


class CosineSchedule(Strict):
    """Half a cosine from the learning rate to 0, step by step."""

    name: Literal["cosine"] = "cosine"


class StepSchedule(Strict):
    """The learning rate times ``factor`` after each epoch of ``milestones``."""

    name: Literal["steps"]
    milestones: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Epochs, ascending."""
    factor: Probability = 0.1
    """By which the learning rate is multiplied."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must ascend")
        return self


class WarmRestartSchedule(Strict):
    """Half cosines from the learning rate to ``minimum``, step by step (SGDR)."""

    name: Literal["warm-restarts"]
    period: Count
    """T0, epochs of the first half cosine."""
    growth: Count = 2
    """Tmul: each half cosine is so many times as long as the one before."""
    minimum: NonNegative = 0.0
    """Learning rate at the end of a half cosine."""


def _named(value: Any) -> Any:
    """Let a schedule without settings be written as its name alone."""
    return {"name": value} if isinstance(value, str) else value


Schedule = Annotated[
    ConstantSchedule | CosineSchedule | StepSchedule | WarmRestartSchedule,
    Field(discriminator="name"),
    BeforeValidator(_named),
]


class TrainingConfig(Strict):
    """The optimiser pass over weights and gates."""

    epochs: Count
    """Passes over the training images."""
    batch: Count
    """Images a step of the optimiser."""
    micro_batch: Count | None = None
    """Images that go through the network at once; null: the whole batch. Below 16 on one thread of
    a CPU, 1x1 convolutions take up to twice as long (docs/speed.md)."""
    learning_rate: Positive
    """Of the weights, at the beginning."""
    momentum: Share = 0.9
    """Of SGD with Nesterov's momentum."""
    weight_decay: NonNegative = 0.0
    """Of ungated weights only."""
    schedule: Schedule = CosineSchedule()
    """Of the weights' learning rate; one without settings may be written as its name alone."""
    auxiliary_weight: NonNegative = 0.0
    """Supernet enas: weight of the auxiliary head's cross-entropy; 0: no such head."""
    drop_path: Share = 0.0
    """Supernet enas: drop-path probability of the last cell in the end."""
    precision: Precision = "float32"
    """Arithmetic of the network, in training and in judging."""
    compile: bool = False
    """Whether torch.compile makes the network faster."""


class RetrainConfig(Strict):
    """Training of the chosen sub-network after the search."""

    epochs: Count
    """Passes over the training images."""
    learning_rate: Positive
    """At the beginning."""
    schedule: Schedule = CosineSchedule()
    """Of the learning rate."""
