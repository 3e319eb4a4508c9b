"""What every supernet offers: switches to configure, a distribution, and candidates.

A supernet is an ``nn.Module`` built of gated parts. It knows nothing of search, ranking or files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from pdnas.nn.gates import (
    GatedConv2d,
    GatedLayer,
    GatedLinear,
    Gates,
    GateSettings,
    SquareNorms,
)
from pdnas.space.candidates import Candidates, Choice
from pdnas.space.posterior import ChannelPosterior, Posterior
from pdnas.support.errors import PdnasError


class Supernet(nn.Module, ABC):
    """An over-parameterised network whose switches choose an architecture.

    ``forward`` takes images of shape (images, channels, height, width) and gives logits of shape
    (images, classes). While training it draws architectures from its own distribution; inside
    :meth:`candidate` it is that one architecture; otherwise all switches are on.
    """

    @classmethod
    def of(cls, config: Any, in_channels: int, classes: int) -> Self:
        """A freshly initialised supernet of its configuration, whose fields its arguments are."""
        settings = config.model_dump(exclude={"name"})
        return cls(**settings, in_channels=in_channels, classes=classes)

    @abstractmethod
    def configure_gates(self, settings: GateSettings) -> None:
        """Set mode, temperature and initial probabilities of all switches."""

    def begin_alone(self) -> None:
        """Draw initial weights for training one architecture from scratch.

        For supernets whose weights begin in a way that only sharing them is a reason for.
        """

    @abstractmethod
    def set_temperature(self, temperature: float) -> None:
        """Go on with another temperature of the relaxation."""

    def set_warm_up(self, on: bool) -> None:
        """Tell whether the distribution stays as it began. Most supernets train alike then."""

    def set_drop_path(self, probability: float) -> None:
        """Set the drop-path probability of the last cell, for supernets that have drop-path.

        Raises:
            PdnasError: this one has none.
        """
        if probability:
            raise PdnasError(f"{type(self).__name__} has no drop-path; set training.drop_path to 0")

    def forward_training(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits, and those of an auxiliary head where there is one, both (images, classes)."""
        return self(x), None

    @abstractmethod
    def choose(self, choice: Choice | None) -> None:
        """Become the architecture ``choice``, or (None) the supernet again.

        Raises:
            PdnasError: the choice does not fit this supernet; the switch is named.
        """

    @abstractmethod
    def posterior(self) -> Posterior:
        """The present distribution over architectures, detached."""

    @abstractmethod
    def candidate_parameters(self, choice: Choice) -> int:
        """Parameters of one architecture: those of kept slices and of everything ungated."""

    @abstractmethod
    def kept(self, choice: Choice) -> tuple[float, float]:
        """Share of gated input channels kept, and of gated operations with anything kept."""

    @abstractmethod
    def prior_energy(self, *, constant: bool = False) -> Tensor:
        """Σ_k keep_k ‖m_k‖² over all gated slices, a scalar.

        Args:
            constant: keep_k is 1, but for slices that a chosen candidate lacks.
        """

    @abstractmethod
    def entropy(self) -> Tensor:
        """Entropy in nats of all switches together, a scalar."""

    @abstractmethod
    def score_surrogate(self, nll: Tensor) -> Tensor:
        """A zero whose gradient is the score-function part of the NLL's gradient."""

    @abstractmethod
    def distribution_parameters(self) -> list[nn.Parameter]:
        """The logits of the switches."""

    @abstractmethod
    def gated_weights(self) -> list[Tensor]:
        """Weights under the Gaussian prior, which ordinary weight decay must leave alone."""

    def parameter_count(self) -> int:
        """Parameters of the network with every switch on, an auxiliary head included.

        The switches' own logits do not count.
        """
        logits = {id(parameter) for parameter in self.distribution_parameters()}
        return sum(p.numel() for p in self.parameters() if id(p) not in logits)

    def auxiliary_parameters(self) -> int:
        """Parameters of an auxiliary head, which is no part of any candidate."""
        return 0

    @contextmanager
    def candidate(self, choice: Choice) -> Iterator[None]:
        """Be the architecture ``choice`` within a ``with`` block."""
        self.choose(choice)
        try:
            yield
        finally:
            self.choose(None)


