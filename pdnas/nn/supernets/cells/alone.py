"""One cell as a network of its own, in fewer and larger calls than as a choice of the supernet."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdnas.nn.supernets.cells.mixture import CellMixture
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.cells.operations import AveragePool, convolved
from pdnas.space.cells import EDGES, NODES, leaving


class CellAlone(nn.Module):
    """The chosen operations of a cell; those that leave a node and have one kernel size are one.

    Edges into a node that the output does not see are left out.

    Args:
        mixture: whose kernels and BatchNorm weights are copied.
        names: of the operations, edge by edge.
    """

    def __init__(self, mixture: CellMixture, names: Sequence[str]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        self._ways: list[dict[str, list[int]]] = []
        for source in range(NODES - 1):
            ways: dict[str, list[int]] = {}
            for edge in leaving(source):
                ways.setdefault(names[edge], []).append(edge)
            merged = {
                name: _merged([mixture.operation(edge, name) for edge in edges])
                for name, edges in ways.items()
                if name.startswith("nor_conv")
            }
            self.convolutions.append(nn.ModuleDict(merged))
            self._ways.append({name: [EDGES[edge][1] for edge in ways[name]] for name in ways})
        self.pool = AveragePool()

    def forward(self, x: Tensor) -> Tensor:
        sums: list[Tensor | None] = [x] + [None] * (NODES - 1)
        for source, (ways, operations) in enumerate(
            zip(self._ways, self.convolutions, strict=True)
        ):
            assert isinstance(operations, nn.ModuleDict)
            node = sums[source]
            if node is None:  # BatchNorm's offset leaves it all the same
                node = torch.zeros_like(x)
            rectified = F.relu(node) if len(operations) else node
            for name, targets in ways.items():
                if name == "none":
                    continue
                if name == "skip_connect":
                    outputs: Sequence[Tensor] = [node] * len(targets)
                elif name == "avg_pool_3x3":
                    outputs = [self.pool(node)] * len(targets)
                else:
                    operation = operations[name]
                    assert isinstance(operation, nn.Sequential)
                    outputs = convolved(operation, rectified).chunk(len(targets), dim=1)
                for target, output in zip(targets, outputs, strict=True):
                    before = sums[target]
                    sums[target] = output if before is None else before + output
        return torch.zeros_like(x) if sums[-1] is None else sums[-1]


def _merged(operations: Sequence[nn.Module]) -> nn.Sequential:
    """Several ``conv_op`` of one input as one, whose channels lie one operation after the other."""
    merged = deepcopy(operations[0])
    assert isinstance(merged, nn.Sequential)
    _, convolution, norm = merged
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    convolution.weight = nn.Parameter(_joined(operations, "1.weight"))
    convolution.out_channels = len(convolution.weight)
    merged[2] = nn.BatchNorm2d(convolution.out_channels, norm.eps, norm.momentum)
    merged[2].weight = nn.Parameter(_joined(operations, "2.weight"))
    merged[2].bias = nn.Parameter(_joined(operations, "2.bias"))
    return merged


def _joined(operations: Sequence[nn.Module], name: str) -> Tensor:
    return torch.cat([each.get_parameter(name).detach() for each in operations])


class AloneNetwork(nn.Sequential):
    """The skeleton of a supernet with one cell in it; weights are copies of the supernet's.

    BatchNorms of operations have running statistics of their own, from the beginning.

    Args:
        supernet: freshly initialised or trained.
        cell: six operation codes of its space.
    """

    def __init__(self, supernet: NasBench201Supernet, cell: Sequence[int]) -> None:
        names = [supernet.space.operations[code] for code in cell]
        layers = [
            CellAlone(layer, names) if isinstance(layer, CellMixture) else deepcopy(layer)
            for layer in supernet.layers
        ]
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        tail = (deepcopy(supernet.head), pool, deepcopy(supernet.classifier))
        super().__init__(deepcopy(supernet.stem), *layers, *tail)
