"""How much faster is an extracted network than its masked supernet, and than its arithmetic?

Candidates of the 3-branch ResNet (32 channels, two blocks a stage, CIFAR's image size) that keep
each input channel with probability 1/2, so about half of the parameters: as small as they can be,
and with channels filled up to multiples of eight, as a vector unit takes them.
"""

from __future__ import annotations

import statistics

import torch

from benchmarks.measure import Aim, Effort, Measure, ratio
from pdnas.nn.gates import GateSettings
from pdnas.nn.subnet import extract, multiply_adds, parameters
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.support.timing import Pairs, paired_times

KEEP = 0.5
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def extraction(effort: Effort) -> list[Measure]:
    """Inference of extracted candidates against the masked supernet, and against multiply-adds."""
    rows = [
        (batch, layout, multiple)
        for batch in ((2,) if effort.tiny else (1, 16, 64))
        for layout in (("channels last",) if effort.tiny else LAYOUTS)
        for multiple in ((2,) if effort.tiny else (1, 8))
    ]
    return [measure for row in rows for measure in _compare(effort, *row)]


@torch.no_grad()
def _compare(effort: Effort, images: int, layout: str, multiple: int) -> list[Measure]:
    torch.manual_seed(0)
    supernet = MultiBranchSupernet(effort.choose(32, 4), effort.choose(2, 1), 3, 10).eval()
    supernet.configure_gates(GateSettings(initial=1 - KEEP))
    drawn = supernet.posterior().sample(effort.choose(3, 1), seed=0)
    supernet.to(effort.device, memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
    side = effort.choose(32, 8)
    x = torch.randn(images, 3, side, side, device=effort.device)
    x = x.to(memory_format=LAYOUTS[layout])
    whole = supernet.parameter_count(), multiply_adds(supernet, x[:1])
    times: Pairs = []
    left, arithmetic = [], []
    for number in range(len(drawn)):
        choice = drawn[number]
        small = extract(supernet, choice, x[:1], multiple)
        small.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
        with supernet.candidate(choice):
            torch.testing.assert_close(small(x[:2]), supernet(x[:2]))
            times += _pairs(supernet, small, x, effort.share(0.5))
        left.append(parameters(small) / whole[0])
        arithmetic.append(multiply_adds(small, x[:1]) / whole[1])
    share = statistics.mean(arithmetic)
    filled = f", multiples of {multiple}" if multiple > 1 else ""
    part = f"extracted candidate, {images} images, {layout}{filled}"
    note = f"{statistics.mean(left):.0%} of the parameters, {share:.0%} of the multiply-adds"
    beyond = [(extracted / masked, share) for masked, extracted in times]
    return [
        ratio(f"masked / {part}", "masked supernet", times, note=note),
        ratio(
            f"time share / {part}",
            "its share of multiply-adds",
            beyond,
            aim=Aim(1.5, False),
            obstacle="odd numbers of channels fill vector registers badly (multiples of eight do "
            "better), and the cost of calls does not shrink with the arithmetic",
        ),
    ]


def _pairs(masked: torch.nn.Module, small: torch.nn.Module, x: torch.Tensor, pairs: int) -> Pairs:
    return paired_times(lambda: masked(x), lambda: small(x), pairs)
