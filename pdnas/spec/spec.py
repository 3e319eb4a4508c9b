"""The resolved specification of one supernet search."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Self

from pydantic import ValidationError, model_validator

from pdnas.space.categorical import CategoricalSpace
from pdnas.space.cells import CellSpace
from pdnas.space.sizes import WIDTHS, within
from pdnas.spec.alone import AloneConfig, AloneSearch, AloneSettings
from pdnas.spec.base import Strict, first_problem
from pdnas.spec.candidates import JUDGED, CandidateConfig
from pdnas.spec.data import AnyDataConfig, Augmentation
from pdnas.spec.gates import GateConfig
from pdnas.spec.names import RetrainMode
from pdnas.spec.supernets import (
    DenseNetConfig,
    EnasConfig,
    NasBench201Config,
    NasBenchMacroConfig,
    NatsBenchSizeConfig,
    SupernetConfig,
)
from pdnas.spec.training import ConstantSchedule, RetrainConfig, TrainingConfig

CATEGORICAL = (NasBench201Config, NasBenchMacroConfig)
"""Supernets of one-of-many switches."""

SEARCH_PARTS = ("data", "supernet", "training", "gates", "alone")
"""The parts of a specification that decide a search; the others act on what it found."""

TRAINED_ALONE = ("epochs", "batch", "learning_rate", "momentum")
"""The settings of `training` that a cell alone is trained by."""

WARM_UP_GATES = {"warmup_epochs", "length_scale2", "examples", "form", "prior", "noise"}
"""The settings of `gates` that the warm-up of one-of-many switches depends on: it draws
uniformly."""


class Spec(Strict):
    """Everything that decides the outcome of one supernet search but its seed."""

    data: AnyDataConfig
    """The data set and its split."""
    supernet: SupernetConfig
    """The network that holds all candidates."""
    training: TrainingConfig
    """Of the supernet."""
    gates: GateConfig
    """The supernet's switches, and the objective they are trained with."""
    candidates: CandidateConfig
    """How candidates are drawn and ranked."""
    retrain: RetrainConfig | None = None
    """Of the chosen sub-network; null: none."""
    alone: AloneSearch | None = None
    """Cells of NAS-Bench-201 are trained alone, in place of a supernet (docs/nasbench201.md); null:
    they are not."""

    def searches_like(self, other: Spec) -> bool:
        """Whether they differ at most in what follows the search: one supernet serves both."""
        return all(getattr(self, part) == getattr(other, part) for part in SEARCH_PARTS)

    def decides(self, mode: RetrainMode) -> dict[str, dict[str, Any] | None]:
        """The settings, part by part, that a chosen candidate's result depends on besides the
        search's: its judge's where weights stay as they are, and how it is fine-tuned."""
        parts: dict[RetrainMode, dict[str, Any]] = {
            "none": {"candidates": set(JUDGED)},
            "finetune": {"retrain": True},
            "scratch": {},
        }
        return self.model_dump(mode="json", include=parts[mode])

    @property
    def warm_up(self) -> dict[str, Any] | None:
        """Everything but the seed that decides the weights at the end of the warm-up.

        None where other searches cannot have it in common: there is none, one optimiser moves
        weights and switches together, or searches on channels differ in more than the size that
        they are to meet.
        """
        gates = self.gates
        together = gates.mode == "learned" and gates.learning_rate is None
        alike = self.space is not None or gates.size_target is not None
        if not alike or not gates.warmup_epochs or together:
            return None
        uniform = self.space is not None
        deciding = WARM_UP_GATES if uniform else set(GateConfig.model_fields) - {"size_target"}
        parts: dict[str, Any] = {
            "data": True,
            "supernet": True,
            "training": True,
            "gates": deciding,
        }
        return self.model_dump(mode="json", include=parts)

    @property
    def space(self) -> CategoricalSpace | None:
        """The architectures of a supernet of one-of-many switches; None: it has none such."""
        network = self.supernet
        return network.space if isinstance(network, CATEGORICAL) else None

    @property
    def of_cells(self) -> bool:
        """Whether what is searched is a cell of NAS-Bench-201."""
        return isinstance(self.space, CellSpace)

    @property
    def alone_config(self) -> AloneConfig | None:
        """How each cell of a search by cells alone is trained; None: it is another search.

        Raises:
            ValidationError: the parts do not fit.
        """
        if self.alone is None:
            return None
        data, training = self.data, self.training
        train = data.train or 0
        given = {
            "dataset": data.name,
            "train": train,
            "validation": data.validation,
            "split_seed": data.split_seed,
            "supernet": self.supernet,
            "steps": training.epochs * train // training.batch,
            **{key: getattr(training, key) for key in TRAINED_ALONE if key != "epochs"},
            **self.alone.model_dump(include=set(AloneSettings.model_fields)),
        }
        return AloneConfig.model_validate(given)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for rule in RULES:
            for problem in rule(self):
                raise ValueError(problem)
        return self


