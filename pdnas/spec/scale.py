"""Validated configuration: what a scale file may say, and one line for whatever it may not.

A *scale* (``pdnas/spec/scales/NAME.yaml``) holds *studies*; a study holds a base specification and
*variants* that override parts of it. ``Scale.spec(study, variant)`` is the resolved specification
of one supernet search, everything that follows from it included. This module imports no torch, so
Snakemake can validate a configuration in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pdnas.space.cells import OPERATIONS
from pdnas.support.errors import PdnasError

SCALES = Path(__file__).with_name("scales")


def _fraction(value: Any) -> Any:
    """Let a temperature be written the way the paper does, ``1/5``."""
    if not isinstance(value, str) or "/" not in value:
        return value
    try:
        return float(Fraction(value))
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise ValueError("write a number, or a fraction like 1/5") from error


Probability = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, BeforeValidator(_fraction), Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""Names of scales, studies and variants: they become folders, and words of command lines."""
Name = Annotated[str, Field(pattern=f"^{NAME}$")]


class Strict(BaseModel):
    """Unknown keys are errors: a mistyped key must never silently mean the default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Augmentation(Strict):
    """Batch-wise augmentation of small images; 0 switches one off (lengths in pixels)."""

    crop: Annotated[int, Field(ge=0, description="zero padding of the random crop")] = 4
    flip: bool = True
    cutout: Annotated[int, Field(ge=0, description="side of the square set to the mean")] = 16


IMAGE_SIDE = {"cifar10": 32, "cifar100": 32, "digits": 8, "imagenet": 224}
"""Pixels a side of a data set's square images, as a network sees them."""


class DataConfig(Strict):
    """A data set and its fixed, seeded split."""

    name: Literal["cifar10", "cifar100", "imagenet", "digits"]
    train: Annotated[Count | None, Field(description="training images; null: all that is left")] = (
        None
    )
    validation: Annotated[int, Field(ge=0, description="images held out of the training set")]
    heldout: Annotated[
        int,
        Field(ge=0, description="images that move the switches; 0: the training images do both"),
    ] = 0
    test: Annotated[Count | None, Field(description="test images; null: all")] = None
    split_seed: int = 0
    augmentation: Augmentation = Augmentation()


class MultiBranchConfig(Strict):
    """The 3-branch ResNet: SupNet-M has width 96, SupNet-MI 160, both 4 blocks a stage."""

    name: Literal["multibranch"]
    width: Annotated[int, Field(ge=2, description="even shares of it go two ways where it grows")]
    blocks: Count = 4
    merge: Annotated[
        Literal["sum", "shake-shake"],
        Field(description="of a block's residual paths; shake-shake: random weights in training"),
    ] = "sum"


class EnasConfig(Strict):
    """The network of ENAS's best cell: SupNet-E has 36 filters, SupNet-EI 72, both 15 layers."""

    name: Literal["enas"]
    filters: Count
    layers: Count = 15


class ResNetConfig(Strict):
    """Multi-kernel ResNet: the defaults are SupNet-R-50, and with kernels [3] plain ResNet-50."""

    name: Literal["resnet"]
    width: Count = 64
    blocks: Annotated[tuple[Count, ...], Field(min_length=1)] = (3, 4, 6, 3)
    kernels: Annotated[
        tuple[Literal[1, 3, 5, 9], ...], Field(min_length=1, description="extents in pixels")
    ] = (1, 3, 5, 9)

    @model_validator(mode="after")
    def _different_kernels(self) -> Self:
        if len(set(self.kernels)) < len(self.kernels):
            raise ValueError("kernels must be different ones of 1, 3, 5 and 9")
        return self


class DenseNetConfig(Strict):
    """DenseNet: the defaults are SupNet-D-121; 169 and 201 have other numbers of layers."""

    name: Literal["densenet"]
    layers: Annotated[tuple[Count, ...], Field(min_length=1)] = (6, 12, 24, 16)
    growth: Count = 32

    @property
    def smallest_image(self) -> int:
        """Pixels a side below which nothing is left of an image in the last block."""
        return 2 ** (len(self.layers) + 1) - 3  # the stem divides by 4, transitions by 2


