"""Posterior-guided one-shot neural architecture search: reproduction and benchmark suite.

Example:
    >>> run = pdnas.search("smoke", "multibranch", "guided", out="run")

Importing the package itself costs nothing: a function of :mod:`pdnas.commands.api` is loaded when
it is first asked for, and torch when it computes.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself takes longer to import than all of this
    from typing import Any

    from pdnas.commands.api import (
        efficiency,
        extract,
        load_run,
        rank,
        retrain,
        sample,
        search,
    )
    from pdnas.support.errors import PdnasError
    from pdnas.truth import load as truth

__version__ = "0.1.0"
__all__ = [
    "PdnasError",
    "efficiency",
    "extract",
    "load_run",
    "rank",
    "retrain",
    "sample",
    "search",
    "truth",
]


def __getattr__(name: str) -> Any:
    if name == "truth":  # the room of that name, which can be called
        return import_module("pdnas.truth")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "pdnas.support.errors" if name == "PdnasError" else "pdnas.commands.api"
    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
