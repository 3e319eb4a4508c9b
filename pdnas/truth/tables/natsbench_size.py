"""NATS-Bench's size space (Dong et al., TPAMI 2021): 32 768 networks of five widths.

Each width is one of 8, 16, …, 64. Every network was trained once (seed 777) for 90 epochs on each
data set, and its test accuracy is all that is known of it. The table's columns are
``right_DATASET``: right answers among the test images, 10 000 of CIFAR, 6 000 of ImageNet16-120.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pdnas.space.sizes import NAMES, WIDTHS, SizeSpace
from pdnas.support.errors import PdnasError
from pdnas.truth.counts import fractions, read_csv, right_answers
from pdnas.truth.tables.base import Floats, Integers, Truth, register

if TYPE_CHECKING:
    import pandas as pd

_TEST_IMAGES = {"cifar10": 10_000, "cifar100": 10_000, "imagenet16_120": 6_000}
_CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet16_120": 120}


@register
class NatsBenchSize(Truth):
    """Every network of the size space and how good its one training made it."""

    name = "natsbench-size"
    title = "NATS-Bench, size space: channels of five widths, 8 to 64"
    targets: ClassVar = {
        "cifar10": (0.92, 0.925, 0.93),
        "cifar100": (0.67, 0.68, 0.69),
        "imagenet16_120": (0.43, 0.44, 0.45),
    }
    switches: ClassVar = {name: tuple(map(str, WIDTHS)) for name in NAMES}
    sources = ("natsbench-size", "natsbench-size-cifar100", "natsbench-size-imagenet16")

    @classmethod
    def assemble(cls, *paths: Path) -> pd.DataFrame:
        """The table from one file a data set, in the order of :attr:`sources`.

        Raises:
            PdnasError: a file is damaged, or its networks are not those of the space.
        """
        import pandas as pd

        space, columns = SizeSpace(), {}
        for path, (name, images) in zip(paths, _TEST_IMAGES.items(), strict=True):
            table = read_csv(path, ("index", "num_param", "accuracy"), len(space))
            in_order = np.array_equal(table["index"], np.arange(len(space)))
            parameters = space.parameters(_CLASSES[name])
            if not in_order or not np.array_equal(table["num_param"], parameters):
                raise PdnasError(f"{path} has other networks than the space; fetch it again")
            columns[f"right_{name}"] = right_answers(table["accuracy"], images, path)
        return pd.DataFrame(columns)

    @cached_property
    def names(self) -> list[str]:
        """Widths like ``64:64:56:64:24``."""
        return list(SizeSpace().names)

    def _find(self, text: str) -> int:
        """The row of a network by its widths.

        Raises:
            PdnasError: it is no network of the space.
        """
        return SizeSpace().row(text)

    @cached_property
    def parameters(self) -> Integers:
        """Trainable parameters on CIFAR-10, shape (32768,)."""
        return SizeSpace().parameters(_CLASSES["cifar10"])

    def accuracy(self, dataset: str | None = None) -> Floats:
        """Test accuracy of the one training, shape (32768,)."""
        name = self.known(dataset)
        return fractions(self.column(f"right_{name}"), _TEST_IMAGES[name])
