"""Only what is on the list is built from a pickle."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from pdnas.support.unpickle import NUMPY_ARRAYS, ListedUnpickler


class Hostile:
    def __reduce__(self) -> Any:
        return os.getenv, ("HOME",)


class Inert:
    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments


def read(content: object, *allowed: tuple[str, str], **settings: Any) -> Any:
    file = io.BytesIO(pickle.dumps(content, protocol=2))
    return ListedUnpickler(file, allowed, **settings).load()


def test_plain_containers_need_no_list() -> None:
    content = {"a": [1, 2.5, (None, "text")]}
    assert read(content) == content


@pytest.mark.parametrize("core", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_under_either_name_of_numpys_core(core: bytes) -> None:
    array = np.arange(6).reshape(2, 3)
    content = pickle.dumps(array, protocol=2).replace(b"numpy._core.multiarray", core)
    found = ListedUnpickler(io.BytesIO(content), NUMPY_ARRAYS | {("_codecs", "encode")}).load()
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("content", [Hostile(), [{"x": Hostile()}], OrderedDict(a=1)])
def test_what_is_not_listed_is_named_and_refused(content: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"it asks for (os\.getenv|collections\.Ord)"):
        read(content)


def test_a_stand_in_is_called_instead() -> None:
    found = read([Hostile()], ("os", "getenv"), stand_in=Inert)
    assert found[0].arguments == ("HOME",)
