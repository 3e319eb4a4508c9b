"""Configuration of a supernet's switches."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pdnas.spec.base import Count, NonNegative, Positive, Probability, Strict
from pdnas.spec.names import Dependence, Estimator, Form, GateMode, Prior


class GateConfig(Strict):
    """How a supernet's switches behave while it trains."""

    mode: Annotated[
        GateMode,
        Field(
            description="learned: variational dropout; fixed: predefined rate; none: plain network"
        ),
    ] = "learned"
    initial: Annotated[Probability, Field(description="initial, or fixed, drop probability")] = 0.1
    match: Annotated[
        str | None,
        Field(description="fixed mode: variant whose expected parameter count sets the rate"),
    ] = None
    temperature: Positive = 0.2
    temperature_end: Annotated[
        Positive | None, Field(description="that of the last epoch, reached in equal steps")
    ] = None
    length_scale2: Annotated[NonNegative, Field(description="l² of the Gaussian prior")]
    examples: Annotated[
        Count | None, Field(description="N of the objective; null: the training images")
    ] = None
    form: Annotated[Form, Field(description="l²/(2N), or the official code's l²/N")] = "paper"
    prior: Annotated[
        Prior,
        Field(
            description="kept: the L2 term of a slice times its probability of being kept; "
            "constant: all of it (Table 2's ablation)"
        ),
    ] = "kept"
    learning_rate: Annotated[
        Positive | None,
        Field(description="Adam's step for the logits; null: the weights' optimiser, as the paper"),
    ] = None
    warmup_epochs: Annotated[
        int, Field(ge=0, description="epochs in which the distribution stays as it began")
    ] = 0
    estimator: Annotated[
        Estimator,
        Field(description="gradient of one-of-many switches; see docs/nasbench201.md"),
    ] = "straight-through"
    dependence: Annotated[
        Dependence,
        Field(description="of a cell's edges; chain: each depends on the one before it"),
    ] = "independent"
    noise: Annotated[
        Literal["image", "batch"] | Annotated[int, Field(ge=2)],
        Field(description="one mask (or cell) an image, one a batch, or so many a batch"),
    ] = "image"

    @property
    def masks(self) -> int | None:
        """Masks (or cells) a batch; None: one for every image."""
        if self.noise == "image":
            return None
        return 1 if self.noise == "batch" else self.noise

    @model_validator(mode="after")
    def _match_only_fixed(self) -> Self:
        if self.match is not None and self.mode != "fixed":
            raise ValueError("match needs mode: fixed")
        return self

    @model_validator(mode="after")
    def _estimator_fits(self) -> Self:
        if self.dependence == "chain" and self.estimator not in ("straight-through", "score"):
            raise ValueError("dependence: chain needs estimator: straight-through or score")
        if self.estimator == "softmax" and (self.temperature, self.temperature_end) != (1, None):
            raise ValueError(
                "estimator: softmax weighs operations by their probabilities; it needs "
                "temperature: 1 and no temperature_end"
            )
        return self
