"""How good a network is as it stands."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pdnas.data.batches import Loader
from pdnas.nn.supernets import Supernet
from pdnas.spec.training import TrainingConfig
from pdnas.train.device import autocast
from pdnas.train.memory import as_memory_allows

CPU_IMAGES = 50
"""That go through at once on a processor, whose cache holds the features of so many small ones."""


@torch.no_grad()
def evaluate(
    supernet: Supernet, loader: Loader, training: TrainingConfig, top: int = 1
) -> tuple[float, float]:
    """Accuracy and mean cross-entropy of the network as it stands, in evaluation mode.

    Args:
        top: an image counts as right if its class is among the ``top`` most probable ones.
    """
    supernet.eval()
    parts = []
    for x, y in loader.epoch(0):
        right, nll = verdicts(supernet, x, y, training, top)
        parts.append(torch.stack([right.double().sum(), nll.double().sum()]))
    correct, loss = torch.stack(parts).sum(dim=0).tolist()
    return correct / loader.examples, loss / loader.examples


@torch.no_grad()
def verdicts(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    training: TrainingConfig,
    top: int = 1,
    candidates: int = 1,
) -> tuple[Tensor, Tensor]:
    """Whether the network as it stands is right, and its cross-entropy, for each image.

    Args:
        candidates: that the network stands for at once (``ChannelSupernet.candidates``).

    Returns:
        two tensors of shape (candidates, images).
    """

    def judge(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        labels = y.repeat(candidates)
        with autocast(x.device, training):
            output = network(torch.cat([x] * candidates) if candidates > 1 else x)
        if top == 1:
            right = output.argmax(dim=1) == labels
        else:
            right = (output.topk(top, dim=1).indices == labels[:, None]).any(dim=1)
        nll = cross_entropy(output.float(), labels, reduction="none")
        return right.view(candidates, -1), nll.view(candidates, -1)

    at_once = CPU_IMAGES if x.device.type == "cpu" else len(y)
    pieces = zip(x.split(at_once), y.split(at_once), strict=True)
    parts = [as_memory_allows(judge, *piece) for piece in pieces]
    right, nll = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    return right, nll
