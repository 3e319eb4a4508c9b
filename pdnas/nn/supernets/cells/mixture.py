"""A cell that holds every operation on every edge, and the ways of images through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdnas.nn.supernets.categorical.credit import Credit, products_of_rows
from pdnas.nn.supernets.categorical.mixture import NOTHING, Mixture, Routes, as_images, as_rows
from pdnas.nn.supernets.cells.operations import applied, convolved, make_operation, products
from pdnas.space.cells import EDGES, NODES, entering, leaving

Outputs = dict[int, list[Tensor | None]]
"""By edge: each operation's output for all images; None for zeros."""
Step = Callable[[int, list[Tensor]], None]
"""Does something with a node, by its number, and all nodes."""


def node_by_node(x: Tensor, per_batch: int | None, finish: Step, send: Step) -> Tensor:
    """The last node of a cell whose input is ``x``, (images, channels, height, width).

    Args:
        per_batch: as in :class:`Mixture`; nodes are rows.
        finish: of a node that all has been added to.
        send: adds what leaves a node to the nodes behind it.
    """
    first = as_rows(x, per_batch).contiguous()
    nodes = [first] + [torch.zeros_like(first) for _ in range(NODES - 1)]
    for source in range(NODES - 1):
        finish(source, nodes)
        send(source, nodes)
    finish(NODES - 1, nodes)
    return as_images(nodes[-1])


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
        def finish(target: int, nodes: list[Tensor]) -> None:
            if soft is not None and target:
                weights = soft[:, entering(target)]
                credit = partial(self.credit, target, per_batch is not None)
                sources = (node.detach() for node in nodes[:target])
                nodes[target] = Credit.apply(nodes[target], weights, credit, *sources)

        def send(source: int, nodes: list[Tensor]) -> None:
            # One gather for all that leaves a node: many small ones would each cost a full-size
            # gradient buffer in the backward pass.
            sent = [
                (edge, name, rows)
                for edge in leaving(source)
                for name, rows in routes[edge].items()
            ]
            if sent:
                pieces = nodes[source].index_select(0, torch.cat([rows for *_, rows in sent]))
                sizes = [len(rows) for *_, rows in sent]
                for (edge, name, rows), piece in zip(sent, pieces.split(sizes), strict=True):
                    own = None if per_batch is None else len(rows)
                    out = applied(self.operation(edge, name), as_images(piece), own)
                    nodes[EDGES[edge][1]].index_add_(0, rows, as_rows(out, own))

        return node_by_node(x, per_batch, finish, send)

    def credit(self, target: int, shared: bool, slope: Tensor, *sources: Tensor) -> Tensor:
        """Products of the slope at a node and what each operation of each edge would add to it.

        Args:
            shared: as in :func:`normalised_products`.
            slope: some rows of it.
            sources: the same rows of the nodes before.

        Returns:
            (rows, edges, operations).
        """
        edges = entering(target)
        rectified = [F.relu(as_images(source)) for source in sources]
        credit = slope.new_zeros(len(slope), len(edges), len(self.operations))
        for code, name in enumerate(self.operations):
            if name != NOTHING:
                operations = [self.operation(edge, name) for edge in edges]
                credit[:, :, code] = products(operations, slope, sources, rectified, shared).T
        return credit

    def weighted(self, x: Tensor, weights: Tensor, per_batch: int | None = None) -> Tensor:
        # The weights' gradient is computed as credit: autograd would fill two more full-size
        # tensors for each. Nobody needs credit in a step of the weights of the network alone.
        through = partial(convolved, cells_per_batch=per_batch)
        added: dict[int, list[Tensor | None]] = {}

        def finish(target: int, nodes: list[Tensor]) -> None:
            if weights.requires_grad and target:
                edges = entering(target)
                outputs = (out for edge in edges for out in added[edge])
                credit = partial(products_of_rows, (len(edges), len(self.operations)))
                nodes[target] = Credit.apply(nodes[target], weights[:, edges], credit, *outputs)

        def send(source: int, nodes: list[Tensor]) -> None:
            outputs = self.outputs(as_images(nodes[source]), leaving(source), through)
            for edge, given in outputs.items():
                added[edge] = [None if out is None else as_rows(out, per_batch) for out in given]
                target = nodes[EDGES[edge][1]]
                shares = weights.detach()[:, edge].to(x.dtype).unbind(1)
                for share, rows in zip(shares, added[edge], strict=True):
                    if rows is not None:
                        target.addcmul_(share.view(-1, *(1,) * (rows.dim() - 1)), rows)

        return node_by_node(x, per_batch, finish, send)

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
