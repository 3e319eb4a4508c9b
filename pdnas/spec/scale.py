"""Validated configuration: what a scale file may say, and one line for whatever it may not.

A *scale* (``pdnas/spec/scales/NAME.yaml``) holds *studies*; a study holds a base specification and
*variants* that override parts of it. ``Scale.spec(study, variant)`` is the resolved specification
of one supernet search, everything that follows from it included. This module imports no torch, so
Snakemake can validate a configuration in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from pdnas.spec import limits
from pdnas.spec.base import NAME, Count, Name, Seed, Strict, first_problem, merge
from pdnas.spec.names import Device, GateMode, PaperSupernet, Role, Target
from pdnas.spec.spec import Spec
from pdnas.support.errors import PdnasError

Model = TypeVar("Model", bound=Strict)

SCALES = Path(__file__).with_name("scales")


MODES: dict[Role, GateMode] = {
    "guided": "learned",
    "random": "fixed",
    "full": "none",
    "plain": "none",
}
"""The mode of the gates of a variant that plays a part."""

KEYED_BY_VARIANT = ("more_seeds", "finetune", "extract", "labels")
"""Keys of a study that name some of its variants."""


class _Loader(yaml.SafeLoader):
    """YAML in which nothing is silently another than what one reads.

    No key replaces another; a merge (``<<``) may still be overridden. No number is to base 8 or 60.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise PdnasError(
                        f"line {line} has the key {key.value!r} again, after line "
                        f"{lines[key.value]}; leave one of them"
                    )
                lines[key.value] = line
        return node

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        kind = node.tag.rpartition(":")[2]
        value: int | float = getattr(super(), f"construct_yaml_{kind}")(node)
        if (re.match(r"[-+]?0[0-9_]", node.value) and kind == "int") or ":" in node.value:
            raise PdnasError(
                f"line {node.start_mark.line + 1} has {node.value}, which YAML reads as {value}; "
                "write the number that is meant"
            )
        return value


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


class Study(Strict):
    """A base specification, variants that override parts of it, and the seeds of all of them."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    """Seeds of every variant."""
    more_seeds: dict[Name, list[Seed]] = Field({})
    """Further seeds of single variants, on which a claim rests."""
    base: dict[str, Any]
    """A specification, or what its variants have in common of one."""
    variants: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
    """By name, the parts of a specification that differ from the base."""
    stands_for: PaperSupernet | None = None
    """The paper's supernet that the study is a stand-in for; it decides which tables it enters."""
    finetune: list[Name] = Field([])
    """Variants whose chosen candidate is fine-tuned too, as `retrain` says."""
    extract: list[Name] = Field([])
    """Variants whose chosen candidate becomes a network of its own."""
    target: Target = "all"
    """The Snakemake target that runs the study."""
    score_images: Count | None = None
    """Target nasbench: validation images that score every cell; null: no scores."""
    labels: dict[Name, str] = Field({})
    """What tables and figures call variants, if not by their name; as the literature has it, its
    numbers stand beside."""
    roles: dict[Role, Name] = Field({})
    """Variants by the part they play, where their specification does not say it: guided is the base
    itself, random has fixed gates, full and plain have none."""

    def seeds_of(self, variant: str) -> list[int]:
        """All seeds of a variant."""
        return [*self.seeds, *self.more_seeds.get(variant, ())]

    @model_validator(mode="after")
    def _variants_known(self) -> Self:
        named = {key: tuple(getattr(self, key)) for key in KEYED_BY_VARIANT}
        for key, variants in {**named, "roles": tuple(self.roles.values())}.items():
            for variant in variants:
                if variant not in self.variants:
                    raise ValueError(f"{key}: no variant {variant!r}")
        return self

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        shown = [self.labels.get(variant, variant) for variant in self.variants]
        for label in shown:
            if shown.count(label) > 1:  # figures would draw them as one
                raise ValueError(f"labels: two variants are called {label!r}")
        return self

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        for variant in self.variants:
            seeds = self.seeds_of(variant)
            if len(set(seeds)) < len(seeds):  # a run would count twice in every interval
                raise ValueError(f"seeds of {variant} repeat: {seeds}")
        return self


