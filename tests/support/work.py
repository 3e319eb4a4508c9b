"""Work for one process or several, which the test compares."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GatedConv2d, GatedLinear, GateSettings
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import ChannelSupernet
from pdnas.runs.run import Run
from pdnas.spec.gates import GateConfig
from pdnas.spec.spec import Spec
from pdnas.spec.training import TrainingConfig
from pdnas.stages.rank import rank_run
from pdnas.stages.retrain import choose, retrain_run
from pdnas.stages.sample import sample_run
from pdnas.stages.search import search_run
from pdnas.support import distributed
from pdnas.support.errors import PdnasError, Unfinished
from pdnas.train.fit import TrainingData, fit

CPU = torch.device("cpu")

IMAGENET = {
    "data": {"name": "imagenet", "validation": 4},
    "supernet": {"name": "multibranch", "width": 4, "blocks": 1, "merge": "shake-shake"},
    "training": {
        "epochs": 2,
        "batch": 8,
        "micro_batch": 4,  # all that each of two processes has of a batch
        "learning_rate": 0.1,
        "precision": "bfloat16",
    },
    "gates": {"length_scale2": 1, "learning_rate": 0.05},
    "candidates": {"count": 3, "batchnorm": "recalibrated", "recalibration_images": 8},
}
DIGITS = {
    "data": {"name": "digits", "train": 160, "heldout": 80, "validation": 100, "test": 50},
    "supernet": {"name": "nasbench201", "channels": 4, "cells": 1, "stages": 1},
    "training": {"epochs": 3, "batch": 40, "micro_batch": 10, "learning_rate": 0.1},
    "gates": {"temperature": 1, "length_scale2": 1, "learning_rate": 0.05, "warmup_epochs": 1},
    "candidates": {"count": 5, "ranking": "racing"},
    "retrain": {"epochs": 1, "learning_rate": 0.05},
}


def chain(spec: Spec, folder: Path, *, pause: bool, mode: str) -> None:
    """Search, sample, rank and retrain; if ``pause``, the search stops after its first epoch."""
    names = {"scale": "s", "study": "s", "variant": "v", "seed": 1, "out": folder, "device": CPU}
    if pause:
        with contextlib.suppress(Unfinished):
            search_run(spec, **names, deadline=time.monotonic())
    search_run(spec, **names)
    # A file of the first process, which the others are to read.
    distributed.from_first(
        lambda: sample_run(Run.load(folder), "posterior", spec.candidates.count, 1)
    )
    run = Run.load(folder)
    rank_run(run, "posterior", CPU)
    distributed.from_first(lambda: None)
    retrain_run(run, choose(run, "posterior"), mode, CPU)


class Plain(ChannelSupernet):
    """A gated network without BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(GatedConv2d(3, 6, 3, stride=2), nn.Tanh(), GatedConv2d(6, 6, 3))
        self.classifier = GatedLinear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.tanh(self.body(x)).mean(dim=(2, 3)))


class Batches:
    """A loader of this rank's rows of three batches of 16 images, in float64."""

    examples = 48

    def __len__(self) -> int:
        return 3

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(number)
        for _ in range(3):
            x = torch.randn(16, 3, 12, 12, generator=generator, dtype=torch.float64)
            y = torch.randint(10, (16,), generator=generator)
            yield x[distributed.rows(16)], y[distributed.rows(16)]


def train_plain() -> dict[str, list[float]]:
    """Train :class:`Plain`, per-image switches included; its weights by name."""
    torch.manual_seed(0)
    net = Plain().double()
    net.configure_gates(GateSettings(initial=0.3))
    training = TrainingConfig(epochs=2, batch=16, learning_rate=0.1)
    gates = GateConfig(length_scale2=1)
    fit(net, TrainingData(Batches(), Objective(10, 48)), training, gates)
    return {name: value.flatten().tolist() for name, value in net.state_dict().items()}


def work(folder: Path) -> None:
    """All of it, by however many processes there are."""
    chain(Spec.model_validate(IMAGENET), folder / "imagenet", pause=False, mode="none")
    chain(Spec.model_validate(DIGITS), folder / "digits", pause=True, mode="finetune")
    record = {"plain": train_plain()}
    try:
        distributed.rows(2 * distributed.ranks() + 1)
    except PdnasError as error:
        record["uneven"] = str(error)
    if distributed.is_first():
        (folder / "record.json").write_text(json.dumps(record))


if __name__ == "__main__":
    folder, os.environ["PDNAS_DATA"] = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    with distributed.process_group(CPU):
        work(folder)
