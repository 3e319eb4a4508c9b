"""NAS-Bench-201's cell space without torch: edges, operations, architecture strings, enumeration.

A cell is a complete directed graph on four nodes; each of its six edges carries one operation
(Dong and Yang, "NAS-Bench-201", ICLR 2020, section 2). A cell is written here as six operation
codes in the order of its architecture string, edges 0>1, 0>2, 1>2, 0>3, 1>3, 2>3.

Files, commands and the table of ground truth call a cell by the benchmark's id, that of
``CellSpace()``. A space of fewer operations, or of another order, numbers its cells otherwise:
:meth:`CellSpace.benchmark_ids` translates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdnas.space.categorical import CategoricalSpace
from pdnas.support.errors import PdnasError

CELL = "cell"
"""The name of the one choice of a NAS-Bench-201 supernet."""

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The benchmark's five operations, in the benchmark's own order."""

NODES = 4
"""Nodes of a cell: its input, two between, its output."""

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source node, target node) of each edge, in the order of the architecture string."""

CHAIN = (0, 2, 1, 5, 4, 3)
"""The edges as 0>1, 1>2, 0>2, 2>3, 1>3, 0>3: each leaves the node in which the one before it ends,
or ends in the same node."""


Value = tuple[tuple[int, int, "Value"], ...]
"""Terms of a sum: edge (-1: of no kernel of its own), operation, and what it is applied to."""


def leaving(node: int) -> list[int]:
    """The edges that leave a node."""
    return [edge for edge, (source, _) in enumerate(EDGES) if source == node]


def entering(node: int) -> list[int]:
    """The edges that lead to a node."""
    return [edge for edge, (_, target) in enumerate(EDGES) if target == node]


ENCODINGS = {
    "autodl": (OPERATIONS, EDGES),
    "naslib": (
        ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3"),
        ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)),
    ),
}
"""Six operation numbers as other suites write them: what each number means, and edge by edge."""


def _benchmark_code(operation: str) -> int:
    if operation not in OPERATIONS:
        raise PdnasError(f"the benchmark has no operation {operation!r}: {', '.join(OPERATIONS)}")
    return OPERATIONS.index(operation)


@dataclass(frozen=True)
class CellSpace(CategoricalSpace):
    """All cells over ``operations``: 15 625 for the benchmark's own five."""

    KEY: ClassVar = CELL
    ARCHITECTURE: ClassVar = "cell"
    OPTION: ClassVar = "operation"
    HEAVIEST: ClassVar = "nor_conv_3x3"
    SWITCHES: ClassVar = tuple(f"{source}>{target}" for source, target in EDGES)
    ORDER: ClassVar = CHAIN

    operations: tuple[str, ...] = OPERATIONS

    @property
    def options(self) -> tuple[str, ...]:
        return self.operations

    @property
    def gates(self) -> tuple[str, ...]:
        return tuple(f"edge {edge}" for edge in self.SWITCHES)

    @property
    def cells(self) -> NDArray[np.int8]:
        """Every cell, shape (len(self), 6), row i being the cell with id i."""
        return self.codes

    def canonical_codes(self) -> NDArray[np.int8]:
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

    def equal_ids(self) -> NDArray[np.int64]:
        first: dict[Value, int] = {}
        cells = enumerate(self.codes.tolist())
        return np.array([first.setdefault(self._value(cell), number) for number, cell in cells])

    def _value(self, cell: Sequence[int]) -> Value:
        """What a cell's output is the sum of.

        A convolution's term has its edge, its operation and its input. A skip connection hands all
        terms on; a pool is linear, and so one of each term.
        """
        nodes: list[Value] = [((-1, -1, ()),)] + [()] * (NODES - 1)  # the input is a term
        for edge, code in enumerate(cell):
            source, target = EDGES[edge]
            match self.operations[code]:
                case "none":
                    continue
                case "skip_connect":
                    terms = nodes[source]
                case "avg_pool_3x3":
                    terms = tuple((-1, code, (term,)) for term in nodes[source])
                case _:
                    terms = ((edge, code, nodes[source]),)
            nodes[target] = tuple(sorted(nodes[target] + terms))
        return nodes[-1]

    def benchmark_ids(self) -> NDArray[np.int64]:
        """The benchmark's id of each cell, shape (len(self),).

        Raises:
            PdnasError: the benchmark lacks one of the operations.
        """
        codes = np.array([_benchmark_code(name) for name in self.operations], dtype=np.int8)
        return CellSpace().ids(codes[self.cells])

    def require_benchmark_ids(self, record: Mapping[str, Any], path: Path) -> None:
        """Refuse what an earlier version made of a space whose cells it numbered in its own way.

        Args:
            record: of cells of this space; since it names its ``operations``, ids are the
                benchmark's.
            path: its file.

        Raises:
            PdnasError: ids of the record may be this space's own.
        """
        if "operations" not in record and self.operations != OPERATIONS:
            raise PdnasError(
                f"{path} was made by an earlier version, which numbered the cells of "
                f"{', '.join(self.operations)} in another way; delete it and make it again"
            )

    def to_string(self, cell: ArrayLike) -> str:
        """The benchmark's architecture string, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

        Raises:
            PdnasError: the cell is not six codes of this space.
        """
        codes = self.checked(cell)
        if codes.ndim != 1:
            raise PdnasError(f"one cell has one string, not {len(codes)} cells")
        nodes: dict[int, str] = {1: "|", 2: "|", 3: "|"}
        for code, (source, target) in zip(codes.tolist(), EDGES, strict=True):
            nodes[target] += f"{self.operations[code]}~{source}|"
        return "+".join(nodes.values())

    def from_numbers(self, text: str, encoding: str) -> NDArray[np.int8]:
        """Six operation codes of a cell that another suite writes as six numbers.

        Args:
            text: like ``012344``, ``0 1 2 3 4 4`` or ``(0, 1, 2, 3, 4, 4)``.
            encoding: a key of :data:`ENCODINGS`.

        Raises:
            PdnasError: it is no such cell, or one of this space.
        """
        operations, edges = ENCODINGS[encoding]
        bare = text.strip().strip("()[]").strip()
        numbers = list(bare) if bare.isdigit() else re.split(r"\s*,\s*|\s+", bare)
        if len(numbers) != len(EDGES) or not set(numbers) <= set("01234"):
            raise PdnasError(
                f"{text!r} is no cell in {encoding}'s encoding; write six numbers from 0 to 4, "
                "like 0,1,2,3,4,4"
            )
        named = dict(zip(edges, (operations[int(number)] for number in numbers), strict=True))
        if lacking := set(named.values()) - set(self.operations):
            raise PdnasError(f"{text!r} has operations of no cell here: {', '.join(lacking)}")
        return np.array([self.operations.index(named[edge]) for edge in EDGES], dtype=np.int8)

    def from_string(self, text: str) -> NDArray[np.int8]:
        """Six operation codes of an architecture string.

        Raises:
            PdnasError: the text is no cell of this space; the message names the wrong token and
                shows the right form.
        """
        tokens = [token for token in re.split(r"[|+]+", text.strip()) if token]
        if problem := self._wrong_token(tokens):
            example = self.to_string([len(self.operations) - 1] * len(EDGES))
            raise PdnasError(
                f"{text!r} is no cell: {problem}; write it like {example!r} with operations "
                f"{', '.join(self.operations)}"
            )
        codes = [self.operations.index(token.partition("~")[0]) for token in tokens]
        cell = np.array(codes, dtype=np.int8)
        if self.to_string(cell) != text.strip():
            raise PdnasError(
                f"{text!r} is no cell: its bars are not where they belong; write it "
                f"{self.to_string(cell)!r}"
            )
        return cell

    def _wrong_token(self, tokens: Sequence[str]) -> str | None:
        """What is wrong with the tokens ``operation~node`` of an architecture string."""
        for number, (token, (source, _)) in enumerate(zip(tokens, EDGES, strict=False), 1):
            operation, _, node = token.partition("~")
            if operation not in self.operations:
                close = get_close_matches(operation, self.operations, 1)
                meant = f", did you mean {close[0]}?" if close else ""
                return f"token {number}, {token!r}, has no known operation{meant}"
            if node != str(source):
                return f"token {number}, {token!r}, has to end in ~{source}"
        if len(tokens) != len(EDGES):
            return f"it has {len(tokens)} operations and not {len(EDGES)}"
        return None
