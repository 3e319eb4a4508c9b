"""The data sets there are, by name. A new one is a module with its entry, and a line here."""

from __future__ import annotations

from pdnas.data.cifar10 import CIFAR10
from pdnas.data.cifar100 import CIFAR100
from pdnas.data.dataset import DatasetInfo
from pdnas.data.digits import DIGITS
from pdnas.data.folders import IMAGENET
from pdnas.data.pictures import pictures
from pdnas.spec.data import DataConfig, FoldersConfig

INFO: dict[str, DatasetInfo] = {info.name: info for info in (CIFAR10, CIFAR100, IMAGENET, DIGITS)}
"""Those that are published."""


def dataset(config: DataConfig) -> DatasetInfo:
    """The data set that a configuration names."""
    return pictures(config) if isinstance(config, FoldersConfig) else INFO[config.name]
