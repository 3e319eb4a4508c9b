"""A lent GPU's every call, on a processor and a few images; cut off, and made again.

Whoever makes them has a GPU for minutes, so a call that breaks there costs the whole loan.
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

from contrib.lent_gpu.jobs import of_report, perform, wanted
from pdnas.spec.scale import SCALES
from pdnas.support.errors import Unfinished
from pdnas.support.files import read_json

from ..conftest import ENVIRONMENT

ROOT = Path(__file__).parents[2]
RUN = "runs/tiny/nasbench201/guided/seed0"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code without history, and a scale of one seed that takes seconds."""
    folder = tmp_path_factory.mktemp("gpu")
    for part in ("pdnas", "contrib", "workflow", "config"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    scale = yaml.safe_load((SCALES / "smoke.yaml").read_text())
    for study in scale["studies"].values():
        study["seeds"] = [0]
        study["base"]["data"] = {"name": "cifar10", "train": 200, "validation": 50, "test": 50}
        study["base"]["training"]["epochs"] = 3
        study["base"]["candidates"]["count"] = 2
    cells = scale["studies"]["nasbench201"]
    cells["score_images"] = 2
    cells["base"]["supernet"]["channels"] = 2
    (folder / "tiny.yaml").write_text(yaml.safe_dump(scale))
    return folder


def call(tree: Path, *words: str) -> int:
    """Exit code of a call."""
    environment = ENVIRONMENT | {"PYTHONPATH": str(tree), "PDNAS_COMMIT": "0" * 40}
    command = [sys.executable, "-m", "contrib.lent_gpu.jobs", *words]
    return subprocess.run(command, cwd=tree, env=environment, check=False).returncode


def test_a_plan_holds_the_jobs_of_the_workflow(tree: Path) -> None:
    assert call(tree, "plan", "table3.json", "table3", "--scale", "tiny.yaml") == 0
    jobs = read_json(tree / "table3.json")["jobs"]
    makes = {name: job for job in jobs for name in job["output"]}
    ranked = makes["runs/tiny/multibranch/random/seed0/ranking-random.json"]
    assert ranked["command"].startswith("pdnas rank runs/tiny/multibranch/random/seed0 ")
    assert all(name in makes for name in ranked["input"])
    assert [job["output"][0] for job in jobs if of_report(job)] == [
        "runs/tiny/report/tables/table3.md"
    ]


def test_a_job_waits_for_what_it_reads_and_for_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def job(command: str, inputs: list[str], output: str) -> dict[str, object]:
        return {"command": command, "input": inputs, "output": [output], "log": []}

    stopped = job("exit 75", [], "late")
    jobs = [
        job("cp first second", ["first"], "second"),
        job("touch third", ["late"], "third"),
        job("echo 1 >first", ["elsewhere"], "first"),
        stopped,
    ]
    with pytest.raises(Unfinished):
        perform(jobs)
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}
    with pytest.raises(SystemExit) as failed:
        perform([stopped, job("exit 3", [], "never")])
    assert failed.value.code == 3


def test_what_comes_back(tmp_path: Path) -> None:
    kept = {"a/run.json", "a/checkpoint/f/epoch-2.safetensors", "rivals/log/x.log"}
    left = {
        *("a/weights.safetensors", "a/tensorboard/events", "warm-ups/f/e.safetensors", "a/.lock"),
        *("a/checkpoint/f/epoch-1.safetensors", "a/checkpoint-posterior-none/notes"),
    }
    for name in kept | left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {path.relative_to(tmp_path).as_posix() for path in wanted(tmp_path)} == kept


@pytest.mark.faults
@pytest.mark.data
def test_every_call_up_to_the_report(tree: Path) -> None:
    runs = tree / "runs" / "tiny"
    scored = f"{RUN}/efficiency-scored.json"
    assert call(tree, "plan", "plan.json", "all", scored, "--scale", "tiny.yaml") == 0
    assert call(tree, "run", "plan.json", "--minutes", "0.001") == os.EX_TEMPFAIL
    assert not (tree / RUN / "run.json").exists()  # it ended after an epoch
    assert call(tree, "run", "plan.json", "--minutes", "5") == 0

    made = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    assert call(tree, "run", "plan.json") == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made

    out = tree / "out"
    out.mkdir()
    assert call(tree, "collect", "plan.json", str(out)) == 0
    (archive,) = out.iterdir()
    home = tree / "home"
    with tarfile.open(archive) as file:
        file.extractall(home, filter="data")
    shutil.rmtree(tree / "runs")
    shutil.move(home / "runs", tree / "runs")
    assert call(tree, "report", "plan.json") == 0
    report = [job for job in read_json(tree / "plan.json")["jobs"] if of_report(job)]
    assert len(report) > 20
    assert all((tree / name).is_file() for job in report for name in job["output"])
    matched = read_json(runs / "multibranch/random/seed0/run.json")["fixed_drop_probability"]
    assert 0 < matched < 1
