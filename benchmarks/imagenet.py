"""What the paper's ImageNet searches would take on 8 and on 64 GPUs, from recorded rates.

``python -m benchmarks.imagenet`` measures how fast one core here decodes photographs, counts what a
step calls and computes, takes a GPU's rates from the record of SupNet-M on an H100, and simulates
the pipeline of a search: processes that decode, a step, the exchange of gradients. It writes
``results/bench/imagenet.json``. Only the rates of links are a data sheet's.
"""

from __future__ import annotations

import math
import re
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.__main__ import RESULTS
from benchmarks.training import random_batch, training_step
from pdnas.data.dataset import ImageFiles
from pdnas.data.decode import Pictures
from pdnas.data.folders import transform
from pdnas.nn.gates import GateSettings
from pdnas.nn.supernets import build
from pdnas.spec.scale import load_scale
from pdnas.stages.judge import GPU_PAIRS
from pdnas.stages.materials import EVALUATION_BATCH
from pdnas.support.files import read_json, write_json
from pdnas.support.provenance import Stopwatch, provenance
from pdnas.support.timing import seconds

H100 = RESULTS / "16-cores-intel-r-xeon-r-processor-nvidia-h100-80gb-hbm3.json"
SIDE, TRAIN, VALIDATION = 224, 1_231_167, 50_000
NODE = 8
"""GPUs of one machine."""
LINKS = {8: 450e9, 64: 50e9}
"""Bytes a second that a GPU sends within one machine (NVLink) and between machines (400 Gb/s)."""
BACKWARD = 2 / 3
"""Of a step's time, during which gradients that are ready can be exchanged already."""
BUCKET = 25 * 2**20
"""Bytes of gradients that DistributedDataParallel sends at once; the last bucket hides nothing."""
PREFETCHED = 2
"""Batches that a decoding process is ahead."""
WAITED = 0.01
"""Share of a step that a GPU may wait for images."""


@dataclass(frozen=True)
class Rates:
    """What was recorded.

    Attributes:
        decode: seconds in which a core decodes, crops and resizes a photograph.
        call: seconds that a GPU's step needs for each operator, where calls are the limit.
        flops: operations a second at which a GPU multiplies matrices.
        traffic: bytes of operators a second, in what is left of a compiled step beside arithmetic.
        jitter: standard deviation of the logarithm of a step's time.
    """

    decode: float
    call: float
    flops: float
    traffic: float
    jitter: float


@dataclass(frozen=True)
class Network:
    """What one of the paper's searches asks for.

    Attributes:
        calls: operators of a training step.
        flops: operations of an image, forwards and backwards.
        traffic: bytes that operators read and write for an image, at two a number.
        gradients: bytes.
    """

    name: str
    epochs: int
    batch: int
    candidates: int
    calls: int
    flops: float
    traffic: float
    gradients: int

    def image(self, rates: Rates) -> float:
        """Seconds that an image takes a GPU which waits for nothing."""
        return self.flops / rates.flops + self.traffic / rates.traffic

    def step(self, images: int, rates: Rates, compiled: bool = False) -> float:
        """Seconds of a GPU's step of so many images; compiled, calls cost nothing."""
        return max(0 if compiled else self.calls * rates.call, images * self.image(rates))


class _Calls(TorchDispatchMode):
    """Counts operators, and the numbers that they read and write."""

    count = 0
    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += 1
        if not func.is_view:
            touched = [each for each in tree_leaves((args, result)) if isinstance(each, Tensor)]
            self.numbers += sum(each.numel() for each in touched)
        return result


def network(study: str, side: int = SIDE) -> Network:
    """The guided search of a study of scale ``paper``, its step counted on images of ``side``."""
    spec = load_scale("paper").spec(study, "guided")
    supernet = build(spec.supernet, 3, 1000)
    supernet.configure_gates(GateSettings())
    counted = []
    for images in (2, 3):  # their difference is what an image costs, without the weights' share
        step = training_step(supernet, *random_batch(images, side, torch.device("cpu")))
        with FlopCounterMode(display=False) as flops, _Calls() as calls:
            step()
        counted.append((calls, flops.get_total_flops()))
    (two, flops_two), (three, flops_three) = counted
    return Network(
        study,
        spec.training.epochs,
        spec.training.batch,
        spec.candidates.count,
        three.count,
        flops_three - flops_two,
        2 * (three.numbers - two.numbers),
        sum(4 * p.numel() for p in supernet.parameters()),
    )


