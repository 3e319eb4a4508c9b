"""NAS-Bench-201's network as a supernet whose images each take a cell of their own.

Skeleton (Dong and Yang, ICLR 2020, section 2): a 3x3 stem, three stages of cells separated by
residual blocks that halve the resolution, BN-ReLU, average pool, classifier; all cells of the
network are alike. The distribution over cells is the posterior of method.md section 8: independent
Bernoulli switches on the operations of an edge, conditioned on exactly one being on. That is a
categorical distribution, and here its logits are the parameters. As an option
(``gates.dependence: chain``), an edge's logits depend on the operation of the edge before it in
:data:`pdnas.space.cells.CHAIN`.

While the supernet trains, every image draws its own cell, and only the images that chose an
operation pass through it with gradients: about a fifth of the arithmetic of computing all five, and
BatchNorm then sees the statistics of exactly those images. A deep network cannot learn like that.
There a few cells share the batch (``gates.noise``), and BatchNorm normalises the images of each by
themselves, so that every cell works as it would alone. The logits learn by one of three estimators:

* straight-through Gumbel: an operation's credit is the product of its output, computed without
  gradients for all images, and the loss's gradient at its node (:class:`_Credit`);
* the score function with a leave-one-out baseline (:meth:`NasBench201Supernet.score_surrogate`);
* relaxed: every operation for every image, weighted by a Gumbel softmax, or (softmax, as in DARTS)
  by the probabilities themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GateSettings
from pdnas.nn.noise import for_images, shared
from pdnas.nn.supernets.base import Supernet
from pdnas.space.candidates import CELL, Choice
from pdnas.space.cells import CHAIN, EDGES, CellSpace
from pdnas.space.chain import edge_marginals, row_weights, rows_used
from pdnas.space.posterior import CellPosterior
from pdnas.support.errors import PdnasError

NODES = 4


def conv_op(channels: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """The benchmark's nor_conv: ReLU, convolution without bias, BatchNorm."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class AveragePool(nn.Module):
    """``AvgPool2d(3, 1, 1, count_include_pad=False)`` as a depthwise convolution.

    On a CPU, for few channels, that takes a third of the time (benchmarks/).
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            return nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        channels, height, width = x.shape[1:]
        kernel = x.new_ones(channels, 1, 3, 3)
        total = nn.functional.conv2d(x, kernel, padding=1, groups=channels)
        inside = nn.functional.conv2d(x.new_ones(1, 1, height, width), kernel[:1], padding=1)
        return total / inside


def make_operation(name: str, channels: int) -> nn.Module:
    """One operation of an edge; ``none`` has no module, since it adds nothing to its node."""
    match name:
        case "skip_connect":
            return nn.Identity()
        case "nor_conv_1x1":
            return conv_op(channels, channels, 1)
        case "nor_conv_3x3":
            return conv_op(channels, channels, 3)
        case "avg_pool_3x3":
            return AveragePool()
    raise PdnasError(f"no operation {name!r} in NAS-Bench-201's cell space")


def evaluated(operation: nn.Sequential, rectified: Tensor) -> Tensor:
    """What a :func:`conv_op` gives for its input after the ReLU, with running statistics.

    BatchNorm is then a scale and an offset of each channel, which the convolution takes over.
    """
    _, convolution, norm = operation
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    kernel = convolution.weight * scale[:, None, None, None]
    offset = norm.bias - norm.running_mean * scale
    return nn.functional.conv2d(rectified, kernel, offset, padding=convolution.padding)


def normalised(norm: nn.Module, x: Tensor, cells: int | None) -> Tensor:
    """BatchNorm, with the statistics of the images of each cell if they share any.

    Args:
        x: (images, channels, height, width); image i belongs to cell i modulo ``cells``.
        cells: None: BatchNorm as usual. A number: running statistics stay as they are.
    """
    if cells is None:
        return norm(x)
    assert isinstance(norm, nn.BatchNorm2d)
    # In this order, the images of all cells look like the channels of a smaller batch.
    as_channels = x.reshape(len(x) // cells, -1, *x.shape[2:])
    weight, bias = norm.weight.repeat(cells), norm.bias.repeat(cells)
    out = nn.functional.batch_norm(
        as_channels, None, None, weight, bias, training=True, eps=norm.eps
    )
    return out.view_as(x)


def convolved(operation: nn.Module, rectified: Tensor, cells: int | None) -> Tensor:
    """What a :func:`conv_op` gives for its input after the ReLU; see :func:`normalised`."""
    assert isinstance(operation, nn.Sequential)
    _, convolution, norm = operation
    return normalised(norm, convolution(rectified), cells)


class CellMixture(nn.Module):
    """A cell that holds every operation on every edge; each image passes through those it chose."""

    def __init__(self, channels: int, operations: tuple[str, ...]) -> None:
        super().__init__()
        self.operations = operations
        self.edges = nn.ModuleList(
            nn.ModuleDict(
                {name: make_operation(name, channels) for name in operations if name != "none"}
            )
            for _ in EDGES
        )

    def forward(
        self, x: Tensor, routes: Routes, soft: Tensor | None = None, cells: int | None = None
    ) -> Tensor:
        """Send every image through the operations that it chose.

        Args:
            x: (images, channels, height, width).
            routes: which images take what, by edge.
            soft: (images, edges, operations); relaxed choices that are to get the straight-through
                gradient. They change no output.
            cells: that the images share, if each has not its own; image i has number i modulo
                ``cells``, and BatchNorm takes the images of each cell by themselves.
        """
        # An image is one contiguous row, since gathering and adding images copies rows. Channels
        # last is what convolutions like best; channels first, what BatchNorm by cell needs.
        to_rows, to_images = (CHANNELS_LAST, CHANNELS_FIRST) if cells is None else (_AS_IS, _AS_IS)
        considers = evaluated if cells is None else partial(convolved, cells=cells)
        first = x.permute(to_rows).contiguous()
        nodes = [first] + [torch.zeros_like(first) for _ in range(NODES - 1)]
        considered: Outputs = {}
        for source in range(NODES - 1):
            node = nodes[source] = _credited(nodes[source], source, soft, considered, to_rows)
            # One gather for all that leaves a node: many small ones would each cost a full-size
            # gradient buffer in the backward pass.
            leaving = [
                (target, self.operation(edge, name), images)
                for edge, (start, target) in enumerate(EDGES)
                if start == source
                for name, images in routes[edge].items()
            ]
            if leaving:
                rows = torch.cat([images for _, _, images in leaving])
                pieces = node.index_select(0, rows).split([len(images) for _, _, images in leaving])
                for (target, operation, images), piece in zip(leaving, pieces, strict=True):
                    taking = piece.permute(to_images)
                    if cells is not None and isinstance(operation, nn.Sequential):
                        sharing = len(images) * cells // len(x)
                        out = convolved(operation, nn.functional.relu(taking), sharing)
                    else:
                        out = operation(taking)
                    nodes[target].index_add_(0, images, out.permute(to_rows))
            if soft is not None:
                with torch.no_grad():
                    considered |= self.outputs(node.permute(to_images), source, considers)
        return _credited(nodes[-1], NODES - 1, soft, considered, to_rows).permute(to_images)

    def forward_weighted(self, x: Tensor, weights: Tensor, cells: int | None = None) -> Tensor:
        """Every operation on every image, weighted; ``weights``: (images, edges, operations)."""
        soft = (
            weights if weights.requires_grad else None
        )  # nobody needs credit in a step of the weights alone
        # Channels last is how convolutions of few channels are fast on a CPU, and then an image is
        # one contiguous row.
        x = x.contiguous(memory_format=torch.channels_last)
        nodes = [x] + [torch.zeros_like(x) for _ in range(NODES - 1)]
        considered: Outputs = {}

        def finished(number: int) -> Tensor:
            """A node; autograd would fill two more full-size tensors for each weight's gradient."""
            rows = nodes[number].permute(CHANNELS_LAST)
            node = _credited(rows, number, soft, considered, CHANNELS_LAST)
            return node.permute(CHANNELS_FIRST)

        for source in range(NODES - 1):
            outputs = self.outputs(finished(source), source, partial(convolved, cells=cells))
            for edge, added in outputs.items():
                target = EDGES[edge][1]
                for weight, out in zip(weights.detach()[:, edge].unbind(1), added, strict=True):
                    if out is not None:
                        share = weight.to(x.dtype)[:, None, None, None]
                        nodes[target].addcmul_(share, out)
            considered |= outputs
        return finished(NODES - 1)

    def outputs(
        self, x: Tensor, source: int, through: Callable[[nn.Sequential, Tensor], Tensor]
    ) -> Outputs:
        """What each operation that leaves a node gives for all images.

        Args:
            x: the node, (images, channels, height, width).
            through: of a :func:`conv_op` and its input after the ReLU.
        """
        rectified = nn.functional.relu(x)
        unweighted: dict[str, Tensor] = {}  # operations without weights, the same on every edge
        outputs: Outputs = {}
        for edge in (edge for edge, (start, _) in enumerate(EDGES) if start == source):
            outputs[edge] = []
            for name in self.operations:
                operation = None if name == "none" else self.operation(edge, name)
                if operation is None:
                    out = None
                elif isinstance(operation, nn.Sequential):
                    out = through(operation, rectified)
                else:
                    if name not in unweighted:
                        unweighted[name] = operation(x)
                    out = unweighted[name]
                outputs[edge].append(out)
        return outputs

    def forward_one(self, x: Tensor, names: list[str]) -> Tensor:
        """The cell with operation ``names[e]`` on edge e, for all images alike.

        A node that nothing reaches is zero, and what leaves it still adds BatchNorm's offset: so it
        is in training, and in the benchmark's own network.
        """
        nodes = [x] + [torch.zeros_like(x) for _ in range(NODES - 1)]
        for edge, ((source, target), name) in enumerate(zip(EDGES, names, strict=True)):
            if name != "none":
                nodes[target] = nodes[target] + self.operation(edge, name)(nodes[source])
        return nodes[-1]

    def operation(self, edge: int, name: str) -> nn.Module:
        """The module of one operation; ``none`` has none."""
        operations = self.edges[edge]
        assert isinstance(operations, nn.ModuleDict)
        return operations[name]


