"""NAS-Bench-Macro (Su et al., CVPR 2021): 6 561 chains of eight layers with three choices.

A layer is ``0`` identity, ``1`` a MobileNet block of expansion 3 and kernel 3, or ``2`` of
expansion 6 and kernel 5. Every network was trained three times for 50 epochs on CIFAR-10; the
accuracy is that of the best epoch on the test set, so it is a little high. Columns of the table:

=========================== ======================================================================
``parameters``, ``flops``   multiply-adds, as the public file counts
``right_cifar10_0`` … ``2`` right answers of each training among the 10 000 test images
=========================== ======================================================================
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pdnas.space.macro import MacroSpace
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.truth.counts import fractions, right_answers
from pdnas.truth.tables.base import Floats, Integers, Truth, register

if TYPE_CHECKING:
    import pandas as pd

_TEST_IMAGES, _SEEDS = 10_000, 3
_PLAIN = ((3, 4), (6, 7))
"""Neighbouring layers without stride, of equal width: an identity may stand before or after."""


@register
class NasBenchMacro(Truth):
    """Every chain and how good its three trainings made it."""

    name = "nasbench-macro"
    title = "NAS-Bench-Macro: one of three blocks in each of eight layers"
    targets: ClassVar = {"cifar10": (0.92, 0.925, 0.93)}
    space: ClassVar = MacroSpace()
    switches: ClassVar = dict.fromkeys(space.SWITCHES, space.options)
    isomorphic_share_trainings = True
    sources = ("nasbench-macro",)

    @classmethod
    def assemble(cls, *paths: Path) -> pd.DataFrame:
        """The table from the benchmark's one file.

        Raises:
            PdnasError: it is damaged.
        """
        import pandas as pd

        (path,) = paths
        found, wanted = files.read_json(path), _names()
        if set(found) != set(wanted):
            raise PdnasError(f"{path} has other networks than the space; fetch it again")
        try:
            rows = [(found[name]["params"], found[name]["flops"]) for name in wanted]
            percent = np.array([found[name]["test_acc"] for name in wanted], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise PdnasError(f"{path} is not NAS-Bench-Macro's file; fetch it again") from error
        if percent.shape != (len(wanted), _SEEDS):
            raise PdnasError(f"{path} has not {_SEEDS} trainings a network; fetch it again")
        table = pd.DataFrame(rows, columns=["parameters", "flops"], dtype=np.int32)
        for seed, right in enumerate(right_answers(percent, _TEST_IMAGES, path).T):
            table[f"right_cifar10_{seed}"] = right
        return table

    @cached_property
    def names(self) -> list[str]:
        """Eight digits like ``02012100``."""
        return _names()

    @property
    def parameters(self) -> Integers:
        """Trainable parameters, shape (6561,)."""
        return self.column("parameters").astype(np.int64)

    @property
    def multiply_adds(self) -> Integers:
        """What the benchmark calls FLOPs, shape (6561,)."""
        return self.column("flops").astype(np.int64)

    def accuracy(self, dataset: str | None = None) -> Floats:
        """Mean test accuracy of the three trainings, shape (6561,)."""
        return self.trainings(dataset).mean(axis=0).round(8)

    def trainings(self, dataset: str | None = None) -> Floats:
        """Test accuracies, shape (3, 6561)."""
        name = self.known(dataset)
        seeds = [self.column(f"right_{name}_{seed}") for seed in range(_SEEDS)]
        return fractions(np.stack(seeds), _TEST_IMAGES)

    @cached_property
    def isomorphism_classes(self) -> Integers:
        """3 969 classes: an identity may stand before or after its neighbour."""
        codes = self.codes.astype(np.int64)
        for first, second in _PLAIN:
            moved = (codes[:, first] == 0) & (codes[:, second] > 0)
            codes[moved, first], codes[moved, second] = codes[moved, second], 0
        return np.unique(self.space.ids(codes), return_inverse=True)[1].astype(np.int64)


def _names() -> list[str]:
    return ["".join(map(str, codes)) for codes in MacroSpace().codes.tolist()]
