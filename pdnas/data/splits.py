"""The fixed, seeded split of every data set.

Each data set has a ``train`` and a ``test`` file. A split takes the parts ``train``, ``heldout``
and ``validation`` out of the first and ``test`` out of the second; see :func:`make_splits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pdnas.data.dataset import ImageFiles, ImageSet
from pdnas.data.sets import dataset
from pdnas.data.stratify import shuffled, stratified
from pdnas.spec.data import DataConfig
from pdnas.spec.names import Part
from pdnas.support.errors import PdnasError

PARTS: tuple[str, ...] = get_args(Part)


def make_splits(config: DataConfig, directory: Path | None = None) -> pd.DataFrame:
    """Decide which image belongs to which part.

    Every part holds each class in the file's own proportions. The parts are disjoint and depend on
    ``split_seed`` and their sizes alone, not on a run's seed; ``validation`` and ``test`` stay as
    they are when ``train`` or ``heldout`` change.

    Returns:
        columns ``source`` (``train`` or ``test`` file), ``index`` (int64, in that file) and
        ``part``; sorted by part (in the order of ``PARTS``) and index.

    Raises:
        PdnasError: more images are asked for than there are, or the data set's files are missing.
    """
    files = dataset(config).load(directory)
    labels = {file: images.labels.numpy() for file, images in files.items()}
    left = {
        file: shuffled(len(labels[file]), config.split_seed, stream)
        for stream, file in enumerate(("train", "test"))
    }
    chosen = {}
    for part in ("validation", "heldout", "train", "test"):
        file = _file(part)
        count = getattr(config, part)
        if count is None:
            count = len(left[file])
        if count > len(left[file]):
            raise PdnasError(
                f"data.{part} asks for {count} images, but {config.title} has {len(left[file])} "
                f"left in its {file} file; ask for fewer"
            )
        chosen[part], left[file] = stratified(labels[file], left[file], count)
    tables = [
        pd.DataFrame({"source": _file(part), "index": np.sort(chosen[part]), "part": part})
        for part in PARTS
    ]
    return pd.concat(tables, ignore_index=True)


def _file(part: str) -> str:
    """The file of the data set that a part is taken out of."""
    return "test" if part == "test" else "train"


def load_part(
    config: DataConfig, part: str, splits: pd.DataFrame, directory: Path | None = None
) -> ImageSet | ImageFiles:
    """The images of one part, in the order of ``splits``, and no others.

    Raises:
        PdnasError: the splits do not fit the data set, or the part is empty.
    """
    files = dataset(config).load(directory)
    sizes = {file: len(images) for file, images in files.items()}
    indices = part_indices(config.title, part, splits, sizes)
    return files[_file(part)].subset(torch.from_numpy(indices))


def part_indices(
    name: str, part: str, splits: pd.DataFrame, sizes: Mapping[str, int]
) -> NDArray[np.int64]:
    """Indices of one part in its file, after checking that ``splits`` fit a data set.

    Args:
        name: the data set, for the errors.
        sizes: number of images in the files ``train`` and ``test``.

    Raises:
        PdnasError: an image is in two parts, out of range or in the wrong file; the part is empty.
    """
    if part not in PARTS:
        raise PdnasError(f"no part {part!r}; choose one of {', '.join(PARTS)}")
    if not {"source", "index", "part"} <= set(splits.columns):
        raise _misfit(name, "a column is missing")
    if not pd.api.types.is_integer_dtype(splits["index"]):
        raise _misfit(name, "an index is no whole number")
    if not all(pd.api.types.is_string_dtype(splits[column]) for column in ("source", "part")):
        raise _misfit(name, "a source or part is no word")
    if not splits["part"].isin(PARTS).all():
        raise _misfit(name, "there is an unknown part")
    expected = np.where(splits["part"] == "test", "test", "train")
    if not (splits["source"] == expected).all():
        raise _misfit(name, "a part comes from the wrong file")
    if splits.duplicated(["source", "index"]).any():
        raise _misfit(name, "an image is there twice")
    for source, size in sizes.items():
        index = splits.loc[splits["source"] == source, "index"]
        if ((index < 0) | (index >= size)).any():
            raise _misfit(name, f"an index is beyond the {size} images of the {source} file")
    chosen = splits.loc[splits["part"] == part, "index"].to_numpy(np.int64, copy=True)
    if not len(chosen):
        raise PdnasError(f"the {part} part of {name} is empty; set data.{part} to 1 or more")
    return chosen


def _misfit(name: str, problem: str) -> PdnasError:
    return PdnasError(f"the splits do not fit {name} ({problem}); delete the run and search again")
