"""Extracted networks against the masked supernets they come from, in float64."""

from __future__ import annotations

import importlib.util
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, fx, nn
from torch.nn import functional as F
from typer.testing import CliRunner, Result

from pdnas.commands.app import app
from pdnas.nn.gates import GatedConv2d, GatedLinear, GateSettings
from pdnas.nn.subnet import Extractor, extract, multiply_adds, parameters, select_channels
from pdnas.nn.supernets import ChannelSupernet, Supernet, build
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.runs.run import Run
from pdnas.space.cells import CELL, CellSpace
from pdnas.spec.names import NetworkFormat
from pdnas.spec.scale import load_scale
from pdnas.spec.spec import Spec
from pdnas.spec.supernets import (
    NAMED,
    DenseNetConfig,
    EnasConfig,
    MultiBranchConfig,
    NasBench201Config,
    NatsBenchSizeConfig,
    ResNetConfig,
)
from pdnas.stages import extract as extract_module
from pdnas.stages.extract import extract_run, write_network
from pdnas.stages.materials import loader_of
from pdnas.stages.rank import rank_run
from pdnas.stages.sample import sample_run
from pdnas.stages.search import search_run
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json
from pdnas.support.timing import Pairs, Work
from pdnas.truth.cost import flops

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_selected_channels_lie_as_they_did(layout: torch.memory_format) -> None:
    x, index = torch.randn(3, 5, 4, 6).to(memory_format=layout), torch.tensor([0, 2, 3])
    for given in (x, x[:, :, ::2, 1:], x[:, :, 0, 0]):
        selected = select_channels(given, index)
        assert torch.equal(selected, given[:, index])
    assert select_channels(x, index).is_contiguous(memory_format=layout)


