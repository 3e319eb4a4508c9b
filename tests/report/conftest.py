"""A small tree of runs, written by the suite's own writers, with numbers known by construction."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pdnas.runs.distributions import save_candidates
from pdnas.space.candidates import Candidates
from pdnas.space.cells import OPERATIONS, CellSpace
from pdnas.space.posterior import CategoricalPosterior
from pdnas.spec.scale import Scale, load_scale
from pdnas.support.files import write_json, write_table
from pdnas.truth.columns import DATASETS
from pdnas.truth.measure import exact_efficiency
from pdnas.truth.tables.nasbench201 import NasBench201

SCALE = """
description: Numbers made up for tests
studies:
  branches:
    stands_for: M
    seeds: [0, 1, 2]
    base:
      data: {name: cifar10, train: 1000, validation: 200}
      supernet: {name: multibranch, width: 4, blocks: 1}
      training: {epochs: 2, batch: 50, learning_rate: 0.1}
      gates: {length_scale2: 500}
      candidates: {count: 60}
      retrain: {epochs: 1, learning_rate: 0.01}
    variants:
      guided: {}
      random: {gates: {mode: fixed, match: guided}}
      full: {gates: {mode: none}}
      weak-prior: {gates: {length_scale2: 50}}
      warm: {gates: {temperature: 2/3}}
      two-changes: {gates: {length_scale2: 3000}, training: {epochs: 3}}
      official: {gates: {form: official}}
  cells:
    labels: {guided: posterior-guided}
    seeds: [0, 1, 2]
    base:
      data: {name: cifar10, train: 1000, validation: 200}
      supernet: {name: nasbench201, channels: 4, cells: 1}
      training: {epochs: 4, batch: 50, learning_rate: 0.1}
      gates: {temperature: 1, length_scale2: 0, warmup_epochs: 2}
      candidates: {count: 20}
    variants:
      guided: {}
      uniform: {gates: {mode: fixed}}
  rivals:
    target: nasbench
    labels: {spos: SPOS (uniform), gdas: GDAS}
    seeds: [0, 1]
    base:
      data: {name: cifar10, train: 1000, validation: 200}
      supernet: {name: nasbench201, channels: 4, cells: 1}
      training: {epochs: 4, batch: 50, learning_rate: 0.1}
      gates: {temperature: 1, length_scale2: 0}
      candidates: {count: 20}
    variants:
      spos: {gates: {mode: fixed}}
      gdas: {}
