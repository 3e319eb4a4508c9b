"""CIFAR-100 from a folder of the user's: the official archive, unpacked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pdnas.data import cifar10
from pdnas.data.dataset import DatasetInfo, ImageSet
from pdnas.data.sources import data_directory
from pdnas.spec.data import IMAGE_SIDE
from pdnas.support.errors import PdnasError

# fmt: off
_CLASSES = (
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


def _load(directory: Path | None) -> dict[str, ImageSet]:
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


CIFAR100 = DatasetInfo(
    name="cifar100",
    channels=3,
    size=IMAGE_SIDE["cifar100"],
    classes=_CLASSES,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    load=_load,
)
