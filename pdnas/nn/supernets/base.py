"""What every supernet offers: switches to configure, a distribution, and candidates.

A supernet is an ``nn.Module`` built of gated parts. It knows nothing of search, ranking or files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from pdnas.nn.gates import (
    ChannelGate,
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

    def set_identity(self, share: float) -> None:
        """Set how much of an identity is left in kernels that fade. Most supernets have none."""

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

    def expected_size(self) -> Tensor:
        """Expected parameters of an architecture as the switches are, a scalar with a gradient.

        Raises:
            PdnasError: these switches are none on channels, so their size has no prior.
        """
        raise PdnasError(
            f"{type(self).__name__} has no prior on the architecture's size; set gates.size_prior "
            "to 0"
        )

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
    """A supernet whose switches are the channel gates of its layers, named by module path.

    A gate that is part of one layer has the layer's name.
    """

    @cached_property
    def _gated_layers(self) -> dict[str, GatedLayer]:
        return {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, (GatedConv2d, GatedLinear))
        }

    @cached_property
    def _gates_by_name(self) -> dict[str, ChannelGate]:
        return {
            name.removesuffix(".gate"): module
            for name, module in self.named_modules()
            if isinstance(module, ChannelGate)
        }

    @cached_property
    def _gates(self) -> Gates:
        return Gates(list(self._gates_by_name.values()))

    def gates(self) -> dict[str, ChannelGate]:
        """Every gate by its stable name, in the order of definition."""
        return self._gates_by_name

    def gate_names(self) -> dict[str, str]:
        """The gate that each gated layer reads: names by names."""
        names = {gate: name for name, gate in self.gates().items()}
        return {name: names[layer.gate] for name, layer in self.gated_layers().items()}

    def layer_masks(self, choice: Choice) -> dict[str, Tensor]:
        """The mask of each gated layer's input channels, by the layer's name."""
        return {layer: choice[gate] for layer, gate in self.gate_names().items()}

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
        gates = self.gates()
        for choice in choices:
            stacked = Candidates({name: mask[None] for name, mask in choice.items()})
            stacked.check_masks({name: gate.channels for name, gate in gates.items()})
        for name, gate in gates.items():
            gate.keep_mask = None
            if choices:
                masks = torch.stack([choice[name] for choice in choices])
                gate.keep_mask = masks.to(gate.logit_p.device)

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
        gates = self.gates()
        return ChannelPosterior(
            {
                name: torch.sigmoid(gate.logit_p.detach().double().cpu())
                for name, gate in gates.items()
            },
            {name: torch.tensor(gate.group_sizes) for name, gate in gates.items()},
        )

    def slice_parameters(self) -> dict[str, int]:
        """Parameters of one input channel's kernel slices, by gate."""
        sizes = dict.fromkeys(self.gates(), 0)
        for name, gate in self.gate_names().items():
            layer = self.gated_layers()[name]
            sizes[gate] += layer.weight.numel() // layer.gate.channels
        return sizes

    def parameters_with(self, drop: Mapping[str, Tensor]) -> Tensor:
        """Expected parameters of a candidate whose channels are dropped independently, a scalar.

        Args:
            drop: probability that each input channel is dropped, shape (channels,), by gate.
        """
        dropped = sum(drop[name].sum() * size for name, size in self.slice_parameters().items())
        return cast(Tensor, self._largest_candidate() - dropped)

    def candidate_parameters(self, choice: Choice) -> int:
        return round(float(self.parameters_with({k: (~v).double() for k, v in choice.items()})))

    def expected_parameters(self, posterior: ChannelPosterior) -> float:
        """Expected parameters of a candidate drawn from ``posterior``."""
        drop = {name: posterior.channel_drop(name) for name in self.gates()}
        return float(self.parameters_with(drop))

    def expected_size(self) -> Tensor:
        return self.parameters_with(self._present_drop())

    def _present_drop(self) -> dict[str, Tensor]:
        """What :meth:`parameters_with` asks for, as the gates are, or of the chosen candidate."""
        channels = [gate.channels for gate in self.gates().values()]
        drop = (1 - self._gates.keep_weight()).split(channels)
        return dict(zip(self.gates(), drop, strict=True))

    def _largest_candidate(self) -> int:
        return self.parameter_count() - self.auxiliary_parameters()

    def matching_drop_probability(self, posterior: ChannelPosterior) -> float:
        """The one drop probability that gives ``posterior``'s expected parameter count."""
        gates = self.gates()
        gated = sum(gates[name].channels * n for name, n in self.slice_parameters().items())
        return (self._largest_candidate() - self.expected_parameters(posterior)) / gated

    def kept(self, choice: Choice) -> tuple[float, float]:
        masks = list(self.layer_masks(choice).values())
        channels = float(torch.cat(masks).double().mean())
        return channels, sum(bool(mask.any()) for mask in masks) / len(masks)

    def prior_energy(self, *, constant: bool = False) -> Tensor:
        layers = self.gated_layers().values()
        energies = cast(Tensor, SquareNorms.apply(*(layer.slices() for layer in layers)))
        if constant and not any(layer.gate.keep_mask is not None for layer in layers):
            return energies.sum()
        keep = self._gates.keep_weight()
        gates = list(self.gates().values())
        if len(gates) < len(layers):  # else every gate has one layer, in the same order
            of_gate = dict(zip(gates, keep.split([gate.channels for gate in gates]), strict=True))
            keep = torch.cat([of_gate[layer.gate] for layer in layers])
        return keep @ energies

    def entropy(self) -> Tensor:
        return self._gates.entropy()

    def score_surrogate(self, nll: Tensor) -> Tensor:
        return nll.new_zeros(())  # the relaxation is differentiable; nothing is left to add

    def distribution_parameters(self) -> list[nn.Parameter]:
        return [gate.logit_p for gate in self.gates().values()]

    def gated_weights(self) -> list[Tensor]:
        return [layer.weight for layer in self.gated_layers().values()]