def test_an_extracted_network_keeps_channels_last() -> None:
    supernet = MultiBranchSupernet(8, 1, 3, 10).eval().to(memory_format=torch.channels_last)
    supernet.configure_gates(GateSettings(initial=0.5))
    choice = supernet.posterior().sample(1, seed=0)[0]
    x = torch.randn(2, 3, 16, 16).to(memory_format=torch.channels_last)
    network = extract(supernet, choice, x[:1]).to(memory_format=torch.channels_last)

    class Layouts(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            out = super().run_node(n)
            if n.target is select_channels:
                found.append(out.stride(1))
            return out

    found: list[int] = []
    Layouts(network).run(x)
    assert len(found) > 5
    assert set(found) == {1}


class MultiKernel(ChannelSupernet):
    """Parallel kernels, concatenated, in a bottleneck; the stem of ResNet-50."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 7, stride=2, padding=3, bias=False)
        self.stem_norm = nn.BatchNorm2d(6)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.reduce = nn.Sequential(GatedConv2d(6, 8, 1), nn.BatchNorm2d(8), nn.ReLU(True))
        self.kernels = nn.ModuleList(
            GatedConv2d(8, 2, size, padding=padding, dilation=dilation)
            for size, padding, dilation in [(1, 0, 1), (3, 1, 1), (3, 2, 2), (5, 4, 2)]
        )
        self.norm = nn.BatchNorm2d(8)
        self.expand = nn.Sequential(GatedConv2d(8, 6, 1), nn.BatchNorm2d(6))
        self.down = nn.Sequential(GatedConv2d(6, 6, 1, stride=2), nn.BatchNorm2d(6))
        self.last = nn.Sequential(GatedConv2d(6, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6))
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = GatedLinear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.stem_norm(self.stem(x)), inplace=True))
        out = self.reduce(x)
        out = torch.cat([kernel(out) for kernel in self.kernels], dim=1)
        out = self.expand(F.relu(self.norm(out)))
        out += x
        x = torch.relu(out)
        x = F.relu(self.last(x) + self.down(x))
        return self.classifier(torch.flatten(self.global_pool(x), 1))


class Dense(ChannelSupernet):
    """Densely connected layers with a gate group for each source, and a transition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.layers = nn.ModuleList()
        for number in range(3):
            width = 4 + 3 * number
            self.layers.append(
                nn.Sequential(
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                    GatedConv2d(width, 6, 1, group_sizes=[4] + [3] * number),
                    nn.BatchNorm2d(6),
                    nn.ReLU(inplace=True),
                    GatedConv2d(6, 3, 3, padding=1),
                )
            )
        self.transition = nn.Sequential(
            nn.BatchNorm2d(13), nn.ReLU(), GatedConv2d(13, 6, 1), nn.AvgPool2d(2, 2)
        )
        self.norm = nn.BatchNorm2d(6)
        self.classifier = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        x = self.norm(self.transition(torch.cat(features, 1)))
        return self.classifier(F.adaptive_avg_pool2d(x.relu(), (1, 1)).flatten(1))


def separable(
    channels: int, kernel: int, stride: int = 1, padding: int | None = None
) -> nn.Sequential:
    """Depthwise and pointwise convolution, both gated."""
    padding = kernel // 2 if padding is None else padding
    return nn.Sequential(
        nn.ReLU(),
        GatedConv2d(channels, channels, kernel, stride=stride, padding=padding, groups=channels),
        GatedConv2d(channels, channels, 1),
        nn.BatchNorm2d(channels),
    )


class Cells(ChannelSupernet):
    """Separable convolutions, poolings, sums and a factorised reduction, as in ENAS cells."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5))
        self.first = nn.Sequential(separable(5, 3), separable(5, 5))
        self.second = separable(5, 3)
        self.average = nn.AvgPool2d(3, stride=1, padding=1)
        self.inside = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.squeeze = nn.Sequential(nn.ReLU(), GatedConv2d(15, 5, 1), nn.BatchNorm2d(5))
        self.here = GatedConv2d(5, 2, 1)
        self.there = GatedConv2d(5, 3, 1)
        self.reduced = nn.BatchNorm2d(5)
        self.valid = separable(5, 3, padding=0)
        self.strided = separable(5, 5, stride=2)
        self.classifier = GatedLinear(10, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        a = self.first(x) + self.average(x)
        b = self.second(a) + x
        c = self.inside(b) + F.max_pool2d(a, 3, stride=1, padding=1)
        x = self.squeeze(torch.cat([a, b, c], dim=1))
        moved = F.pad(x, [0, 1, 0, 1])[:, :, 1:, 1:]
        reduced = self.reduced(
            torch.cat(
                [self.here(F.avg_pool2d(x, 1, 2)), self.there(F.avg_pool2d(moved, 1, 2))], dim=1
            )
        )
        small = self.valid(F.avg_pool2d(reduced, 3, 1, 1)).mean((2, 3), keepdim=True)
        x = torch.cat([small, self.strided(x).mean(dim=(2, 3), keepdim=True)], dim=1)
        return self.classifier(x.view(x.size(0), -1))


class OddsAndEnds(ChannelSupernet):
    """Biases, channel slices, numbers in sums, and features of several pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.biased = GatedConv2d(6, 6, 3, padding=1, bias=True)
        self.unbiased = GatedConv2d(6, 6, 3, padding=1)
        self.depthwise = GatedConv2d(6, 6, 3, padding=1, groups=6, bias=True)
        self.plain = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6, affine=False)
        self.narrow = nn.Sequential(GatedConv2d(3, 4, 1), nn.Dropout(0.5), nn.Identity())
        self.hidden = GatedLinear(4 * 9, 7)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.ReLU(), GatedLinear(7, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = sum([self.unbiased(self.biased(x) + 1), self.depthwise(x)])
        x = torch.add(x, self.norm(self.plain(x))) + x + torch.zeros_like(x)
        x = self.narrow(x[:, 1::2] + x[:, ::2, :, :])
        return self.classifier(self.hidden(self.flatten(F.max_pool2d(x, 4, ceil_mode=True))))


# Every supernet of the registry, small. A new one needs a line here.
SMALL = {
    "multibranch": MultiBranchConfig(name="multibranch", width=6, blocks=2),
    "enas": EnasConfig(name="enas", filters=4, layers=3),
    "resnet": ResNetConfig(name="resnet", width=4, blocks=(2, 1)),
    "densenet": DenseNetConfig(name="densenet", layers=(2, 3), growth=4),
    "nasbench201": NasBench201Config(name="nasbench201", channels=4, cells=1),
    "natsbench-size": NatsBenchSizeConfig(name="natsbench-size", width=4),
}
PATTERNS: dict[str, Callable[[], ChannelSupernet]] = {
    **{kind.__name__: kind for kind in (MultiKernel, Dense, Cells, OddsAndEnds)},
    "shake-shake": lambda: MultiBranchSupernet(6, 2, 3, 5, "shake-shake"),
}
MASKED = [name for name, config in SMALL.items() if not isinstance(config, NasBench201Config)]
# Odd ones, so that the shifted halves of a factorised reduction reach the padded border.
SIZES = {
    "multibranch": 13,
    "shake-shake": 13,
    "Cells": 13,
    "enas": 17,
    "resnet": 21,
    "densenet": 21,
    "MultiKernel": 24,
}


def make(name: str) -> Supernet:
    """A supernet with weights and statistics unlike those of a fresh one, in float64."""
    torch.manual_seed(0)
    net = PATTERNS[name]() if name in PATTERNS else build(SMALL[name], 3, 5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
    if not isinstance(net, ChannelSupernet):
        for kernel in net.gated_weights():  # they start as identities
            nn.init.normal_(kernel, std=0.2)
    return net.double().eval()


def images(name: str, count: int = 3) -> Tensor:
    size = SIZES.get(name, 12)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=generator)


def random_masks(net: ChannelSupernet, keep: float, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(gate.channels, generator=generator) < keep
        for name, gate in net.gates().items()
    }


def many_masks(net: ChannelSupernet) -> dict[str, dict[str, Tensor]]:
    """Random masks at many rates, and every extreme that a gate can take."""
    everything, nothing = random_masks(net, 1, 0), random_masks(net, 0, 0)
    found = {"everything": everything, "nothing": nothing}
    for seed in range(6):
        found[f"random {seed}"] = random_masks(net, (0.9, 0.5, 0.2)[seed % 3], seed)
    half = random_masks(net, 0.5, 99)
    for name, mask in list(everything.items())[:: math.ceil(len(everything) / 6)]:
        one = torch.zeros_like(mask)
        one[len(one) // 2] = True
        found[f"without {name}"] = half | {name: ~mask}
        found[f"one channel of {name}"] = everything | {name: one}
    generator = torch.Generator().manual_seed(5)
    for number in range(4):  # many gates closed at once
        found[f"operations {number}"] = {
            name: mask & (torch.rand((), generator=generator) < 0.6) for name, mask in half.items()
        }
    return found


def difference(net: Supernet, choice: dict[str, Tensor], small: nn.Module, x: Tensor) -> float:
    """Largest difference from the masked supernet, relative to its largest output."""
    with torch.no_grad(), net.candidate(choice):
        expected = net(x)
    with torch.no_grad():
        found = small(x)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = float(expected.abs().max()) or 1.0  # without a bias, nothing kept gives zeros
    return float((found - expected).abs().max()) / scale


def test_the_whole_registry_is_tested() -> None:
    chains = {"nasbench-macro"}  # whose networks are scored, and not extracted
    assert {config.name for config in NAMED.values()} == SMALL.keys() | chains


@pytest.mark.parametrize("name", [*MASKED, *PATTERNS])
def test_outputs_equal_the_masked_supernet_s(name: str) -> None:
    net = make(name)
    assert isinstance(net, ChannelSupernet)
    x = images(name)
    for what, choice in many_masks(net).items():
        small = extract(net, choice, x[:1])
        assert difference(net, choice, small, x) < 1e-9, what
        assert parameters(small) <= net.candidate_parameters(choice), what
        assert not any("gate" in key for key in small.state_dict()), what


@pytest.mark.parametrize("name", [*MASKED, *PATTERNS])
def test_what_candidates_are_judged_with_equals_the_masked_supernet(name: str) -> None:
    net = make(name)
    assert isinstance(net, ChannelSupernet)
    x = images(name)
    extractor = Extractor(net, x[:1], 2)
    for what, choice in many_masks(net).items():
        assert difference(net, choice, extractor(choice), x) < 1e-9, what


def test_a_judged_three_branch_network_has_no_batchnorm_left() -> None:
    net = make("multibranch")
    assert isinstance(net, ChannelSupernet)
    network = Extractor(net, images("multibranch")[:1], 1)(random_masks(net, 0.5, 0))
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


@pytest.mark.parametrize("name", [*MASKED, *PATTERNS])
def test_filled_up_channels_change_no_output(name: str) -> None:
    net = make(name)
    assert isinstance(net, ChannelSupernet)
    x = images(name)
    for what, choice in list(many_masks(net).items())[::4]:
        small = extract(net, choice, x[:1], multiple=3)
        assert difference(net, choice, small, x) < 1e-9, what


def test_filled_up_channels_are_a_multiple_or_all_there_are() -> None:
    net = make("multibranch")
    choice = random_masks(net, 0.7, 0)
    small = extract(net, choice, images("multibranch", 1), 4)
    whole = {name.replace(".", "_"): module for name, module in net.named_modules()}
    convolutions = {n: layer for n, layer in small.named_children() if isinstance(layer, nn.Conv2d)}
    for name, layer in convolutions.items():
        for side in ("in_channels", "out_channels"):
            channels = getattr(layer, side)
            assert channels % 4 == 0 or channels == getattr(whole[name], side)
    filled = [
        name
        for name, mask in choice.items()
        if convolutions[name.replace(".", "_")].in_channels > int(mask.sum())
    ]
    assert filled
    assert len(filled) < len(choice)


@pytest.mark.parametrize("name", [*MASKED, "MultiKernel", "Dense", "Cells"])
def test_a_candidate_with_everything_kept_is_the_plain_network(name: str) -> None:
    net = make(name)
    assert isinstance(net, ChannelSupernet)
    choice = random_masks(net, 1, 0)
    x = images(name, 1)
    small = extract(net, choice, x)
    assert parameters(small) == net.candidate_parameters(choice)
    assert multiply_adds(small, x) == multiply_adds(net, x)
    assert not list(small.buffers(recurse=False))  # nothing selected, no constants


def test_outputs_equal_the_chosen_cell_s() -> None:
    net = make("nasbench201")
    x = images("nasbench201")
    space = CellSpace()
    ids = torch.randint(len(space), (30,), generator=torch.Generator().manual_seed(0)).tolist()
    for number in [0, len(space) - 1, *ids]:
        choice = {CELL: torch.from_numpy(space.cells[number])}
        small = extract(net, choice, x[:1])
        assert difference(net, choice, small, x) < 1e-9
        assert parameters(small) <= net.candidate_parameters(choice)


@pytest.mark.parametrize(
    "codes", [(3, 3, 3, 3, 3, 3), (2, 0, 3, 1, 4, 3), (1, 2, 1, 3, 0, 1), (4, 4, 4, 4, 4, 4)]
)
def test_a_cell_whose_nodes_are_all_used_has_the_benchmark_s_size(codes: tuple[int, ...]) -> None:
    net = make("nasbench201")
    choice = {CELL: torch.tensor(codes)}
    small = extract(net, choice, images("nasbench201", 1))
    assert parameters(small) == net.candidate_parameters(choice)
    bias = 5  # the benchmark counts one for each output
    counted = flops(choice[CELL].numpy(), 4, 1, 5, 12)
    x = images("nasbench201", 1)
    assert multiply_adds(small, x) == counted - bias
    with net.candidate(choice):
        assert multiply_adds(net, x) == counted - bias


def test_parameters_are_those_of_channels_that_somebody_needs() -> None:
    """The 3-branch ResNet's size by hand: each layer's kept inputs times its needed outputs."""
    net = make("multibranch")
    gates = [name for name in random_masks(net, 1, 0) if name.startswith("stages")]
    blocks = sorted({".".join(name.split(".")[:3]) for name in gates}, reverse=True)
    for seed in range(10):
        choice = random_masks(net, 0.5, seed)
        for mask in choice.values():
            mask[0] |= ~mask.any()
        needed = torch.ones(24, dtype=torch.bool)
        total = 24 * 5 + 5
        for block in blocks:
            outputs = int(needed.sum())
            readers = [choice[f"{block}.branch{branch}.1"] for branch in (1, 2)]
            for branch, first in zip((1, 2), readers, strict=True):
                inside = int(choice[f"{block}.branch{branch}.4"].sum())
                total += 9 * int(first.sum()) * inside + 2 * inside
                total += 9 * inside * outputs + 2 * outputs
            if f"{block}.skip.conv" in choice:
                skips = [choice[f"{block}.skip.{conv}"] for conv in ("conv", "conv_shifted")]
                halves = needed.chunk(2)
                total += sum(int(m.sum() * h.sum()) for m, h in zip(skips, halves, strict=True))
                total += 2 * outputs
                readers += skips
            else:
                readers.append(needed)
            needed = torch.stack(readers).any(dim=0)
        stem = int(needed.sum())
        total += 27 * stem + 2 * stem
        assert parameters(extract(net, choice, images("multibranch", 1))) == total


def test_a_path_with_a_dead_end_is_gone() -> None:
    net = make("multibranch")
    for dead in (1, 4):  # nothing enters the path's first or its second convolution
        choice = random_masks(net, 0.7, 0)
        choice[f"stages.0.1.branch1.{dead}"][:] = False
        if dead == 1:
            choice["stages.0.1.branch1.4"][:] = False
        small = extract(net, choice, images("multibranch", 1))
        assert not any(key.startswith("stages_0_1_branch1") for key in small.state_dict())
        assert any(key.startswith("stages_0_1_branch2") for key in small.state_dict())


def test_a_separable_convolution_computes_what_both_halves_keep() -> None:
    net = make("Cells")
    choice = random_masks(net, 1, 0)
    choice["first.1.1"] = torch.tensor([True, True, False, True, False])
    choice["first.1.2"] = torch.tensor([True, False, False, True, True])
    small = extract(net, choice, images("Cells", 1))
    shapes = {name: tuple(layer.weight.shape) for name, layer in small.named_children()}
    assert shapes["first_0_2"] == (2, 5, 1, 1)
    assert shapes["first_0_3"] == (2,)
    assert shapes["first_1_1"] == (2, 1, 5, 5)
    assert shapes["first_1_2"] == (5, 2, 1, 1)


def test_a_channel_none_of_whose_pixels_is_kept_is_not_computed() -> None:
    net = make("OddsAndEnds")
    choice = random_masks(net, 1, 0)
    choice["hidden"][9:18] = False  # nine pixels of channel 1
    choice["hidden"][0] = False
    small = extract(net, choice, images("OddsAndEnds", 1))
    assert small.get_submodule("narrow_0").weight.shape == (3, 3, 1, 1)
    assert small.get_submodule("hidden").weight.shape == (7, 26)


def test_constants_at_a_padded_border_take_one_slice() -> None:
    """Offsets of a path whose first convolution is empty reach the second as one channel."""
    net = make("multibranch")
    choice = random_masks(net, 1, 0)
    choice["stages.0.1.branch1.1"][:] = False
    small = extract(net, choice, images("multibranch", 1))
    assert small.get_submodule("stages_0_1_branch1_4").weight.shape == (6, 1, 3, 3)


def test_the_supernet_is_left_as_it_was() -> None:
    net = make("multibranch").train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.get_rng_state()
    small = extract(net, random_masks(net, 0.5, 0), images("multibranch", 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert not small.training
    assert all(layer.gate.keep_mask is None for layer in net.gated_layers().values())
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("wrong", ["missing", "unknown", "kind", "length"])
def test_bad_masks_name_the_gate(wrong: str) -> None:
    net = make("Dense")
    choice = random_masks(net, 0.5, 0)
    name = "layers.1.2"
    if wrong == "missing":
        del choice[name]
    elif wrong == "unknown":
        name = "layers.7.2"
        choice[name] = torch.ones(3).bool()
    elif wrong == "kind":
        choice[name] = choice[name].float()
    else:
        choice[name] = choice[name][1:]
    with pytest.raises(PdnasError, match=name):
        extract(net, choice, images("Dense", 1))


class Odd(Dense):
    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.operation(x))


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (torch.sigmoid, "sigmoid"),
        (nn.Sequential(nn.Conv2d(3, 6, 1, groups=3), nn.Conv2d(6, 3, 1)).double(), "operation.0"),
        (lambda x: x + x.mean(dim=(2, 3), keepdim=True), "add"),
        (lambda x: x.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1), "expand"),
        (lambda x: torch.cat([x, x], dim=2), "cat"),
        (lambda x: x[0:2, [0, 1, 2]], "getitem"),
    ],
)
def test_operations_without_a_rule_are_named(
    operation: Callable[[Tensor], Tensor], named: str
) -> None:
    net = Odd(operation).double().eval()
    choice = random_masks(net, 1, 0)
    with pytest.raises(PdnasError, match=f"no rule for .*{named}") as raised:
        extract(net, choice, images("Dense", 1))
    assert "\n" not in str(raised.value)


