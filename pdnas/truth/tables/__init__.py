"""Ground truths: each module here adds its own to the registry, and its table lies beside it."""

from importlib import import_module
from pkgutil import iter_modules

from pdnas.support.errors import PdnasError
from pdnas.truth.tables.base import Truth, registered

__all__ = ["Truth", "named", "names", "open_truth"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def names() -> list[str]:
    """Every ground truth's name."""
    return sorted(registered())


def named(name: str) -> type[Truth]:
    """The class of a ground truth.

    Raises:
        PdnasError: there is none of this name.
    """
    if name not in registered():
        raise PdnasError(f"no ground truth {name!r}; choose one of {', '.join(names())}")
    return registered()[name]


def open_truth(name: str) -> Truth:
    """A ground truth by its name, with the package's table.

    Raises:
        PdnasError: there is none of this name, or its table is damaged.
    """
    return named(name).load()
