"""The relaxed Bernoulli switch on input channels, and the layers that carry one (paper, Eq. 13-16).

A gated layer multiplies each of its input channels by a switch before it convolves. While a
supernet trains, the switch is a relaxed Bernoulli sample, drawn anew for every image and channel;
for a candidate it is a hard keep mask, the same for every image; otherwise everything is kept.

Convention: ``p`` is always the DROP probability (the paper's Eq. 13 reads the other way round, its
Eq. 15-16 and the official code do not). It is parameterised by its logit, one for each group of
input channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from pdnas.nn.noise import DrawsNoise, shared
from pdnas.spec.gates import GateConfig
from pdnas.spec.names import Dependence, Estimator, GateMode

# torch.rand gives multiples of 2^-24 in [0, 1); half a step away from 0 keeps the logit finite.
_SMALLEST_UNIFORM = 2.0**-25
# The least normal number of float32 and bfloat16. Gates divide by their switches; a smaller one,
# which takes a drop probability near 1, has no gradient to speak of.
_SMALLEST_KEEP = 2.0**-126


@dataclass(frozen=True)
class GateSettings:
    """What all gates of a supernet have in common.

    Attributes:
        mode: ``learned`` and ``fixed`` draw switches in training, ``fixed`` keeps their
            probabilities; ``none`` makes the layers plain ones (drop probability 0).
        initial: initial (learned) or permanent (fixed) drop probability.
        temperature: τ of the relaxation.
        masks_per_batch: how many masks (or cells) the images share, of which image i takes number i
            modulo this; None: every image has its own.
        estimator: how logits of one-of-many switches get their gradient; two-way ones are always
            relaxed.
        dependence: ``chain`` lets each one-of-many switch depend on the one before it; two-way ones
            are always independent.
    """

    mode: GateMode = "learned"
    initial: float = 0.1
    temperature: float = 0.2
    masks_per_batch: int | None = None
    estimator: Estimator = "straight-through"
    dependence: Dependence = "independent"

    @classmethod
    def of(cls, config: GateConfig, initial: float | None = None) -> GateSettings:
        """What a specification says of gates, with another ``initial`` if one is given."""
        settings = cls(**{field.name: getattr(config, field.name) for field in fields(cls)})
        return settings if initial is None else replace(settings, initial=initial)


def logistic_noise(shape: Sequence[int], device: torch.device) -> Tensor:
    """Standard logistic noise in float32, the L of the relaxation (difference of two Gumbels)."""
    uniform = torch.rand(tuple(shape), device=device, dtype=torch.float32)
    return torch.logit(uniform.clamp_min_(_SMALLEST_UNIFORM))


def relaxed_keep(logit_p: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Relaxed keep switch 1 - sigmoid((logit p + L) / τ), in float32 (paper, Eq. 16).

    Args:
        logit_p: logits of the drop probability, broadcastable to ``noise``.
        noise: standard logistic noise.
        temperature: τ > 0; τ → 0 gives hard Bernoulli switches that keep with probability 1 - p.
    """
    return torch.sigmoid(-(logit_p.float() + noise) / temperature)


def bernoulli_entropy(logit: Tensor) -> Tensor:
    """Entropy in nats of a Bernoulli variable with the given logit, elementwise, stable at ±∞."""
    # H = softplus(x) - x sigmoid(x); even in x, and with x <= 0 nothing overflows or cancels.
    negative = -logit.abs()
    entropy = nn.functional.softplus(negative) - negative * torch.sigmoid(negative)
    return torch.where(torch.isinf(logit), torch.zeros_like(entropy), entropy)


