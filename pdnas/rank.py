"""Judge candidates with the supernet's own weights on validation data, and choose the best.

Every candidate is judged on the same images (paper, section 3.4): no fine-tuning, no test data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pdnas.config import TrainingConfig
from pdnas.data.loader import Loader
from pdnas.posterior import Candidates, Choice
from pdnas.supernets import Supernet
from pdnas.train.fit import evaluate

BatchNormStatistics = Literal["running", "recalibrated"]


@dataclass(frozen=True)
class Judge:
    """How a candidate is evaluated.

    Attributes:
        supernet: the trained supernet.
        loader: the images to judge on.
        training: for its precision.
        batchnorm: ``running`` takes the supernet's BatchNorm statistics as they are;
            ``recalibrated`` gives each candidate its own, from ``calibration`` (training images).
        calibration: images of shape (images, channels, height, width) for ``recalibrated``.
    """

    supernet: Supernet
    loader: Loader
    training: TrainingConfig
    batchnorm: BatchNormStatistics = "running"
    calibration: list[Tensor] | None = None

    def __call__(self, choice: Choice) -> tuple[float, float]:
        """Accuracy and mean cross-entropy of one architecture with inherited weights."""
        with self.supernet.candidate(choice):
            if self.batchnorm == "running":
                return evaluate(self.supernet, self.loader, self.training)
            with recalibrated(self.supernet, self.calibration or []):
                return evaluate(self.supernet, self.loader, self.training)


@contextmanager
def recalibrated(supernet: Supernet, batches: list[Tensor]) -> Iterator[None]:
    """Within the block, BatchNorm statistics are those of ``batches`` in the network as it stands.

    The supernet's own statistics come back afterwards.
    """
    norms = [module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(norm.momentum, {k: v.clone() for k, v in norm.state_dict().items()}) for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over the batches
        supernet.train()
        with torch.no_grad():
            for batch in batches:
                supernet(batch)
        supernet.eval()
        yield
    finally:
        for norm, (momentum, state) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.load_state_dict(state)
        supernet.eval()


def rank(candidates: Candidates, judge: Judge, start: int = 0) -> Iterator[dict[str, float]]:
    """Judge candidates one after the other, from number ``start`` on.

    Yields:
        one record a candidate: ``candidate``, ``validation_accuracy``, ``validation_loss``,
        ``parameters``, ``kept_channels``, ``kept_operations`` (docs/files.md).
    """
    for number in range(start, len(candidates)):
        choice = candidates[number]
        accuracy, loss = judge(choice)
        channels, operations = judge.supernet.kept(choice)
        yield {
            "candidate": number,
            "validation_accuracy": accuracy,
            "validation_loss": loss,
            "parameters": judge.supernet.candidate_parameters(choice),
            "kept_channels": channels,
            "kept_operations": operations,
        }