def test_a_layer_used_twice_is_named() -> None:
    net = MultiKernel().double().eval()
    net.kernels[1] = net.kernels[2]
    choice = random_masks(net, 1, 0)
    with pytest.raises(PdnasError, match=r"kernels.* used twice"):
        extract(net, choice, images("MultiKernel", 1))


def written_source(folder: Path) -> Callable[[Tensor], Tensor]:
    namespace: dict[str, Any] = {}
    exec((folder / "network.py").read_text(), namespace)
    network = namespace["Subnet"]()
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    return network.eval()


def written_program(folder: Path) -> Callable[[Tensor], Tensor]:
    return torch.export.load(folder / "network.pt2").module()


def written_onnx(folder: Path) -> Callable[[Tensor], Tensor]:
    onnx.checker.check_model(folder / "network.onnx", full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", options, providers=["CPUExecutionProvider"]
    )
    return lambda x: torch.from_numpy(session.run(["logits"], {"images": x.numpy()})[0])


READERS = {"torch": written_source, "export": written_program, "onnx": written_onnx}


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize("masks", ["half", "a constant into a padded convolution", "nothing"])
def test_written_networks_equal_the_extracted_one(
    tmp_path: Path, format: NetworkFormat, masks: str
) -> None:
    net = make("Dense").float()
    choice = random_masks(net, 0 if masks == "nothing" else 0.5, 0)
    if masks.startswith("a constant"):
        choice["layers.1.2"][:] = False
        choice["layers.1.5"][:2] = True
    x = images("Dense", 7).float()
    small = extract(net, choice, x[:1])
    record = write_network(small, x[:3], tmp_path, format, {})
    assert record["files_difference"] <= 1e-5
    assert sorted(record["files"]) == sorted(path.name for path in tmp_path.iterdir())
    with torch.no_grad():
        found = READERS[format](tmp_path)(x)
        torch.testing.assert_close(found, small(x), rtol=1e-5, atol=1e-5)


