"""Configuration of cells that are trained alone for a few steps."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pdnas.space.cells import OPERATIONS
from pdnas.spec.base import (
    Count,
    Name,
    Natural,
    Positive,
    Probability,
    Seed,
    Share,
    Strict,
    first_problem,
    merge,
)
from pdnas.spec.data import DataConfig
from pdnas.spec.names import Kernels
from pdnas.spec.supernets import NasBench201Config


def final_steps(steps: int) -> int:
    """How many steps are the last quarter of a training, whose losses say little of its start."""
    return max(steps // 4, 1)


class AloneSettings(Strict):
    """What is special to a cell that is trained alone."""

    kernels: Kernels = "random"
    """How the kernels of the cells begin."""
    side: Count | None = None
    """Pixels a side to which images are averaged; null: as they are."""
    warmup: Natural = 10
    """Steps in which the learning rate rises in equal steps."""


class AloneSearch(AloneSettings):
    """A search that trains drawn cells alone, and fits the posterior to their evidence.

    Each is trained as `training` says. `gates` say nothing of it and stay as they are.
    """

    rounds: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Cells of each round: the first are drawn uniformly, then from the posterior so far."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.01
    """The posterior is as wide as a uniform distribution over this share of all cells."""


class AloneConfig(AloneSettings):
    """How a cell is trained alone. The learning rate stays: a training holds every shorter one."""

    dataset: Literal["cifar10", "cifar100", "digits"] = "cifar10"
    """Small images, without augmentation."""
    train: Count
    """Training images, in an order of the seed; all of them before any comes again."""
    validation: Natural = 0
    """Images that are judged at the checkpoints."""
    split_seed: Seed = 0
    """Seed of the split into these."""
    supernet: NasBench201Config
    """The network around the cell."""
    steps: Count
    """Steps of the training."""
    batch: Annotated[Count, Field(ge=2)] = 32
    """Images a step."""
    learning_rate: Positive
    """Of SGD with Nesterov momentum, after the warm-up."""
    momentum: Share = 0.9
    """Of SGD."""
    checkpoints: tuple[Count, ...] = ()
    """Steps after which the validation images are judged."""
    inherit: str | None = None
    """Folder of a search, `{seed}` in it being the seed, whose supernet's weights cells begin with;
    null: with weights of their own."""

    @property
    def data(self) -> DataConfig:
        """The images and their split."""
        return DataConfig(
            name=self.dataset,
            train=self.train,
            validation=self.validation,
            split_seed=self.split_seed,
        )

    @model_validator(mode="after")
    def _images_fit(self) -> Self:
        whole = self.data.image_side
        if self.side is not None and whole % self.side:
            raise ValueError(f"side: {self.side} does not divide the {whole} pixels of the images")
        if problem := self.supernet.misfit(self.side or whole):
            raise ValueError(f"the supernet {problem}")
        if self.batch > self.train:
            raise ValueError(f"batch: {self.batch} is more than the {self.train} training images")
        return self

    @model_validator(mode="after")
    def _whole_space(self) -> Self:
        if self.supernet.operations != OPERATIONS:
            raise ValueError("supernet.operations: leave them out; cells are the benchmark's own")
        if self.supernet.kernels != "identity":
            raise ValueError("supernet.kernels: leave it out; `kernels` says how cells begin")
        return self

    @model_validator(mode="after")
    def _checkpoints_fit(self) -> Self:
        if list(self.checkpoints) != sorted(set(self.checkpoints)):
            raise ValueError("checkpoints must ascend")
        if self.checkpoints and self.checkpoints[-1] > self.steps:
            raise ValueError(f"checkpoints: there are only {self.steps} steps")
        if self.checkpoints and not self.validation:
            raise ValueError("checkpoints need validation images")
        return self


class CellSample(Strict):
    """Cells that are drawn within strata of true accuracy, each uniformly."""

    bounds: tuple[Probability, ...] = ()
    """True accuracies that divide the strata, as fractions, ascending."""
    counts: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Cells of each stratum, from the worst to the best."""
    seed: Seed = 0
    """Of the draw."""

    @model_validator(mode="after")
    def _strata_fit(self) -> Self:
        if list(self.bounds) != sorted(set(self.bounds)):
            raise ValueError("bounds must ascend")
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError(
                f"counts: {len(self.bounds)} bounds make {len(self.bounds) + 1} strata, "
                f"not {len(self.counts)}"
            )
        return self


class AloneStudy(Strict):
    """Cells of NAS-Bench-201 trained alone in several ways."""

    sample: CellSample
    """The cells, the same for all variants."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    """Seeds of every variant: of the kernels and of the order of the images."""
    base: dict[str, Any]
    """How cells are trained, or what the variants have in common of it."""
    variants: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
    """By name, what differs from the base."""
    reference: Name | None = None
    """The variant whose last validation loss others' evidence is held against, as truth may not
    choose; null: none."""

    def config(self, variant: str) -> AloneConfig:
        """How the cells of a variant are trained."""
        return AloneConfig.model_validate(merge(self.base, self.variants[variant]))

    @model_validator(mode="after")
    def _variants_resolve(self) -> Self:
        for variant in self.variants:
            try:
                self.config(variant)
            except ValidationError as error:
                raise ValueError(f"{variant}: {first_problem(error)}") from error
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds repeat: {list(self.seeds)}")
        return self

    @property
    def dataset(self) -> str:
        """The images of all variants."""
        return self.config(next(iter(self.variants))).dataset

    @model_validator(mode="after")
    def _one_dataset(self) -> Self:
        datasets = {self.config(variant).dataset for variant in self.variants}
        if len(datasets) > 1:
            raise ValueError(f"dataset: variants differ ({', '.join(sorted(datasets))}); use one")
        return self

    @model_validator(mode="after")
    def _reference_is_judged(self) -> Self:
        if self.reference is None:
            return self
        if self.reference not in self.variants:
            raise ValueError(f"reference: no variant {self.reference!r}")
        if not self.config(self.reference).checkpoints:
            raise ValueError(f"reference: {self.reference} needs checkpoints")
        return self
