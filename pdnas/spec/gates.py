"""Configuration of a supernet's switches."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pdnas.spec.base import Count, Natural, NonNegative, Positive, Probability, Strict
from pdnas.spec.names import Dependence, Estimator, Form, GateMode, Prior


class GateConfig(Strict):
    """How a supernet's switches behave while it trains."""

    mode: GateMode = "learned"
    """learned: variational dropout; fixed: dropout at a predefined rate; none: plain network."""
    initial: Probability = 0.1
    """Initial drop probability, or the fixed one."""
    match: str | None = None
    """Mode fixed: the variant whose expected parameter count sets the rate."""
    temperature: Positive = 0.2
    """Of the relaxed switches; a fraction may be written as 1/5."""
    temperature_end: Positive | None = None
    """Temperature of the last epoch, reached in equal steps; null: it stays."""
    length_scale2: NonNegative
    """l² of the Gaussian prior; 0: no such term."""
    examples: Count | None = None
    """N of the objective; null: the training images."""
    form: Form = "paper"
    """paper: the prior's term has l²/(2N); official: l²/N, as the official code."""
    prior: Prior = "kept"
    """kept: a slice's L2 term times its probability of being kept; constant: all of it."""
    size_prior: NonNegative = 0.0
    """λ of a prior on the architecture: nats an image and 100 000 expected parameters; 0: none."""
    size_target: Count | None = None
    """Parameters to expect of an architecture: after the warm-up λ is adapted until they are met
    (docs/method.md), from `size_prior` on; null: λ stays as it is."""
    learning_rate: Positive | None = None
    """Adam's step for the logits; null: the weights' optimiser, as in the paper."""
    warmup_epochs: Natural = 0
    """Epochs in which the distribution stays as it began."""
    estimator: Estimator = "straight-through"
    """Gradient of one-of-many switches (docs/nasbench201.md)."""
    dependence: Dependence = "independent"
    """Of a cell's edges; chain: each depends on the one before it."""
    noise: Literal["image", "batch"] | Annotated[int, Field(ge=2)] = "image"
    """A mask (or cell) of its own for each image, one a batch, or so many a batch
    (docs/nasbench201.md)."""

    @property
    def masks_per_batch(self) -> int | None:
        """How many masks (or cells) the images of a batch share; None: every one has its own."""
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
