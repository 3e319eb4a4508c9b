"""The stages as a user runs them: kills, a full disk, bad input."""

from __future__ import annotations

import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from pdnas import cli
from pdnas.spec.scale import SCALES
from pdnas.train import fit

from ..conftest import ENVIRONMENT

pytestmark = pytest.mark.slow


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pdnas.cli", *map(str, arguments)]


Pdnas = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def pdnas(served: dict[str, str]) -> Pdnas:
    """Runs a command; keywords go into its environment."""

    def execute(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            env={**served, **environment},
        )

    return execute


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pdnas: Pdnas) -> Path:
    """A finished, uninterrupted search."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = pdnas("search", "multibranch", "guided", "--scale", "smoke", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One clear line on standard error, and exit code 2."""
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("pdnas: error: ")
    for word in words:
        assert word in done.stderr


def test_no_stage_imports_torchvision_or_the_compiler() -> None:
    """Either costs a command more than a second; docs/speed.md."""
    names = ("search", "sample", "rank", "retrain", "extract")
    stages = ", ".join(f"pdnas.stages.{name}" for name in names)
    unwanted = "{'torchvision', 'torch._dynamo'} & {*sys.modules}"
    code = f"import sys, {stages}; sys.exit(bool({unwanted}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_killed_search_ends_with_the_same_bits(
    run: Path, tmp_path: Path, served: dict[str, str]
) -> None:
    search = command("search", "multibranch", "guided", "--scale", "smoke", "--out", tmp_path)
    process = subprocess.Popen(search, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    while not list(
        tmp_path.glob("checkpoint/*/epoch-*.safetensors")
    ):  # let it finish an epoch or more
        assert process.poll() is None, "the search ended before its first checkpoint was seen"
        time.sleep(0.01)
    time.sleep(random.random())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run.json").exists(), "it was killed too late to test anything"

    done = subprocess.run(search, capture_output=True, text=True, check=False, env=served)
    assert done.returncode == 0, done.stderr
    assert "1/6" not in done.stderr, "it began anew instead of going on"
    for name in ("weights.safetensors", "posterior.safetensors"):
        resumed, whole = load_file(tmp_path / name), load_file(run / name)
        assert resumed.keys() == whole.keys()
        assert all(torch.equal(resumed[key], whole[key]) for key in whole), name
    trajectories = [pd.read_parquet(folder / "trajectory.parquet") for folder in (tmp_path, run)]
    pd.testing.assert_frame_equal(*trajectories)
    assert not (tmp_path / "checkpoint").exists()


def test_ctrl_c_says_how_to_go_on(
    kill_at: Callable[[Any, str, int], list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["search", "multibranch", "guided", "--scale", "smoke", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["pdnas", *words])
    kill_at(fit, "_train_epoch", 2)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "pdnas: interrupted; run the same command again to go on"


def test_ctrl_c_finds_no_import_before_somebody_looks_out_for_it() -> None:
    code = "import sys; old = {*sys.modules}; import pdnas.cli; print(*{*sys.modules} - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {name for name in loaded if not name.startswith("importlib")} <= {
        *("pdnas", "pdnas.cli", "__future__", "warnings", "_warnings")
    }


def test_a_search_that_stops_in_time_says_so_and_goes_on(pdnas: Pdnas, tmp_path: Path) -> None:
    search = ["search", "nasbench201", "guided", "--scale", "smoke", "--out", tmp_path]
    done = pdnas(*search, "--stop-after", "0")
    assert done.returncode == 75
    *_, line = done.stderr.splitlines()
    assert "stopped after epoch 1/4" in line
    assert "same command" in line
    assert not (tmp_path / "run.json").exists()
    done = pdnas(*search, "--stop-after", "9")
    assert done.returncode == 0, done.stderr
    assert "1/4" not in done.stderr, "it began anew instead of going on"


@pytest.mark.thorough
def test_a_full_disk_loses_nothing_that_was_finished(run: Path, tmp_path: Path) -> None:
    """A search on a tiny file system of its own, which grows after the search has filled it."""
    disk, results = tmp_path / "disk", tmp_path / "results"
    disk.mkdir()
    search = shlex.join(
        command("search", "multibranch", "guided", "--scale", "smoke", "--out", disk / "run")
    )
    steps = f"""
        mount -t tmpfs -o size=240k tmpfs {disk} || exit 77
        {search}; test $? -eq 2 || exit 1
        ls {disk}/run/checkpoint/*/epoch-*.safetensors || exit 1
        mount -o remount,size=20m {disk}
        {search} || exit 1
        cp -r {disk}/run {results}
    """
    unshare = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c", steps]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this system")
    done = subprocess.run(unshare, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip("this system lets no user mount a file system")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("pdnas: error: cannot write") == 1
    assert "No space left on device" in done.stderr
    assert "6/6" in done.stderr
    resumed, whole = (load_file(folder / "weights.safetensors") for folder in (results, run))
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_search_refuses_what_is_unknown(pdnas: Pdnas, tmp_path: Path) -> None:
    assert_refused(pdnas("search", "multibranch", "guided", "--scale", "huge"), "huge", "laptop")
    assert_refused(pdnas("search", "nope", "guided", "--scale", "smoke"), "nope", "multibranch")
    broken = tmp_path / "broken.yaml"
    text = (SCALES / "smoke.yaml").read_text()
    broken.write_text(text.replace("name: digits", "name: mnist"))
    assert_refused(pdnas("search", "multibranch", "guided", "--scale", broken), "mnist")


def test_later_stages_refuse_what_is_missing_or_damaged(
    pdnas: Pdnas, run: Path, tmp_path: Path
) -> None:
    assert_refused(pdnas("sample", tmp_path), "no finished search")
    assert_refused(pdnas("rank", run, "--source", "uniform"), "candidates-uniform")
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert pdnas("sample", copy, "--count", "2").returncode == 0
    assert_refused(pdnas("rank", copy), "weights.safetensors", "delete it")


def test_missing_data_without_network(pdnas: Pdnas, tmp_path: Path) -> None:
    scale = tmp_path / "real.yaml"
    scale.write_text((SCALES / "smoke.yaml").read_text().replace("name: digits", "name: cifar100"))
    environment = {"PDNAS_DATA": str(tmp_path), "PDNAS_CACHE": str(tmp_path / "cache")}
    environment["HTTPS_PROXY"] = environment["https_proxy"] = "http://127.0.0.1:9"
    search = ("search", "multibranch", "guided", "--scale", scale, "--out", tmp_path / "run")
    done = pdnas(*search, **environment)
    assert_refused(done, "cifar-100-python.tar.gz", "PDNAS_DATA", "cifar100/train/CLASS/*")
