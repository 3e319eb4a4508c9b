"""One training step: gradients of the objective, and the optimizers that follow them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pdnas.data.batches import Batch
from pdnas.nn.noise import micro_batches
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import Supernet
from pdnas.spec.training import TrainingConfig
from pdnas.support import distributed
from pdnas.train.device import autocast
from pdnas.train.failures import require_finite
from pdnas.train.state import MEASURES


class Step:
    """A step of the optimizers it is given, with the gradients of one batch.

    The gradients of one micro-batch after the other are summed up, and averaged over ranks.
    """

    def __init__(self, supernet: Supernet, training: TrainingConfig) -> None:
        self._supernet, self._micro_batch = supernet, training.micro_batch
        self._loss = loss = distributed.parallel(_Loss(supernet, training))
        # Ranks exchange their gradients once, after the last micro-batch.
        self._later = loss.no_sync if isinstance(loss, DistributedDataParallel) else nullcontext

    def __call__(
        self, batch: Batch, objective: Objective, optimizers: Iterable[Optimizer]
    ) -> Tensor:
        """Take the step.

        Returns:
            the :data:`MEASURES` of the batch, all ranks' rows of it; shape (measures,).

        Raises:
            NotFiniteError: the loss is no finite number; nothing has moved.
        """
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        measures = torch.zeros(len(MEASURES), dtype=torch.float64, device=batch[0].device)
        images = len(batch[1])
        done = 0
        for x, y in micro_batches(self._supernet, *batch, self._micro_batch):
            done += len(y)
            # Weighted like this, means over images become the batch's, and the rest counts once.
            share = len(y) / images
            with self._later() if done < images else nullcontext():
                value, of_part = self._loss(x, y, objective)
                (share * value).backward()
            measures += share * of_part
        distributed.average([measures])
        for optimizer in optimizers:
            optimizer.step()
        return measures


class _Loss(nn.Module):
    """All that a training step differentiates, in one call that DistributedDataParallel can follow.

    An auxiliary head that has no weight does not run.
    """

    def __init__(self, supernet: Supernet, training: TrainingConfig) -> None:
        super().__init__()
        self.supernet = supernet
        self._training = training

        def plain(x: Tensor) -> tuple[Tensor, Tensor | None]:
            return supernet(x), None

        network = supernet.forward_training if training.auxiliary_weight else plain
        self._network = torch.compile(network) if training.compile else network

    def forward(self, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
        """The loss of images (images, channels, height, width), a scalar, and all MEASURES."""
        with autocast(x.device, self._training):
            output, auxiliary = self._network(x)
        nll = cross_entropy(output.float(), y, reduction="none")
        if auxiliary is not None:
            auxiliary = self._training.auxiliary_weight * cross_entropy(auxiliary.float(), y)
        terms = objective(nll, self.supernet, auxiliary)
        require_finite(terms, self.supernet, x)  # before the update, which would spread it
        loss = terms.loss
        correct = (output.argmax(dim=1) == y).float().mean()
        of_loss = [terms.nll, terms.prior, terms.size, terms.entropy, terms.auxiliary]
        parts = [loss, *of_loss, correct]
        return loss, torch.stack(parts).detach().double()
