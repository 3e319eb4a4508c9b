"""A step of the NAS-Bench-201 supernet against that of an older commit, and of a plain network.

The plain network is a single-path supernet as one writes it: ReLU, convolution, BatchNorm (in cells
without scale and offset), torch's own average pool, a product with zero for no operation, one cell
a batch, channels last. Where ``PDNAS_AUTODL`` names a folder with AutoDL-Projects, its own one is
timed too.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.measure import Aim, Effort, Measure, ratio
from benchmarks.training import random_batch, training_step
from pdnas.nn.gates import GateSettings
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.space.cells import EDGES, NODES, OPERATIONS, CellSpace, entering
from pdnas.spec.names import GateMode
from pdnas.support.timing import Work, paired_times

OLDER = "85cf4ab"
SIZES = ((8, 1, 32), (8, 1, 128), (16, 5, 32), (16, 5, 128))
"""Channels, cells a stage, images."""
RELEASED = "AutoDL-Projects, single path, channels last"
OBSTACLE = (
    "credit needs every operation for every image, which makes 1.9 to 2.4 times the multiply-adds "
    "of a step without it (docs/speed.md)"
)
WORKER = """
import sys
import torch
from benchmarks.training import random_batch, training_step
from pdnas.cells import CellSpace
from pdnas.gates import GateSettings
from pdnas.supernets.nasbench201 import NasBench201Supernet

torch.set_num_threads(1)
channels, cells, images, masks = map(int, sys.argv[1:])
supernet = NasBench201Supernet(channels, cells, CellSpace(), 3, 10)
supernet.configure_gates(GateSettings(temperature=1, masks=masks or None))
step = training_step(supernet, *random_batch(images, 32, torch.device("cpu")))
print("ready", flush=True)
for number, _ in enumerate(sys.stdin):
    torch.manual_seed(number)
    step()
    print("done", flush=True)
"""


def _block(inputs: int, outputs: int, kernel: int, stride: int, affine: bool) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(outputs, affine=affine))


class _Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0


class _Edge(nn.ModuleList):
    """All operations, in the benchmark's order."""

    def __init__(self, channels: int) -> None:
        kernels = [_block(channels, channels, kernel, 1, affine=False) for kernel in (1, 3)]
        pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        super().__init__([_Zero(), nn.Identity(), *kernels, pool])


class _Cell(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(_Edge(channels) for _ in EDGES)

    def forward(self, x: Tensor, codes: list[int]) -> Tensor:
        chosen = [edge[code] for edge, code in zip(self.edges, codes, strict=True)]  # type: ignore[index]
        nodes = [x]
        for node in range(1, NODES):
            first, *others = (chosen[edge](nodes[EDGES[edge][0]]) for edge in entering(node))
            nodes.append(sum(others, first))
        return nodes[-1]


class _Reduction(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        first = _block(channels, 2 * channels, 3, 2, affine=True)
        self.body = nn.Sequential(first, _block(2 * channels, 2 * channels, 3, 1, affine=True))
        convolution = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), convolution)

    def forward(self, x: Tensor, _: list[int]) -> Tensor:
        return self.shortcut(x) + self.body(x)


def uniform_cell() -> list[int]:
    """Codes of a cell, as ours are drawn."""
    uniform = torch.full((len(EDGES), len(OPERATIONS)), 1 / len(OPERATIONS))
    return torch.multinomial(uniform, 1, replacement=True)[:, 0].tolist()


class SinglePath(nn.Module):
    """Every batch takes one cell, drawn uniformly as ours are."""

    def __init__(self, channels: int, cells: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.stem = nn.Sequential(convolution, nn.BatchNorm2d(channels))
        self.layers = nn.ModuleList()
        for stage in range(3):
            if stage:
                self.layers.append(_Reduction(channels))
                channels *= 2
            self.layers.extend(_Cell(channels) for _ in range(cells))
        self.head = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        codes = uniform_cell()
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x, codes)
        return self.classifier(self.head(x).mean(dim=(2, 3)))


