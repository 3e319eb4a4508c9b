"""The ground truth from the benchmark's own archives, for those who have them.

Two are understood, each through its authors' package (neither is needed for anything else):

========================================= =========================== ============================
archive                                   package                     source
========================================= =========================== ============================
``NAS-Bench-201-v1_1-096897.pth``, a file ``nas-bench-201``           Dong and Yang, "NAS-Bench-
                                                                      201", ICLR 2020
``NATS-tss-v1_0-3ffb9-simple``, a folder  ``nats-bench``              Dong, Liu, Musial and Gabrys,
                                                                      "NATS-Bench", TPAMI 2021
========================================= =========================== ============================

Every accuracy is that of the last epoch, the mean over all seeds in the archive.

Neither can run code: torch reads the file with ``weights_only``, and the folder's pickles may name
plain containers and NumPy's numbers only. (That was tried on files made in the archives' layout;
should the real one name anything else, the error says what.)
"""

from __future__ import annotations

import bz2
import pickle
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdnas.space.cells import CellSpace
from pdnas.support.errors import PdnasError, first_line
from pdnas.support.unpickle import NUMPY_ARRAYS, ListedUnpickler
from pdnas.truth.columns import DATASETS, accuracy_fractions, rows_of_cells, tabulate

if TYPE_CHECKING:
    import pandas as pd

_NAMES = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16_120": "ImageNet16-120"}


def _queries() -> dict[str, tuple[str, str, str]]:
    """For each column: training set, epochs and key, in the words of both packages.

    CIFAR-10 is special: with its whole training set no image is left to validate on, so its
    validation accuracy is that of the networks trained on half of it (``cifar10-valid``).
    """
    queries = {}
    for name in DATASETS:
        theirs = _NAMES[name]
        halved = "cifar10-valid" if name == "cifar10" else theirs
        queries[f"test_200_{name}"] = (theirs, "200", "test-accuracy")
        queries[f"validation_12_{name}"] = (halved, "12", "valid-accuracy")
        queries[f"test_12_{name}"] = (theirs, "12", "test-accuracy")
    return queries


def _package(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise PdnasError(
            f"this archive is read by the package {package}; run `pip install {package}`"
        ) from error


def _numpy_scalars() -> AbstractContextManager[None]:
    """Let torch's safe reader accept numpy's numbers, which the archive has among its costs."""
    import torch

    scalar: Any = np.float64(0).__reduce__()[0]
    # Old numpy called the module numpy.core, and the archive is that old.
    allowed: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    allowed += [np.dtype, *(type(np.dtype(each)) for each in ("f8", "f4", "i8", "i4"))]
    return torch.serialization.safe_globals(allowed)


_NUMBERS_AND_CONTAINERS = NUMPY_ARRAYS | {
    *((f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")),
    *(("collections", name) for name in ("OrderedDict", "defaultdict")),
    *(("builtins", name) for name in ("dict", "list", "set", "frozenset", "int", "float")),
}
"""What the folder's pickles may name."""


def _load_plain(path: str | Path) -> Any:
    """What the package's ``pickle_load`` does, without running what a file asks for."""
    path = Path(path)
    with bz2.open(path if path.is_file() else f"{path}.pbz2") as file:
        return ListedUnpickler(file, _NUMBERS_AND_CONTAINERS).load()


def open_archive(archive: Path) -> Any:
    """The authors' interface to an archive."""
    if archive.is_dir():
        nats = _package("nats_bench", "nats-bench")
        for module in ("nats_bench.api_utils", "nats_bench.api_topology"):
            vars(import_module(module))["pickle_load"] = _load_plain
        return nats.create(str(archive), "tss", fast_mode=True, verbose=False)
    if archive.is_file() and archive.suffix == ".pth":
        api = _package("nas_201_api", "nas-bench-201")
        with _numpy_scalars():
            return api.NASBench201API(str(archive), verbose=False)
    raise PdnasError(
        f"{archive} is neither NAS-Bench-201's file (NAS-Bench-201-v1_1-096897.pth) nor the "
        "unpacked folder of NATS-Bench (NATS-tss-v1_0-3ffb9-simple)"
    )


def read(archive: Path, space: CellSpace) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """The benchmark's index of each cell, and the columns of accuracies.

    Args:
        archive: one of the two that the module names.
        space: the cells that the archive must hold, ``CellSpace()`` for the real ones.

    Returns:
        Indices, shape (cells,), and arrays of fractions by column, shape (cells,) each, both in
        the order of cell ids.

    Raises:
        PdnasError: another kind of file, its package is not installed, or it is damaged.
    """
    queries = _queries()
    percent = {column: np.empty(len(space)) for column in queries}
    try:
        api = open_archive(archive)
        rows = rows_of_cells(api.meta_archs, archive, space)
        for index in range(len(space)):
            for column, (dataset, epochs, key) in queries.items():
                facts = api.get_more_info(index, dataset, hp=epochs, is_random=False)
                percent[column][index] = facts[key]
            api.arch2infos_dict.pop(index)  # the packages keep what they read: tens of GB in all
    except (
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        raise PdnasError(
            f"{archive} is damaged or not the benchmark's archive ({first_line(error)}); "
            "get it again"
        ) from error
    return rows, {
        column: accuracy_fractions(values, archive)[rows] for column, values in percent.items()
    }


def assemble(archive: Path) -> pd.DataFrame:
    """The table of :mod:`pdnas.truth.columns` from one of the benchmark's own archives.

    Raises:
        PdnasError: as :func:`read`.
    """
    return tabulate(*read(archive, CellSpace()))
