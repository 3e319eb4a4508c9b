"""What scoring every architecture of a supernet takes, whatever its space."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pdnas.nn.supernets.categorical.network import CategoricalSupernet

Network = TypeVar("Network", bound=CategoricalSupernet)


def folded(supernet: Network) -> Network:
    """A copy for evaluation, each BatchNorm part of the convolution before it.

    Outputs are equal but for rounding; BatchNorm's pass over every output is saved.
    """
    copied = deepcopy(supernet).eval()
    for block in copied.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for place, (layer, after) in enumerate(pairwise(block)):
            if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                block[place], block[place + 1] = fuse_conv_bn_eval(layer, after), nn.Identity()
    return copied


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
