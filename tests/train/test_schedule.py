"""Learning rate, temperature and drop-path of each epoch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from pdnas.nn.objective import Objective
from pdnas.nn.supernets.enas import EnasSupernet
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.spec.gates import GateConfig
from pdnas.spec.training import TrainingConfig
from pdnas.train.fit import TrainingData, fit

from .trainings import ENAS, branches, colour_images, enas, fitted, images, train


def cosine(share: float, low: float = 0.0) -> float:
    return low + (0.1 - low) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.1] * 6),
        ("cosine", [cosine(epoch / 6) for epoch in range(6)]),
        (
            {"name": "steps", "milestones": [1, 4], "factor": 0.2},
            [0.1, 0.02, 0.02, 0.02, 0.004, 0.004],
        ),
        (
            {"name": "warm-restarts", "period": 2, "growth": 2, "minimum": 0.01},
            [cosine(share, 0.01) for share in (0, 1 / 2, 0, 1 / 4, 2 / 4, 3 / 4)],
        ),
    ],
)
def test_the_learning_rate_of_each_epoch(
    schedule: str | dict[str, Any], expected: list[float]
) -> None:
    settings = {"epochs": 6, "learning_rate": 0.1, "schedule": schedule}
    done = fitted(branches(), images(0, batches=2), **settings)
    assert [row["learning_rate"] for row in done.history] == pytest.approx(expected)


def test_temperature_goes_to_its_end_in_equal_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    monkeypatch.setattr(
        MultiBranchSupernet, "set_temperature", lambda net, value: seen.append(value)
    )
    train(tmp_path, images(0), epochs=3, temperature=10, temperature_end=1)
    assert seen == pytest.approx([10, 5.5, 1])


def test_fading_kernels_have_lost_their_identity_as_the_warm_up_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []
    monkeypatch.setattr(MultiBranchSupernet, "set_identity", lambda net, share: seen.append(share))
    train_on = images(0)
    settings = TrainingConfig(epochs=6, batch=16, learning_rate=0.1)
    gates = GateConfig(length_scale2=1, warmup_epochs=4)
    data = TrainingData(train_on, Objective.of(gates, train_on.examples))
    fit(branches(), data, settings, gates)
    assert seen == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])
    seen.clear()
    fit(branches(), data, settings, GateConfig(length_scale2=1))
    assert seen == [0] * 6


def test_drop_path_grows_to_its_full_value(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    original = EnasSupernet.set_drop_path
    monkeypatch.setattr(
        EnasSupernet, "set_drop_path", lambda net, p: (seen.append(p), original(net, p))
    )
    fitted(enas(), colour_images(), **ENAS)
    assert seen == pytest.approx([0.4 / 3, 0.8 / 3, 0.4, 0])  # none after training
