"""What a machine does to a run: no space, no right to write, no memory, a jumping clock, rivals."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from pdnas.commands.app import app
from pdnas.data.dataset import ImageFiles, ImageSet
from pdnas.data.folders import FolderLoader
from pdnas.data.memory import DeviceLoader
from pdnas.data.sets import INFO
from pdnas.data.splits import load_part, make_splits
from pdnas.nn.objective import Objective
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.spec.data import DataConfig
from pdnas.spec.gates import GateConfig
from pdnas.spec.training import TrainingConfig
from pdnas.support.errors import PdnasError
from pdnas.support.files import claim, read_json
from pdnas.train.evaluate import CPU_IMAGES, verdicts
from pdnas.train.fit import TrainingData, fit

from ..processes import forked
from .conftest import CPU, SPEC, Ledger, follow, make_run
from .same import differences

Often = Callable[[int, int], int]


@pytest.fixture
def scale(tmp_path: Path) -> Path:
    """A scale file of the runs' own specification."""
    base = SPEC.model_dump(mode="json")
    content = {"description": "tiny", "studies": {"a": {"seeds": [0], "base": base}}}
    content["studies"]["a"]["variants"] = {"b": {}}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def stages(scale: Path, folder: Path) -> str:
    """The commands of a run, one after the other, as a shell's line."""
    pdnas = f"{shlex.quote(sys.executable)} -m pdnas.cli"
    run = shlex.quote(str(folder))
    return (
        f"{pdnas} search a b --scale {shlex.quote(str(scale))} --out {run} && "
        f"{pdnas} sample {run} && {pdnas} rank {run} && {pdnas} retrain {run}"
    )


def in_a_disk_of_its_own(steps: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script that may mount file systems; it says 77 where that is not allowed."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this system")
    unshare = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c", steps]
    done = subprocess.run(unshare, capture_output=True, text=True, check=False)
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip("this system lets no user mount a file system")
    return done


@pytest.mark.faults
def test_a_full_disk_at_any_stage(
    runs: tuple[Path, Path], scale: Path, tmp_path: Path, ledger: Ledger
) -> None:
    disk, results = tmp_path / "disk", tmp_path / "results"
    disk.mkdir()
    line = stages(scale, disk / "run")
    for kilobytes in (24, 60, 120, 200):
        done = in_a_disk_of_its_own(f"""
            mount -t tmpfs -o size={kilobytes}k tmpfs {disk} || exit 77
            {{ {line}; }}; test $? -eq 2 || exit 1
            mount -o remount,size=20m {disk}
            {{ {line}; }} || exit 1
            rm -rf {results}; cp -r {disk}/run {results}
        """)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("No space left on device") == 1
        wrong = differences(results, runs[0])
        ledger.add(
            "disk full", "one clear line; the same command goes on with space", silent=len(wrong)
        )
        assert not wrong


