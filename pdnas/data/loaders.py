"""The loader of one part of any data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from pdnas.data.batches import ALL_ROWS, Loader, heldout_seed
from pdnas.data.dataset import ImageFiles, Statistics
from pdnas.data.folders import FolderLoader
from pdnas.data.memory import DeviceLoader
from pdnas.data.sets import dataset
from pdnas.data.splits import load_part
from pdnas.spec.data import DataConfig, FoldersConfig


def build_loader(
    config: DataConfig,
    part: str,
    splits: pd.DataFrame,
    *,
    batch: int,
    device: torch.device | str,
    train: bool,
    seed: int,
    rows: slice = ALL_ROWS,
    directory: Path | None = None,
    statistics: Statistics | None = None,
) -> Loader:
    """The loader of one part (``train``, ``heldout``, ``validation`` or ``test``) of any data set.

    Args:
        splits: from :func:`pdnas.data.splits.make_splits`.
        batch: images in a batch.
        train: shuffled and augmented as ``config.augmentation`` says; else neither.
        seed: decides order and augmentation.
        rows: those of each batch that are wanted, in training by several processes.
        directory: folder of data that users bring themselves; default ``PDNAS_DATA``.
        statistics: that images are normalised with; default: the data set's.

    Raises:
        PdnasError: the data are missing or damaged, the splits do not fit, the part is too small.
    """
    images = load_part(config, part, splits, directory)
    info = dataset(config)
    mean, std = statistics or info.statistics(directory)
    info = replace(info, mean=mean, std=std)
    if part == "heldout":
        seed = heldout_seed(seed)
    if isinstance(images, ImageFiles) and not isinstance(config, FoldersConfig):
        return FolderLoader(images, info, batch, device, train=train, seed=seed, rows=rows)
    return DeviceLoader(
        images,
        info,
        batch,
        device,
        augmentation=config.augmentation if train else None,
        shuffle=train,
        seed=seed,
        rows=rows,
    )
