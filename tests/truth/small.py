"""A ground truth of six architectures, small enough to try everything."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd

from pdnas.truth.tables.base import Floats, Integers, Truth


class Small(Truth):
    """One of three letters and one of two digits."""

    name = "small"
    title = "six"
    targets: ClassVar = {"one": (0.7,), "other": (0.5,)}
    switches: ClassVar = {"letter": ("x", "y", "z"), "digit": ("0", "1")}

    @cached_property
    def names(self) -> list[str]:
        return [letter + digit for letter in "xyz" for digit in "01"]

    @property
    def parameters(self) -> Integers:
        return np.array([10, 20, 30, 40, 50, 60])

    def accuracy(self, dataset: str | None = None) -> Floats:
        return self.column(self.known(dataset)).astype(np.float64)


SMALL = Small(
    pd.DataFrame(
        {"one": [0.5, 0.695, 0.7, 0.698, 0.61, 0.9], "other": [0.1, 0.2, 0.3, 0.3, 0.5, 0.4]}
    )
)
