"""A cell that holds every operation on every edge, and the ways of images through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdnas.nn.supernets.categorical.mixture import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    NOTHING,
    Layout,
    Mixture,
    Routes,
)
from pdnas.nn.supernets.cells.credit import Credits, Outputs
from pdnas.nn.supernets.cells.operations import applied, convolved, evaluated, make_operation
from pdnas.space.cells import EDGES, NODES, leaving


def node_by_node(
    x: Tensor, layout: Layout, weights: Tensor | None, send: Callable[[int, list[Tensor]], Outputs]
) -> Tensor:
    """The last node of a cell whose input is ``x``, (images, channels, height, width).

    Args:
        layout: of the nodes.
        weights: (images, edges, operations), which get credit for what operations give.
        send: of a node's number and all nodes; adds what leaves it to the nodes behind it, and
            returns what the operations give that are to get credit.
    """
    first = x.permute(layout.to_rows).contiguous()
    nodes = [first] + [torch.zeros_like(first) for _ in range(NODES - 1)]
    credits = Credits(weights, layout.to_rows)
    for source in range(NODES - 1):
        nodes[source] = credits.finished(nodes[source], source)
        credits.consider(send(source, nodes))
    return credits.finished(nodes[-1], NODES - 1).permute(layout.to_images)


class CellMixture(Mixture):
    """A cell that holds every operation on every edge."""

    def __init__(self, channels: int, operations: tuple[str, ...]) -> None:
        super().__init__()
        self.operations = operations
        self.edges = nn.ModuleList(
            nn.ModuleDict(
                {name: make_operation(name, channels) for name in operations if name != NOTHING}
            )
            for _ in EDGES
        )

    def operation(self, edge: int, name: str) -> nn.Module:
        """The module of one operation; ``none`` has none."""
        operations = self.edges[edge]
        assert isinstance(operations, nn.ModuleDict)
        return operations[name]

    def forward(
        self,
        x: Tensor,
        routes: Routes,
        soft: Tensor | None = None,
        per_batch: int | None = None,
    ) -> Tensor:
        # Gathering and adding images copies rows. Channels last is what convolutions like best;
        # channels first, what BatchNorm by cell needs.
        layout, considered = CHANNELS_LAST, evaluated
        if per_batch is not None:
            layout = CHANNELS_FIRST
            considered = partial(convolved, cells_per_batch=per_batch)

        def send(source: int, nodes: list[Tensor]) -> Outputs:
            # One gather for all that leaves a node: many small ones would each cost a full-size
            # gradient buffer in the backward pass.
            sent = [
                (edge, name, images)
                for edge in leaving(source)
                for name, images in routes[edge].items()
            ]
            if sent:
                rows = torch.cat([images for *_, images in sent])
                pieces = nodes[source].index_select(0, rows)
                sizes = [len(images) for *_, images in sent]
                for (edge, name, images), piece in zip(sent, pieces.split(sizes), strict=True):
                    cells = per_batch and len(images) * per_batch // len(x)
                    operation = self.operation(edge, name)
                    out = applied(operation, piece.permute(layout.to_images), cells)
                    nodes[EDGES[edge][1]].index_add_(0, images, out.permute(layout.to_rows))
            if soft is None:
                return {}
            with torch.no_grad():
                images = nodes[source].permute(layout.to_images)
                return self.outputs(images, leaving(source), considered)

        return node_by_node(x, layout, soft, send)

    def weighted(self, x: Tensor, weights: Tensor, per_batch: int | None = None) -> Tensor:
        # The weights' gradient is computed as credit: autograd would fill two more full-size
        # tensors for each.
        through = partial(convolved, cells_per_batch=per_batch)

        def send(source: int, nodes: list[Tensor]) -> Outputs:
            images = nodes[source].permute(CHANNELS_LAST.to_images)
            outputs = self.outputs(images, leaving(source), through)
            for edge, added in outputs.items():
                for weight, out in zip(weights.detach()[:, edge].unbind(1), added, strict=True):
                    if out is not None:
                        share = weight.to(x.dtype)[:, None, None, None]
                        rows = out.permute(CHANNELS_LAST.to_rows)
                        nodes[EDGES[edge][1]].addcmul_(share, rows)
            return outputs

        # Channels last is how convolutions of few channels are fast on a CPU. Nobody needs credit
        # in a step of the weights of the network alone.
        credited = weights if weights.requires_grad else None
        return node_by_node(x, CHANNELS_LAST, credited, send)

    def alone(self, x: Tensor, names: Sequence[str], per_batch: int | None = None) -> Tensor:
        return self.nodes(x, names, per_batch)[-1]

    def outputs(
        self, x: Tensor, edges: Iterable[int], through: Callable[[nn.Sequential, Tensor], Tensor]
    ) -> Outputs:
        """What each operation of some edges that leave one node gives for all images.

        Args:
            x: the node, (images, channels, height, width).
            through: of a :func:`conv_op` and its input after the ReLU.
        """
        rectified = F.relu(x)
        unweighted: dict[str, Tensor] = {}  # operations without weights, the same on every edge
        outputs: Outputs = {}
        for edge in edges:
            outputs[edge] = []
            for name in self.operations:
                operation = None if name == NOTHING else self.operation(edge, name)
                if operation is None:
                    out = None
                elif isinstance(operation, nn.Sequential):
                    out = through(operation, rectified)
                else:
                    if name not in unweighted:
                        unweighted[name] = operation(x)
                    out = unweighted[name]
                outputs[edge].append(out)
        return outputs

    def nodes(
        self, x: Tensor, names: Sequence[str], cells_per_batch: int | None = None
    ) -> list[Tensor]:
        """The nodes that the first edges lead to, with operation ``names[e]`` on edge e.

        All images go the same way. A node that nothing reaches is zero, and what leaves it still
        adds BatchNorm's offset: so it is in training, and in the benchmark's own network.

        Args:
            cells_per_batch: as in :class:`Mixture`; a single cell that is drawn for a batch has 1.
        """
        nodes = [x]
        for edge, name in enumerate(names):
            source, target = EDGES[edge]  # in the order of targets
            if target == len(nodes):
                nodes.append(torch.zeros_like(x))
            if name != NOTHING:
                operation = self.operation(edge, name)
                nodes[target] = nodes[target] + applied(operation, nodes[source], cells_per_batch)
        return nodes
