"""Damaged and exchanged files: each is noticed, or does not matter; none is silently believed."""

from __future__ import annotations

import hashlib
import random
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pdnas.data.sources import SOURCES
from pdnas.runs.run import Run
from pdnas.stages.materials import loader_of, trained_supernet
from pdnas.stages.sample import sample_run as draw
from pdnas.support.errors import PdnasError
from pdnas.train.checkpoint import Checkpoints

from .conftest import CPU, Ledger

Often = Callable[[int, int], int]

NAMED = "one clear line names the file"


def flipped(whole: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(whole)
    damaged[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def truncated(whole: bytes, dice: random.Random) -> bytes:
    return whole[: dice.randrange(len(whole))]


def zeroed(whole: bytes, dice: random.Random) -> bytes:
    """What a power cut leaves of a file whose name was on disk before its bytes."""
    start = dice.randrange(len(whole))
    return whole[:start] + bytes(len(whole) - start)


DAMAGE = {"bit flipped": flipped, "truncated": truncated, "end zeroed": zeroed}
every_damage = pytest.mark.parametrize("damage", DAMAGE)

Read = Callable[[Path], object]


def splits(folder: Path) -> object:
    return [float(x.sum()) for x, _ in loader_of(Run.load(folder), "validation", CPU).epoch(0)]


def weights(folder: Path) -> object:
    return {k: v.tolist() for k, v in trained_supernet(Run.load(folder), CPU).state_dict().items()}


def candidates(folder: Path) -> object:
    return {k: v.tolist() for k, v in Run.load(folder).candidates("posterior")[0].choices.items()}


FILES: dict[str, tuple[str, Read]] = {
    "weights.safetensors": ("tensors", weights),
    "posterior.safetensors": (
        "tensors",
        lambda folder: Run.load(folder).posterior().marginals().to_csv(),
    ),
    "candidates-posterior.safetensors": ("tensors", candidates),
    "run.json": ("record", lambda folder: Run.load(folder).record),
    "ranking-posterior.json": ("record", lambda folder: Run.load(folder).ranking_records),
    "result-posterior-none.json": ("record", lambda folder: Run.load(folder).results),
    "splits.parquet": ("table", splits),
    "history.parquet": ("table", lambda folder: str(Run.load(folder).history())),
    "trajectory.parquet": ("table", lambda folder: str(Run.load(folder).trajectory())),
    "ranking-posterior.parquet": (
        "table",
        lambda folder: str(Run.load(folder).ranking("posterior")),
    ),
}
"""What a run leaves, and how the stages and the report after it read each of them."""

every_file = pytest.mark.parametrize("name", FILES)


@pytest.fixture
def copy(runs: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(runs[0], tmp_path / "run")
    return tmp_path / "run"


@every_file
@every_damage
def test_a_damaged_file_of_a_run(
    copy: Path, name: str, damage: str, often: Often, ledger: Ledger
) -> None:
    kind, read = FILES[name]
    before, whole = read(copy), (copy / name).read_bytes()
    dice = random.Random(0)
    for _ in range(often(5, 60)):
        (copy / name).write_bytes(DAMAGE[damage](whole, dice))
        error, after = "", before
        try:
            after = read(copy)
        except PdnasError as raised:
            error = str(raised)
        assert not error or (str(copy / name) in error and "\n" not in error)
        silent = after != before
        ledger.add(f"{kind} {damage}", NAMED, silent=silent)
        assert not silent


@pytest.mark.parametrize("name", sorted(set(FILES) - {"run.json"}))
def test_a_file_of_another_run(
    runs: tuple[Path, Path], copy: Path, name: str, ledger: Ledger
) -> None:
    kind, read = FILES[name]
    shutil.copyfile(runs[1] / name, copy / name)
    with pytest.raises(PdnasError, match="another run") as raised:
        read(copy)
    assert str(copy / name) in str(raised.value)
    ledger.add(f"{kind} of another run", NAMED)


def test_the_record_of_another_run(runs: tuple[Path, Path], copy: Path) -> None:
    """It makes every other file another run's."""
    shutil.copyfile(runs[1] / "run.json", copy / "run.json")
    for name, (_, read) in FILES.items():
        if name != "run.json":
            with pytest.raises(PdnasError, match="another run"):
                read(copy)


def test_a_ranking_of_other_candidates(copy: Path, ledger: Ledger) -> None:
    run = Run.load(copy)
    draw(run, "posterior", 4, run.seed + 1)
    with pytest.raises(PdnasError, match="other candidates") as raised:
        run.candidate("posterior", None)
    assert "ranking-posterior.json" in str(raised.value)
    ledger.add("record of other candidates", NAMED)


@every_damage
def test_a_damaged_checkpoint(tmp_path: Path, damage: str, often: Often, ledger: Ledger) -> None:
    points = Checkpoints(tmp_path, "run")
    for epoch in (1, 2):
        points.save(epoch, 0, {"w": torch.full((200,), float(epoch)), "epoch": epoch})
    last = max(points.folder.iterdir())
    whole = last.read_bytes()
    dice = random.Random(0)
    for _ in range(often(60, 500)):
        last.write_bytes(DAMAGE[damage](whole, dice))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            state = points.latest()
        assert state is not None
        # A flip within the words "self-sha256" harms nothing but themselves.
        epoch = 1 if told else 2
        assert all(str(last) in str(warning.message) for warning in told)
        right = state["epoch"] == epoch and bool((state["w"] == epoch).all())
        outcome = "named in a warning, the one before is used"
        ledger.add(f"checkpoint {damage}", outcome, silent=not right)
        assert right


def test_a_checkpoint_of_another_run(tmp_path: Path, ledger: Ledger) -> None:
    points, others = Checkpoints(tmp_path, "run"), Checkpoints(tmp_path, "other")
    for epoch in (1, 2):
        points.save(epoch, 0, {"epoch": epoch})
        others.save(epoch, 0, {"epoch": -epoch})
    last = max(points.folder.iterdir())
    shutil.copyfile(others.folder / last.name, last)
    with pytest.warns(UserWarning, match="belongs to another run"):
        assert points.latest() == {"epoch": 1}
    shutil.copyfile(min(points.folder.iterdir()), last)
    with pytest.warns(UserWarning, match="another checkpoint than its name says"):
        assert points.latest() == {"epoch": 1}
    ledger.add("checkpoint exchanged", "named in a warning, the one before is used", tried=2)


@pytest.mark.parametrize("damage", [*DAMAGE, "exchanged"])
def test_a_damaged_download(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
    often: Often,
    ledger: Ledger,
) -> None:
    whole = random.Random(1).randbytes(5000)
    pinned = replace(
        SOURCES["nats-bench"], sha256=hashlib.sha256(whole).hexdigest(), size=len(whole)
    )
    monkeypatch.setitem(SOURCES, "nats-bench", pinned)
    monkeypatch.setenv("PDNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PDNAS_MIRROR", str(tmp_path))
    file = tmp_path / pinned.filename
    dice = random.Random(0)
    for _ in range(often(20, 200)):
        other = dice.randbytes(len(whole))
        file.write_bytes(other if damage == "exchanged" else DAMAGE[damage](whole, dice))
        with pytest.raises(PdnasError, match="has not the SHA-256") as raised:
            SOURCES["nats-bench"].find()
        assert str(file) in str(raised.value)
        ledger.add(f"download {damage}", NAMED)
    file.write_bytes(whole)
    assert SOURCES["nats-bench"].find() == file
