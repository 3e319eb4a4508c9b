"""The benchmark's 6 466 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdnas.space.cells import EDGES, CellSpace
from pdnas.truth.isomorphism import canonical_form, isomorphism_classes


def same_form(one: str, other: str) -> bool:
    space = CellSpace()
    return canonical_form(space.from_string(one)) == canonical_form(space.from_string(other))


def test_known_number_of_classes() -> None:
    classes = isomorphism_classes()
    assert len(np.unique(classes)) == classes.max() + 1 == 6466


def test_equal_and_different_cells() -> None:
    straight = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
    # The skip before the first operation instead of after it.
    shifted = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|"
    swapped = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|"
    assert same_form(straight, shifted)
    assert not same_form(straight, swapped)


def strict_form(cell: list[int]) -> Any:
    """The computation with zero terms dropped and sums flattened, as nested sorted tuples."""
    nodes: list[tuple[Any, ...]] = [("x",)]
    for target in (1, 2, 3):
        terms: list[Any] = []
        for code, (source, end) in zip(cell, EDGES, strict=True):
            if end == target and code != 0 and nodes[source]:
                terms += nodes[source] if code == 1 else [(code, nodes[source])]
        nodes.append(tuple(sorted(terms, key=repr)))
    return nodes[3]


def test_classes_refine_equality_of_computation() -> None:
    """No class mixes different computations: an independent form with coarser classes agrees."""
    strict = pd.factorize(np.array([repr(strict_form(c)) for c in CellSpace().cells.tolist()]))[0]
    ours = isomorphism_classes()
    assert len(np.unique(strict)) == 4930
    assert len(set(zip(ours.tolist(), strict.tolist(), strict=True))) == 6466


@pytest.mark.data
def test_classes_are_the_published_ones(source_files: tuple[Path, Path]) -> None:
    published = pd.read_csv(source_files[0]).set_index("ArchitectureString")["UniqueString"]
    space = CellSpace()
    names = [space.to_string(cell) for cell in space.cells]
    theirs = pd.factorize(published[names].to_numpy())[0]  # also numbered by first appearance
    np.testing.assert_array_equal(isomorphism_classes(), theirs)
