"""What part a variant plays in its study, read off its specification and never off its name."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from pdnas.spec.names import GateMode, JudgedSource
from pdnas.spec.scale import Scale
from pdnas.spec.spec import Spec

SOURCES: dict[GateMode, JudgedSource] = {
    "learned": "posterior",
    "fixed": "random",
    "none": "full",
}
"""What a run's own candidates are drawn from, by the mode of its gates (:func:`source_of`)."""


class Roles(NamedTuple):
    """The variants that a study compares by name; None: it has none such.

    Attributes:
        guided: learned gates; the reference, which other variants differ from in one setting.
        random: channels dropped at a fixed rate.
        full: the guided one's supernet without gates.
        plain: another network without gates.
    """

    guided: str | None
    random: str | None
    full: str | None
    plain: str | None


def source_of(spec: Spec) -> JudgedSource:
    """What a run's own candidates are drawn from: the plain network has just itself, and all
    architectures of one-of-many switches that are fixed are as likely."""
    if spec.gates.mode == "fixed" and spec.space is not None:
        return "uniform"
    return SOURCES[spec.gates.mode]


def roles(scale: Scale, study: str) -> Roles:
    """The parts that a study's variants play: as its `roles` say, else by their specifications.

    The guided variant is the study's base itself, if that learns. A study of
    another target than `all` has none: its variants are methods, of which none is the reference.
    """
    content = scale.studies[study]
    specs = {variant: scale.spec(study, variant) for variant in content.variants}
    sources = {variant: source_of(spec) for variant, spec in specs.items()}

    def first(source: JudgedSource, among: Collection[str]) -> str | None:
        return next((each for each in specs if sources[each] == source and each in among), None)

    bases = {name for name, overrides in content.variants.items() if not overrides}
    guided = content.roles.get("guided") or first(
        "posterior", bases if content.target == "all" else ()
    )
    alike = {
        name
        for name, spec in specs.items()
        if guided is None or spec.supernet == specs[guided].supernet
    }
    found = Roles(
        guided=guided,
        random=first("random", specs),
        full=first("full", alike),
        plain=first("full", specs.keys() - alike),
    )
    return found._replace(**content.roles)
