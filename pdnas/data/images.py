"""Data sets of small images in memory, and the fixed, seeded split of every data set.

Each data set has a ``train`` and a ``test`` file. A split takes the parts ``train`` and
``validation`` out of the first and ``test`` out of the second; see :func:`make_splits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdnas.data import cifar10
from pdnas.data.sources import data_directory
from pdnas.spec.data import IMAGE_SIDE, DataConfig
from pdnas.support.errors import PdnasError

PARTS = ("train", "heldout", "validation", "test")

_DIGITS_TEST_IMAGES = 359  # a fifth of the 1797; scikit-learn's digits have no official test set
_DIGITS_SEED = 1797

# fmt: off
_CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup",
    "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
    "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man",
    "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal",
    "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
    "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
)
# fmt: on


@dataclass(frozen=True)
class ImageSet:
    """Images and their classes: ``images`` (N, C, H, W) uint8, ``labels`` (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> ImageSet:
        """A copy of the images at ``indices`` (M,) int64, in that order."""
        return ImageSet(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class DatasetInfo:
    """What a network and a loader must know of a data set; needs none of its files.

    ``size`` is the side of the square images in pixels; ``mean`` and ``std`` are those of each
    channel over the training images, as fractions of full brightness.
    """

    name: str
    channels: int
    size: int
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    in_memory: bool


INFO: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            "cifar10",
            3,
            IMAGE_SIDE["cifar10"],
            cifar10.CLASSES,
            cifar10.MEAN,
            cifar10.STD,
            True,
        ),
        DatasetInfo(
            "cifar100",
            3,
            IMAGE_SIDE["cifar100"],
            _CIFAR100_CLASSES,
            (0.5071, 0.4865, 0.4409),
            (0.2673, 0.2564, 0.2762),
            True,
        ),
        DatasetInfo(
            "digits",
            1,
            IMAGE_SIDE["digits"],
            tuple("0123456789"),
            (0.3052,),
            (0.3758,),
            True,
        ),
        DatasetInfo(
            "imagenet",
            3,
            IMAGE_SIDE["imagenet"],
            tuple(str(number) for number in range(1000)),  # the user's folders carry the names
            (0.485, 0.456, 0.406),
            (0.229, 0.224, 0.225),
            False,
        ),
    )
}


def load_dataset(name: str, directory: Path | None = None) -> dict[str, ImageSet]:
    """A whole data set that fits in memory: its files ``train`` and ``test``.

    Args:
        directory: folder of data that users bring themselves; default ``PDNAS_DATA``.

    Raises:
        PdnasError: the data set's files are missing or damaged, or it is no such data set.
    """
    if name == "cifar10":
        tensors = cifar10.load()
        return {
            file: ImageSet(tensors[f"{file}_images"], tensors[f"{file}_labels"])
            for file in ("train", "test")
        }
    if name == "cifar100":
        return _load_cifar100(directory)
    if name == "digits":
        return _load_digits()
    raise PdnasError(f"{name!r} is not a data set that is held in memory")


def _load_cifar100(directory: Path | None) -> dict[str, ImageSet]:
    from torchvision.datasets import CIFAR100
    from torchvision.datasets.utils import check_integrity

    layout = "the folder cifar-100-python of the official archive (files train, test and meta)"
    root = data_directory(directory, layout)
    files = {}
    for [[file, md5]] in (CIFAR100.train_list, CIFAR100.test_list):
        path = root / CIFAR100.base_folder / file
        try:
            if not check_integrity(str(path), md5):
                raise ValueError("missing or changed")
            # torchvision would unpickle it the ordinary way, which can run code.
            batch = cifar10.read_batch(path.read_bytes(), encoding="latin1")
            images = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
            labels = np.asarray(batch["fine_labels"], dtype=np.int64)
        except cifar10.DAMAGE as error:
            raise PdnasError(
                f"no complete CIFAR-100 in {root}; put {layout} there, unpacked and unchanged"
            ) from error
        files[file] = ImageSet(torch.from_numpy(images), torch.from_numpy(labels))
    return files