"""

HARDWARE = {"cpu": "Abacus 9000", "cores": 2, "memory_gib": 4.0, "gpus": [], "threads": 1}


def provenance(seconds: float) -> dict[str, Any]:
    """A provenance record of a made-up machine."""
    return {
        "config": {},
        "seed": 0,
        "code": "0.1.0 0123456789ab",
        "libraries": {"torch": "2.11.0"},
        "python": "3.11.2",
        "hardware": HARDWARE,
        "finished": "2026-01-01T00:00:00+00:00",
        "wall_seconds": seconds,
        "cpu_seconds": seconds,
    }


@dataclass(frozen=True)
class Tree:
    """A folder of runs under construction."""

    folder: Path
    scale_name: str

    @property
    def scale(self) -> Scale:
        return load_scale(self.scale_name)

    def search(
        self,
        study: str,
        variant: str,
        seed: int,
        *,
        seconds: float = 120,
        supernet_parameters: int = 90_000,
        fixed: float | None = None,
        trajectory: pd.DataFrame | None = None,
    ) -> Path:
        """What ``pdnas search`` leaves."""
        path = self.folder / study / variant / f"seed{seed}"
        record = {
            "scale": Path(self.scale_name).stem,
            "study": study,
            "variant": variant,
            "seed": seed,
            "spec": self.scale.spec(study, variant).model_dump(mode="json"),
            "supernet_parameters": supernet_parameters,
            "fixed_drop_probability": fixed,
            "provenance": provenance(seconds),
        }
        write_json(path / "run.json", record)
        epochs = np.arange(1, 3)
        history = pd.DataFrame({"epoch": epochs, "loss": 2.0 / epochs, "nll": 1.5 / epochs})
        history = history.assign(train_accuracy=0.3 * epochs, images_per_second=100.0)
        write_table(path / "history.parquet", history)
        if trajectory is not None:
            write_table(path / "trajectory.parquet", trajectory)
        return path

    def rank(
        self,
        path: Path,
        source: str,
        accuracies: Sequence[float],
        *,
        kept_channels: float = 0.75,
        kept_operations: float = 0.9,
        seconds: float = 30,
        whole: float | None = 0.5,
        cells: Sequence[str | None] | None = None,
    ) -> None:
        """What ``pdnas sample`` and ``pdnas rank`` leave."""
        count = len(accuracies)
        candidates = Candidates({"gate": torch.ones(count, 4, dtype=torch.bool)})
        drawn = path / f"candidates-{source}.safetensors"
        save_candidates(drawn, candidates, {})
        best = int(np.argmax(accuracies))
        table = pd.DataFrame(
            {
                "candidate": np.arange(count),
                "validation_accuracy": accuracies,
                "validation_loss": 1.0,
                "parameters": 60_000,
                # Only the best candidate has the known shares, so a table must pick that one.
                "kept_channels": np.where(np.arange(count) == best, kept_channels, 0.1),
                "kept_operations": np.where(np.arange(count) == best, kept_operations, 0.2),
                "log_probability": -1.0,
                "cell": cells if cells is not None else [None] * count,
            }
        )
        write_table(path / f"ranking-{source}.parquet", table)
        write_json(
            path / f"ranking-{source}.json",
            {
                "images": 200,
                "batchnorm": "running",
                "best": best,
                "supernet_validation_accuracy": whole,
                "candidates_sha256": hashlib.sha256(drawn.read_bytes()).hexdigest(),
                "provenance": provenance(seconds),
            },
        )

    def result(
        self,
        path: Path,
        source: str,
        mode: str,
        test_accuracy: float,
        *,
        validation_accuracy: float | None = 0.4,
        parameters: int = 60_000,
        seconds: float = 12,
    ) -> None:
        """What ``pdnas retrain`` leaves."""
        write_json(
            path / f"result-{source}-{mode}.json",
            {
                "candidate": None if source == "full" else 0,
                "mode": mode,
                "validation_accuracy": validation_accuracy,
                "test_accuracy": test_accuracy,
                "test_top5_accuracy": (1 + test_accuracy) / 2,
                "test_images": 1000,
                "parameters": parameters,
                "cell": None,
                "provenance": provenance(seconds),
            },
        )

    def subnet(self, path: Path, parameters: int, speedup: float) -> None:
        """What ``pdnas extract`` leaves in the workflow."""
        write_json(
            path / "subnet" / "subnet.json",
            {
                "supernet_parameters": 100_000,
                "masked": {"parameters": 60_000, "multiply_adds": 4_000_000},
                "extracted": {"parameters": parameters, "multiply_adds": 2_000_000},
                "speedup": {"median": speedup},
                "provenance": provenance(3),
            },
        )


GATES = ("stages.0.0.branch1.1", "stages.0.0.branch1.4", "stages.1.0.branch2.1")


def channel_trajectory(final: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Drop probabilities that go from 0.1 to ``final`` (by gate, a group each) in two epochs."""
    rows = [
        (epoch, gate, group, "drop", 0.1 + (value - 0.1) * epoch / 2, 4 * (group + 1))
        for epoch in range(3)
        for gate, values in final.items()
        for group, value in enumerate(values)
    ]
    columns = ["epoch", "gate", "group", "option", "probability", "size"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="session")
def truth() -> NasBench201:
    """A made-up benchmark: the more 3x3 convolutions a cell has, the better, with some noise."""
    space = CellSpace()
    score = (space.cells == OPERATIONS.index("nor_conv_3x3")).sum(axis=1)
    noise = np.random.default_rng(0).normal(0, 0.004, len(space))
    accuracy = np.clip(0.86 + 0.014 * score + noise, 0, 0.9437).round(8)
    made_up = {f"test_200_{name}": accuracy for name in DATASETS}
    made_up["training_seconds_cifar10"] = 1000.0 + 300 * score
    return NasBench201(NasBench201.load().table.assign(**made_up))


@pytest.fixture(scope="session")
def cell_posteriors() -> list[CategoricalPosterior]:
    """Three seeds' posteriors, increasingly sure of 3x3 convolutions."""
    posteriors = []
    for seed in range(3):
        logits = torch.zeros(6, len(OPERATIONS), dtype=torch.float64)
        logits[:, OPERATIONS.index("nor_conv_3x3")] = 1.5 + 0.3 * seed
        posteriors.append(CategoricalPosterior(torch.softmax(logits, dim=1), CellSpace()))
    return posteriors


