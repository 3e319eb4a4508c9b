"""NAS-Bench-201's cell space without torch: edges, operations, architecture strings, enumeration.

A cell is a complete directed graph on four nodes; each of its six edges carries one operation
(Dong and Yang, "NAS-Bench-201", ICLR 2020, section 2). A cell is written here as six operation
codes in the order of its architecture string, edges 0>1, 0>2, 1>2, 0>3, 1>3, 2>3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pdnas.support.errors import PdnasError

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The benchmark's five operations, in the benchmark's own order."""

NODES = 4
"""Nodes of a cell: its input, two between, its output."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source node, target node) of each edge, in the order of the architecture string."""

CHAIN = (0, 2, 1, 5, 4, 3)
"""The edges as 0>1, 1>2, 0>2, 2>3, 1>3, 0>3: each leaves the node in which the one before it ends,
or ends in the same node."""


def leaving(node: int) -> list[int]:
    """The edges that leave a node."""
    return [edge for edge, (source, _) in enumerate(EDGES) if source == node]


def entering(node: int) -> list[int]:
    """The edges that lead to a node."""
    return [edge for edge, (_, target) in enumerate(EDGES) if target == node]


_TOKEN = re.compile(r"([a-z0-9_]+)~(\d)")


@dataclass(frozen=True)
class CellSpace:
    """All cells over ``operations``: 15 625 for the benchmark's own five."""

    operations: tuple[str, ...] = OPERATIONS

    def __len__(self) -> int:
        return len(self.operations) ** len(EDGES)

    @cached_property
    def cells(self) -> NDArray[np.int8]:
        """Every cell, shape (len(self), 6), row i being the cell with id i."""
        grids = np.indices((len(self.operations),) * len(EDGES), dtype=np.int8)
        return np.ascontiguousarray(grids.reshape(len(EDGES), -1).T)

    def canonical_cells(self) -> NDArray[np.int8]:
        """Every cell with the operations that lead nowhere set to ``none``, shape (cells, 6).

        A node whose outgoing edges are all ``none`` is not seen by the output, whatever enters it.
        (A node that nothing enters is seen: BatchNorm's offset leaves it.)
        """
        cells = self.cells.copy()
        if "none" not in self.operations:
            return cells
        none = self.operations.index("none")
        for node in (2, 1):
            unseen = (cells[:, leaving(node)] == none).all(axis=1)
            cells[np.ix_(unseen, entering(node))] = none
        return cells

    def ids(self, cells: NDArray[np.integer]) -> NDArray[np.int64]:
        """Ids of cells of shape (..., 6): the codes read as digits, first edge most significant."""
        weights = len(self.operations) ** np.arange(len(EDGES) - 1, -1, -1, dtype=np.int64)
        return cells.astype(np.int64) @ weights

    def to_string(self, cell: Sequence[int] | NDArray[np.integer]) -> str:
        """The benchmark's architecture string, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        nodes: dict[int, str] = {1: "|", 2: "|", 3: "|"}
        for code, (source, target) in zip(cell, EDGES, strict=True):
            nodes[target] += f"{self.operations[int(code)]}~{source}|"
        return "+".join(nodes.values())

    def from_string(self, text: str) -> NDArray[np.int8]:
        """Six operation codes of an architecture string.

        Raises:
            PdnasError: the text is no cell of this space; the message shows the right form.
        """
        tokens = _TOKEN.findall(text)
        codes = [self.operations.index(op) for op, _ in tokens if op in self.operations]
        if len(tokens) == len(codes) == len(EDGES):
            cell = np.array(codes, dtype=np.int8)
            if self.to_string(cell) == text.strip():
                return cell
        example = self.to_string([len(self.operations) - 1] * len(EDGES))
        raise PdnasError(
            f"{text!r} is no cell; write it like {example!r} with operations "
            f"{', '.join(self.operations)}"
        )
