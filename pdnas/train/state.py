"""All that a training changes: what a killed run needs to end with the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pdnas.nn.objective import Objective, SizePrice
from pdnas.nn.supernets import Supernet
from pdnas.spec.gates import GateConfig
from pdnas.spec.training import TrainingConfig
from pdnas.support.errors import PdnasError, first_line
from pdnas.support.provenance import Stopwatch
from pdnas.train.optimizers import make_optimizers
from pdnas.train.schedule import Schedule

MEASURES = (
    "loss",
    "nll",
    "prior_term",
    "size_term",
    "entropy_term",
    "auxiliary_term",
    "train_accuracy",
)
"""What an epoch's record holds of its batches, as means over images."""

History = list[dict[str, float]]
"""One record for each epoch; the keys are those of history.parquet in docs/files.md."""


@dataclass
class OpenEpoch:
    """How far an epoch has come.

    Attributes:
        learning_rate: that of its first step.
        steps: that have begun; a checkpoint is made when all of them are done.
        images: of the steps that are done.
        sums: of the MEASURES, each times its images, shape (measures,) float64 on the device; None
            before the first step.
        seconds: spent on it, those of earlier, interrupted calls included.
    """

    learning_rate: float
    steps: int = 0
    images: int = 0
    sums: Tensor | None = None
    seconds: float = 0.0

    def add(self, measures: Tensor, images: int) -> None:
        """Count a step on ``images`` images as done; measures: (measures,)."""
        weighted = measures * images
        self.sums = weighted if self.sums is None else self.sums + weighted
        self.images += images

    def record(self) -> dict[str, float]:
        """What the history says of the epoch, when it is over."""
        assert self.sums is not None  # a loader has at least one batch
        return {
            "learning_rate": self.learning_rate,
            **dict(zip(MEASURES, (self.sums / self.images).tolist(), strict=True)),
            "seconds": self.seconds,
            "images_per_second": self.images / self.seconds,
        }


class TrainingState:
    """The state of a training of ``supernet``, which is on its device.

    Attributes:
        optimizers: the first moves weights; a second, where there is one, switches alone.
        history: of the epochs that are over.
        trajectory: probabilities of the switches at the start and after each of these epochs, each
            of shape (marginals,).
        epoch: the one that is not over.
        size_price: λ of the prior on the architecture's size.
        warm_up_of: description of the run whose warm-up was taken over; None: its own.

    Args:
        batches: that an epoch has.
    """

    def __init__(
        self, supernet: Supernet, training: TrainingConfig, gates: GateConfig, batches: int
    ) -> None:
        self.supernet, self.training = supernet, training
        self.optimizers = make_optimizers(supernet, training, gates)
        self.schedule = Schedule(training, gates, self.optimizers[0], batches)
        self.history: History = []
        self.trajectory = [self._probabilities()]
        self.stopwatch = Stopwatch()
        self.epoch = OpenEpoch(self.schedule.learning_rate)
        self.size_price = SizePrice(gates.size_prior, gates.size_target)
        self.warm_up_of: str | None = None
        self._device = next(supernet.parameters()).device

    @property
    def place(self) -> str:
        """Where the training is, in words."""
        return f"epoch {len(self.history) + 1}, step {self.epoch.steps}"

    def priced(self, objective: Objective) -> Objective:
        """The objective with the present price of size, where a search adapts it."""
        if self.size_price.target is None:
            return objective
        return replace(objective, size_prior=self.size_price.value)

    def adapt_size_price(self) -> None:
        """After a step of the switches: change the price of size where a size is to be met."""
        if self.size_price.target is not None:
            with torch.no_grad():
                self.size_price.adapt(float(self.supernet.expected_size()))

    def end_epoch(self) -> dict[str, float]:
        """Close the epoch and open the next; returns its record in the history."""
        price = {"size_prior": self.size_price.value}
        record = {"epoch": len(self.history) + 1, **self.epoch.record(), **price}
        self.history.append(record)
        self.trajectory.append(self._probabilities())
        self.epoch = OpenEpoch(self.schedule.learning_rate)
        return record

    def state_dict(self) -> dict[str, Any]:
        """Tensors and what JSON knows, in mappings and lists."""
        on_gpu = self._device.type == "cuda"
        return {
            "supernet": self.supernet.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedule": self.schedule.rates.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self._device) if on_gpu else None,
            "history": self.history,
            "trajectory": torch.stack(self.trajectory),
            "stopwatch": self.stopwatch.state(),
            "epoch": asdict(self.epoch),
            "size_price": asdict(self.size_price),
            "warm_up_of": self.warm_up_of,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to ``state``, a :meth:`state_dict`.

        Raises:
            PdnasError: it does not fit, so it is that of another version of the code.
        """
        try:
            self.supernet.load_state_dict(state["supernet"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.schedule.rates.load_state_dict(state["schedule"])
            torch.set_rng_state(state["rng"])
            if state["cuda_rng"] is not None:
                torch.cuda.set_rng_state(state["cuda_rng"], self._device)
            self.history = state["history"]
            self.trajectory = list(state["trajectory"])
            self.stopwatch = Stopwatch(state["stopwatch"])
            self.epoch = OpenEpoch(**state["epoch"])
            if self.epoch.sums is not None:
                self.epoch.sums = self.epoch.sums.to(self._device)
            self.size_price = SizePrice(**state["size_price"])
            self.warm_up_of = state["warm_up_of"]
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise PdnasError(
                f"the checkpoint does not fit this version of pdnas ({first_line(error)}); delete "
                "its folder to start anew"
            ) from error

    def take_over(self, warm_up: Mapping[str, Any]) -> None:
        """Go on from the end of another run's warm-up, with the distribution as it began here.

        Args:
            warm_up: the other's :meth:`state_dict`.
        """
        distribution = {id(parameter) for parameter in self.supernet.distribution_parameters()}
        named = self.supernet.named_parameters()
        began = {name: p.data for name, p in named if id(p) in distribution}
        own = [optimizer.state_dict() for optimizer in self.optimizers]
        self.load_state_dict(
            {
                **warm_up,
                "supernet": {**warm_up["supernet"], **began},
                "optimizers": [warm_up["optimizers"][0], *own[1:]],
                "trajectory": self.trajectory * (1 + len(warm_up["history"])),
                "size_price": asdict(self.size_price),
            }
        )

    def _probabilities(self) -> Tensor:
        marginals = self.supernet.posterior().marginals()
        return torch.from_numpy(marginals["probability"].to_numpy(copy=True))