class Pooled(ChannelSupernet):
    """A network with an average pool, whose exporter to ONNX drops ``divisor_override``."""

    def __init__(self, pool: nn.AvgPool2d) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = pool
        self.gated = GatedConv2d(4, 6, 1)
        self.classifier = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gated(self.pool(self.stem(x)))
        return self.classifier(x.relu().mean(dim=(2, 3)))


def pooled(pool: nn.AvgPool2d) -> tuple[fx.GraphModule, Tensor]:
    """The extracted network, and images."""
    torch.manual_seed(0)
    net = Pooled(pool).eval()
    x = images("Cells", 5).float()
    choice = {"gated": torch.tensor([True, False, True, True])}
    small = extract(net, choice, x[:1])
    assert difference(net, choice, small, x) < 1e-6
    return small, x


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(3, 2, 1, divisor_override=2),
        nn.AvgPool2d((3, 2), 2, 1, count_include_pad=False, divisor_override=7),
    ],
)
def test_a_pool_with_a_divisor_of_its_own_is_written_as_it_computes(
    tmp_path: Path, format: NetworkFormat, pool: nn.AvgPool2d
) -> None:
    """ONNX has none: the network without the divisor would differ by more than half."""
    small, x = pooled(pool)
    write_network(small, x, tmp_path, format, {})
    with torch.no_grad():
        torch.testing.assert_close(READERS[format](tmp_path)(x), small(x), rtol=1e-4, atol=1e-5)


