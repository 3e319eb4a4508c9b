"""Two processes under torchrun against one process that cuts its batches alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pdnas.runs.run import Run
from pdnas.stages.materials import trained_supernet
from pdnas.support import distributed
from pdnas.support.files import read_json, read_table, read_tensors

from .work import work

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run two processes on this machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*launcher, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, make_imagenet: Callable[..., Path]
) -> tuple[Path, Path]:
    """Results of one process and of two."""
    root = tmp_path_factory.mktemp("distributed")
    imagenet = make_imagenet(root / "imagenet", train=12, val=3)
    one, two = root / "one", root / "two"
    for folder in (one, two):
        folder.mkdir()
    done = torchrun(Path(__file__).with_name("work.py"), two, imagenet)
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDNAS_DATA", str(imagenet))
        work(one)
    return one, two


def table(folder: Path, name: str) -> pd.DataFrame:
    return read_table(folder / f"{name}.parquet").select_dtypes("number")


@pytest.mark.parametrize("study", ["imagenet", "digits"])
def test_two_processes_end_as_one_that_cuts_its_batches_alike(
    folders: tuple[Path, Path], study: str
) -> None:
    """The tolerance is that of float32 sums in another order; BatchNorm statistics are among them.

    The supernet of digits is interrupted after its first epoch, held-out images move its switches,
    and its candidates race.
    """
    one, two = (folder / study for folder in folders)
    for name in ("weights", "posterior"):
        expected, _ = read_tensors(one / f"{name}.safetensors")
        found, _ = read_tensors(two / f"{name}.safetensors")
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            if key.endswith("num_batches_tracked"):
                continue  # how many parts this process has seen; nothing depends on it
            torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6)
    for name in ("history", "trajectory", "ranking-posterior"):
        speed = ["seconds", "images_per_second"] if name == "history" else []
        expected, found = (table(folder, name).drop(columns=speed) for folder in (one, two))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    mode = "none" if study == "imagenet" else "finetune"
    results = [read_json(folder / f"result-posterior-{mode}.json") for folder in (one, two)]
    processes = [result.pop("provenance")["hardware"]["processes"] for result in results]
    assert processes == [1, 2]
    assert results[1] == pytest.approx(results[0])
    assert (results[0]["test_top5_accuracy"] is None) == (study == "digits")
    assert sorted(path.name for path in two.iterdir()) == sorted(
        path.name for path in one.iterdir()
    )


def test_the_number_of_outputs_is_that_of_the_folders(folders: tuple[Path, Path]) -> None:
    run = Run.load(folders[0] / "imagenet")
    assert run.record["classes"] == run.classes == 2
    assert trained_supernet(run, torch.device("cpu")).classifier.out_features == 2


def test_without_batchnorm_two_processes_train_as_one_on_whole_batches(
    folders: tuple[Path, Path],
) -> None:
    """In float64; the switches are computed in float32, hence the tolerance."""
    one, two = (json.loads((folder / "record.json").read_text()) for folder in folders)
    for name, weights in one["plain"].items():
        np.testing.assert_allclose(two["plain"][name], weights, rtol=1e-6, atol=1e-7)
    assert "uneven" not in one
    assert two["uneven"].startswith("a batch of 5 cannot be shared evenly by 2 processes")


def test_the_command_line_under_torchrun(tmp_path: Path) -> None:
    """One run folder, written once; the second process says nothing."""
    scale = tmp_path / "small.yaml"
    scale.write_text(
        """
description: two processes
studies:
  s:
    seeds: [0]
    base:
      data:
        {name: digits, train: 100, validation: 50, augmentation: {crop: 0, flip: false, cutout: 0}}
      supernet: {name: multibranch, width: 2, blocks: 1}
      training: {epochs: 1, batch: 20, learning_rate: 0.1}
      gates: {length_scale2: 1}
      candidates: {count: 2}
    variants: {guided: {}}
"""
    )
    out = tmp_path / "run"
    done = torchrun("-m", "pdnas.cli", "search", "s", "guided", "--scale", scale, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"searched s/guided seed 0: {out}\n"
    assert done.stderr.count("search s/guided seed 0: 1/1") == 1
    assert read_json(out / "run.json")["provenance"]["hardware"]["processes"] == 2


@pytest.mark.parametrize(
    ("items", "most", "ranks", "expected"),
    [(100, 8, 1, 8), (5, 8, 1, 5), (5, 8, 2, 3), (100, 8, 4, 8), (2, 8, 4, 1), (0, 8, 2, 1)],
)
def test_no_rank_is_without_work(
    monkeypatch: pytest.MonkeyPatch, items: int, most: int, ranks: int, expected: int
) -> None:
    monkeypatch.setattr(distributed, "ranks", lambda: ranks)
    assert distributed.chunk(items, most) == expected
