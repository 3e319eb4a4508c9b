"""NASLib's optimisers, run in an environment of their own: which cells they ask for.

    python -m contrib.naslib.optimisers CHECKOUT METHOD SEEDS QUERIES FILE

`contrib.naslib` makes the environment and calls this. NASLib is of 2023 and for Python 3.9; three
things are mended while it runs, its files stay as they are: `collections.Iterable`, `np.sum` of a
generator, and imports of packages that no method here uses.
"""

from __future__ import annotations

import collections
import collections.abc
import json
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from pdnas.truth.naslib_adapter import dataset_api
from pdnas.truth.tables.nasbench201 import NasBench201

OPTIMISERS = {
    "naslib-random": "RandomSearch",
    "naslib-evolution-30": "RegularizedEvolution",
    "naslib-local-search": "LocalSearch",
    "naslib-bananas": "Bananas",
}
"""NASLib's class of each method."""

SETTINGS = {"fidelity": -1, "predictor_type": "bananas"}
"""What differs from NASLib's own file of settings: the last epoch of a curve instead of the 108th,
and the predictor of the BANANAS paper (path encoding, MLP), a hundred times as fast."""

UNUSED = (
    "ConfigSpace",
    "emcee",
    "grakel",
    "lightgbm",
    "nasbench_pytorch",
    "ngboost",
    "pybnn",
    "skimage",
    "tensorwatch",
    "transforms3d",
    "xgboost",
)
"""Packages that NASLib imports for other methods."""


class _Empty(ModuleType):
    """A module in which every name is an empty class."""

    __path__: list[str] = []  # noqa: RUF012 - what makes it a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Unused(MetaPathFinder, Loader):
    """Finds the packages of UNUSED, empty."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name.split(".")[0] in UNUSED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class Watched(dict[str, Any]):
    """A dictionary that remembers what was looked up."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.keys_asked: list[str] = []

    def __getitem__(self, key: str) -> Any:
        self.keys_asked.append(key)
        return super().__getitem__(key)


def prepare(checkout: Path) -> None:
    """Make NASLib importable from its checkout."""
    collections.Iterable = collections.abc.Iterable  # type: ignore[attr-defined]
    sys.meta_path.append(_Unused())
    sys.path.insert(0, str(checkout))
    import naslib.utils

    # Before its optimisers are imported, which take it from there. Nobody reads the number.
    naslib.utils.count_parameters_in_MB = lambda model: 0.0


def searched(checkout: Path, method: str, seed: int, queries: int) -> list[str]:
    """The cells that one search asks for, in order, as architecture strings."""
    import naslib.optimizers
    from fvcore.common.config import CfgNode
    from naslib.defaults.trainer import Trainer
    from naslib.search_spaces import NasBench201SearchSpace
    from naslib.utils import set_seed

    settings = (checkout / "naslib/runners/nas/discrete_config.yaml").read_text()
    config = CfgNode(yaml.safe_load(settings))
    config.search.update({**SETTINGS, "epochs": queries, "seed": seed})
    space = NasBench201SearchSpace()
    space.instantiate_model = False  # cells are numbers, not networks
    space.clear()  # nor is a network copied for each cell
    watched = Watched(dataset_api(NasBench201.load(), "cifar10", 12)["nb201_data"])
    asked: list[str] = []

    def note(_: int) -> None:
        # A step looks up the cell that it asks for; then the trainer logs the best one so far.
        asked.append(watched.keys_asked[0])
        watched.keys_asked.clear()

    set_seed(seed)
    optimiser = getattr(naslib.optimizers, OPTIMISERS[method])(config)
    optimiser.adapt_search_space(space, dataset_api={"nb201_data": watched})
    with tempfile.TemporaryDirectory() as folder:
        config.save = folder
        (Path(folder) / "search").mkdir()
        Trainer(optimiser, config, lightweight_output=True).search(after_epoch=note)
    return asked


def main(arguments: Sequence[str]) -> None:
    checkout, method, seeds, queries, out = arguments
    prepare(Path(checkout))
    found = {
        seed: searched(Path(checkout), method, int(seed), int(queries)) for seed in seeds.split(",")
    }
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
