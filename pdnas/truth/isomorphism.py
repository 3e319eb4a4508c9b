"""Which cells the benchmark counts as the same: 6 466 classes among 15 625 cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pdnas.space.cells import EDGES, OPERATIONS, CellSpace

_ZERO = "#"


def canonical_form(cell: Sequence[int] | NDArray[np.integer]) -> str:
    """The expression that the cell computes, in the benchmark's own normal form.

    Written from node to node as text; two cells are isomorphic if the text of their last node is
    the same (Dong and Yang, "NAS-Bench-201", ICLR 2020, section 2: "6 466 unique topology
    structures"). The input is ``0``; a node is the sum (``+``) of the sorted terms of its edges:

    - ``none``, and any operation on a node that is exactly ``#``, is the zero term ``#``;
    - ``skip_connect`` puts the source's text in place of the edge;
    - any other operation is ``(source)@operation``.

    That is what makes 6 466, and it is finer than it could be, in two ways. Zero
    terms stay in a sum (``#+#`` is not ``#``, ``x+#`` is not ``x``), so zero goes through node 1
    only. And a sum brought in by a skip is sorted as one text, so ``a+c`` + ``b`` is not
    ``a+b`` + ``c``. With zero terms dropped and sums flattened before sorting, 4 930 classes
    would be left, each a union of classes of this form. (Neither is equality of what networks
    compute: there BatchNorm's offset makes something of a convolution of zero.)

    Args:
        cell: six operation codes in the order of :data:`pdnas.space.cells.EDGES`.
    """
    nodes = ["0"]
    for target in (1, 2, 3):
        terms = []
        for code, (source, end) in zip(cell, EDGES, strict=True):
            if end != target:
                continue
            operation, text = OPERATIONS[int(code)], nodes[source]
            if operation == "none" or text == _ZERO:
                terms.append(_ZERO)
            elif operation == "skip_connect":
                terms.append(text)
            else:
                terms.append(f"({text})@{operation}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


def isomorphism_classes() -> NDArray[np.int32]:
    """Class of each of the 15 625 cells, shape (15625,), numbered in order of first appearance."""
    numbers: dict[str, int] = {}
    cells = CellSpace().cells.tolist()
    return np.array(
        [numbers.setdefault(canonical_form(cell), len(numbers)) for cell in cells], dtype=np.int32
    )
