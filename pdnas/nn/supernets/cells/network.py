"""NAS-Bench-201's network as a supernet whose images each take a cell of their own.

Skeleton (Dong and Yang, ICLR 2020, section 2): a 3x3 stem, three stages of cells separated by
residual blocks that halve the resolution, BN-ReLU, average pool, classifier; all cells of the
network are alike. The distribution over cells: independent Bernoulli switches on the operations of
an edge, conditioned on exactly one being on. That is a categorical distribution, and here its
logits are the parameters. As an option (``gates.dependence: chain``), an edge's logits depend on
the operation of the edge before it in :data:`pdnas.space.cells.CHAIN`.

While the supernet trains, every image draws its own cell, and only the images that chose an
operation pass through it with gradients: about a fifth of the arithmetic of computing all five, and
BatchNorm then sees the statistics of exactly those images. A deep network cannot learn like that.
There a few cells share the batch (``gates.noise``), and BatchNorm normalises the images of each by
themselves, so that every cell works as it would alone. The logits learn by one of the estimators in
:mod:`pdnas.nn.supernets.cells.estimators`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GateSettings
from pdnas.nn.noise import DrawsNoise
from pdnas.nn.supernets.base import Supernet
from pdnas.nn.supernets.cells.draws import CellDraws
from pdnas.nn.supernets.cells.estimators import ESTIMATORS, GradientEstimator
from pdnas.nn.supernets.cells.mixture import CellMixture, find_routes
from pdnas.nn.supernets.cells.operations import applied, conv_op, normalised
from pdnas.nn.supernets.registry import register
from pdnas.space.candidates import CELL, Candidates, Choice
from pdnas.space.cells import EDGES, CellSpace
from pdnas.space.chain import edge_marginals, row_weights
from pdnas.space.posterior import CellPosterior
from pdnas.spec.supernets import NasBench201Config
from pdnas.support.errors import PdnasError


class Reduction(nn.Module):
    """The residual block between stages: half the resolution, twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_op(channels, 2 * channels, 3, stride=2), conv_op(2 * channels, 2 * channels, 3)
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(channels, 2 * channels, 1, bias=False)
        )

    def forward(self, x: Tensor, cells_per_batch: int | None = None) -> Tensor:
        """``cells_per_batch`` as in :meth:`CellMixture.forward`."""
        body = x
        for operation in self.body:
            body = applied(operation, body, cells_per_batch)
        return self.shortcut(x) + body