class Gated(torch.autograd.Function):
    """Channels times their switches, after a ReLU where one is asked for: y = max(x, 0) k.

    Autograd on the plain formula would keep max(x, 0), for the gradients of k and of the ReLU,
    beside y, which the convolution behind the gate needs. But both follow from y: it is positive
    where x is, and Σ g max(x, 0) = Σ g y / k. So a gate takes no memory but that of k.

    ``backward`` is differentiable itself, so derivatives of higher order are right, too. The
    transforms of ``torch.func`` raise: they ask for another form of a function, which takes longer.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, relu: bool) -> Tensor:
        """Shapes: x (images, channels, ...), keep (images or 1, channels, 1, ...).

        ``keep`` must be positive if it needs a gradient.
        """
        # In place is faster; torch.compile makes it faster still, and wrong gradients of this one.
        product = torch.mul if torch.compiler.is_compiling() else Tensor.mul_
        y = product(torch.relu(x), keep) if relu else x * keep
        ctx.save_for_backward(y, keep)
        ctx.relu = relu
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        y, keep = ctx.saved_tensors
        of_keep = None
        if ctx.needs_input_grad[1]:
            of_keep = (gradient * y).sum_to_size(keep.shape) / keep
        of_x = _threshold_backward(gradient, y, 0).mul_(keep) if ctx.relu else gradient * keep
        return of_x, of_keep, None


_threshold_backward = torch.ops.aten.threshold_backward.default


class SquareNorms(torch.autograd.Function):
    """‖m_k‖² of all slices of many layers, one after the other.

    Autograd on the plain formula takes three passes over every weight backwards; this takes one.
    """

    @staticmethod
    def forward(ctx: Any, *slices: Tensor) -> Tensor:
        """``slices``: of each layer, see :meth:`GatedConv2d.slices`."""
        ctx.save_for_backward(*slices)
        return torch.cat([each.square().sum(dim=(1, 3)).flatten() for each in slices])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        slices = ctx.saved_tensors
        parts = (2 * gradient).split([each.shape[0] * each.shape[2] for each in slices])
        return tuple(
            each * part.view(each.shape[0], 1, -1, 1)
            for each, part in zip(slices, parts, strict=True)
        )


class ChannelGate(DrawsNoise):
    """Switches on the input channels of one layer, one drop probability for each group of them.

    Args:
        group_sizes: number of input channels in each group; their sum is the layer's input width.
    """

    logit_p: nn.Parameter

    def __init__(self, group_sizes: Sequence[int]) -> None:
        super().__init__()
        if not group_sizes or min(group_sizes) < 1:
            raise ValueError(f"a gate needs groups of at least one channel, not {group_sizes}")
        self.group_sizes = tuple(group_sizes)
        self.logit_p = nn.Parameter(torch.empty(len(group_sizes)))
        self.keep_mask: Tensor | None = None  # (candidates, channels), see ChannelSupernet.choose
        self.readers = 1  # layers that multiply their inputs by these switches
        self.drawn: tuple[Tensor, ...] = ()  # a reference for each reader that is yet to come
        self.configure(GateSettings())

    @property
    def channels(self) -> int:
        return sum(self.group_sizes)

    def configure(self, settings: GateSettings) -> None:
        """Set mode, temperature and the initial probability of every group."""
        self.settings = settings
        initial = 0.0 if settings.mode == "none" else settings.initial
        logit = math.log(initial) - math.log1p(-initial) if initial else -math.inf
        nn.init.constant_(self.logit_p, logit)
        self.logit_p.requires_grad_(settings.mode == "learned")

    def drop_probability(self) -> Tensor:
        """Drop probability of each group, shape (groups,)."""
        return torch.sigmoid(self.logit_p)

    @property
    def draws(self) -> bool:
        """Whether a forward pass takes place under random switches."""
        return self.training and self.settings.mode != "none" and self.keep_mask is None

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """Multiply the channels of ``x``, shape (images, channels, ...), by their switches.

        Args:
            relu: apply a ReLU first.
        """
        if self.draws and not self.drawn:  # nobody has drawn for many gates at once
            Gates([self]).draw(x)
        keep = None
        if self.drawn:
            keep, self.drawn = self.drawn[0], self.drawn[1:]
        if self.keep_mask is not None:
            keep = self.keep_mask
            if len(keep) > 1:
                keep = keep.repeat_interleave(len(x) // len(keep), dim=0)
        if keep is None:
            return torch.relu(x) if relu else x
        keep = keep.to(x.dtype).reshape(*keep.shape, *(1,) * (x.dim() - 2))
        return cast(Tensor, Gated.apply(x, keep, relu))


class SharedGate(ChannelGate):
    """A gate that several layers read, each once in a pass; a part of none of them."""

    def __init__(self, group_sizes: Sequence[int]) -> None:
        super().__init__(group_sizes)
        self.readers = 0


class Gates:
    """All gates of a network, side by side: one call for all of them where each would make its own.

    Args:
        gates: at least one, alike in settings, and either all with a mask or none.
    """

    def __init__(self, gates: Sequence[ChannelGate]) -> None:
        self._gates = gates
        self._channels = [gate.channels for gate in gates]
        sizes = torch.tensor([size for gate in gates for size in gate.group_sizes])
        self._group = torch.repeat_interleave(torch.arange(len(sizes)), sizes)

    def configure(self, settings: GateSettings) -> None:
        """Set mode, temperature and the initial probability of every group of every gate."""
        for gate in self._gates:
            gate.configure(settings)

    def set_temperature(self, temperature: float) -> None:
        """Go on with another temperature."""
        for gate in self._gates:
            gate.settings = replace(gate.settings, temperature=temperature)

    def draw(self, x: Tensor) -> None:
        """Draw the switches that the gates multiply by in the coming pass of the images ``x``."""
        first = self._gates[0]
        if not first.draws:
            return

        def noise(images: int) -> Tensor:
            return logistic_noise((images, sum(self._channels)), x.device)

        masks = first.settings.masks_per_batch
        drawn = first.for_images(len(x), noise) if masks is None else noise(masks)
        keep = relaxed_keep(self._of_channels(self._logits()), drawn, first.settings.temperature)
        keep = keep.clamp_min(_SMALLEST_KEEP)
        if masks is not None and masks > 1:
            keep = shared(keep, len(x))
        if torch.is_autocast_enabled(x.device.type):  # once here instead of in every gate
            keep = keep.to(torch.get_autocast_dtype(x.device.type))
        parts = keep.split(self._channels, dim=1)
        for gate, part in zip(self._gates, parts, strict=True):
            gate.drawn = (part,) * gate.readers

    def keep_weight(self) -> Tensor:
        """Probability that each channel is kept, or a candidate's masks; shape (channels,)."""
        masks = [gate.keep_mask for gate in self._gates if gate.keep_mask is not None]
        if masks:
            return torch.cat(masks, dim=1).squeeze(0).to(self._gates[0].logit_p.dtype)
        return self._of_channels(torch.sigmoid(-self._logits()))

    def entropy(self) -> Tensor:
        """Entropy in nats of all switches together; a candidate's switches have none."""
        if self._gates[0].keep_mask is not None:
            return self._gates[0].logit_p.new_zeros(())
        return self._of_channels(bernoulli_entropy(self._logits())).sum()

    def _logits(self) -> Tensor:
        return torch.cat([gate.logit_p for gate in self._gates])

    def _of_channels(self, of_groups: Tensor) -> Tensor:
        """The value of each channel's group."""
        self._group = self._group.to(of_groups.device)
        return of_groups.index_select(0, self._group)