@pytest.mark.faults
def test_a_disk_that_may_only_be_read(
    runs: tuple[Path, Path], tmp_path: Path, ledger: Ledger
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    pdnas = f"{shlex.quote(sys.executable)} -m pdnas.cli"
    done = in_a_disk_of_its_own(f"""
        mount -t tmpfs -o size=20m tmpfs {disk} || exit 77
        cp -r {runs[0]} {disk}/run; mount -o remount,ro {disk}
        for stage in sample rank retrain; do
            {pdnas} $stage {disk}/run --force; test $? -eq 2 || exit 1
        done
        {pdnas} show {disk}/run || exit 1
    """)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Read-only file system") == 3
    assert len(done.stderr.splitlines()) == 3
    ledger.add("results read-only", "one clear line; reading still works", tried=3)


def test_a_clock_that_jumps(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    """Days back and forth at every look at it, files from the future and the past among them."""
    dice, clock = random.Random(0), time.time
    monkeypatch.setattr(time, "time", lambda: clock() + dice.uniform(-1e6, 1e6))
    folder = make_run(tmp_path / "run", 0)
    for path in folder.iterdir():
        moment = clock() + dice.uniform(-1e8, 1e8)
        os.utime(path, (moment, moment))
    follow(folder)
    wrong = differences(folder, runs[0])
    seconds = read_json(folder / "run.json")["provenance"]["wall_seconds"]
    assert 0 <= seconds < 1000
    ledger.add("clock jumps", "no effect: times come from a monotonic clock", silent=len(wrong))
    assert not wrong


def test_two_processes_at_one_piece_of_work(
    scale: Path, runs: tuple[Path, Path], tmp_path: Path, ledger: Ledger
) -> None:
    searched = tmp_path / "run"
    commands = {
        "search": ["search", "a", "b", "--scale", str(scale), "--out", str(searched)],
        "rank-posterior": ["rank", str(runs[0])],
        "retrain-posterior-none": ["retrain", str(runs[0])],
    }
    for work, command in commands.items():
        folder = searched if work == "search" else runs[0]
        with claim(folder, work):
            refused = CliRunner().invoke(app, command)
        assert isinstance(refused.exception, PdnasError)
        assert f"another process is at work in {folder} ({work})" in str(refused.exception)
        ledger.add("the same work twice at once", "the second is refused in one clear line")
    assert not (searched / "run.json").exists()


def test_a_claim_ends_with_its_process(tmp_path: Path, ledger: Ledger) -> None:
    held = "from pathlib import Path; from pdnas.support.files import claim; import sys, time\n"
    held += "with claim(Path(sys.argv[1]), 'search'): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", held, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(PdnasError, match="another process is at work"),
            claim(tmp_path, "search"),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
    with claim(tmp_path, "search"):
        pass
    ledger.add("a killed process held a claim", "the next one takes it")


def test_a_loss_that_is_no_number(tmp_path: Path, ledger: Ledger) -> None:
    for number, rate in enumerate((1e20, 1e30, 1e37)):
        training = SPEC.training.model_copy(update={"learning_rate": rate})
        spec = SPEC.model_copy(update={"training": training})
        with pytest.raises(PdnasError, match=r"epoch 1, step \d: .* not finite") as raised:
            make_run(tmp_path / str(number), 0, spec)
        assert "\n" not in str(raised.value)
        assert not (tmp_path / str(number) / "run.json").exists()
        ledger.add("loss not finite", "stops before the update; step and first gate or layer named")


@contextmanager
def memory(megabytes: int) -> Iterator[None]:
    """No more memory than what the process has and so many megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + megabytes * 2**20, hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def digits() -> ImageSet:
    """2000 images of noise, the size of digits; in a wide network, 32 MB a layer."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2000, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.randint(10, (2000,), generator=generator))


def train(batch: int) -> None:
    torch.manual_seed(0)
    loader = DeviceLoader(
        digits().subset(torch.arange(batch)),
        INFO["digits"],
        batch,
        CPU,
        augmentation=None,
        shuffle=True,
        seed=0,
    )
    fit(
        MultiBranchSupernet(64, 1, 1, 10),
        TrainingData(loader, Objective(1, batch)),
        TrainingConfig(epochs=1, batch=batch, learning_rate=0.1),
        GateConfig(length_scale2=1),
    )


def train_without_memory() -> None:
    """All is imported, and there is room for one layer: it is the next one that finds none."""
    train(20)
    with memory(48):
        train(2000)


def test_no_memory_to_train(tmp_path: Path, ledger: Ledger) -> None:
    """In another process: kernels that found no memory stay broken."""
    done = forked(train_without_memory, tmp_path)
    *_, line = done.stderr.splitlines()
    said = r"pdnas.support.errors.PdnasError: out of memory .* training.micro_batch to 1000"
    assert re.match(said, line)
    ledger.add("out of memory, training", "one clear line names the micro-batch to set")


@pytest.mark.parametrize("candidates", [1, 2])
def test_no_memory_to_judge(candidates: int, ledger: Ledger) -> None:
    torch.manual_seed(0)
    net = MultiBranchSupernet(4, 1, 1, 10).eval()
    training = TrainingConfig(epochs=1, batch=1, learning_rate=0.1)
    part = digits()
    x = part.images.float().contiguous(memory_format=torch.channels_last)
    drawn = net.posterior().sample(candidates, seed=0)

    def too_much(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]) > CPU_IMAGES // 2 * candidates:
            torch.empty(2**60, dtype=torch.uint8)  # the allocator's own error

    with net.candidates([drawn[number] for number in range(candidates)]):
        expected = verdicts(net, x, part.labels, training, candidates=candidates)
        net.register_forward_pre_hook(too_much)
        with pytest.warns(UserWarning, match=f"out of memory with {CPU_IMAGES} images"):
            found = verdicts(net, x, part.labels, training, candidates=candidates)
    assert found[0].shape == (candidates, 2000)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])
    ledger.add("out of memory, judging", "images go through by halves; the same verdicts")


@pytest.mark.faults
def test_a_decoding_process_that_dies(tmp_path: Path, often: Often, ledger: Ledger) -> None:
    dice = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("n0", "n1"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(8):
                pixels = dice.integers(0, 256, (60, 60, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.JPEG")
    config = DataConfig(name="imagenet", validation=4)
    splits = make_splits(config, tmp_path)
    for _ in range(often(1, 5)):
        part = load_part(config, "train", splits, tmp_path)
        assert isinstance(part, ImageFiles)
        loader = FolderLoader(part, INFO["imagenet"], 1, "cpu", train=True, seed=0, workers=2)
        before = set(multiprocessing.active_children())  # an earlier loader's may still be there
        batches = loader.epoch(1)
        next(batches)
        victim = next(iter(set(multiprocessing.active_children()) - before))
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(PdnasError, match="a process that decodes images died") as raised:
            list(batches)
        assert "\n" not in str(raised.value)
        ledger.add("decoding process killed", "one clear line; the same command goes on")
