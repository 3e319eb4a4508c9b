"""NASLib's optimisers on our table, with a stand-in of NASLib that has the parts that are used."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from contrib.naslib import __main__ as naslib
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, read_table
from pdnas.truth.rivals import Ids
from pdnas.truth.tables.nasbench201 import NasBench201

STAND_IN = {
    "naslib/__init__.py": "",
    "naslib/__version__.py": '"""Version."""\n\n__version__ = "0.1.0"\n',
    "naslib/utils.py": """
        import collections, random
        import numpy as np
        import tensorwatch, ngboost.distns
        from ngboost.distns import Normal

        class Child(Normal):
            also: collections.Iterable

        def set_seed(seed):
            random.seed(seed)

        def count_parameters_in_MB(model):
            return np.sum(value for value in [1.0])
    """,
    "naslib/search_spaces.py": """
        class NasBench201SearchSpace:
            instantiate_model = True

            def clear(self):
                pass
    """,
    "naslib/optimizers.py": """
        import random
        from naslib.utils import count_parameters_in_MB

        class RandomSearch:
            def __init__(self, config):
                self.config, self.asked = config, []
                assert config.search.fidelity == -1

            def adapt_search_space(self, space, dataset_api):
                assert not space.instantiate_model
                self.data = dataset_api["nb201_data"]
                self.cells = list(self.data)

            def score(self, cell):
                return self.data[cell]["cifar10-valid"]["eval_acc1es"][self.config.search.fidelity]

            def new_epoch(self, epoch):
                cell = random.choice(self.cells)
                self.asked.append((self.score(cell), cell))

            def train_statistics(self):
                count_parameters_in_MB(None)
                self.score(max(self.asked)[1])
    """,
    "naslib/defaults/__init__.py": "",
    "naslib/defaults/trainer.py": """
        from pathlib import Path

        class Trainer:
            def __init__(self, optimizer, config, lightweight_output):
                self.optimizer, self.config = optimizer, config

            def search(self, after_epoch):
                for epoch in range(self.config.search.epochs):
                    self.optimizer.new_epoch(epoch)
                    self.optimizer.train_statistics()
                    after_epoch(epoch)
                (Path(self.config.save) / "search" / "model_final.pth").write_text("")
    """,
    "naslib/runners/nas/discrete_config.yaml": "dataset: cifar10\nsearch: {fidelity: 108}\n",
    "fvcore/__init__.py": "",
    "fvcore/common/__init__.py": "",
    "fvcore/common/config.py": """
        class CfgNode(dict):
            def __init__(self, content):
                nested = {k: CfgNode(v) if type(v) is dict else v for k, v in content.items()}
                super().__init__(nested)

            __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__
    """,
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for name, text in STAND_IN.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


def asked(checkout: Path, seeds: range) -> Ids:
    return naslib.cells_asked(Path(sys.executable), checkout, "naslib-random", seeds, 6)


def test_what_is_written(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells asked for, without those that the trainer looks up again to log them."""
    monkeypatch.setattr(naslib, "environment", lambda folder: Path(sys.executable))  # no network
    out = tmp_path / "rivals"
    naslib.run(checkout, out, ["naslib-random"], "3-4", 6, tmp_path)
    record, table = read_json(out / "naslib-random.json"), read_table(out / "naslib-random.parquet")
    assert (record["library"], record["seeds"], record["queries"]) == ("NASLib 0.1.0", 2, 6)
    assert table["cell_id"].nunique() == 12
    alone = table[table["seed"] == 4]
    assert asked(checkout, range(4, 5)).tolist() == [alone["cell_id"].tolist()]
    best = alone["cell_id"][alone["signal"].idxmax()]
    assert alone["best_accuracy"].iloc[-1] == NasBench201.load().accuracy()[best]


def test_other_results_are_refused_before_any_search(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of a method that comes later."""
    monkeypatch.setattr(naslib, "environment", lambda folder: Path(sys.executable))
    naslib.run(checkout, tmp_path, ["naslib-random"], "3", 2, tmp_path)
    monkeypatch.setattr(naslib, "cells_asked", lambda *_: pytest.fail("it has searched"))
    with pytest.raises(
        PdnasError, match=r"naslib-random\.json is finished, with queries 2 and not"
    ):
        naslib.run(checkout, tmp_path, ["naslib-bananas", "naslib-random"], "3", 6, tmp_path)


def test_a_clone_is_named_by_its_commit(checkout: Path) -> None:
    assert naslib.version(checkout) == "NASLib 0.1.0"
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert naslib.version(checkout) == f"NASLib {head.stdout[:8]}"


def test_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(PdnasError, match="is no checkout of NASLib: it lacks naslib/__version__"):
        naslib.version(tmp_path)


def test_unknown_method(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(PdnasError, match="no method 'bohb'; choose naslib-random, "):
        naslib.run(checkout, tmp_path, ["bohb"])


def test_a_failure_of_naslib(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (checkout / "naslib/optimizers.py").write_text("raise RuntimeError('no such luck')")
    with pytest.raises(PdnasError, match=r"naslib-random of .* failed with exit code 1; its own"):
        asked(checkout, range(1))
    assert "no such luck" in capfd.readouterr().err