class GatedConv2d(nn.Conv2d):
    """A convolution with a gate on its input channels.

    Args:
        relu: apply a ReLU before the gate, which as part of it takes no memory.
        group_sizes: input channels in each gate group; all of them in one group by default.
        shared: a gate that other layers read too, in place of one of its own.
        The other arguments are those of :class:`torch.nn.Conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = False,
        relu: bool = False,
        group_sizes: Sequence[int] | None = None,
        shared: SharedGate | None = None,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=bias, **options)
        self.gate: ChannelGate
        _attach_gate(self, in_channels, group_sizes, shared)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.gate(x, relu=self.relu))

    def slices(self) -> Tensor:
        """The kernel by input channels: block g of the outputs reads block g of the inputs.

        A view of shape (groups, outputs of a group, inputs of a group, pixels).
        """
        return self.weight.flatten(2).unflatten(0, (self.groups, -1))


class GatedLinear(nn.Linear):
    """A linear layer with a gate on its input features; arguments as :class:`GatedConv2d`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        group_sizes: Sequence[int] | None = None,
        shared: SharedGate | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.gate: ChannelGate
        _attach_gate(self, in_features, group_sizes, shared)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.gate(x))

    def slices(self) -> Tensor:
        """The weights by input features, as those of a convolution; shape (1, out, in, 1)."""
        return self.weight[None, :, :, None]


GatedLayer = GatedConv2d | GatedLinear


def _attach_gate(
    layer: GatedLayer, channels: int, group_sizes: Sequence[int] | None, shared: SharedGate | None
) -> None:
    """Give a layer its gate: one of its own, as a part, or a shared one, which it only reads."""
    sizes = [channels] if group_sizes is None else list(group_sizes)
    if shared is not None:
        sizes = list(shared.group_sizes)
        shared.readers += 1
        layer.__dict__["gate"] = shared  # as an attribute it would become a part
    if sum(sizes) != channels:
        raise ValueError(f"gate groups {sizes} do not add up to {channels} input channels")
    if shared is None:
        layer.gate = ChannelGate(sizes)
