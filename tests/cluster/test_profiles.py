"""Cluster profiles, and what jobs ask for; nothing is submitted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser

from pdnas.spec.scale import SCALES

from ..processes import snakemake

WORKFLOW = Path(__file__).parents[2] / "workflow"
PROFILES = sorted((WORKFLOW / "profiles").glob("*/config.yaml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_a_profile_has_options_that_snakemake_or_its_plugin_knows(path: Path) -> None:
    profile = yaml.safe_load(path.read_text())
    plugin = profile.get("executor")
    known = get_argument_parser()._option_string_actions
    of_plugin = {key for key in profile if key.startswith(f"{plugin}-")}
    assert [key for key in profile.keys() - of_plugin if f"--{key}" not in known] == []
    if not of_plugin:
        return
    settings = pytest.importorskip(f"snakemake_executor_plugin_{plugin}").ExecutorSettings
    names = {key.removeprefix(f"{plugin}-").replace("-", "_") for key in of_plugin}
    assert names <= settings.__dataclass_fields__.keys()


def test_kubernetes_stops_before_the_report_at_rules_that_exist() -> None:
    profile = yaml.safe_load((WORKFLOW / "profiles/kubernetes/config.yaml").read_text())
    rules = "".join(path.read_text() for path in (WORKFLOW / "rules").glob("*.smk"))
    assert set(profile["until"]) <= set(re.findall(r"^rule (\w+):", rules, re.MULTILINE))


def test_jobs_on_several_gpus_have_a_process_for_each(tmp_path: Path) -> None:
    """The commands of a dry run; what jobs ask of SLURM is in test_slurm.py."""
    scale = yaml.safe_load((SCALES / "gpu.yaml").read_text())
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({**scale, "gpus": 2}))
    target = "runs/two/multibranch/guided/seed1/result-posterior-none.json"
    done = snakemake(
        tmp_path,
        *("--snakefile", str(WORKFLOW / "Snakefile"), "--cores", "8"),
        *("--dry-run", "--printshellcmds", target, "--config", "scale=two.yaml"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    commands = re.findall(r"^Shell command: (.*)", done.stdout + done.stderr, re.MULTILINE)
    launcher = "torchrun --standalone --nproc-per-node 2 -m pdnas.cli"
    starts = (f"{launcher} search", "pdnas sample", f"{launcher} rank", f"{launcher} retrain")
    assert len(commands) == len(starts)
    assert all(map(str.startswith, commands, starts))
    assert "--seed 1 " in commands[0]