def test_a_file_that_computes_another_network_is_refused(tmp_path: Path) -> None:
    """Windows that are cut off at the end: no factor takes the place of their divisor."""
    small, x = pooled(nn.AvgPool2d(3, 2, 1, ceil_mode=True, divisor_override=4))
    small_too, _ = pooled(nn.AvgPool2d(3, 2, 1))
    write_network(small_too, x, tmp_path, "onnx", {})
    before = (tmp_path / "network.onnx").read_bytes()
    x = torch.cat([x, x], dim=3)[:, :, :12, :14]  # sides that leave half a window
    with pytest.raises(PdnasError, match=r"network.onnx computes another network in onnxruntime"):
        write_network(small, x, tmp_path, "onnx", {})
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    assert (tmp_path / "network.onnx").read_bytes() == before
    write_network(small, x, tmp_path, "export", {})


def test_any_file_that_computes_another_network_or_cannot_be_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, x = pooled(nn.AvgPool2d(3, 2, 1))
    whole = extract_module.source_code
    for wrong, words in [
        ("return classifier * 1.01", "computes another network in torch"),
        ("return classifier[:1]", "differ by up to inf"),
        ("return nowhere", "cannot be run: name 'nowhere'"),
        ("return classifier / 0 * 0", "differ by up to nan"),
    ]:
        monkeypatch.setattr(
            extract_module,
            "source_code",
            lambda network, wrong=wrong: whole(network).replace("return classifier", wrong),
        )
        with pytest.raises(PdnasError, match=words):
            write_network(small, x, tmp_path / "new", "torch", {})
        assert not list((tmp_path / "new").iterdir())