@pytest.fixture(scope="session")
def efficiencies(
    truth: NasBench201, cell_posteriors: list[CategoricalPosterior]
) -> list[dict[str, Any]]:
    """Their exact sample efficiency."""
    return [
        exact_efficiency(posterior.architecture_probabilities(), truth)
        for posterior in cell_posteriors
    ]


@pytest.fixture
def empty_tree(tmp_path: Path) -> Tree:
    """A scale without any run."""
    return plant(tmp_path)


def plant(folder: Path) -> Tree:
    """The scale's file in ``folder``, and room for runs beside it."""
    path = folder / "tiny.yaml"
    path.write_text(SCALE, encoding="utf-8")
    return Tree(folder / "runs", str(path))


GUIDED_TEST = (0.60, 0.62, 0.67)
RANDOM_TEST = (0.30, 0.40, 0.44)
FINETUNED_TEST = (0.55, 0.60, 0.62)
"""Test accuracies by seed: guided, random, random and fine-tuned."""

SPEEDUPS = (1.4, 1.6, 1.5)
"""Of guided candidates as networks of their own, by seed."""

LAST_DROP = ((0.2, 0.6), (0.1,), (0.4,))
"""Drop probabilities at the end of seed 0, by gate and group."""


def guided_accuracies(seed: int) -> np.ndarray:
    """Validation accuracies of sixty guided candidates."""
    return np.random.default_rng(seed).normal(0.60, 0.01, 60).clip(0, 1)


@pytest.fixture(scope="session")
def grown(
    tmp_path_factory: pytest.TempPathFactory,
    cell_posteriors: list[CategoricalPosterior],
    efficiencies: list[dict[str, Any]],
) -> Path:
    """Runs of a scale of which most, but not all, was run: no ``warm``, one ``weak-prior``."""
    tree = plant(tmp_path_factory.mktemp("grown"))
    for seed in range(3):
        final = {
            gate: [p + 0.02 * seed for p in ps] for gate, ps in zip(GATES, LAST_DROP, strict=True)
        }
        path = tree.search("branches", "guided", seed, trajectory=channel_trajectory(final))
        tree.rank(
            path, "posterior", guided_accuracies(seed).tolist(), kept_channels=0.7 + 0.05 * seed
        )
        tree.result(path, "posterior", "none", GUIDED_TEST[seed])
        tree.subnet(path, parameters=40_000 + 10_000 * seed, speedup=SPEEDUPS[seed])
        path = tree.search("branches", "random", seed, fixed=0.3)
        tree.rank(
            path, "random", np.random.default_rng(seed).normal(0.4, 0.08, 60).clip(0, 1).tolist()
        )
        tree.result(path, "random", "none", RANDOM_TEST[seed])
        tree.result(path, "random", "finetune", FINETUNED_TEST[seed], seconds=72)
        path = tree.search("branches", "full", seed)
        tree.result(path, "full", "none", 0.7, validation_accuracy=None, parameters=90_000)

        posterior = cell_posteriors[seed]
        marginals = posterior.marginals()
        moves = [marginals.assign(epoch=0, probability=0.2), marginals.assign(epoch=4)]
        path = tree.search("cells", "guided", seed, trajectory=pd.concat(moves))
        space = CellSpace()
        codes = posterior.sample(20, seed).choices["cell"].numpy()
        cells = [space.to_string(cell) for cell in codes]
        tree.rank(path, "posterior", (np.arange(20) / 40).tolist(), whole=None, cells=cells)
        record = {**efficiencies[seed], "provenance": provenance(1.0)}
        write_json(path / "efficiency.json", record)
    path = tree.search("branches", "weak-prior", 0)
    tree.rank(path, "posterior", [0.5, 0.6])
    tree.result(path, "posterior", "none", 0.65, parameters=80_000)
    return tree.folder


@pytest.fixture
def tree(
    empty_tree: Tree, grown: Path, truth: NasBench201, monkeypatch: pytest.MonkeyPatch
) -> Tree:
    """A copy of ``grown`` to read and to spoil, with the made-up benchmark as the truth."""
    monkeypatch.setattr(NasBench201, "load", classmethod(lambda cls: truth))
    shutil.copytree(grown, empty_tree.folder)
    return empty_tree