class Peer(nn.Module):
    """AutoDL-Projects' supernet of random search, as released.

    Args:
        folder: that holds its package ``xautodl``.
    """

    def __init__(self, folder: str, channels: int, cells: int) -> None:
        super().__init__()
        sys.path.insert(0, folder)
        released = importlib.import_module("xautodl.models.cell_searchs")
        sys.path.remove(folder)
        self.network = released.TinyNetworkRANDOM(
            channels, cells, NODES, 10, list(OPERATIONS), affine=False, track_running_stats=True
        )
        self.structure = released.CellStructure.str2structure
        self.space = CellSpace()

    def forward(self, x: Tensor) -> Tensor:
        self.network.arch_cache = self.structure(self.space.to_string(uniform_cell()))
        return self.network(x)[1]


def seeded(step: Work) -> Work:
    """The step whose cells are those of any other's that is as far."""
    numbers = count()

    def run() -> None:
        torch.manual_seed(next(numbers))
        step()

    return run


def own_step(size: tuple[int, int, int], mode: GateMode, shared: int | None, side: int) -> Work:
    """A step of today's supernet."""
    channels, cells, images = size
    supernet = NasBench201Supernet(channels, cells, CellSpace(), 3, 10)
    supernet.configure_gates(GateSettings(mode=mode, temperature=1, masks_per_batch=shared))
    return seeded(training_step(supernet, *random_batch(images, side, torch.device("cpu"))))


@contextmanager
def older_step(size: tuple[int, int, int], shared: int | None) -> Iterator[Work]:
    """A step that learns, of the older commit, in a process of its own."""
    here = Path(__file__).parents[1]
    archive = ["git", "-C", str(here), "archive", OLDER, "pdnas", "benchmarks"]
    with tempfile.TemporaryDirectory() as folder:
        code = subprocess.run(archive, stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=code, check=True)
        with subprocess.Popen(
            [sys.executable, "-c", WORKER, *(str(number) for number in (*size, shared or 0))],
            cwd=folder,
            env={"PYTHONPATH": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            asked, answers = process.stdin, process.stdout
            assert asked is not None
            assert answers is not None

            def step() -> None:
                print(file=asked, flush=True)
                answers.readline()

            answers.readline()
            yield step
            asked.close()


def cells(effort: Effort) -> list[Measure]:
    """One cell a batch against plain networks; learning against the older commit."""
    measures, peer = [], os.environ.get("PDNAS_AUTODL")
    for size in ((4, 1, 4),) if effort.tiny else SIZES:
        channels, number, images = size
        of = f"C {channels}, N {number}, batch {images}"
        side = effort.choose(32, 8)
        batch = random_batch(images, side, torch.device("cpu"))
        part = f"NAS-Bench-201 step, one cell a batch, {of}"
        networks: dict[str, nn.Module] = {"plain single path": SinglePath(channels, number)}
        if peer:
            networks[RELEASED] = Peer(peer, channels, number)
        for against, network in networks.items():
            plain = seeded(training_step(network, *batch, plain=True))
            times = paired_times(own_step(size, "fixed", 1, side), plain, effort.share(1))
            aim = Aim(1, least=False) if against == RELEASED else None
            measures.append(ratio(part, against, times, aim=aim))
        if effort.tiny:  # a test starts no Python anew
            continue
        for shared, least, what in ((None, 1.6, "a cell an image"), (16, 2.5, "16 cells")):
            with older_step(size, shared) as older:
                learning = own_step(size, "learned", shared, side)
                times = paired_times(older, learning, effort.share(0.5))
            part = f"NAS-Bench-201 step that learns, {what}, {of}"
            aim = Aim(least, least=True)
            measures.append(ratio(part, f"commit {OLDER}", times, aim=aim, obstacle=OBSTACLE))
    return measures
