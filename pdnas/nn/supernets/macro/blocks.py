"""The blocks of a layer, and the layer that holds all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdnas.nn.supernets.categorical.batchnorm import normalised, with_running_statistics
from pdnas.nn.supernets.categorical.credit import Credit, products_of_rows
from pdnas.nn.supernets.categorical.mixture import Mixture, Routes, as_images, as_rows
from pdnas.space.macro import MacroSpace

EXPANSION_AND_KERNEL = {"1": (3, 3), "2": (6, 5)}
"""Of the MobileNetV2 blocks: hidden channels for each input channel, and pixels a side."""

Through = Callable[[nn.Sequential, Tensor], Tensor]
"""Computes a convolution with its BatchNorm."""


def conv_norm(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution without bias, and BatchNorm."""
    padding = kernel // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


def as_usual(pair: nn.Sequential, x: Tensor) -> Tensor:
    """BatchNorm as the network is, in training or in evaluation."""
    return pair(x)


def by_architecture(pair: nn.Sequential, x: Tensor, per_batch: int) -> Tensor:
    """BatchNorm with the images of each architecture by themselves, as in :class:`Mixture`."""
    convolution, norm = pair
    return normalised(norm, convolution(x), per_batch)


def considered(pair: nn.Sequential, x: Tensor) -> Tensor:
    """BatchNorm with running statistics, also in training."""
    convolution, norm = pair
    return with_running_statistics(convolution, norm, x)


def way(per_batch: int | None) -> Through:
    """How a pair is computed for the images of a batch, as in :class:`Mixture`."""
    return as_usual if per_batch is None else partial(by_architecture, per_batch=per_batch)


class Block(nn.Module):
    """Convolutions with BatchNorm, ReLU between them, plus the input where it fits.

    Args:
        pairs: of :func:`conv_norm`; none for an identity.
        residual: whether the input is added.
    """

    def __init__(self, pairs: Sequence[nn.Sequential], residual: bool = False) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(pairs)
        self.residual = residual

    def forward(self, x: Tensor, through: Through = as_usual) -> Tensor:
        y = x
        for number, pair in enumerate(self.pairs):
            assert isinstance(pair, nn.Sequential)
            y = through(pair, F.relu(y) if number else y)
        return x + y if self.residual else y


def make_block(option: str, inputs: int, outputs: int, stride: int) -> Block:
    """One option of a layer.

    The benchmark's identity is a 1x1 convolution with BatchNorm where the layer has a stride.
    """
    same = stride == 1 and inputs == outputs
    if option not in EXPANSION_AND_KERNEL:
        return Block([] if same else [conv_norm(inputs, outputs, stride=stride)])
    expansion, kernel = EXPANSION_AND_KERNEL[option]
    hidden = expansion * inputs
    pairs = [
        conv_norm(inputs, hidden),
        conv_norm(hidden, hidden, kernel, stride, groups=hidden),
        conv_norm(hidden, outputs),
    ]
    return Block(pairs, residual=same)


class LayerMixture(Mixture):
    """A layer that holds all its blocks.

    Args:
        switch: the layer's number.
        inputs: channels that it reads.
        outputs: channels that it gives.
        stride: of its blocks.
    """

    def __init__(self, switch: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.switch = switch
        self.blocks = nn.ModuleDict(
            {name: make_block(name, inputs, outputs, stride) for name in MacroSpace().options}
        )

    def forward(
        self,
        x: Tensor,
        routes: Routes,
        soft: Tensor | None = None,
        per_batch: int | None = None,
    ) -> Tensor:
        route = routes[self.switch]
        order = torch.cat(list(route.values()))
        before = as_rows(x, per_batch)
        pieces = before.index_select(0, order).split([len(rows) for rows in route.values()])
        given = []
        for name, piece in zip(route, pieces, strict=True):
            own = None if per_batch is None else len(piece)
            given.append(as_rows(self.blocks[name](as_images(piece), way(own)), own))
        rows = torch.cat(given).index_select(0, order.argsort())
        if soft is not None:
            credit = partial(self.credit, per_batch is not None)
            rows = Credit.apply(rows, soft[:, self.switch], credit, before.detach())
        return as_images(rows)

    def credit(self, shared: bool, slope: Tensor, before: Tensor) -> Tensor:
        """Products of the slope and what each block gives, (rows, blocks).

        Args:
            shared: a row is all images of an architecture, whose statistics BatchNorm takes; else
                an image, and BatchNorm takes its running statistics.
            slope: some rows of it.
            before: the same rows of the layer's input.
        """
        own = len(before) if shared else None
        through = way(own) if shared else considered
        images = as_images(before)
        outputs = (as_rows(block(images, through), own) for block in self.blocks.values())
        return products_of_rows((len(self.blocks),), slope, *outputs)

    def weighted(self, x: Tensor, weights: Tensor, per_batch: int | None = None) -> Tensor:
        through = way(per_batch)
        shares = weights[:, self.switch].to(x.dtype)
        outputs = torch.stack(
            [as_rows(block(x, through), per_batch) for block in self.blocks.values()], dim=1
        )
        return as_images((shares.view(*shares.shape, *(1,) * (outputs.dim() - 2)) * outputs).sum(1))

    def alone(self, x: Tensor, names: Sequence[str], per_batch: int | None = None) -> Tensor:
        out: Tensor = self.blocks[names[self.switch]](x, way(per_batch))
        return out