def _one_of_many_is_gated(spec: Spec) -> Iterator[str]:
    if spec.space is not None and spec.gates.mode == "none":
        yield f"supernet {spec.supernet.name} has no plain network; use gates mode: fixed"


def _score_compares_architectures(spec: Spec) -> Iterator[str]:
    if spec.space is None or spec.gates.estimator != "score":
        return
    if spec.gates.noise == "batch":
        many = f"{spec.space.ARCHITECTURE}s"
        yield (
            f"gates.estimator: score compares the {many} of a batch, which has one; use "
            f"noise: image, or a number of {many}"
        )
    if (spec.training.micro_batch or spec.training.batch) == 1:
        yield "gates.estimator: score needs two images at once or more"


def _shared_architectures_are_recalibrated(spec: Spec) -> Iterator[str]:
    if spec.space is None or spec.gates.noise == "image":
        return
    if spec.candidates.batchnorm == "running":
        yield (
            f"{spec.space.ARCHITECTURE}s that images share leave no running BatchNorm statistics; "
            "use candidates.batchnorm: recalibrated"
        )


def _masks_divide_a_batch(spec: Spec) -> Iterator[str]:
    if isinstance(spec.gates.noise, int):
        for key in ("batch", "micro_batch"):
            if (getattr(spec.training, key) or 0) % spec.gates.noise:
                yield f"training.{key} must be a multiple of gates.noise"


def _racing_needs_images_in_memory(spec: Spec) -> Iterator[str]:
    if spec.candidates.ranking == "racing" and spec.data.name == "imagenet":
        yield "candidates.ranking: racing needs validation images in memory"


def _warmup_ends(spec: Spec) -> Iterator[str]:
    if spec.gates.mode == "learned" and spec.gates.warmup_epochs >= spec.training.epochs:
        yield "gates.warmup_epochs must be smaller than training.epochs"


def _kernels_fade_in_a_warm_up(spec: Spec) -> Iterator[str]:
    network = spec.supernet
    fading = isinstance(network, NasBench201Config) and network.kernels == "fading"
    if fading and not spec.gates.warmup_epochs:
        yield "supernet.kernels: fading needs gates.warmup_epochs, at whose end they have faded"


def _heldout_images_move_switches_alone(spec: Spec) -> Iterator[str]:
    if spec.data.heldout and (spec.gates.mode != "learned" or spec.gates.learning_rate is None):
        yield "data.heldout needs gates mode: learned and a gates.learning_rate"
    if spec.data.heldout and spec.training.compile:
        yield (
            "data.heldout lets weights and switches learn in turns, which a compiled network "
            "does not follow; use training.compile: false"
        )


def _chains_are_of_one_of_many(spec: Spec) -> Iterator[str]:
    if spec.gates.dependence == "chain" and spec.space is None:
        yield "gates.dependence: chain needs supernet nasbench201 or nasbench-macro"


