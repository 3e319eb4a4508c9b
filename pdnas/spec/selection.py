"""Which studies of a scale a table or figure is about.

These are functions of the scale alone, so that Snakemake can ask before anything has been run, and
so that a table needs no run of a study that it does not show.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, get_args

from pdnas.space.macro import MacroSpace
from pdnas.spec.names import TruthData
from pdnas.spec.roles import roles
from pdnas.spec.scale import Scale
from pdnas.spec.spec import Spec


def stand_ins(
    scale: Scale, data: Container[str] | None = None, supernet: str | None = None
) -> dict[str, str]:
    """Studies that stand for a supernet of the paper, with its name.

    Args:
        data: their data sets; None: whichever.
        supernet: the one that they stand for; None: whichever.
    """
    return {
        name: study.stands_for
        for name, study in scale.studies.items()
        if study.stands_for is not None
        and supernet in (None, study.stands_for)
        and (data is None or _first(scale, name).data.name in data)
    }


def on_cifar10(scale: Scale, supernet: str | None = None) -> dict[str, str]:
    """The :func:`stand_ins` of Tables 3 to 7: on CIFAR-10, or on what takes its place."""
    return stand_ins(scale, ("cifar10", "digits"), supernet)


def over_channels(scale: Scale) -> list[str]:
    """Studies of gates on channels that the target ``all`` runs."""
    return [
        name
        for name, study in scale.studies.items()
        if study.target == "all" and _first(scale, name).space is None
    ]


def guided_over_channels(scale: Scale) -> list[str]:
    """Those with a guided search."""
    return [name for name in over_channels(scale) if roles(scale, name).guided]


def over_cells(scale: Scale) -> list[str]:
    """Studies of distributions over NAS-Bench-201's cells."""
    return [name for name in scale.studies if _first(scale, name).of_cells]


def over_cells_in_all(scale: Scale) -> list[str]:
    """Those that the target ``all`` runs."""
    return [name for name in over_cells(scale) if scale.studies[name].target == "all"]


def over_sizes(scale: Scale) -> list[str]:
    """Studies of the size space within bands of parameters, which the target ``truths`` runs."""
    return [
        name
        for name, study in scale.studies.items()
        if study.target == "truths" and _first(scale, name).candidates.band is not None
    ]


def over_macro(scale: Scale) -> list[str]:
    """Studies of NAS-Bench-Macro's networks, which the target ``truths`` runs."""
    return [
        name
        for name, study in scale.studies.items()
        if study.target == "truths" and isinstance(_first(scale, name).space, MacroSpace)
    ]


def guided_and_random(scale: Scale) -> list[str]:
    """Studies that hold guided candidates against random ones."""
    own = {name: roles(scale, name) for name in scale.studies}
    return [name for name, each in own.items() if each.guided and each.random]


def fine_tuned(scale: Scale) -> list[str]:
    """Studies that fine-tune candidates."""
    return [
        name
        for name, study in scale.studies.items()
        if any(scale.spec(name, variant).retrain for variant in study.variants)
    ]


def drawn(scale: Scale) -> list[str]:
    """Studies over channels whose candidates and gates have figures: the :func:`main` ones."""
    channels = over_channels(scale)
    return [name for name in main(scale) if name in channels]


def main(scale: Scale) -> list[str]:
    """Studies of guidance; where it is only varied and stands for nothing, ablations say it all."""
    return [
        name
        for name, study in scale.studies.items()
        if roles(scale, name).guided and (study.stands_for or not ablations(scale, name))
    ]


def ablated(scale: Scale) -> list[str]:
    """Studies with variants that differ from the guided one in one setting."""
    return [name for name in scale.studies if ablations(scale, name)]


def ablations(scale: Scale, study: str) -> dict[str, tuple[str, Any]]:
    """Variants whose resolved specification differs from the guided one in one field, with
    (field, value).

    A variant whose gates are fixed or absent is another method, not an ablation.
    """
    reference = roles(scale, study).guided
    if reference is None:
        return {}
    guided = _settings(scale, study, reference)
    found = {}
    for variant in scale.studies[study].variants:
        own = _settings(scale, study, variant)
        fields = [key for key in {**guided, **own} if guided.get(key) != own.get(key)]
        if len(fields) == 1 and fields != ["gates.mode"]:
            found[variant] = (fields[0], own.get(fields[0]))
    return found


def sweep(scale: Scale, study: str, field: str) -> dict[str, Any]:
    """The guided variant and the ablations of one field, with the field's value."""
    reference = roles(scale, study).guided
    if reference is None:
        return {}
    varied = ablations(scale, study).items()
    return {
        reference: _settings(scale, study, reference).get(field),
        **{variant: value for variant, (name, value) in varied if name == field},
    }


def judged_by(data: str) -> TruthData:
    """The ground truth for networks trained on a data set: its own, else the benchmark's first."""
    known: tuple[TruthData, ...] = get_args(TruthData)
    return next((name for name in known if name == data), known[0])


def has_truth(spec: Spec) -> bool:
    """Whether NAS-Bench-201 says how good a run is: of cells, and trained on CIFAR-10."""
    return spec.of_cells and spec.data.name == "cifar10"


def without_truth(scale: Scale) -> list[str]:
    """Studies of cells that were trained on other images."""
    return [name for name in over_cells(scale) if not has_truth(_first(scale, name))]


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level: ``{"gates": {"mode": "fixed"}}`` to ``{"gates.mode": ...}``."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _first(scale: Scale, study: str) -> Spec:
    """The specification of a study's first variant: in network and data set, that of all."""
    return scale.spec(study, next(iter(scale.studies[study].variants)))


def _settings(scale: Scale, study: str, variant: str) -> dict[str, Any]:
    return flatten(scale.spec(study, variant).model_dump())
