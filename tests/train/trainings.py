"""Networks, images and trainings of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pdnas.data.dataset import ImageSet
from pdnas.data.memory import DeviceLoader
from pdnas.data.sets import INFO
from pdnas.nn.gates import GateSettings
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import Supernet
from pdnas.nn.supernets.enas import EnasSupernet
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.spec.data import Augmentation
from pdnas.spec.gates import GateConfig
from pdnas.spec.training import TrainingConfig
from pdnas.train.checkpoint import Checkpoints
from pdnas.train.fit import Session, TrainingData, fit
from pdnas.train.state import History, TrainingState

BATCH = 16
CPU = torch.device("cpu")

ENAS = {
    "epochs": 3,
    "learning_rate": 0.05,
    "auxiliary_weight": 0.4,
    "drop_path": 0.4,
    "schedule": {"name": "warm-restarts", "period": 1},
}
"""How SupNet-E is trained."""


def images(seed: int, batches: int = 1) -> DeviceLoader:
    """Noise in place of digits."""
    generator = torch.Generator().manual_seed(seed)
    shape = (BATCH * batches, 1, 8, 8)
    pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, shape[:1], generator=generator)
    return loader(pixels, labels, "digits")


def colour_images() -> DeviceLoader:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (BATCH, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (BATCH,), generator=generator)
    return loader(pixels, labels, "cifar10")


def loader(pixels: Tensor, labels: Tensor, name: str) -> DeviceLoader:
    part = ImageSet(pixels, labels)
    plain = Augmentation(crop=0, flip=False, cutout=0)
    return DeviceLoader(part, INFO[name], BATCH, CPU, augmentation=plain, shuffle=True, seed=0)


def branches(width: int = 2) -> MultiBranchSupernet:
    torch.manual_seed(0)
    net = MultiBranchSupernet(width, 1, 1, 10)
    net.configure_gates(GateSettings(initial=0.3))
    return net


def enas() -> EnasSupernet:
    torch.manual_seed(0)
    net = EnasSupernet(layers=3, filters=2, in_channels=3, classes=10)
    net.configure_gates(GateSettings(initial=0.3))
    return net


def train(
    folder: Path | None,
    loader: DeviceLoader,
    heldout: DeviceLoader | None = None,
    epochs: int = 1,
    schedule: Any = "cosine",
    **gates: Any,
) -> tuple[Tensor, Tensor, History]:
    """The gated weights, the logits and the history after a training."""
    settings = GateConfig(length_scale2=1, learning_rate=0.1, **gates)
    net = branches(width=4)
    done = fit(
        net,
        TrainingData(
            loader,
            Objective(1, loader.examples),
            heldout and TrainingData(heldout, Objective(1, heldout.examples)),
        ),
        TrainingConfig(epochs=epochs, batch=BATCH, learning_rate=0.1, schedule=schedule),
        settings,
        Session(checkpoints=folder and Checkpoints(folder, "run")),
    )
    logits = torch.cat([p.detach() for p in net.distribution_parameters()])
    return nn.utils.parameters_to_vector(net.gated_weights()).detach(), logits, done.history


def fitted(
    net: Supernet,
    images: DeviceLoader,
    folder: Path | None = None,
    deadline: float | None = None,
    checkpoints: type[Checkpoints] = Checkpoints,
    **training: Any,
) -> TrainingState:
    """Train with settings of ``training``; the seed is the same each time."""
    torch.manual_seed(0)
    return fit(
        net,
        TrainingData(images, Objective(1, images.examples)),
        TrainingConfig(batch=BATCH, **training),
        GateConfig(length_scale2=1),
        Session("test", folder and checkpoints(folder, "run"), deadline=deadline),
    )


def same_state(one: nn.Module, other: nn.Module) -> bool:
    """Whether all weights and statistics are the same, to the bit."""
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
