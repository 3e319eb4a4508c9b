"""The path of small images from uint8 to a training batch: crop, flip, cutout, normalise."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.measure import Aim, Effort, Measure, no_gpu, ratio
from pdnas.data.dataset import ImageSet
from pdnas.data.memory import DeviceLoader
from pdnas.data.sets import INFO
from pdnas.spec.data import Augmentation
from pdnas.support.timing import Work, paired_times

BATCH, WORKERS = 128, 2
CROP, CUTOUT = 4, 16


class _Images(Dataset[tuple[Tensor, int]]):
    """Each image transformed by itself, as torchvision's data sets do it."""

    def __init__(self, part: ImageSet, transform: v2.Compose) -> None:
        self.part, self.transform = part, transform

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.part.images[index]), int(self.part.labels[index])


def data_path(effort: Effort) -> list[Measure]:
    """Batches of CIFAR-sized noise: our loader against torchvision's, and airbench's on a GPU."""
    count = effort.choose(20_000, 300)
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8)
    part = ImageSet(pixels, torch.randint(10, (count,)))
    info = INFO["cifar10"]
    loader = DeviceLoader(
        part,
        info,
        BATCH,
        effort.device,
        augmentation=Augmentation(crop=CROP, flip=True, cutout=CUTOUT),
        shuffle=True,
        seed=0,
    )
    epochs = itertools.count()

    def ours() -> None:
        for _ in loader.epoch(next(epochs)):
            pass

    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=CROP),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(info.mean, info.std),
            # A square of a quarter of the area, CUTOUT pixels a side, always within the image.
            v2.RandomErasing(p=1, scale=(CUTOUT**2 / 32**2,) * 2, ratio=(1, 1)),
        ]
    )
    theirs = DataLoader(
        _Images(part, transform),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=True,
    )
    times = paired_times(lambda: _exhaust(iter(theirs), effort.device), ours, effort.share(0.25))
    against = f"torchvision v2, DataLoader, {WORKERS} workers"
    note = "one process against two workers; the workers live on between epochs"
    measures = [ratio("data path", against, times, aim=Aim(10, least=True), note=note)]
    return [*measures, _against_airbench(ours, part, effort)]


def _exhaust(batches: Iterator[list[Tensor]], device: torch.device) -> None:
    for x, y in batches:
        x.to(device)
        y.to(device)


def _against_airbench(ours: Work, part: ImageSet, effort: Effort) -> Measure:
    name, against, aim = "data path on a GPU", "airbench's loader", Aim(1, least=True)
    if effort.device.type != "cuda":
        return no_gpu(name, against, aim)
    try:
        from airbench import CifarLoader
    except ImportError:
        return Measure(name, against, None, aim=aim, note="not run: pip install airbench")
    content = {"images": part.images.permute(0, 2, 3, 1), "labels": part.labels}
    with tempfile.TemporaryDirectory() as folder:  # it looks for CIFAR-10 under this name
        torch.save({**content, "classes": list(range(10))}, Path(folder, "train.pt"))
        options = {"flip": True, "translate": CROP, "cutout": CUTOUT}
        theirs = CifarLoader(folder, train=True, batch_size=BATCH, aug=options)
    times = paired_times(lambda: _exhaust(iter(theirs), effort.device), ours, effort.pairs)
    return ratio(name, against, times, aim=aim)
