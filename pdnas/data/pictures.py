"""Any pictures of the user's own, in class folders: all that a configuration leaves to measure.

Pictures are brought to one side (:class:`pdnas.data.decode.Fit`). Mean and deviation of all
training pictures, rounded to four digits as published ones are, become part of a run.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pdnas.data.absence import root_of
from pdnas.data.dataset import DatasetInfo, Files, ImageFiles, Statistics
from pdnas.data.decode import CompactImages, Fit, Pictures, decode, default_workers, read_picture
from pdnas.data.folders import ClassFolders, some
from pdnas.data.sources import remembered
from pdnas.data.statistics import channel_counts, channel_statistics
from pdnas.spec.data import FoldersConfig
from pdnas.support.errors import PdnasError

_LAYOUT = "pictures as train/CLASS/* and test/CLASS/* (or val/CLASS/*)"

_LEAST = 0.004
"""Deviation of a channel that is the same everywhere: one of 255 levels."""


def pictures(config: FoldersConfig) -> DatasetInfo:
    """The data set in a folder; nothing is read before it is asked for."""
    return DatasetInfo(
        name="folders",
        description="pictures of the user's own",
        licence="the user's",
        channels=3,
        size=config.side,
        classes=0,
        mean=(),
        std=(),
        top5=True,
        load=partial(_load, config),
        path=partial(root_of, config, None),
        check=partial(_check, config),
        summary=lambda: _folders(config, None).summary(),
        count=lambda directory: _folders(config, directory).count_classes(),
        contents=lambda directory: _folders(config, directory).contents(),
        measure=partial(_measure, config),
    )


def _folders(config: FoldersConfig, directory: Path | None) -> ClassFolders:
    root = root_of(config, directory)
    if not root.is_dir():
        raise PdnasError(f"{root} (data.root) is no folder; it has to hold {_LAYOUT}")
    return ClassFolders(root, "pictures", _LAYOUT, ("test", "val"))


def _load(config: FoldersConfig, directory: Path | None) -> Files:
    """The pictures, decoded where all of them fit into memory, else as files."""
    folders = _folders(config, directory)
    files = folders.files()
    size = 3 * config.side**2 * sum(map(len, files.values()))
    if size > config.memory_mb * 10**6:
        return files
    return {file: _compact(config, folders, file, images) for file, images in files.items()}


def _compact(
    config: FoldersConfig, folders: ClassFolders, file: str, images: ImageFiles
) -> CompactImages:
    return CompactImages(folders.root / folders.parts[file], images, Fit(config.side))


def _measure(config: FoldersConfig, directory: Path | None) -> Statistics:
    """Of all training pictures; kept in the cache, where reading them all takes long."""
    train = _load(config, directory)["train"]
    if isinstance(train, CompactImages):
        return _rounded(channel_counts(train.images()))
    folders = _folders(config, directory)
    compact = _compact(config, folders, "train", folders.files()["train"])

    def measured() -> dict[str, Any]:
        images = Pictures(compact.files, compact.fit)
        batches = [list(part) for part in torch.arange(len(compact)).split(256)]
        pixels = decode(images, batches, workers=default_workers())
        counts = sum((channel_counts(batch) for batch, _ in pixels), torch.zeros(3, 256))
        return _rounded(counts)._asdict()

    path = compact.path.with_suffix(".json")
    record = remembered(path, compact.folder, compact.files.state(), measured)
    return Statistics(tuple(record["mean"]), tuple(record["std"]))


def _rounded(counts: Tensor) -> Statistics:
    mean, std = channel_statistics(counts)
    return Statistics(
        tuple(round(value, 4) for value in mean.tolist()),
        tuple(max(round(value, 4), _LEAST) for value in std.tolist()),
    )


def _check(config: FoldersConfig) -> None:
    """Decode every picture, and name those that cannot be read."""
    files = _folders(config, None).files()
    paths = [path for images in files.values() for path in images.paths]
    with ThreadPoolExecutor(default_workers()) as pool:
        bad = [problem for problem in pool.map(_problem, paths) if problem]
    if bad:
        raise PdnasError(f"{len(bad)} of {len(paths)} pictures cannot be used: {some(bad, '; ')}")


def _problem(path: str) -> str | None:
    try:
        read_picture(path)
    except PdnasError as error:
        return str(error)
    return None
