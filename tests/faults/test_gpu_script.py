"""contrib/lent_gpu/gpu.sh, every step, on a processor and a few images; cut off, and called again.

Whoever runs it has a GPU for minutes, so a step that breaks there costs the whole loan.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from pdnas.data import cifar10
from pdnas.report.catalogue import FIGURES, TABLES
from pdnas.spec.scale import SCALES
from pdnas.support.files import read_json

ROOT = Path(__file__).parents[2]
STOPPED = 75

pytestmark = [pytest.mark.faults, pytest.mark.data]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code without history, and a scale of one seed that takes seconds."""
    if not cifar10.path().is_file():
        pytest.skip("CIFAR-10 is not in the cache; `pdnas data fetch cifar10` puts it there")
    folder = tmp_path_factory.mktemp("gpu")
    for part in ("pdnas", "contrib"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    scale = yaml.safe_load((SCALES / "smoke.yaml").read_text())
    for study in scale["studies"].values():
        study["seeds"] = [0]
        study["base"]["data"] = {"name": "cifar10", "train": 200, "validation": 50, "test": 50}
        study["base"]["training"]["epochs"] = 3
        study["base"]["candidates"] = {"count": 2}
    cells = scale["studies"]["nasbench201"]
    cells["score_images"] = 2
    cells["base"]["supernet"]["channels"] = 2
    (folder / "tiny.yaml").write_text(yaml.safe_dump(scale))
    return folder


def step(tree: Path, *words: str) -> int:
    """Exit code of a step."""
    environment = {
        **os.environ,
        "SCALE": "tiny.yaml",
        "CELLS": "nasbench201",
        "SEEDS": "0",
        "DEVICE": "cpu",
        "PYTHON": sys.executable,
        "PDNAS_COMMIT": "0" * 40,
    }
    script = str(tree / "contrib" / "lent_gpu" / "gpu.sh")
    return subprocess.run(["bash", script, *words], env=environment, check=False).returncode


def test_every_step_up_to_the_report(tree):
    runs = tree / "runs" / "tiny"
    assert step(tree, "check") == 0
    assert not list(tree.glob("runs/*"))
    assert step(tree, "nasbench", "0.001") == STOPPED  # minutes: it ends after an epoch
    assert not (runs / "nasbench201/guided/seed0/run.json").exists()
    assert step(tree, "all", "5") == 0

    made = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    steps = (("nasbench", "5"), ("scores",), ("supernet", "guided", "5"), ("candidates", "random"))
    for again in (*steps, ("all", "5")):
        assert step(tree, *again) == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made

    out = tree / "out"
    out.mkdir()
    assert step(tree, "collect", str(out)) == 0
    (archive,) = out.iterdir()
    home = tree / "home"
    with tarfile.open(archive) as file:
        file.extractall(home, filter="data")
    shutil.rmtree(tree / "runs")
    shutil.move(home / "runs", tree / "runs")
    assert step(tree, "report") == 0
    report = runs / "report"
    for name in TABLES:
        assert (report / "tables" / f"{name}.md").is_file()
    for name in FIGURES:
        assert (report / "figures" / f"{name}.png").is_file()
    assert (report / "report.html").is_file()
    matched = read_json(runs / "multibranch/random/seed0/run.json")["fixed_drop_probability"]
    assert 0 < matched < 1


def test_an_unknown_step_is_refused(tree):
    assert step(tree, "search") == 2