def _sizes_are_of_channels(spec: Spec) -> Iterator[str]:
    gates = spec.gates
    for key in ("size_prior", "size_target"):
        if getattr(gates, key) and spec.space is not None:
            name = spec.supernet.name
            yield f"gates.{key} needs channel gates; leave it out with supernet {name}"
    if gates.size_target and (gates.mode != "learned" or gates.learning_rate is None):
        yield "gates.size_target needs gates mode: learned and a gates.learning_rate"


def _bands_are_of_sizes(spec: Spec) -> Iterator[str]:
    band, network = spec.candidates.band, spec.supernet
    if band is None:
        return
    if band[0] > band[1]:
        yield "candidates.band is the fewest and the most parameters, in this order"
    if not isinstance(network, NatsBenchSizeConfig) or network.width % len(WIDTHS):
        yield f"candidates.band needs supernet natsbench-size, width a multiple of {len(WIDTHS)}"
    if not _holds_a_network(band[0], band[1]):
        yield f"candidates.band: no network of the size space has {band[0]} to {band[1]} parameters"


@cache
def _holds_a_network(low: int, high: int) -> bool:
    return bool(within((low, high)).any())


def _enas_alone_has_heads_and_drop_path(spec: Spec) -> Iterator[str]:
    for option in ("auxiliary_weight", "drop_path"):
        if getattr(spec.training, option) and not isinstance(spec.supernet, EnasConfig):
            yield f"training.{option} needs supernet enas"


def _images_fit(spec: Spec) -> Iterator[str]:
    side = spec.data.image_side
    too_small = f"images of {spec.data.title} ({side}x{side}) are too small for"
    if spec.training.auxiliary_weight and side <= 16:
        yield f"{too_small} an auxiliary head"
    if isinstance(spec.supernet, DenseNetConfig) and spec.supernet.smallest_image > side:
        yield f"{too_small} {len(spec.supernet.layers)} dense blocks; use fewer"
    network, halves = spec.supernet, (NasBench201Config, NatsBenchSizeConfig)
    if isinstance(network, halves) and (problem := network.misfit(side)):
        yield f"supernet {network.name} {problem}"


def _alone_leaves_the_rest(spec: Spec) -> Iterator[str]:
    if spec.alone is None:
        return
    if not spec.of_cells:
        yield "alone needs supernet nasbench201"
    if spec.data.train is None:
        yield "alone: data.train says how many images each cell is trained on"
    plain = ConstantSchedule()
    if spec.training.schedule != plain:
        yield "alone: training.schedule is to be constant, as a training holds every shorter one"
    training = TrainingConfig(
        **{key: getattr(spec.training, key) for key in TRAINED_ALONE}, schedule=plain
    )
    nothing = Augmentation(crop=0, flip=False, cutout=0)
    kept: dict[str, tuple[Strict, Strict]] = {
        "training": (spec.training, training),
        "gates": (spec.gates, GateConfig(length_scale2=0)),
        "data.augmentation": (spec.data.augmentation, nothing),
    }
    for part, (given, left) in kept.items():
        for key, value in left:
            if getattr(given, key) != value:
                yield f"alone: {part}.{key} is not used; leave it at {value}"
    if spec.data.heldout:
        yield "alone: data.heldout is not used; leave it at 0"
    try:
        _ = spec.alone_config
    except ValidationError as error:
        yield f"alone: {first_problem(error)}"


RULES = (
    _alone_leaves_the_rest,
    _one_of_many_is_gated,
    _score_compares_architectures,
    _shared_architectures_are_recalibrated,
    _masks_divide_a_batch,
    _racing_needs_images_in_memory,
    _warmup_ends,
    _kernels_fade_in_a_warm_up,
    _heldout_images_move_switches_alone,
    _chains_are_of_one_of_many,
    _sizes_are_of_channels,
    _bands_are_of_sizes,
    _enas_alone_has_heads_and_drop_path,
    _images_fit,
)
"""What must hold between the parts of a specification: each yields what is wrong, in one line."""
