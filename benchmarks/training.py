"""Training steps: with gates and without, one operation an image and all of them, on a GPU."""

from __future__ import annotations

import statistics
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Aim, Effort, Measure, no_gpu, peak_bytes, quantity, ratio
from pdnas.nn.gates import GateMode, GateSettings
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import Supernet
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.densenet import DenseNetSupernet
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.space.cells import CellSpace
from pdnas.support.timing import Work, paired_times

EXAMPLES, LENGTH_SCALE2, WEIGHT_DECAY = 20_000, 50.0, 5e-4


def random_batch(images: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Noise in place of images, and labels."""
    x = torch.randn(images, 3, size, size, device=device)
    y = torch.randint(10, (images,), device=device)
    return x.to(memory_format=torch.channels_last), y


def training_step(
    supernet: nn.Module, x: Tensor, y: Tensor, *, plain: bool = False, compiled: bool = False
) -> Work:
    """One step as :func:`pdnas.train.fit.fit` takes it.

    A plain network has no objective but cross-entropy, and weight decay on all its weights. It may
    be none of ours.
    """
    supernet.train().to(x.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = Objective(LENGTH_SCALE2, EXAMPLES)
    parameters = [p for p in supernet.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        parameters, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY * plain
    )

    network = torch.compile(supernet) if compiled else supernet

    def step() -> None:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
            output = network(x)
        nll = cross_entropy(output.float(), y, reduction="none")
        loss = nll.mean() if plain else objective(nll, cast(Supernet, supernet)).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _gates_against_none(
    part: str, gated: Supernet, plain: Supernet, batch: tuple[Tensor, Tensor], pairs: int
) -> list[Measure]:
    gated.configure_gates(GateSettings())
    plain.configure_gates(GateSettings(mode="none"))
    steps = training_step(gated, *batch), training_step(plain, *batch, plain=True)
    times = paired_times(*steps, pairs)
    peaks = [float(peak_bytes(step, batch[0].device)) for step in steps]
    memory = [(peaks[0], peaks[1])]
    aim = Aim(1.1, least=False)
    obstacle = STARTING_KERNELS if batch[0].is_cuda else TIME_OF_GATES
    return [
        ratio(f"{part}: time", "without gates", times, aim=aim, obstacle=obstacle),
        ratio(f"{part}: peak memory", "without gates", memory, aim=aim, obstacle=MEMORY_OF_GATES),
    ]


TIME_OF_GATES = (
    "a gate is one more pass over its convolution's input forwards, and three backwards: the "
    "product with the gradient, its sum over the pixels, the product with the switches; narrow "
    "convolutions do not outweigh them. In small layers calls cost more than arithmetic, and a "
    "gate adds some 24 to a step; at the paper's own width and image size the aim is reached "
    "(docs/speed.md has what was tried)"
)
STARTING_KERNELS = (
    "the step waits for the processor that starts its kernels, of which gates need about as many "
    "again as the network (docs/speed.md)"
)
PASSES_OVER_MEMORY = (
    "by count, BatchNorm, gates and sums move some 70 GB a step of 512 images, 23 ms at 3 TB/s, "
    "beside 18 ms of arithmetic at the matrices' rate; no profile was taken (docs/speed.md)"
)
MEMORY_OF_GATES = (
    "the switches themselves, and for a moment of the backward pass one product the size of a "
    "convolution's input"
)


def gated_3branch(effort: Effort) -> list[Measure]:
    """Gated step of the 3-branch ResNet; on a CPU narrow, and one block a stage of full width."""
    gpu = effort.device.type == "cuda"
    sizes = [(96, 4, 128)] if gpu else [(8, 2, 128), (96, 1, 64)]
    measures = []
    for width, blocks, images in [(2, 1, 4)] if effort.tiny else sizes:
        gated, plain = (MultiBranchSupernet(width, blocks, 3, 10) for _ in range(2))
        batch = random_batch(images, effort.choose(32, 8), effort.device)
        part = f"gated step, 3-branch, width {width}"
        measures += _gates_against_none(part, gated, plain, batch, effort.share(0.5))
    return measures


def gated_d121(effort: Effort) -> list[Measure]:
    """Gated step of DenseNet-121; on a CPU of small images with a quarter of the growth as well."""
    gpu = effort.device.type == "cuda"
    layers = (1, 1) if effort.tiny else (6, 12, 24, 16)
    sizes = [(32, 224, 64)] if gpu else [(8, 64, 16), (32, 224, 4)]
    measures = []
    for growth, side, images in [(2, 16, 2)] if effort.tiny else sizes:
        gated, plain = (DenseNetSupernet(layers, growth, 3, 10) for _ in range(2))
        batch = random_batch(images, side, effort.device)
        part = f"gated step, D-121, growth {growth}"
        measures += _gates_against_none(part, gated, plain, batch, effort.share(0.4))
    return measures


def one_hot(effort: Effort) -> list[Measure]:
    """NAS-Bench-201: one operation an image and edge against all five, weighted."""
    channels = effort.choose(16 if effort.device.type == "cuda" else 8, 2)
    batch = random_batch(effort.choose(128, 4), effort.choose(32, 8), effort.device)
    aim = Aim(2 if effort.device.type == "cuda" else 3, least=True)
    measures = []
    modes: dict[str, GateMode] = {"warm-up": "fixed", "afterwards": "learned"}
    for phase, mode in modes.items():
        everything = NasBench201Supernet(channels, 1, CellSpace(), 3, 10)
        everything.configure_gates(GateSettings(temperature=1, estimator="relaxed"))
        everything.logits.requires_grad_(mode == "learned")  # nor does it move in the warm-up
        slow = training_step(everything, *batch)
        one = NasBench201Supernet(channels, 1, CellSpace(), 3, 10)
        one.configure_gates(GateSettings(mode=mode, temperature=1))
        quick = training_step(one, *batch)
        if batch[0].is_cuda:  # cuDNN prepares for each new number of images, as in a first epoch
            for _ in range(effort.choose(100, 1)):
                quick()
        times = paired_times(slow, quick, effort.share(0.5))
        obstacle = (
            "the straight-through credit needs every operation's output for every image, though "
            "without gradients, and one product of it with the slope: memory traffic that the "
            "forward pass of all five has too"
            if mode == "learned"
            else "gathering and adding rows costs what the narrow operations save"
        )
        part = f"NAS-Bench-201 one-hot step, {phase}"
        measures.append(
            ratio(part, "all operations for every image", times, aim=aim, obstacle=obstacle)
        )
    return measures


def supernet_m(effort: Effort) -> list[Measure]:
    """SupNet-M in bfloat16 against the card's own rate of multiplying matrices."""
    part, against = "SupNet-M (width 96) training", "measured bf16 matrix rate"
    aim = Aim(35, least=True)
    if effort.device.type != "cuda" and not effort.tiny:
        return [no_gpu(part, against, aim)]
    side = effort.choose(8192, 64)
    a, b = (torch.randn(side, side, device=effort.device, dtype=torch.bfloat16) for _ in range(2))
    supernet = MultiBranchSupernet(effort.choose(96, 2), effort.choose(4, 1), 3, 10)
    supernet.configure_gates(GateSettings())
    measures = []
    for images, compiled in ((128, False), (512, False), (512, True)):
        batch = random_batch(effort.choose(images, 4), effort.choose(32, 8), effort.device)
        step = training_step(supernet, *batch)
        with FlopCounterMode(display=False) as counter:
            step()
        if compiled and not effort.tiny:
            step = training_step(supernet, *batch, compiled=True)
        times = paired_times(step, lambda: a @ b, effort.pairs)
        flops = counter.get_total_flops()
        percent = [100 * (flops / one) / (2 * side**3 / other) for one, other in times]
        rate = images / statistics.median(one for one, _ in times)
        card = 2 * side**3 / statistics.median(other for _, other in times) / 1e12
        hours = 1800 * 45_000 / rate / 3600
        note = (
            f"{rate:.0f} images/s, {hours:.1f} h for 1800 epochs of 45 000 images; "
            f"{flops / images / 1e9:.1f} GFLOP an image, the matrices at {card:.0f} TFLOP/s"
        )
        which = f"{part}, batch {images}{', compiled' if compiled else ''}"
        obstacle = PASSES_OVER_MEMORY if compiled else STARTING_KERNELS
        measures.append(
            quantity(which, against, percent, "%", aim=aim, note=note, obstacle=obstacle)
        )
    return measures
