"""CIFAR-100 from a folder of the user's: the official archive, unpacked."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from pdnas.data import cifar10
from pdnas.data.dataset import DatasetInfo, ImageSet
from pdnas.data.sources import data_directory, users_path
from pdnas.spec.data import IMAGE_SIDE
from pdnas.support.errors import PdnasError


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
    description="CIFAR-100, in a folder of the user's (PDNAS_DATA)",
    licence="none stated",
    channels=3,
    size=IMAGE_SIDE["cifar100"],
    classes=100,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    load=_load,
    path=partial(users_path, "cifar-100-python"),
)
