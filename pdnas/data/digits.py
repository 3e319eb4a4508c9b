"""Digits of 8 x 8 pixels, part of scikit-learn: nothing to download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pdnas.data.dataset import DatasetInfo, ImageSet
from pdnas.data.stratify import shuffled, stratified
from pdnas.spec.data import IMAGE_SIDE

_TEST_IMAGES = 359  # a fifth of the 1797; scikit-learn's digits have no official test set
_SEED = 1797


def _load(directory: Path | None) -> dict[str, ImageSet]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    whole = ImageSet(torch.from_numpy(images), torch.from_numpy(digits.target.astype(np.int64)))
    order = shuffled(len(whole), _SEED, stream=0)
    test, train = stratified(digits.target, order, _TEST_IMAGES)
    return {
        file: whole.subset(torch.from_numpy(np.sort(indices)))
        for file, indices in (("train", train), ("test", test))
    }


DIGITS = DatasetInfo(
    name="digits",
    description="8 x 8 digits, part of scikit-learn",
    licence="BSD-3-Clause",
    channels=1,
    size=IMAGE_SIDE["digits"],
    classes=10,
    mean=(0.3052,),
    std=(0.3758,),
    load=_load,
)
