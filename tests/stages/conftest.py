"""What tests of stages share: a study of ablations with a run of it, and a raced run."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pdnas.runs.run import Run
from pdnas.spec.scale import SCALES, Scale, load_scale
from pdnas.stages.rank import rank_run
from pdnas.stages.retrain import choose, retrain_run
from pdnas.stages.sample import sample_run
from pdnas.stages.search import search_run

CPU = torch.device("cpu")
ABLATIONS: dict[str, dict[str, Any]] = {
    "guided": {},
    "initial": {"gates": {"initial": 0.5}},
    "examples": {"gates": {"examples": 500_000}},
    "official-form": {"gates": {"form": "official"}},
    "constant-prior": {"gates": {"prior": "constant"}},
    "batch-noise": {"gates": {"noise": "batch"}},
    "temperature": {"gates": {"temperature": "2/3"}},
    "shake-shake": {"supernet": {"merge": "shake-shake"}},
    "steps": {"training": {"schedule": {"name": "steps", "milestones": [1]}}},
    "warm-restarts": {"training": {"schedule": {"name": "warm-restarts", "period": 1}}},
    "weight-decay": {"training": {"weight_decay": 0.01}},
    "recalibrated": {"candidates": {"batchnorm": "recalibrated"}},
}


@pytest.fixture(scope="session")
def scale(tmp_path_factory: pytest.TempPathFactory) -> Scale:
    """The smoke scale's multibranch study with two short epochs, and every ablation a variant."""
    content = yaml.safe_load((SCALES / "smoke.yaml").read_text())
    study = content["studies"]["multibranch"]
    base = copy.deepcopy(study["base"])
    base["data"] |= {"train": 200, "validation": 100, "test": 100}
    base["training"]["epochs"] = 2
    base["candidates"]["count"] = 3
    content["studies"] = {"multibranch": {"seeds": [0], "base": base, "variants": ABLATIONS}}
    path = tmp_path_factory.mktemp("scale") / "ablations.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_scale(str(path))


def stages(scale: Scale, variant: str, out: Path) -> Path:
    """Search to fine-tuning; returns the run's folder."""
    search_run(
        scale.spec("multibranch", variant),
        scale="ablations",
        study="multibranch",
        variant=variant,
        seed=0,
        out=out,
        device=CPU,
    )
    run = Run.load(out)
    sample_run(run, "posterior", run.spec.candidates.count, 0)
    rank_run(run, "posterior", CPU)
    retrain_run(run, choose(run, "posterior"), "finetune", CPU)
    return out


@pytest.fixture(scope="session")
def guided(scale: Scale, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stages(scale, "guided", tmp_path_factory.mktemp("guided"))


@pytest.fixture(scope="session")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search whose 20 candidates are raced."""
    folder = tmp_path_factory.mktemp("raced")
    spec = load_scale("smoke").spec("multibranch", "guided")
    racing = spec.candidates.model_copy(update={"ranking": "racing"})
    gates = spec.gates.model_copy(update={"length_scale2": 100})
    spec = spec.model_copy(update={"candidates": racing, "gates": gates})
    search_run(
        spec, scale="smoke", study="multibranch", variant="guided", seed=0, out=folder, device=CPU
    )
    found = Run.load(folder)
    sample_run(found, "posterior", 20, 0)
    return found


def plainly(run: Run) -> Run:
    """The same candidates, every one judged on every image."""
    everything = run.spec.candidates.model_copy(update={"ranking": "all"})
    spec = run.spec.model_copy(update={"candidates": everything})
    return replace(run, spec=spec)


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search over cells of three operations, in another order than the benchmark's."""
    spec = load_scale("smoke").spec("nasbench201", "guided")
    changes = {
        "data": spec.data.model_copy(update={"train": 100, "validation": 50, "test": 50}),
        "supernet": spec.supernet.model_copy(
            update={"operations": ("nor_conv_3x3", "none", "skip_connect")}
        ),
        "training": spec.training.model_copy(update={"epochs": 1}),
        "gates": spec.gates.model_copy(update={"warmup_epochs": 0}),
    }
    folder = tmp_path_factory.mktemp("cells")
    names = {"scale": "smoke", "study": "nasbench201", "variant": "guided"}
    search_run(spec.model_copy(update=changes), **names, seed=0, out=folder, device=CPU)
    return folder
