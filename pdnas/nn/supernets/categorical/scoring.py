"""What scoring every architecture of a supernet takes, whatever its space."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pdnas.nn.supernets.categorical.network import CategoricalSupernet

Network = TypeVar("Network", bound=CategoricalSupernet)


def folded(supernet: Network) -> Network:
    """A copy for evaluation, whose BatchNorms and average pools are parts of convolutions.

    A BatchNorm becomes part of the convolution before it, an average pool of the 1x1 convolution
    behind it. Outputs are equal but for rounding; passes over all features are saved.
    """
    copied = deepcopy(supernet).eval()
    for block in copied.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for place, (layer, after) in enumerate(pairwise(block)):
            if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                block[place], block[place + 1] = fuse_conv_bn_eval(layer, after), nn.Identity()
            if isinstance(layer, nn.AvgPool2d) and isinstance(after, nn.Conv2d):
                block[place], block[place + 1] = nn.Identity(), _pooling(layer, after)
    return copied


def _pooling(pool: nn.AvgPool2d, convolution: nn.Conv2d) -> nn.Conv2d:
    """One convolution in place of an average pool without borders and a 1x1 convolution."""
    side = int(pool.kernel_size)  # type: ignore[arg-type]
    weight = (convolution.weight / side**2).expand(-1, -1, side, side)
    merged = nn.Conv2d(weight.shape[1], len(weight), side, stride=side, bias=False)
    merged.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
    return merged


def sums(logits: Tensor, y: Tensor) -> Tensor:
    """Right images and summed cross-entropy of each architecture, shape (2, n), float64.

    Args:
        logits: (n, images, classes).
        y: labels, shape (images,).
    """
    labels = y.repeat(len(logits))
    nll = cross_entropy(logits.flatten(0, 1).double(), labels, reduction="none")
    right = (logits.argmax(dim=2) == y).sum(dim=1)
    return torch.stack([right.double(), nll.view(len(logits), -1).sum(dim=1)])


def scores(
    ids: NDArray[np.int64], of_batches: Sequence[Tensor], batches: Sequence[tuple[Tensor, Tensor]]
) -> pd.DataFrame:
    """The table of some architectures.

    Args:
        ids: their numbers in the supernet's own space.
        of_batches: :func:`sums` of them for each of the batches.

    Returns:
        columns ``cell_id`` (that number), ``score`` (accuracy) and ``loss`` (mean cross-entropy) on
        the images of ``batches``.
    """
    images = sum(len(y) for _, y in batches)
    score, loss = (torch.stack(tuple(of_batches)).sum(dim=0) / images).cpu().numpy()
    return pd.DataFrame({"cell_id": ids, "score": score, "loss": loss})