class Scale(Strict):
    """A scale file."""

    description: str
    """One line, shown in the report."""
    device: Device = "auto"
    """Where networks compute; auto: on a GPU if there is one."""
    threads: Annotated[int, Field(ge=1, le=limits.THREADS)] = 1
    """Processor threads a job computes with."""
    memory_mb: Count = 4000
    """Memory a job is granted."""
    runtime_minutes: Count = 60
    """Longest time a job may take."""
    gpus: Count = 1
    """GPUs of a job that trains or ranks, with a process for each (docs/cluster.md)."""
    studies: dict[Name, Study]
    """The studies, by name."""

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
                    problem = next(self._problems(study, variant), None)
                except ValidationError as error:
                    problem = first_problem(error)
                if problem:
                    raise ValueError(f"{study}/{variant}: {problem}")
        return self

    def _problems(self, study: str, variant: str) -> Iterator[str]:
        """What is wrong between a variant, its study and the study's other variants."""
        content, spec = self.studies[study], self.spec(study, variant)
        if variant in content.finetune and spec.retrain is None:
            yield "finetune needs retrain, which says how"
        if spec.space is not None and variant in (*content.finetune, *content.extract):
            yield f"{spec.space.ARCHITECTURE}s are not fine-tuned or extracted"
        cutout, side = spec.data.augmentation.cutout, spec.data.image_side
        if cutout >= 2 * side - 1 and spec.data.name != "imagenet":  # which is not cut
            yield (
                f"data.augmentation.cutout: a square of {cutout} hides all of an image of "
                f"{side}x{side}; use less, or 0"
            )
        for role, named in content.roles.items():
            if named == variant and spec.gates.mode != MODES[role]:
                yield f"roles: {role} is to have gates mode: {MODES[role]}, not {spec.gates.mode}"
        validation, scoring = spec.data.validation, content.score_images or 0
        if not validation and content.target != "nasbench":
            yield "data.validation: 0 leaves no images to judge candidates on; set it to 1 or more"
        if spec.alone and (content.target != "nasbench" or content.score_images):
            yield "alone: no supernet is left to judge with; set target: nasbench, no score_images"
        if bool(spec.alone) != bool(self.spec(study, next(iter(content.variants))).alone):
            yield "alone: a study's variants all train cells alone, or none does"
        if validation < scoring:
            yield f"score_images: {scoring} is more than data.validation, which is {validation}"
        match = spec.gates.match
        if match is not None and match not in content.variants:
            yield f"gates.match: no variant {match!r} in {study}"
        if match is not None and self.spec(study, match).gates.mode != "learned":
            yield f"gates.match: {match} learns no drop probabilities"

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
        return Spec.model_validate(merge(content.base, content.variants[variant]))

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


def is_own(name: str) -> bool:
    """Whether a scale is one of the package's."""
    return (SCALES / f"{name}.yaml").is_file()


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
    return read_model(scale_path(name), Scale)


def read_model(path: Path, model: type[Model]) -> Model:
    """Read a YAML file as a model.

    Raises:
        PdnasError: no such file, unreadable YAML, or a wrong key or value, which is named.
    """
    try:
        return model.model_validate(yaml.load(path.read_text(encoding="utf-8"), _Loader))
    except PdnasError as error:
        raise PdnasError(f"{path}: {error}") from error
    except OSError as error:
        raise PdnasError(f"cannot read {path}: {error.strerror}; mend or replace it") from error
    except RecursionError as error:
        raise PdnasError(f"{path} is nested too deeply, or contains itself") from error
    except ValidationError as error:
        raise PdnasError(f"{path}: {first_problem(error)}") from error
    # Some of PyYAML's own errors are ValueErrors: a date that is none, a byte that is no UTF-8.
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise PdnasError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
