"""Tables of ground truth, exact sample efficiency, and searches of a table."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdnas.truth.tables import Truth


def load(name: str = "nasbench201") -> Truth:
    """A ground truth: how good each architecture of a space truly is (docs/truths.md).

    Example:
        >>> best = pdnas.truth("natsbench-size").accuracy("cifar10").argmax()

    Args:
        name: ``nasbench201``, ``natsbench-size``, ``nasbench-macro`` or ``digits``.

    Raises:
        PdnasError: there is none of this name, or its table is damaged.
    """
    from pdnas.truth.tables import open_truth

    return open_truth(name)


class _Truth(ModuleType):
    """This module can be called, since ``pdnas.truth()`` is what Python's users ask for."""

    __call__ = staticmethod(load)


sys.modules[__name__].__class__ = _Truth
