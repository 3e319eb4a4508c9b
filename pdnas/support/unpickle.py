"""Pickles from elsewhere, read without running anything they ask for but what is on a list."""

from __future__ import annotations

import pickle
from collections.abc import Collection
from typing import IO, Any

NUMPY_ARRAYS = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    }
)
"""What a pickled NumPy array of numbers names; see :class:`ListedUnpickler`."""


class ListedUnpickler(pickle.Unpickler):
    """Builds plain containers, and of what a pickle names only what is listed.

    Args:
        file: opened for reading bytes.
        allowed: pairs of module and name, as the pickle spells them.
        stand_in: what to call in place of any of them; None: the thing itself.
        encoding: of the strings that Python 2 wrote.

    Raises:
        pickle.UnpicklingError: on ``load``, where the pickle names anything else.
    """

    def __init__(
        self,
        file: IO[bytes],
        allowed: Collection[tuple[str, str]],
        *,
        stand_in: type | None = None,
        encoding: str = "ASCII",
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._allowed = allowed
        self._stand_in = stand_in

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        # NumPy 2 has renamed its core; files say either.
        return self._stand_in or super().find_class(
            module.replace("numpy.core", "numpy._core"), name
        )
