"""Which supernet a configuration builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pdnas.nn.supernets.base import Supernet
from pdnas.spec.supernets import SupernetConfig

Builder = TypeVar("Builder", bound=Callable[[Any, int, int], Supernet])

_BUILDERS: dict[type[Any], Callable[[Any, int, int], Supernet]] = {}


def register(config: type[Any]) -> Callable[[Builder], Builder]:
    """Let a function build the supernets of a kind of configuration.

    Its arguments are those of :func:`build`.
    """

    def add(builder: Builder) -> Builder:
        _BUILDERS[config] = builder
        return builder

    return add


def build(config: SupernetConfig, in_channels: int, classes: int) -> Supernet:
    """A freshly initialised supernet for images of ``in_channels`` channels."""
    return _BUILDERS[type(config)](config, in_channels, classes)