def decoding_seconds(photographs: int = 48, runs: int = 5) -> float:
    """Seconds in which one core makes a training image of a photograph of ImageNet's usual size.

    The photographs are scikit-learn's two, scaled to 500 x 375 pixels.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    sources = [Image.fromarray(each).resize((500, 375)) for each in load_sample_images().images]
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, f"{number}.jpg")) for number in range(photographs)]
        for number, path in enumerate(paths):
            sources[number % 2].save(path, quality=90)
        files = ImageFiles(paths, torch.zeros(photographs, dtype=torch.int64))
        pictures = Pictures(files, transform(SIDE, train=True), seed=0)
        times = [seconds(lambda: [pictures[i] for i in range(photographs)]) for _ in range(runs)]
    return statistics.median(times) / photographs


def recorded(decode: float) -> Rates:
    """Rates of SupNet-M's steps on an H100, from the record of ``make bench``."""
    small, _, large = read_json(H100)["rows"]["supernet-m"]["measures"]
    supernet_m = network("m", 32)
    images, matrices = _recorded(large["note"])
    flops = matrices * 1e12
    low, high = large["quartiles"]
    return Rates(
        decode,
        call=128 / _recorded(small["note"])[0] / supernet_m.calls,
        flops=flops,
        traffic=supernet_m.traffic / (1 / images - supernet_m.flops / flops),
        jitter=math.log(high / low) / 1.349,  # quartiles of a normal distribution
    )


def _recorded(note: str) -> tuple[float, float]:
    """Images a second, and the TFLOP/s of matrices."""
    found = re.search(r"(\d+) images/s.*?the matrices at (\d+) TFLOP/s", note)
    assert found is not None
    return float(found[1]), float(found[2])


def exchange(gradients: int, gpus: int, step: float) -> float:
    """Seconds that a ring's exchange of gradients adds to a step."""
    sent = 2 * (gpus - 1) / gpus / LINKS[gpus]
    last = min(gradients, BUCKET) * sent
    return last + max(0.0, gradients * sent - last - BACKWARD * step)


def simulate(
    step: float, exchanged: float, decoded: float, gpus: int, cores: int, jitter: float, seed: int
) -> tuple[float, float]:
    """Seconds of a step in the long run, and the share of it that the slowest GPU waits for images.

    Each GPU has ``cores`` processes, which decode its batches in turn, and :data:`PREFETCHED`
    batches ahead. All GPUs exchange gradients after each step, so the slowest decides.

    Args:
        decoded: seconds in which a process makes a batch.
    """
    random = np.random.default_rng(seed)
    steps = 20 * cores * PREFETCHED
    ready = np.zeros((steps, gpus))
    taken = np.zeros((steps, gpus))  # when a GPU takes a batch, and its process may go on
    together, waited, begun = 0.0, 0.0, 0.0
    for number in range(steps):
        before = ready[number - cores] if number >= cores else np.zeros(gpus)
        ahead = number - cores * PREFETCHED
        free = taken[ahead] if ahead >= 0 else np.zeros(gpus)
        ready[number] = np.maximum(before, free) + decoded * random.lognormal(0, 0.05, gpus)
        taken[number] = np.maximum(ready[number], together)
        if number == steps // 2:  # the first half is a start with empty queues
            begun, waited = together, 0.0
        waited += float((taken[number] - together).max())
        work = step * random.lognormal(0, jitter, gpus)
        together = float((taken[number] + work).max()) + exchanged
    last = steps - steps // 2
    return (together - begun) / last, waited / (together - begun)


def plan(
    found: Network, rates: Rates, gpus: int, batch: int, *, compiled: bool
) -> dict[str, float | str]:
    """How long a search and the ranking of its candidates take, with as few cores as do not delay.

    Args:
        batch: images, of all GPUs together.
    """
    images = batch // gpus
    step = found.step(images, rates, compiled)
    added = exchange(found.gradients, gpus, step)
    for cores in range(1, 33):
        decoded = images * rates.decode
        runs = [simulate(step, added, decoded, gpus, cores, rates.jitter, s) for s in range(3)]
        each, waited = (statistics.mean(values) for values in zip(*runs, strict=True))
        if waited < WAITED:
            break
    judged = found.candidates * VALIDATION / gpus
    decoded_anew = rates.decode / cores / (GPU_PAIRS // EVALUATION_BATCH)
    return {
        "network": found.name,
        "gpus": gpus,
        "batch": batch,
        "step": "compiled" if compiled else "as it is",
        "cores": cores,
        "images_per_second": batch / each,
        "search_hours": found.epochs * TRAIN / batch * each / 3600,
        "waits_for_images": waited,
        "exchange": added / each,
        "ranking_hours": judged * max(found.image(rates) / 3, decoded_anew) / 3600,
    }


def plans(networks: Sequence[Network], rates: Rates) -> list[dict[str, float | str]]:
    """The paper's batches on one machine, and eight times as large ones on eight machines."""
    return [
        plan(each, rates, gpus, -(-each.batch // NODE) * gpus, compiled=compiled)
        for each in networks
        for gpus in LINKS
        for compiled in (False, True)
    ]


def main(out: Annotated[Path, typer.Option(help="Folder of the result.")] = RESULTS) -> None:
    """Measure, count, simulate and write."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stopwatch = Stopwatch()
    rates = recorded(decoding_seconds())
    networks = [network("r50"), network("d121")]
    found = plans(networks, rates)
    record = {
        "rates": asdict(rates),
        "networks": [asdict(each) for each in networks],
        "links": {str(gpus): rate for gpus, rate in LINKS.items()},
        "plans": found,
        "provenance": provenance({"side": SIDE, "prefetched": PREFETCHED}, 0, stopwatch),
    }
    write_json(out / "imagenet.json", record)
    for each in found:
        typer.echo(each)


if __name__ == "__main__":
    typer.run(main)