def _load_digits() -> dict[str, ImageSet]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    whole = ImageSet(torch.from_numpy(images), torch.from_numpy(digits.target.astype(np.int64)))
    order = _shuffled(len(whole), _DIGITS_SEED, stream=0)
    test, train = _stratified(digits.target, order, _DIGITS_TEST_IMAGES)
    return {
        file: whole.subset(torch.from_numpy(np.sort(indices)))
        for file, indices in (("train", train), ("test", test))
    }


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
    if config.split_seed < 0:
        raise PdnasError(f"data.split_seed is {config.split_seed}; choose 0 or more")
    labels = _labels(config.name, directory)

    def take(
        part: str, order: NDArray[np.int64], count: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        file = "test" if part == "test" else "train"
        if count is None:
            count = len(order)
        if count > len(order):
            raise PdnasError(
                f"data.{part} asks for {count} images, but {config.name} has {len(order)} left in "
                f"its {file} file; ask for fewer"
            )
        return _stratified(labels[file], order, count)

    order = _shuffled(len(labels["train"]), config.split_seed, stream=0)
    validation, rest = take("validation", order, config.validation)
    heldout, rest = take("heldout", rest, config.heldout)
    train, _ = take("train", rest, config.train)
    test_order = _shuffled(len(labels["test"]), config.split_seed, stream=1)
    test, _ = take("test", test_order, config.test)
    return pd.concat(
        [
            pd.DataFrame({"source": source, "index": np.sort(indices), "part": part})
            for source, part, indices in (
                ("train", "train", train),
                ("train", "heldout", heldout),
                ("train", "validation", validation),
                ("test", "test", test),
            )
        ],
        ignore_index=True,
    )


def load_part(
    config: DataConfig, part: str, splits: pd.DataFrame, directory: Path | None = None
) -> ImageSet:
    """The images of one part, in the order of ``splits``, and no others.

    Raises:
        PdnasError: the splits do not fit the data set, or the part is empty.
    """
    files = load_dataset(config.name, directory)
    sizes = {file: len(images) for file, images in files.items()}
    indices = part_indices(config.name, part, splits, sizes)
    return files["test" if part == "test" else "train"].subset(torch.from_numpy(indices))


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


def _labels(name: str, directory: Path | None) -> dict[str, NDArray[np.int64]]:
    """Class of every image of the files ``train`` and ``test``."""
    if not INFO[name].in_memory:
        from pdnas.data.imagenet import folder

        return {
            file: np.asarray(folder(file, directory).targets, dtype=np.int64)
            for file in ("train", "test")
        }
    files = load_dataset(name, directory)
    return {file: images.labels.numpy() for file, images in files.items()}


def _shuffled(count: int, seed: int, stream: int) -> NDArray[np.int64]:
    """The numbers below ``count`` in random order.

    NumPy promises that a bit generator's raw output never changes, but not that ``permutation``
    does not; so the order is that of raw random numbers.
    """
    keys = np.random.PCG64([seed, stream]).random_raw(count)
    return np.argsort(keys, kind="stable").astype(np.int64)


def _stratified(
    labels: NDArray[np.int64], order: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first ``count`` images of ``order`` that keep the classes' proportions, and the rest.

    Args:
        labels: class of every image of the file.
        order: images to choose from; both results keep this order.
    """
    _, codes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    quotas, remainders = np.divmod(count * sizes, max(len(order), 1))
    short = count - quotas.sum()  # largest remainders get one more; ties: the lower class
    quotas[np.argsort(-remainders, kind="stable")[:short]] += 1
    by_class = np.argsort(codes, kind="stable")
    rank = np.empty_like(by_class)  # of an image among those of its class
    rank[by_class] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = rank < quotas[codes]
    return order[chosen], order[~chosen]
