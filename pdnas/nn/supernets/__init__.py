"""Supernets: each module here adds its own to the registry."""

from importlib import import_module
from pkgutil import iter_modules

from pdnas.nn.supernets.base import ChannelSupernet, Supernet
from pdnas.nn.supernets.categorical.network import CategoricalSupernet
from pdnas.nn.supernets.registry import build

__all__ = ["CategoricalSupernet", "ChannelSupernet", "Supernet", "build"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
