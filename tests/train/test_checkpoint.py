"""Checkpoints are whole or absent, and as many as they are worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from pdnas.support.errors import PdnasError
from pdnas.support.provenance import fingerprint
from pdnas.train import checkpoint
from pdnas.train.checkpoint import Checkpoints

from .trainings import branches, fitted, images

Damage = Callable[[Path, pytest.MonkeyPatch], object]


def test_checkpoints_keep_the_last_two(tmp_path: Path) -> None:
    points = Checkpoints(tmp_path / "c", fingerprint({"seed": 1}))
    assert points.latest() is None
    for epoch, step in ((1, 0), (2, 0), (2, 500), (10, 0)):
        points.save(epoch, step, {"weights": {"w": torch.full((3,), float(epoch))}})
    names = [path.name for path in sorted(points.folder.iterdir())]
    assert names == [
        "epoch-00002-step-0000500.safetensors",
        "epoch-00010-step-0000000.safetensors",
    ]
    assert (points.latest() or {})["weights"]["w"].tolist() == [10, 10, 10]
    points.remove()
    assert points.latest() is None


def test_a_checkpoint_gives_back_what_it_was_given(tmp_path: Path) -> None:
    """Keys that are numbers, and tensors at any depth, as in an optimizer's state."""
    state = {
        "optimizers": [
            {"state": {0: {"step": torch.tensor(3.0)}}, "groups": [{"lr": 0.1, "p": [0]}]}
        ],
        "rng": torch.get_rng_state(),
        "nothing": None,
        "history": [{"loss": 1 / 3}],
    }
    points = Checkpoints(tmp_path, "run")
    points.save(1, 0, state)
    back = points.latest() or {}
    assert back["optimizers"][0]["state"][0]["step"] == 3
    assert back["optimizers"][0]["groups"] == [{"lr": 0.1, "p": [0]}]
    assert torch.equal(back["rng"], state["rng"])
    assert back["nothing"] is None
    assert back["history"] == [{"loss": 1 / 3}]


def of_another_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "VERSION", 1)
    Checkpoints(path.parent.parent, "run").save(2, 0, {"w": torch.rand(1000)})
    monkeypatch.undo()


def of_another_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Checkpoints(path.parent.parent, "other")
    other.save(2, 0, {"w": torch.rand(1000)})
    next(other.folder.iterdir()).replace(path)


def flipped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path, _: path.write_bytes(b""), "not a readable"),
        (lambda path, _: path.write_bytes(b"noise" * 100), "not a readable"),
        (lambda path, _: path.write_bytes(path.read_bytes()[:2000]), "not match its checksum"),
        (flipped, "not match its checksum"),
        (
            lambda path, _: path.write_bytes(min(path.parent.iterdir()).read_bytes()),
            "than its name",
        ),
        (of_another_run, "belongs to another run"),
        (of_another_version, "version"),
    ],
)
def test_a_checkpoint_that_is_not_good_is_named_and_the_one_before_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage, words: str
) -> None:
    points = Checkpoints(tmp_path, "run")
    for epoch in (1, 2):
        points.save(epoch, 0, {"w": torch.full((1000,), float(epoch))})
    first, last = sorted(points.folder.iterdir())
    damage(last, monkeypatch)
    with pytest.warns(UserWarning, match="trying the checkpoint before") as warned:
        assert (points.latest() or {})["w"][0] == 1
    assert str(last) in str(warned[0].message)
    assert words in str(warned[0].message)
    first.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="trying the checkpoint before"),
        pytest.raises(PdnasError, match="no checkpoint") as raised,
    ):
        points.latest()
    assert "\n" not in str(raised.value)


def test_checkpoints_that_take_long_are_few(tmp_path: Path) -> None:
    """The first epoch's, to have one, and the last one's; in between there is no time for them."""
    saved = []

    class Slow(Checkpoints):
        def save(self, epoch: int, step: int, state: Mapping[str, Any]) -> None:
            super().save(epoch, step, state)
            saved.append(epoch)
            time.sleep(0.3)

    fitted(branches(), images(0), tmp_path, checkpoints=Slow, epochs=6, learning_rate=0.1)
    assert saved == [1, 6]
