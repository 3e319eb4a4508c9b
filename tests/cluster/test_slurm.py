"""A part of the workflow through a real SLURM of one node, which is removed again afterwards.

It needs root, Debian's packages and the extra ``cluster``: ``make test-cluster``.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from pdnas.spec.scale import SCALES, load_scale
from pdnas.support.files import read_json

ROOT = Path(__file__).parents[2]
PACKAGES = ("munge", "slurm-client", "slurmctld", "slurmd")
CONFIGURATION = Path("/etc/slurm/slurm.conf")

pytestmark = pytest.mark.cluster


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def apt(*arguments: str) -> bool:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return run("apt-get", "--yes", *arguments, env=environment).returncode == 0


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """munge, slurmctld and slurmd, without accounting."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs the extra cluster")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("only root can install SLURM, and only with apt-get")
    if shutil.which("sinfo") is not None:
        pytest.skip("there is a SLURM here already; it is left alone")
    with ExitStack() as stack:
        stack.callback(apt, "purge", "--auto-remove", *PACKAGES)
        if not (apt("update") and apt("install", "--no-install-recommends", *PACKAGES)):
            pytest.skip("SLURM cannot be installed here")
        state = tmp_path_factory.mktemp("slurm")
        host = socket.gethostname().split(".")[0]
        (node,) = re.findall(r"^NodeName=.*", run("slurmd", "-C").stdout, re.MULTILINE)
        CONFIGURATION.write_text(
            f"""
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
StateSaveLocation={state}/controller
SlurmdSpoolDir={state}/node
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
OverTimeLimit=UNLIMITED
MinJobAge=86400
{node}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE
"""
        )
        stack.callback(CONFIGURATION.unlink, missing_ok=True)
        run("install", "-d", "-o", "munge", "/run/munge")
        for command in (
            ["runuser", "-u", "munge", "--", "munged", "--foreground"],
            ["slurmctld", "-D"],
            ["slurmd", "-D"],
        ):
            log = stack.enter_context((state / f"{command[-2]}.log").open("w"))
            daemon = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(daemon.wait)
            stack.callback(daemon.terminate)
        for _ in range(60):
            if "idle" in run("sinfo", "--noheader", "--format=%T").stdout:
                break
            time.sleep(1)
        else:
            logs = "\n".join(path.read_text()[-1000:] for path in state.glob("*.log"))
            pytest.fail(f"SLURM does not start:\n{logs}")
        yield


def workflow(folder: Path, target: str, scale: str | Path) -> subprocess.CompletedProcess[str]:
    """Make ``target`` with the profile's settings, but without accounting and second tries."""
    return run(
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")),
        *("--profile", str(ROOT / "workflow" / "profiles" / "slurm"), "--directory", str(folder)),
        *("--slurm-no-account", "--slurm-status-command", "squeue"),
        *("--slurm-init-seconds-before-status-checks", "5", "--retries", "0"),
        *(target, "--config", f"scale={scale}"),
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )


def test_smoke_jobs_go_through_slurm(slurm: None, tmp_path: Path) -> None:
    """Search, sample and rank; each asked SLURM for what the scale grants."""
    result = "runs/smoke/nasbench201/guided/seed0/ranking-posterior.json"
    done = workflow(tmp_path, result, "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_json(tmp_path / result)["provenance"]["config"]["source"] == "posterior"
    jobs = run("scontrol", "--oneliner", "show", "jobs").stdout.splitlines()
    assert len(jobs) == 3
    scale = load_scale("smoke")
    for job in jobs:
        facts = dict(re.findall(r"(\S+?)=(\S*)", job))
        assert facts["JobState"] == "COMPLETED"
        assert facts["TimeLimit"] == f"00:{scale.runtime_minutes:02}:00"
        assert facts["MinMemoryNode"] == f"{scale.memory_mb}M"
        assert facts["NumCPUs"] == str(scale.threads)


def test_a_job_on_gpus_asks_slurm_for_them(slurm: None, tmp_path: Path) -> None:
    """This SLURM knows of none and refuses, so snakemake shows what it asked for."""
    scale = yaml.safe_load((SCALES / "gpu.yaml").read_text())
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({**scale, "gpus": 2}))
    done = workflow(tmp_path, "runs/two/multibranch/guided/seed0/run.json", tmp_path / "two.yaml")
    assert done.returncode != 0
    (call,) = re.findall(r"sbatch --parsable .*", done.stdout + done.stderr)
    for asked in (
        "--gpus=2",
        f"--mem {scale['memory_mb']}",
        f"-t {scale['runtime_minutes']}",
        f"--cpus-per-task={scale['threads']}",
    ):
        assert f" {asked} " in call
