"""Cells of NAS-Bench-201 trained alone for a few steps, each with weights of its own.

As long as every image is seen once, a step's loss is that of images which the network has not seen.
The sum of the losses is then the prequential estimate of minus the log evidence of the cell
(Dawid 1984; Lyle et al., NeurIPS 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdnas.data.dataset import ImageSet
from pdnas.data.sets import dataset
from pdnas.data.splits import load_part, make_splits
from pdnas.nn.layout import memory_format
from pdnas.nn.supernets.cells.alone import AloneNetwork
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.runs.journal import Journal
from pdnas.runs.run import Run
from pdnas.runs.tasks import rows_of
from pdnas.space.cells import CellSpace
from pdnas.spec.alone import AloneConfig, AloneStudy
from pdnas.stages.materials import trained_supernet
from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    import pandas as pd

EVALUATION_BATCH = 500


@cache
def prepared(config: AloneConfig, part: str) -> tuple[Tensor, Tensor]:
    """Normalised images (n, channels, side, side) of a part, and labels (n,)."""
    info = dataset(config.data)
    images = load_part(config.data, part, make_splits(config.data))
    assert isinstance(images, ImageSet)
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (info.mean, info.std))
    x = (images.images.float() / 255 - mean) / std
    if config.side is not None:
        x = F.avg_pool2d(x, info.size // config.side)
    return x.contiguous(memory_format=torch.channels_last), images.labels


def batches(config: AloneConfig, seed: int, images: int) -> Iterator[Tensor]:
    """Indices of the images of each step, (batch,): all images once before any comes again."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.empty(0, dtype=torch.int64)
    for _ in range(config.steps):
        while len(left) < config.batch:
            left = torch.cat([left, torch.randperm(images, generator=generator)])
        yield left[: config.batch]
        left = left[config.batch :]


def fresh_network(config: AloneConfig, cell: Sequence[int], seed: int) -> nn.Module:
    """A cell's network; with one seed, cells begin with the same kernels where they agree.

    Raises:
        PdnasError: there is no such supernet to inherit from.
    """
    alone = AloneNetwork(_begun(config, seed), cell).train()
    return alone.to(memory_format=memory_format(alone, torch.device("cpu")))  # type: ignore[call-overload]


def _begun(config: AloneConfig, seed: int) -> NasBench201Supernet:
    """The supernet whose weights a cell begins with."""
    if config.inherit is not None:
        return _inherited(config, seed)
    info = dataset(config.data)
    torch.manual_seed(seed)
    network = NasBench201Supernet.of(config.supernet, info.channels, info.classes)
    if config.kernels == "random":
        network.begin_alone()
    return network


def _parent_of(config: AloneConfig, seed: int) -> Run:
    """The search whose supernet's weights a cell begins with."""
    assert config.inherit is not None
    return Run.load(Path(config.inherit.replace("{seed}", str(seed))))


def searches_of(study: AloneStudy) -> dict[str, str]:
    """The searches whose weights cells of a study begin with: by folder, which it holds now.

    Raises:
        PdnasError: a folder holds no search.
    """
    runs = [
        _parent_of(config, seed)
        for config in map(study.config, study.variants)
        if config.inherit is not None
        for seed in study.seeds
    ]
    return {str(run.folder): f"{run.identity}, {run.provenance.get('finished')}" for run in runs}


@cache
def _inherited(config: AloneConfig, seed: int) -> NasBench201Supernet:
    run = _parent_of(config, seed)
    kernels = {"kernels": config.supernet.kernels}  # how they began says nothing of the trained
    if run.spec.supernet.model_copy(update=kernels) != config.supernet:
        raise PdnasError(f"inherit: {run.folder} searched another supernet; name the same here")
    for key in ("name", "train", "validation", "split_seed"):
        if getattr(run.spec.data, key) != getattr(config.data, key):
            raise PdnasError(
                f"inherit: {run.folder} has another data.{key}; with the same one, validation "
                "images are new to its supernet"
            )
    network = trained_supernet(run, torch.device("cpu"))
    assert isinstance(network, NasBench201Supernet)
    return network


def train_alone(config: AloneConfig, cell: Sequence[int], seed: int) -> dict[str, Any]:
    """What a short training of a cell shows.

    Returns:
        ``losses``: mean cross-entropy of each step's images before the step; ``accuracies``: share
        of them that were right; ``validation_losses`` and ``validation_accuracies`` at the
        checkpoints; ``training_seconds`` and ``validation_seconds`` of processor time.
    """
    network = fresh_network(config, cell, seed)
    x, y = prepared(config, "train")
    optimizer = torch.optim.SGD(
        network.parameters(), lr=config.learning_rate, momentum=config.momentum, nesterov=True
    )
    found: dict[str, list[float]] = {
        name: [] for name in ("losses", "accuracies", "validation_losses", "validation_accuracies")
    }
    training, validation = 0.0, 0.0
    for step, chosen in enumerate(batches(config, seed, len(y)), 1):
        started = process_time()
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min(1, step / (config.warmup + 1))
        output = network(x[chosen])
        loss = F.cross_entropy(output, y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found["losses"].append(float(loss.detach()))
        found["accuracies"].append(float((output.argmax(dim=1) == y[chosen]).float().mean()))
        training += process_time() - started
        if step in config.checkpoints:
            started = process_time()
            accuracy, nll = judged(network, *prepared(config, "validation"))
            found["validation_losses"].append(nll)
            found["validation_accuracies"].append(accuracy)
            validation += process_time() - started
    return {**found, "training_seconds": training, "validation_seconds": validation}


@torch.no_grad()
def judged(network: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Accuracy and mean cross-entropy in evaluation mode; the network trains on afterwards."""
    network.eval()
    outputs = torch.cat([network(part) for part in x.split(EVALUATION_BATCH)])
    network.train()
    right = (outputs.argmax(dim=1) == y).double().mean()
    return float(right), float(F.cross_entropy(outputs.double(), y))


def train_sample(
    study: AloneStudy, cells: Sequence[int], jobs: int, journal: Journal
) -> pd.DataFrame:
    """Train cells alone in every way of a study, with every seed; a row a training.

    Of a network that the output does not see, nothing is trained. A killed call goes on after the
    trainings that it finished.

    Args:
        cells: the benchmark's ids.
        jobs: processes.

    Returns:
        ``variant``, ``seed``, ``cell_id`` and what :func:`train_alone` says.
    """
    tasks = [
        (study, variant, int(cell), seed)
        for variant in study.variants
        for seed in study.seeds
        for cell in cells
    ]
    return rows_of(_row, tasks, jobs, journal, f"train {len(cells)} cells alone")


def _row(study: AloneStudy, variant: str, cell_id: int, seed: int) -> dict[str, Any]:
    cell = CellSpace().canonical_codes()[cell_id].tolist()
    return {
        "variant": variant,
        "seed": seed,
        "cell_id": cell_id,
        **train_alone(study.config(variant), cell, seed),
    }
