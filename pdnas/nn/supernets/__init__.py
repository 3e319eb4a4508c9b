"""The registry of supernets: one module and one line here make a new one usable everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pdnas.nn.supernets.base import ChannelSupernet, Supernet
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.densenet import DenseNetSupernet
from pdnas.nn.supernets.enas import EnasSupernet
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.nn.supernets.resnet import MultiKernelResNetSupernet
from pdnas.space.cells import CellSpace
from pdnas.spec.supernets import (
    DenseNetConfig,
    EnasConfig,
    MultiBranchConfig,
    NasBench201Config,
    ResNetConfig,
    SupernetConfig,
)

__all__ = ["NAMED", "ChannelSupernet", "Supernet", "build"]

_BUILDERS: Mapping[str, Callable[[Any, int, int], Supernet]] = {
    "multibranch": lambda c, inputs, classes: MultiBranchSupernet(
        c.width, c.blocks, inputs, classes, c.merge
    ),
    "enas": lambda c, inputs, classes: EnasSupernet(c.layers, c.filters, inputs, classes),
    "resnet": lambda c, inputs, classes: MultiKernelResNetSupernet(
        c.width, c.blocks, c.kernels, inputs, classes
    ),
    "densenet": lambda c, inputs, classes: DenseNetSupernet(c.layers, c.growth, inputs, classes),
    "nasbench201": lambda c, inputs, classes: NasBench201Supernet(
        c.channels, c.cells_per_stage, CellSpace(c.operations), inputs, classes, c.stages
    ),
}

NAMED: Mapping[str, SupernetConfig] = {
    "supernet-m": MultiBranchConfig(name="multibranch", width=96),
    "supernet-mi": MultiBranchConfig(name="multibranch", width=160),
    "supernet-e": EnasConfig(name="enas", filters=36),
    "supernet-ei": EnasConfig(name="enas", filters=72),
    "supernet-r50": ResNetConfig(name="resnet"),
    "supernet-d121": DenseNetConfig(name="densenet", layers=(6, 12, 24, 16)),
    "supernet-d169": DenseNetConfig(name="densenet", layers=(6, 12, 32, 32)),
    "supernet-d201": DenseNetConfig(name="densenet", layers=(6, 12, 48, 32)),
    "nasbench201": NasBench201Config(name="nasbench201"),
}
"""The supernets of the paper at full size, and the benchmark's own network."""


def build(config: SupernetConfig, in_channels: int, classes: int) -> Supernet:
    """A freshly initialised supernet for images of ``in_channels`` channels."""
    return _BUILDERS[config.name](config, in_channels, classes)
