"""Gradient estimators: each module here adds its own to the registry."""

from importlib import import_module
from pkgutil import iter_modules

from pdnas.nn.supernets.categorical.estimators.base import ESTIMATORS, GradientEstimator, Way

__all__ = ["ESTIMATORS", "GradientEstimator", "Way"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