class NasBench201Config(Strict):
    """NAS-Bench-201's skeleton; 16 channels, 5 cells a stage and 3 stages are the benchmark's."""

    name: Literal["nasbench201"]
    channels: Count = 16
    cells: Count = 5
    stages: Annotated[int, Field(ge=1, le=3)] = 3
    operations: tuple[str, ...] = OPERATIONS

    @model_validator(mode="after")
    def _known_operations(self) -> Self:
        unknown = set(self.operations) - set(OPERATIONS)
        if unknown or len(set(self.operations)) < len(self.operations) or len(self.operations) < 2:
            raise ValueError(f"operations must be two or more different ones of {OPERATIONS}")
        return self


SupernetConfig = Annotated[
    MultiBranchConfig | EnasConfig | ResNetConfig | DenseNetConfig | NasBench201Config,
    Field(discriminator="name"),
]


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
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False


class GateConfig(Strict):
    """How a supernet's switches behave while it trains (method.md sections 3, 4 and 8)."""

    mode: Annotated[
        Literal["learned", "fixed", "none"],
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
    form: Annotated[
        Literal["paper", "official"], Field(description="l²/(2N), or the official code's l²/N")
    ] = "paper"
    prior: Annotated[
        Literal["kept", "constant"],
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
        Literal["straight-through", "relaxed", "softmax", "score"],
        Field(description="gradient of one-of-many switches; see docs/nasbench201.md"),
    ] = "straight-through"
    dependence: Annotated[
        Literal["independent", "chain"],
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


class CandidateConfig(Strict):
    """How many candidates are drawn, and how they are judged on validation data."""

    count: Count
    batchnorm: Annotated[
        Literal["running", "recalibrated"],
        Field(description="statistics: the supernet's, or each candidate's own"),
    ] = "running"
    recalibration_images: Count = 1024
    ranking: Annotated[
        Literal["all", "racing"],
        Field(description="judge all on every image, or drop those that clearly trail"),
    ] = "all"
    pairs: Annotated[
        Count | None,
        Field(description="of a candidate and an image that go through at once; null: by device"),
    ] = None


class RetrainConfig(Strict):
    """Training of the chosen sub-network after the search."""

    epochs: Count
    learning_rate: Positive
    schedule: Schedule = CosineSchedule()


SEARCH_PARTS = ("data", "supernet", "training", "gates")
"""The parts of a specification that decide a search; the others act on what it found."""


WARM_UP_GATES = {"warmup_epochs", "length_scale2", "examples", "form", "prior", "noise"}
"""The settings of `gates` that the warm-up of cells depends on: it draws them uniformly."""


class Spec(Strict):
    """Everything that decides the outcome of one supernet search but its seed."""

    data: DataConfig
    supernet: SupernetConfig
    training: TrainingConfig
    gates: GateConfig
    candidates: CandidateConfig
    retrain: RetrainConfig | None = None

    def searches_like(self, other: Spec) -> bool:
        """Whether they differ at most in what follows the search: one supernet serves both."""
        return all(getattr(self, part) == getattr(other, part) for part in SEARCH_PARTS)

    @property
    def warm_up(self) -> dict[str, Any] | None:
        """Everything but the seed that decides the weights at the end of the warm-up.

        None where other searches cannot have it in common: there is none, one optimiser moves
        weights and switches together, or channels are dropped as the gates' settings say.
        """
        gates = self.gates
        together = gates.mode == "learned" and gates.learning_rate is None
        if not isinstance(self.supernet, NasBench201Config) or not gates.warmup_epochs or together:
            return None
        return self.model_dump(
            mode="json",
            include={"data": True, "supernet": True, "training": True, "gates": WARM_UP_GATES},
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        of_cells = isinstance(self.supernet, NasBench201Config)
        if of_cells and self.gates.mode == "none":
            raise ValueError("supernet nasbench201 has no plain network; use gates mode: fixed")
        if of_cells and self.gates.estimator == "score":
            if self.gates.noise == "batch":
                raise ValueError(
                    "gates.estimator: score compares the cells of a batch, which has one; use "
                    "noise: image, or a number of cells"
                )
            if (self.training.micro_batch or self.training.batch) == 1:
                raise ValueError("gates.estimator: score needs two images at once or more")
        shared = of_cells and self.gates.noise != "image"
        if shared and self.candidates.batchnorm == "running":
            raise ValueError(
                "cells that images share leave no running BatchNorm statistics; use "
                "candidates.batchnorm: recalibrated"
            )
        if isinstance(self.gates.noise, int):
            for key in ("batch", "micro_batch"):
                if (getattr(self.training, key) or 0) % self.gates.noise:
                    raise ValueError(f"training.{key} must be a multiple of gates.noise")
        if self.candidates.ranking == "racing" and self.data.name == "imagenet":
            raise ValueError("candidates.ranking: racing needs validation images in memory")
        if self.gates.warmup_epochs >= self.training.epochs and self.gates.mode == "learned":
            raise ValueError("gates.warmup_epochs must be smaller than training.epochs")
        if self.data.heldout and (self.gates.mode != "learned" or self.gates.learning_rate is None):
            raise ValueError("data.heldout needs gates mode: learned and a gates.learning_rate")
        if self.data.heldout and self.training.compile:
            raise ValueError(
                "data.heldout lets weights and switches learn in turns, which a compiled network "
                "does not follow; use training.compile: false"
            )
        if self.gates.dependence == "chain" and not of_cells:
            raise ValueError("gates.dependence: chain needs supernet nasbench201")
        for option in ("auxiliary_weight", "drop_path"):
            if getattr(self.training, option) and not isinstance(self.supernet, EnasConfig):
                raise ValueError(f"training.{option} needs supernet enas")
        side = IMAGE_SIDE[self.data.name]
        too_small = f"images of {self.data.name} ({side}x{side}) are too small for"
        if self.training.auxiliary_weight and self.data.name == "digits":
            raise ValueError(f"{too_small} an auxiliary head")
        if isinstance(self.supernet, DenseNetConfig) and self.supernet.smallest_image > side:
            raise ValueError(f"{too_small} {len(self.supernet.layers)} dense blocks; use fewer")
        return self


class Study(Strict):
    """A base specification, variants that override parts of it, and the seeds of all of them."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    more_seeds: Annotated[
        dict[Name, list[Seed]],
        Field(description="further seeds of single variants, on which a claim rests"),
    ] = {}
    base: dict[str, Any]
    variants: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
    stands_for: Annotated[
        str | None,
        Field(description="the paper's supernet that this study is a scaled-down stand-in for"),
    ] = None
    finetune: Annotated[
        list[Name],
        Field(description="variants whose chosen candidate is fine-tuned too, as `retrain` says"),
    ] = []
    extract: Annotated[
        list[Name],
        Field(description="variants whose chosen candidate becomes a network of its own"),
    ] = []
    target: Annotated[
        Literal["all", "nasbench"], Field(description="the Snakemake target that runs the study")
    ] = "all"
    score_images: Annotated[
        Count | None,
        Field(description="nasbench: validation images that score every cell; null: no scores"),
    ] = None

    def seeds_of(self, variant: str) -> list[int]:
        """All seeds of a variant."""
        return [*self.seeds, *self.more_seeds.get(variant, ())]

    @model_validator(mode="after")
    def _variants_known(self) -> Self:
        for key in ("more_seeds", "finetune", "extract"):
            for variant in getattr(self, key):
                if variant not in self.variants:
                    raise ValueError(f"{key}: no variant {variant!r}")
        for variant in self.variants:
            seeds = self.seeds_of(variant)
            if len(set(seeds)) < len(seeds):  # a run would count twice in every interval
                raise ValueError(f"seeds of {variant} repeat: {seeds}")
        return self


class Scale(Strict):
    """One scale file."""

    description: str
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[Count, Field(description="processor threads a job computes with")] = 1
    memory_mb: Annotated[Count, Field(description="memory a job is granted")] = 4000
    runtime_minutes: Annotated[Count, Field(description="longest a job may take")] = 60
    gpus: Annotated[
        Count, Field(description="GPUs of a job that trains or ranks, with a process for each")
    ] = 1
    studies: dict[Name, Study]

    @model_validator(mode="after")
    def _gpus_of_cuda(self) -> Self:
        if self.gpus > 1 and self.device != "cuda":
            raise ValueError("gpus: more than 1 needs device: cuda")
        return self

    @model_validator(mode="after")
    def _variants_resolve(self) -> Self:
        for study, content in self.studies.items():
            for variant in content.variants:
                try:
                    spec = self.spec(study, variant)
                except ValidationError as error:
                    raise ValueError(f"{study}/{variant}: {first_problem(error)}") from error
                if variant in content.finetune and spec.retrain is None:
                    raise ValueError(f"{study}/{variant}: finetune needs retrain, which says how")
                cells = isinstance(spec.supernet, NasBench201Config)
                if cells and variant in (*content.finetune, *content.extract):
                    raise ValueError(f"{study}/{variant}: cells are not fine-tuned or extracted")
                match = spec.gates.match
                if match is not None and match not in content.variants:
                    raise ValueError(
                        f"{study}/{variant}: gates.match: no variant {match!r} in {study}"
                    )
                if match is not None and self.spec(study, match).gates.mode != "learned":
                    raise ValueError(
                        f"{study}/{variant}: gates.match: {match} learns no drop probabilities"
                    )
        return self

    def spec(self, study: str, variant: str) -> Spec:
        """The resolved specification of one variant.

        Raises:
            PdnasError: there is no such study or variant.
        """
        if study not in self.studies:
            raise PdnasError(f"no study {study!r} at this scale; choose {_names(self.studies)}")
        content = self.studies[study]
        if variant not in content.variants:
            raise PdnasError(
                f"no variant {variant!r} in study {study!r}; choose {_names(content.variants)}"
            )
        return Spec.model_validate(_merge(content.base, content.variants[variant]))

    def searched_by(self, study: str, variant: str) -> str:
        """The variant whose supernet this one takes: the first with the same search, maybe itself.

        Raises:
            PdnasError: there is no such study or variant.
        """
        own = self.spec(study, variant)
        return next(
            other
            for other in self.studies[study].variants
            if self.spec(study, other).searches_like(own)
        )

    def warmed_up_by(self, study: str, variant: str, seed: int) -> tuple[str, str]:
        """The study and variant whose search is first to have this one's warm-up, maybe itself.

        Raises:
            PdnasError: there is no such study or variant.
        """
        warm_up = self.spec(study, variant).warm_up
        if warm_up is None:
            return study, variant
        makers = (
            (other, each)
            for other, content in self.studies.items()
            for each in content.variants
            if seed in content.seeds_of(each) and self.spec(other, each).warm_up == warm_up
        )
        return next(makers, (study, variant))  # by hand, a seed may be none of the scale's


def _names(choices: Mapping[str, Any]) -> str:
    return ", ".join(choices)


def _merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """``override`` laid over ``base``, mapping by mapping."""
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, in one line: where, what, and what was given."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    got = problem.get("input")
    shown = f" (got {got!r:.100})" if isinstance(got, (str, int, float)) else ""
    text = f"{place}: {message}{shown}" if place else message
    return " ".join(text.split())


def scale_path(name: str) -> Path:
    """The file of a scale given by name (``laptop``) or by path (``my/scale.yaml``).

    Raises:
        PdnasError: there is no such file.
    """
    is_path = name.endswith((".yaml", ".yml"))
    path = Path(name) if is_path else SCALES / f"{name}.yaml"
    if re.fullmatch(NAME, path.stem) is None:
        raise PdnasError(
            f"a scale cannot be called {path.stem!r}, which is to name a folder; use letters, "
            "digits and . _ - only"
        )
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in SCALES.glob("*.yaml")))
        raise PdnasError(f"no scale {name!r}; choose one of {known}, or give a path to a YAML file")
    return path


def load_scale(name: str) -> Scale:
    """Read a scale by name or by path.

    Raises:
        PdnasError: no such scale, unreadable YAML, or a wrong key or value, which is named.
    """
    path = scale_path(name)
    try:
        return Scale.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise PdnasError(f"cannot read {path}: {error.strerror}; mend or replace it") from error
    except RecursionError as error:
        raise PdnasError(f"{path} is nested too deeply, or contains itself") from error
    except ValidationError as error:
        raise PdnasError(f"{path}: {first_problem(error)}") from error
    # Some of PyYAML's own errors are ValueErrors: a date that is none, a byte that is no UTF-8.
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise PdnasError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