_AS_IS, CHANNELS_LAST, CHANNELS_FIRST = (0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2)


def _credited(
    node: Tensor,
    target: int,
    soft: Tensor | None,
    considered: Outputs,
    to_rows: tuple[int, ...],
) -> Tensor:
    """A finished node; its slope gives the operations that lead to it their credit.

    They are judged by what they would have added for every image. Where each image has its own
    cell, BatchNorm uses its running statistics for that: images that did not choose an operation
    have no part in its batch.
    """
    if soft is not None:
        for edge, (_, end) in enumerate(EDGES):
            if end == target:
                outputs = (
                    None if out is None else out.permute(to_rows) for out in considered[edge]
                )
                node = _Credit.apply(node, soft[:, edge], *outputs)
    return node


CACHED_NUMBERS = 2**17
"""What a product of rows on a CPU takes at once: its intermediate, 512 kB of float32, then stays in
the cache. That halves the time for large rows; so would not `bmm`, which takes three times as long.
"""


def products(rows: Tensor, others: Tensor) -> Tensor:
    """Each row's dot product with that of the same number; both (rows, numbers)."""
    if rows.is_cuda:
        return torch.linalg.vecdot(rows, others)
    some = max(1, CACHED_NUMBERS // rows.shape[1])
    pairs = zip(rows.split(some), others.split(some), strict=True)
    return torch.cat([torch.linalg.vecdot(*pair) for pair in pairs])


class _Credit(torch.autograd.Function):
    """Identity on a node; hands each relaxed weight the slope ⟨∂loss/∂node, operation's output⟩.

    It is what autograd finds for ``node + Σ_o (soft_o - stop_gradient(soft_o)) output_o``, without
    computing sums of zeros.
    """

    @staticmethod
    def forward(ctx: Any, node: Tensor, soft: Tensor, *outputs: Tensor | None) -> Tensor:
        """``node``, ``outputs``: (images, …), None for zeros; ``soft``: (images, outputs)."""
        ctx.save_for_backward(*outputs)
        return node.view_as(node)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        outputs = ctx.saved_tensors
        row = slope.flatten(1)
        credit = [
            row.new_zeros(len(row)) if output is None else products(row, output.flatten(1))
            for output in outputs
        ]
        return slope, torch.stack(credit, dim=1), *(None for _ in outputs)


Routes = list[dict[str, Tensor]]
"""For each edge: operation name -> indices of the images that take it."""

Outputs = dict[int, list[Tensor | None]]
"""By edge: each operation's output for all images; None for zeros."""


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

    def forward(self, x: Tensor, cells: int | None = None) -> Tensor:
        """``cells`` as in :class:`CellMixture`."""
        body = x
        for operation in self.body:
            body = convolved(operation, nn.functional.relu(body), cells)
        return self.shortcut(x) + body


class NasBench201Supernet(Supernet):
    """NAS-Bench-201's skeleton over all cells of a space.

    Args:
        channels: C, channels of the first stage (16 in the benchmark).
        cells: N, cells in each stage (5 in the benchmark).
        space: the operations to choose from.
        in_channels: channels of an image.
        classes: number of classes.
        stages: stages of cells; each but the first halves the resolution (3 in the benchmark).
    """

    def __init__(
        self,
        channels: int,
        cells: int,
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
            layers += [CellMixture(channels, space.operations) for _ in range(cells)]
        self.layers = nn.ModuleList(layers)
        self.head = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, classes)
        self.logits = nn.Parameter(torch.zeros(len(EDGES), len(space.operations)))
        self._settings = GateSettings()
        self._warming_up = False
        self._choice: Tensor | None = None
        self._drawn: Tensor | None = None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        # Begun as skip connections, all operations speak of the same features and a cell fits what
        # follows it from the first step on; from random kernels no ranking emerges for ten epochs
        # (docs/nasbench201.md).
        for kernel in self.gated_weights():
            nn.init.dirac_(kernel)

    def begin_alone(self) -> None:
        for kernel in self.gated_weights():
            nn.init.kaiming_normal_(kernel, mode="fan_out")

    def configure_gates(self, settings: GateSettings) -> None:
        # The switches of an edge start alike, so any initial drop probability means uniform.
        self._settings = settings
        options = len(self.space.operations)
        rows = (options,) if settings.dependence == "chain" else ()
        logits = self.logits.new_zeros(len(EDGES), *rows, options)
        self.logits = nn.Parameter(logits, requires_grad=settings.mode == "learned")

    def set_warm_up(self, on: bool) -> None:
        """Let every image take one uniformly drawn cell, whatever the estimator and dependence."""
        self._warming_up = on

    def set_temperature(self, temperature: float) -> None:
        self._settings = replace(self._settings, temperature=temperature)

    def forward(self, x: Tensor) -> Tensor:
        cells = None
        if self._choice is None:
            if not self.training:
                raise PdnasError("a NAS-Bench-201 supernet is evaluated as one cell; choose one")
            run_cell, cells = self._random_cells(len(x))
        else:
            names = [self.space.operations[int(code)] for code in self._choice]
            run_cell = partial(CellMixture.forward_one, names=names)
        return self._through(self.stem(x), run_cell, cells)

    def forward_cells(self, x: Tensor, cells: Tensor) -> Tensor:
        """Logits of several cells for the same images, with the batch statistics of each.

        Args:
            x: (images, channels, height, width).
            cells: operation codes, shape (cells, 6).

        Returns:
            shape (cells, images, classes).
        """
        routes = self.routes(cells.repeat(len(x), 1))
        run_cell = partial(CellMixture.forward, routes=routes, cells=len(cells))
        convolution, norm = self.stem
        features = normalised(norm, convolution(x), 1).repeat_interleave(len(cells), dim=0)
        logits = self._through(features, run_cell, len(cells))
        return logits.unflatten(0, (len(x), len(cells))).transpose(0, 1)

    def _through(
        self, x: Tensor, run_cell: Callable[[CellMixture, Tensor], Tensor], cells: int | None = None
    ) -> Tensor:
        """The logits of images after the stem; ``cells`` as in :class:`CellMixture`."""
        for layer in self.layers:
            x = run_cell(layer, x) if isinstance(layer, CellMixture) else layer(x, cells)
        norm, relu = self.head
        x = relu(normalised(norm, x, cells))
        return self.classifier(x.mean(dim=(2, 3)))

    def _random_cells(
        self, images: int
    ) -> tuple[Callable[[CellMixture, Tensor], Tensor], int | None]:
        """Draw a cell for every image, or as many as the images are to share.

        Returns what takes a layer and its input to its output, and how many cells they share.
        """
        self._drawn = None
        settings, learns = self._settings, self.logits.requires_grad
        cells = settings.masks
        weighs = settings.mode == "learned" and not self._warming_up
        if weighs and settings.estimator == "softmax":
            logits = self.logits.expand(images, -1, -1)
            weights = torch.softmax(logits / settings.temperature, dim=2)
            return partial(CellMixture.forward_weighted, weights=weights), None
        if weighs and settings.estimator == "relaxed":
            weights = self._for_all(images, self._relaxed_draw)
            return partial(CellMixture.forward_weighted, weights=weights, cells=cells), cells
        if learns and settings.estimator == "straight-through":
            soft = self._for_all(images, self._relaxed_draw)
            routes = self.routes(soft.argmax(dim=2))
            return partial(CellMixture.forward, routes=routes, soft=soft, cells=cells), cells
        self._drawn = self._for_all(images, self._draw)
        return partial(CellMixture.forward, routes=self.routes(self._drawn), cells=cells), cells

    def _for_all(self, images: int, draw: Callable[[int], Tensor]) -> Tensor:
        """What ``draw`` gives for each of the images, or for those that share a cell once."""
        masks = self._settings.masks
        return for_images(images, draw) if masks is None else shared(draw(masks), images)

    def _relaxed_draw(self, images: int) -> Tensor:
        """A Gumbel softmax for every image and edge, shape (images, 6, operations).

        In a chain, edge by edge: an image's choice on one edge (its largest entry) says which row
        of the next edge's logits counts. Only that row gets a gradient; the choice that led to it
        gets its own, straight through, since another choice would have brought another row.
        """
        temperature = self._settings.temperature
        if self.logits.dim() == 2:
            return nn.functional.gumbel_softmax(self.logits.expand(images, -1, -1), tau=temperature)
        soft = [self.logits.new_empty(())] * len(EDGES)
        logits = self.logits[CHAIN[0], 0].expand(images, -1)
        for before, edge in pairwise(CHAIN):
            soft[before] = nn.functional.gumbel_softmax(logits, tau=temperature)
            table, chosen = self.logits[edge], soft[before]
            change = chosen - chosen.detach()  # zero, with the gradient of the relaxed choice
            logits = table[chosen.argmax(dim=1)] + change @ table.detach()
        soft[CHAIN[-1]] = nn.functional.gumbel_softmax(logits, tau=temperature)
        return torch.stack(soft, dim=1)

    def _draw(self, images: int) -> Tensor:
        """A cell for every image, shape (images, 6)."""
        logits = self.logits.detach().float()
        if self._warming_up:  # a chain, too, then draws as independent edges do
            logits = logits.new_zeros(len(EDGES), len(self.space.operations))
        if logits.dim() == 3:
            with torch.no_grad():
                return self._relaxed_draw(images).argmax(dim=2)  # an exact draw: the Gumbel maximum
        probabilities = torch.softmax(logits, dim=1)
        return torch.multinomial(probabilities, images, replacement=True).T

    def routes(self, cells: Tensor) -> Routes:
        """Which images take which operation, if image i has the cell ``cells[i]``; (images, 6)."""
        names = self.space.operations
        # Edge by edge, the images of one operation after those of another.
        images = cells.argsort(dim=0, stable=True).T.contiguous()
        taken = nn.functional.one_hot(cells.long(), len(names)).sum(dim=0)
        routes: Routes = []
        for edge, sizes in enumerate(taken.tolist()):  # the one time that a GPU is waited for
            parts = zip(names, images[edge].split(sizes), strict=True)
            routes.append({name: part for name, part in parts if name != "none" and len(part)})
        return routes

    def choose(self, choice: Choice | None) -> None:
        if choice is None:
            self._choice = None
            return
        if set(choice) != {CELL} or choice[CELL].shape != (len(EDGES),):
            raise PdnasError(
                f"switch {CELL!r} needs six operation codes; use this supernet's cells"
            )
        if choice[CELL].is_floating_point() or choice[CELL].dtype == torch.bool:
            raise PdnasError(f"switch {CELL!r}: operation codes must be integers")
        if not 0 <= int(choice[CELL].min()) <= int(choice[CELL].max()) < len(self.space.operations):
            raise PdnasError(
                f"switch {CELL!r}: operation codes must be below {len(self.space.operations)}"
            )
        self._choice = choice[CELL]

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
        """Zero in value; its gradient estimates ∇ E_q[NLL] where the score function is to do so.

        With the NLLs v_i of n images and their cells a_i, the estimate is the mean of
        (v_i - mean of the other v_j) ∇ log q(a_i), the score function with a leave-one-out
        baseline: blind to what all images have in common, and unbiased if an image's NLL depends
        on its own cell alone. (Where images of several cells share BatchNorm statistics, what a
        cell does to the NLL of the others is left out.) Images that share a cell count as one,
        with their mean NLL.
        """
        if self._choice is not None or not self.logits.requires_grad or self._drawn is None:
            return nll.new_zeros(())
        drawn, masks = self._drawn, self._settings.masks
        if masks is not None:
            nll, drawn = nll.view(-1, masks).mean(dim=0), drawn[:masks]
        n = len(nll)
        advantage = (nll - nll.mean()) * (n / max(n - 1, 1))  # of one image: nothing to learn
        log_q = torch.log_softmax(self._tables(), dim=2)
        edges = torch.arange(len(EDGES), device=nll.device)
        rows = rows_used(drawn, log_q.shape[1])
        log_cells = log_q[edges, rows, drawn].sum(dim=1)
        surrogate = (advantage * log_cells).mean()
        return surrogate - surrogate.detach()

    def distribution_parameters(self) -> list[nn.Parameter]:
        return [self.logits]

    def gated_weights(self) -> list[Tensor]:
        return [
            weight
            for edge in range(len(EDGES))
            for name in self.space.operations
            for weight in self._convolutions(edge, name)
        ]
