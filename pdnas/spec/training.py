"""Configuration of training: schedules of the learning rate, the search, and fine-tuning."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pdnas.spec.base import Count, NonNegative, Positive, Strict
from pdnas.spec.names import Precision


class ConstantSchedule(Strict):
    """The learning rate stays."""

    name: Literal["constant"] = "constant"


class CosineSchedule(Strict):
    """Half a cosine from the learning rate to 0."""

    name: Literal["cosine"] = "cosine"


class StepSchedule(Strict):
    """The learning rate times ``factor`` after each epoch of ``milestones``."""

    name: Literal["steps"]
    milestones: Annotated[tuple[Count, ...], Field(min_length=1, description="epochs, ascending")]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must ascend")
        return self


class WarmRestartSchedule(Strict):
    """Half cosines from the learning rate to ``minimum``, each longer than the last (SGDR)."""

    name: Literal["warm-restarts"]
    period: Annotated[Count, Field(description="T0, epochs of the first half cosine")]
    growth: Annotated[Count, Field(description="Tmul, by which each is longer")] = 2
    minimum: NonNegative = 0.0


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
    batch: Count
    micro_batch: Annotated[
        Count | None,
        Field(description="images that go through the network at once; null: the whole batch"),
    ] = None
    learning_rate: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[NonNegative, Field(description="of ungated weights only")] = 0.0
    schedule: Annotated[
        Schedule, Field(description="of the weights' learning rate, step by step")
    ] = CosineSchedule()
    auxiliary_weight: Annotated[
        NonNegative, Field(description="of the auxiliary head's cross-entropy; 0: no such head")
    ] = 0.0
    drop_path: Annotated[
        float, Field(ge=0, lt=1, description="drop-path probability of the last cell in the end")
    ] = 0.0
    precision: Precision = "float32"
    compile: bool = False


class RetrainConfig(Strict):
    """Training of the chosen sub-network after the search."""

    epochs: Count
    learning_rate: Positive
    schedule: Schedule = CosineSchedule()