def test_a_file_that_cannot_be_run_for_want_of_a_package_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    small, x = pooled(nn.AvgPool2d(3, 2, 1))
    record = write_network(small, x, tmp_path, "onnx", {})
    assert record == {"files": ["network.onnx"], "files_run_with": None, "files_difference": None}
    assert (tmp_path / "network.onnx").is_file()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_computes_the_same() -> None:
    net = make("Cells")
    x = images("Cells")
    small = extract(net, random_masks(net, 0.5, 3), x[:1])
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(small), buffer)
    buffer.seek(0)
    torch.testing.assert_close(torch.jit.load(buffer)(x), small(x))


RUNS = {
    "channels": ("multibranch", {}),
    "recalibrated": ("multibranch", {"batchnorm": "recalibrated"}),
    "cells": ("nasbench201", {}),
}


@pytest.fixture(scope="module", params=list(RUNS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short search with ranked candidates, whose gates drop a quarter of all channels."""
    study, candidates = RUNS[request.param]
    spec = load_scale("smoke").spec(study, "guided").model_dump()
    spec["data"] |= {"train": 200, "validation": 100}
    spec["training"]["epochs"] = 1
    spec["gates"] |= {"initial": 0.25, "warmup_epochs": 0}
    spec["candidates"] |= {"count": 3, **candidates}
    folder = tmp_path_factory.mktemp("run")
    search_run(
        Spec.model_validate(spec),
        scale="smoke",
        study=study,
        variant="guided",
        seed=0,
        out=folder,
        device=torch.device("cpu"),
    )
    found = Run.load(folder)
    sample_run(found, "posterior", 3, 0)
    rank_run(found, "posterior", torch.device("cpu"))
    return folder


def pdnas_extract(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["extract", *map(str, arguments)])


def test_the_command_extracts_the_best_candidate(run: Path, tmp_path: Path) -> None:
    result = pdnas_extract(run, "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record == read_json(tmp_path / "subnet.json")
    ranking = json.loads((run / "ranking-posterior.json").read_text())
    table = pd.read_parquet(run / "ranking-posterior.parquet").set_index("candidate")
    best = table.loc[record["candidate"]]
    assert record["candidate"] == ranking["best"]
    assert record["masked"]["parameters"] == best["parameters"]
    assert record["extracted"]["parameters"] <= best["parameters"]
    assert record["extracted"]["multiply_adds"] <= record["masked"]["multiply_adds"]
    if record["cell"] is None:
        assert record["extracted"]["multiply_adds"] < record["masked"]["multiply_adds"]
    assert record["masked"]["parameters"] < record["supernet_parameters"]
    times = record["speedup"]
    assert 0 < times["quartile_25"] <= times["quartile_75"]
    assert times["images"] == 64
    assert record["files_run_with"] == f"torch {torch.__version__}"
    assert record["files_difference"] < 1e-5 * record["largest_logit"]
    assert record["largest_difference"] < 1e-5 * record["largest_logit"]
    assert record["validation_images"] == ranking["images"]
    assert record["provenance"]["seed"] == 0

    network = written_source(tmp_path)
    batches = list(loader_of(Run.load(run), "validation", torch.device("cpu")).epoch(0))
    right = sum(int((network(x).argmax(1) == labels).sum()) for x, labels in batches)
    assert right / ranking["images"] == pytest.approx(best["validation_accuracy"])


def test_speed_is_that_of_the_masked_network_against_the_extracted_one(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times(masked: Work, extracted: Work, pairs: int, **_: object) -> Pairs:
        """Both compute the same: the masks are in place."""
        torch.testing.assert_close(masked(), extracted(), rtol=1e-4, atol=1e-4)
        return [(3.0, 1.0), (8.0, 2.0), (10.0, 4.0)]

    monkeypatch.setattr(extract_module, "paired_times", times)
    found = Run.load(run)
    record = extract_run(found, found.architecture("posterior"), tmp_path, "torch")
    assert record["speedup"]["median"] == 8 / 2
    assert (record["speedup"]["quartile_25"], record["speedup"]["quartile_75"]) == (2.75, 3.5)


def test_the_command_refuses_what_is_not_there(run: Path, tmp_path: Path) -> None:
    for arguments, words in [
        (["--candidate", 3], "no candidate 3"),
        (["--source", "uniform"], "candidates-uniform"),
    ]:
        result = pdnas_extract(run, "--out", tmp_path, *arguments)
        assert isinstance(result.exception, PdnasError)
        assert words in str(result.exception)
    assert not list(tmp_path.iterdir())