class ChannelSupernet(Supernet):
    """A supernet whose switches are the channel gates of its layers, named by module path."""

    @cached_property
    def _gated_layers(self) -> dict[str, GatedLayer]:
        return {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, (GatedConv2d, GatedLinear))
        }

    @cached_property
    def _gates(self) -> Gates:
        return Gates([layer.gate for layer in self._gated_layers.values()])

    def gated_layers(self) -> dict[str, GatedLayer]:
        """Every gated layer by its stable name, in the order of definition."""
        return self._gated_layers

    def draw_switches(self, x: Tensor) -> None:
        """Before the images ``x`` go through in training: draw the switches of all gates."""
        if self.training:
            self._gates.draw(x)

    def configure_gates(self, settings: GateSettings) -> None:
        self._gates.configure(settings)

    def set_temperature(self, temperature: float) -> None:
        self._gates.set_temperature(temperature)

    def choose(self, choice: Choice | None) -> None:
        self._choose([] if choice is None else [choice])

    def _choose(self, choices: Sequence[Choice]) -> None:
        layers = self.gated_layers()
        for choice in choices:
            stacked = Candidates({name: mask[None] for name, mask in choice.items()})
            stacked.check_masks({name: layer.gate.channels for name, layer in layers.items()})
        for name, layer in layers.items():
            layer.gate.keep_mask = None
            if choices:
                masks = torch.stack([choice[name] for choice in choices])
                layer.gate.keep_mask = masks.to(layer.weight.device)

    @contextmanager
    def candidates(self, choices: Sequence[Choice]) -> Iterator[None]:
        """Be several architectures side by side within a ``with`` block, in evaluation mode.

        The images of a batch are shared out in order: the first of as many equal parts goes through
        the first architecture, and so on.
        """
        self._choose(choices)
        try:
            yield
        finally:
            self._choose([])

    def posterior(self) -> ChannelPosterior:
        layers = self.gated_layers()
        return ChannelPosterior(
            {
                name: torch.sigmoid(layer.gate.logit_p.detach().double().cpu())
                for name, layer in layers.items()
            },
            {name: torch.tensor(layer.gate.group_sizes) for name, layer in layers.items()},
        )

    def slice_parameters(self) -> dict[str, int]:
        """Parameters of one input channel's kernel slice, by gate."""
        return {
            name: layer.weight.numel() // layer.gate.channels
            for name, layer in self.gated_layers().items()
        }

    def candidate_parameters(self, choice: Choice) -> int:
        dropped = sum(
            int((~choice[name]).sum()) * size for name, size in self.slice_parameters().items()
        )
        return self._largest_candidate() - dropped

    def expected_parameters(self, posterior: ChannelPosterior) -> float:
        """Expected parameters of a candidate drawn from ``posterior``."""
        dropped = sum(
            float(posterior.channel_drop(name).sum()) * size
            for name, size in self.slice_parameters().items()
        )
        return self._largest_candidate() - dropped

    def _largest_candidate(self) -> int:
        return self.parameter_count() - self.auxiliary_parameters()

    def matching_drop_probability(self, posterior: ChannelPosterior) -> float:
        """The one drop probability that gives ``posterior``'s expected parameter count."""
        layers = self.gated_layers()
        gated = sum(layers[name].gate.channels * n for name, n in self.slice_parameters().items())
        return (self._largest_candidate() - self.expected_parameters(posterior)) / gated

    def kept(self, choice: Choice) -> tuple[float, float]:
        masks = [choice[name] for name in self.gated_layers()]
        channels = float(torch.cat(masks).double().mean())
        return channels, sum(bool(mask.any()) for mask in masks) / len(masks)

    def prior_energy(self, *, constant: bool = False) -> Tensor:
        layers = self.gated_layers().values()
        energies = cast(Tensor, SquareNorms.apply(*(layer.slices() for layer in layers)))
        if constant and not any(layer.gate.keep_mask is not None for layer in layers):
            return energies.sum()
        return self._gates.keep_weight() @ energies

    def entropy(self) -> Tensor:
        return self._gates.entropy()

    def score_surrogate(self, nll: Tensor) -> Tensor:
        return nll.new_zeros(())  # the relaxation is differentiable; nothing is left to add

    def distribution_parameters(self) -> list[nn.Parameter]:
        return [layer.gate.logit_p for layer in self.gated_layers().values()]

    def gated_weights(self) -> list[Tensor]:
        return [layer.weight for layer in self.gated_layers().values()]
