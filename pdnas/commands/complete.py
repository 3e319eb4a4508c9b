"""What the Tab key offers, of names that a scale or the suite knows; nothing heavy is loaded."""

from __future__ import annotations

import typer

from pdnas.support.errors import PdnasError


def scales() -> list[str]:
    """Scales of the package."""
    from pdnas.spec.scale import SCALES

    return sorted(path.stem for path in SCALES.glob("*.yaml"))


def studies(context: typer.Context) -> list[str]:
    """Studies of the scale that the command line names, or of the default one."""
    from pdnas.spec.scale import load_scale

    try:
        return list(load_scale(context.params.get("scale") or "laptop").studies)
    except PdnasError:
        return []


def variants(context: typer.Context) -> list[str]:
    """Variants of the study that the command line names."""
    from pdnas.spec.scale import load_scale

    try:
        known = load_scale(context.params.get("scale") or "laptop").studies
    except PdnasError:
        return []
    study = known.get(str(context.params.get("study")))
    return [] if study is None else list(study.variants)


def tables() -> list[str]:
    """Tables by name."""
    from pdnas.spec.products import TABLES

    return list(TABLES)


def figures() -> list[str]:
    """Figures by name."""
    from pdnas.spec.products import FIGURES

    return list(FIGURES)


def supernets() -> list[str]:
    """Supernets that can be described."""
    from pdnas.spec.supernets import NAMED

    return list(NAMED)


def truths() -> list[str]:
    """Ground truths by name."""
    from pdnas.truth.tables import names

    return names()
