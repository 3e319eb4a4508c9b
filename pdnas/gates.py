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
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pdnas.parts import for_images

GateMode = Literal["learned", "fixed", "none"]
Estimator = Literal["straight-through", "relaxed", "softmax", "score"]
Dependence = Literal["independent", "chain"]

# torch.rand gives multiples of 2^-24 in [0, 1); half a step away from 0 keeps the logit finite.
_SMALLEST_UNIFORM = 2.0**-25


@dataclass(frozen=True)
class GateSettings:
    """What all gates of a supernet have in common.

    Attributes:
        mode: ``learned`` and ``fixed`` draw switches in training, ``fixed`` keeps their
            probabilities; ``none`` makes the layers plain ones (drop probability 0).
        initial: initial (learned) or permanent (fixed) drop probability.
        temperature: τ of the relaxation.
        per_image: one mask for every image of a batch, or one for the batch as a whole.
        estimator: how logits of one-of-many switches get their gradient; two-way ones are always
            relaxed.
        dependence: ``chain`` lets each one-of-many switch depend on the one before it; two-way ones
            are always independent.
    """

    mode: GateMode = "learned"
    initial: float = 0.1
    temperature: float = 0.2
    per_image: bool = True
    estimator: Estimator = "straight-through"
    dependence: Dependence = "independent"


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


class ChannelGate(nn.Module):
    """Switches on the input channels of one layer, one drop probability for each group of them.

    Args:
        group_sizes: number of input channels in each group; their sum is the layer's input width.
    """

    logit_p: nn.Parameter
    group: Tensor

    def __init__(self, group_sizes: Sequence[int]) -> None:
        super().__init__()
        if not group_sizes or min(group_sizes) < 1:
            raise ValueError(f"a gate needs groups of at least one channel, not {group_sizes}")
        self.group_sizes = tuple(group_sizes)
        self.logit_p = nn.Parameter(torch.empty(len(group_sizes)))
        index = torch.repeat_interleave(
            torch.arange(len(group_sizes)),
            torch.tensor(self.group_sizes),
            output_size=self.channels,
        )
        self.register_buffer("group", index, persistent=False)
        self.keep_mask: Tensor | None = None
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

    def keep_weight(self) -> Tensor:
        """Probability that each channel is kept, or the candidate's mask; shape (channels,)."""
        if self.keep_mask is not None:
            return self.keep_mask.to(self.logit_p.dtype)
        return torch.sigmoid(-self.logit_p)[self.group]

    def entropy(self) -> Tensor:
        """Entropy in nats of all switches together; a candidate's switches have none."""
        if self.keep_mask is not None:
            return self.logit_p.new_zeros(())
        return bernoulli_entropy(self.logit_p)[self.group].sum()

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the channels of ``x``, shape (images, channels, ...), by their switches."""
        keep: Tensor | None = None
        if self.keep_mask is not None:
            keep = self.keep_mask.unsqueeze(0)
        elif self.training and self.settings.mode != "none":
            if self.settings.per_image:
                noise = for_images(len(x), lambda n: logistic_noise((n, self.channels), x.device))
            else:
                noise = logistic_noise((1, self.channels), x.device)
            keep = relaxed_keep(self.logit_p[self.group], noise, self.settings.temperature)
        if keep is None:
            return x
        return x * keep.to(x.dtype).reshape(*keep.shape, *(1,) * (x.dim() - 2))


class GatedConv2d(nn.Conv2d):
    """A convolution with a gate on its input channels.

    Args:
        group_sizes: input channels in each gate group; all of them in one group by default.
        The other arguments are those of :class:`torch.nn.Conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        group_sizes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=bias,
        )
        self.gate = _gate(in_channels, group_sizes)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.gate(x))

    def slice_square_norms(self) -> Tensor:
        """‖m_k‖² of the kernel slice of each input channel k, shape (in_channels,)."""
        # weight: (out, in / groups, kh, kw); block g of the outputs reads block g of the inputs.
        blocks = self.weight.reshape(self.groups, -1, *self.weight.shape[1:])
        return blocks.square().sum(dim=(1, 3, 4)).flatten()


class GatedLinear(nn.Linear):
    """A linear layer with a gate on its input features; arguments as :class:`torch.nn.Linear`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        group_sizes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.gate = _gate(in_features, group_sizes)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.gate(x))

    def slice_square_norms(self) -> Tensor:
        """‖m_k‖² of the weight column of each input feature k, shape (in_features,)."""
        return self.weight.square().sum(dim=0)


GatedLayer = GatedConv2d | GatedLinear


def _gate(channels: int, group_sizes: Sequence[int] | None) -> ChannelGate:
    sizes = [channels] if group_sizes is None else list(group_sizes)
    if sum(sizes) != channels:
        raise ValueError(f"gate groups {sizes} do not add up to {channels} input channels")
    return ChannelGate(sizes)
