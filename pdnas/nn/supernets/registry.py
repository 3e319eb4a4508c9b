"""Which supernet a configuration builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pdnas.nn.supernets.base import Supernet
from pdnas.spec.supernets import SupernetConfig

Class = TypeVar("Class", bound=type[Supernet])

_SUPERNETS: dict[type[Any], type[Supernet]] = {}


def register(config: type[Any]) -> Callable[[Class], Class]:
    """Make a class the supernet of a kind of configuration."""

    def add(supernet: Class) -> Class:
        _SUPERNETS[config] = supernet
        return supernet

    return add


def build(config: SupernetConfig, in_channels: int, classes: int) -> Supernet:
    """A freshly initialised supernet for images of ``in_channels`` channels."""
    return _SUPERNETS[type(config)].of(config, in_channels, classes)