@register(NasBench201Config)
class NasBench201Supernet(DrawsNoise, Supernet):
    """NAS-Bench-201's skeleton over all cells of a space.

    Args:
        channels: C, channels of the first stage (16 in the benchmark).
        cells_per_stage: N, cells in each stage (5 in the benchmark).
        space: the operations to choose from.
        in_channels: channels of an image.
        classes: number of classes.
        stages: stages of cells; each but the first halves the resolution (3 in the benchmark).
    """

    def __init__(
        self,
        channels: int,
        cells_per_stage: int,
        space: CellSpace,
        in_channels: int,
        classes: int,
        stages: int = 3,
    ) -> None:
        super().__init__()
        self.space = space
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        layers: list[nn.Module] = []
        for stage in range(stages):
            if stage:
                layers.append(Reduction(channels))
                channels *= 2
            layers += [CellMixture(channels, space.operations) for _ in range(cells_per_stage)]
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, classes)
        self.logits = nn.Parameter(torch.zeros(len(EDGES), len(space.operations)))
        self.settings = GateSettings()
        self._warming_up = False
        self._choice: Tensor | None = None
        self.drawn: Tensor | None = None
        """Cells of the images of the last training pass, where they were drawn, (images, 6)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        # Begun as skip connections, all operations speak of the same features and a cell fits what
        # follows it from the first step on; from random kernels no ranking emerges for ten epochs
        # (docs/nasbench201.md).
        for kernel in self.gated_weights():
            nn.init.dirac_(kernel)

    @classmethod
    def of(cls, config: Any, in_channels: int, classes: int) -> Self:
        space = CellSpace(config.operations)
        cells, stages = config.cells_per_stage, config.stages
        return cls(config.channels, cells, space, in_channels, classes, stages)

    def begin_alone(self) -> None:
        for kernel in self.gated_weights():
            nn.init.kaiming_normal_(kernel, mode="fan_out")

    def configure_gates(self, settings: GateSettings) -> None:
        # The switches of an edge start alike, so any initial drop probability means uniform.
        self.settings = settings
        options = len(self.space.operations)
        rows = (options,) if settings.dependence == "chain" else ()
        logits = self.logits.new_zeros(len(EDGES), *rows, options)
        self.logits = nn.Parameter(logits, requires_grad=settings.mode == "learned")

    def set_warm_up(self, on: bool) -> None:
        """Let every image take one uniformly drawn cell, whatever the estimator and dependence."""
        self._warming_up = on

    def set_temperature(self, temperature: float) -> None:
        self.settings = replace(self.settings, temperature=temperature)

    def forward(self, x: Tensor) -> Tensor:
        if self._choice is not None:
            return self.through_layers(self.stem(x), self._one_cell)
        if not self.training:
            raise PdnasError("a NAS-Bench-201 supernet is evaluated as one cell; choose one")
        way = self._estimator().way(self.draws(), len(x))
        self.drawn = way.drawn
        return self.through_layers(self.stem(x), way.through, way.cells_per_batch)

    def forward_cells(self, x: Tensor, cells: Tensor) -> Tensor:
        """Logits of several cells for the same images, with the batch statistics of each.

        Args:
            x: (images, channels, height, width).
            cells: operation codes, shape (cells, 6).

        Returns:
            shape (cells, images, classes).
        """
        routes = find_routes(cells.repeat(len(x), 1), self.space.operations)
        through = partial(CellMixture.forward, routes=routes, cells_per_batch=len(cells))
        convolution, norm = self.stem
        features = normalised(norm, convolution(x), 1).repeat_interleave(len(cells), dim=0)
        logits = self.through_layers(features, through, len(cells))
        return logits.unflatten(0, (len(x), len(cells))).transpose(0, 1)

    def through_layers(
        self,
        x: Tensor,
        through: Callable[[CellMixture, Tensor], Tensor],
        cells_per_batch: int | None = None,
        first: int = 0,
    ) -> Tensor:
        """The logits of images after the stem.

        Args:
            through: takes a cell and its input to its output.
            cells_per_batch: as in :meth:`CellMixture.forward`.
            first: number of the layer that ``x`` enters.
        """
        for layer in list(self.layers)[first:]:
            x = through(layer, x) if isinstance(layer, CellMixture) else layer(x, cells_per_batch)
        norm, relu = self.head
        x = relu(normalised(norm, x, cells_per_batch))
        return self.classifier(x.mean(dim=(2, 3)))

    def _one_cell(self, cell: CellMixture, x: Tensor) -> Tensor:
        assert self._choice is not None
        return cell.nodes(x, [self.space.operations[int(code)] for code in self._choice])[-1]

    def draws(self) -> CellDraws:
        """What draws the cells of a batch in training, uniformly while it warms up."""
        logits: Tensor = self.logits
        if self._warming_up:  # a chain, too, then draws as independent edges do
            logits = logits.new_zeros(len(EDGES), len(self.space.operations))
        return CellDraws(
            logits,
            self.space.operations,
            self.settings.temperature,
            self.settings.masks_per_batch,
            self.for_images,
        )

    def _estimator(self) -> GradientEstimator:
        if self.settings.mode != "learned" or self._warming_up:
            return GradientEstimator()
        return ESTIMATORS[self.settings.estimator]

    def choose(self, choice: Choice | None) -> None:
        if choice is not None:
            stacked = Candidates({name: codes[None] for name, codes in choice.items()})
            stacked.check_cells(len(self.space.operations))
        self._choice = None if choice is None else choice[CELL]

    def posterior(self) -> CellPosterior:
        return CellPosterior(torch.softmax(self.logits.detach().double().cpu(), dim=-1), self.space)

    def _tables(self) -> Tensor:
        """The logits as (6, rows, operations): independent edges have one row."""
        return self.logits.unsqueeze(1) if self.logits.dim() == 2 else self.logits

    def candidate_parameters(self, choice: Choice) -> int:
        every = sum(p.numel() for cell in self._cells() for p in cell.parameters())
        chosen = 0
        for edge, code in enumerate(choice[CELL].tolist()):
            name = self.space.operations[code]
            if name != "none":
                operations = [cell.operation(edge, name) for cell in self._cells()]
                chosen += sum(p.numel() for module in operations for p in module.parameters())
        return self.parameter_count() - every + chosen

    def _cells(self) -> list[CellMixture]:
        return [layer for layer in self.layers if isinstance(layer, CellMixture)]

    def kept(self, choice: Choice) -> tuple[float, float]:
        share = sum(self.space.operations[c] != "none" for c in choice[CELL].tolist()) / len(EDGES)
        return share, share

    def prior_energy(self, *, constant: bool = False) -> Tensor:
        if self._choice is None:
            keep = edge_marginals(torch.softmax(self._tables(), dim=2))
            if constant:
                keep = torch.ones_like(keep)
        else:
            options = len(self.space.operations)
            one_hot = nn.functional.one_hot(self._choice.long(), options)
            keep = one_hot.to(self.logits)
        energy = self.logits.new_zeros(())
        for edge in range(len(EDGES)):
            for code, name in enumerate(self.space.operations):
                squares = [p.square().sum() for p in self._convolutions(edge, name)]
                if squares:
                    energy = energy + keep[edge, code] * torch.stack(squares).sum()
        return energy

    def _convolutions(self, edge: int, name: str) -> list[Tensor]:
        """Kernels of one operation of one edge, over all cells of the network."""
        if name == "none":
            return []
        return [
            module.weight
            for cell in self._cells()
            for module in cell.operation(edge, name).modules()
            if isinstance(module, nn.Conv2d)
        ]

    def entropy(self) -> Tensor:
        if self._choice is not None:
            return self.logits.new_zeros(())
        log_q = torch.log_softmax(self._tables(), dim=2)
        q = log_q.exp()
        return -(row_weights(q)[:, :, None] * (q * log_q)).sum()

    def score_surrogate(self, nll: Tensor) -> Tensor:
        """What the estimator adds to the loss of the last training pass; zero in value.

        Images that share a cell count as one, with their mean NLL.
        """
        surrogate = None
        if self._choice is None and self.logits.requires_grad and self.drawn is not None:
            drawn, cells_per_batch = self.drawn, self.settings.masks_per_batch
            if cells_per_batch is not None:
                nll = nll.view(-1, cells_per_batch).mean(dim=0)
                drawn = drawn[:cells_per_batch]
            surrogate = self._estimator().surrogate(self._tables(), drawn, nll)
        return nll.new_zeros(()) if surrogate is None else surrogate

    def distribution_parameters(self) -> list[nn.Parameter]:
        return [self.logits]

    def gated_weights(self) -> list[Tensor]:
        return [
            weight
            for edge in range(len(EDGES))
            for name in self.space.operations
            for weight in self._convolutions(edge, name)
        ]
