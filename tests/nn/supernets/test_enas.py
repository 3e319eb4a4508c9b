"""ENAS's network against formulas written from its cells' number lists, and its published size."""

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from pdnas.nn.describe import describe
from pdnas.nn.gates import ChannelGate, GateSettings
from pdnas.nn.objective import Objective
from pdnas.nn.subnet import extract, parameters
from pdnas.nn.supernets import build
from pdnas.nn.supernets.enas import Cell, EnasSupernet, SeparableConv2d, make_operation
from pdnas.nn.supernets.layers import StochasticDepth
from pdnas.space.posterior import ChannelPosterior
from pdnas.spec.supernets import NAMED, EnasConfig, MultiBranchConfig
from pdnas.support.errors import PdnasError

from .conftest import randomised

# The published cells, independent of the module's own constants.
NORMAL = [0, 2, 0, 0, 0, 4, 0, 1, 0, 4, 1, 1, 1, 0, 0, 1, 0, 2, 1, 1]
REDUCTION = [1, 0, 1, 0, 0, 3, 0, 2, 1, 1, 3, 1, 1, 0, 0, 4, 0, 3, 1, 1]


def small(layers: int = 3, filters: int = 4, classes: int = 7) -> EnasSupernet:
    torch.manual_seed(0)
    net = EnasSupernet(layers, filters, in_channels=3, classes=classes)
    net.configure_gates(GateSettings())
    return randomised(net)


def random_choice(net: EnasSupernet, seed: int = 0) -> dict[str, Tensor]:
    return net.posterior().sample(1, seed=seed)[0]


class Reference:
    """The network from its tensors and masks, by formulas."""

    def __init__(self, net: nn.Module, masks: dict[str, Tensor]) -> None:
        self.state = {name: value.double() for name, value in net.state_dict().items()}
        self.masks = masks

    def kernel(self, name: str) -> Tensor:
        weight = self.state[f"{name}.weight"]
        keep = self.masks.get(name, torch.ones(weight.shape[1]))
        return weight * keep.double().reshape(1, -1, *(1,) * (weight.dim() - 2))

    def norm(self, name: str, x: Tensor) -> Tensor:
        mean, variance, scale, offset = (
            self.state[f"{name}.{key}"][:, None, None]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * scale + offset

    def conv_norm(self, name: str, x: Tensor) -> Tensor:
        return self.norm(f"{name}.norm", F.conv2d(x, self.kernel(f"{name}.conv")))

    def reduction(self, name: str, x: Tensor) -> Tensor:
        # As ENAS writes it: average pools of size 1.
        shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        halves = [
            F.conv2d(F.avg_pool2d(view, 1, stride=2), self.kernel(f"{name}.{key}"))
            for key, view in (("conv", x), ("conv_shifted", shifted))
        ]
        return self.norm(f"{name}.norm", torch.cat(halves, dim=1))

    def separable(self, name: str, x: Tensor, stride: int) -> Tensor:
        # One full convolution whose slices are products of the two halves.
        depth = self.state[f"{name}.depthwise.weight"].transpose(0, 1)
        kernel = self.kernel(f"{name}.pointwise") * depth
        x = F.conv2d(F.relu(x), kernel, stride=stride, padding=kernel.shape[-1] // 2)
        return self.norm(f"{name}.norm", x)

    def operation(self, name: str, code: int, x: Tensor, stride: int) -> Tensor:
        if code in (0, 1):
            size = (3, 5)[code]
            x = self.separable(f"{name}.sep{size}x{size}_1", x, stride)
            return self.separable(f"{name}.sep{size}x{size}_2", x, 1)
        if code == 2:
            channels = x.shape[1]
            ones = x.new_ones(channels, 1, 3, 3)
            total = F.conv2d(x, ones, stride=stride, padding=1, groups=channels)
            inside = torch.ones_like(x)
            return total / F.conv2d(inside, ones, stride=stride, padding=1, groups=channels)
        if code == 3:
            return F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, stride=stride)
        return x if stride == 1 else self.reduction(name, x)

    def cell(
        self, prefix: str, numbers: list[int], older: Tensor, newer: Tensor, stride: int
    ) -> Tensor:
        halve = older.shape[-1] > newer.shape[-1]
        older = (self.reduction if halve else self.conv_norm)(f"{prefix}older", F.relu(older))
        newer = self.conv_norm(f"{prefix}newer", F.relu(newer))
        newer = self.conv_norm(f"{prefix}base", F.relu(newer))
        values, read = [older, newer], set()
        for node in range(5):
            terms = []
            for side, (source, code) in enumerate(
                (numbers[4 * node + i], numbers[4 * node + i + 1]) for i in (0, 2)
            ):
                name = f"{prefix}nodes.{node + 2}.{'xy'[side]}"
                terms.append(
                    self.operation(name, code, values[source], stride if source < 2 else 1)
                )
                read.add(source)
            values.append(terms[0] + terms[1])
        return torch.cat([value for i, value in enumerate(values) if i not in read], dim=1)

    def auxiliary(self, x: Tensor) -> Tensor:
        x = F.conv2d(F.avg_pool2d(F.relu(x), 5, stride=3), self.kernel("auxiliary.2"))
        x = F.relu(self.norm("auxiliary.3", x))
        x = F.conv2d(x, self.kernel("auxiliary.6"), padding="same")  # for size 2: right and below
        x = F.relu(self.norm("auxiliary.7", x))
        return x.mean(dim=(2, 3)) @ self.kernel("auxiliary.11").T


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("masked", [False, True])
def test_the_network_by_formulas(masked: bool) -> None:
    """Three layers: normal, reduction, normal, reduction, normal, by ENAS's placing."""
    net = small().eval()
    masks = random_choice(net) if masked else {}
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    reference = Reference(net, masks)
    newer = reference.norm("stem_norm", F.conv2d(x, reference.kernel("stem"), padding=1))
    older = newer
    for index, numbers in enumerate([NORMAL, REDUCTION, NORMAL, REDUCTION, NORMAL]):
        stride = 2 if numbers is REDUCTION else 1
        older, newer = newer, reference.cell(f"cells.{index}.", numbers, older, newer, stride)
    assert newer.shape == (2, 5 * 16, 8, 8)
    expected = F.relu(newer).mean(dim=(2, 3)) @ reference.kernel("classifier").T
    if masked:
        net.choose(masks)
    torch.testing.assert_close(net(x), expected, rtol=1e-9, atol=1e-9)
    logits, auxiliary = net.forward_training(x)
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(auxiliary, reference.auxiliary(newer), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("numbers", "stride", "halve", "loose"),
    [
        (NORMAL, 1, False, [2, 3, 4, 5, 6]),
        (NORMAL, 1, True, [2, 3, 4, 5, 6]),
        (REDUCTION, 2, False, [2, 4, 5, 6]),
    ],
)
@pytest.mark.parametrize("size", [8, 7])
def test_a_cell_by_formulas(
    numbers: list[int], stride: int, halve: bool, loose: list[int], size: int
) -> None:
    torch.manual_seed(0)
    cell = randomised(Cell(numbers, 6, 9, 4, stride=stride, halve_older=halve)).eval()
    assert cell.loose_ends == loose
    older = torch.randn(3, 6, *((2 * size,) * 2 if halve else (size,) * 2), dtype=torch.float64)
    newer = torch.randn(3, 9, size, size, dtype=torch.float64)
    out = cell(older, newer)
    assert out.shape == (3, cell.out_channels, *(-(-size // stride),) * 2)
    torch.testing.assert_close(
        out, Reference(cell, {}).cell("", numbers, older, newer, stride), rtol=1e-9, atol=1e-9
    )


def published(filters: int) -> dict[str, Any]:
    """(kernel weights, BatchNorm weights, multiply-adds) of each part of the 15-layer network.

    Cells 5 and 11 of 17 reduce. A cell with f filters has 1x1 convolutions from the channels of
    each input to f, one from f to f, and two k x k separable ones for every operation 0 or 1, of
    f (k² + f) weights; the reduction cell's strided identity is a factorised reduction of f · f
    weights. Outputs have 5 f channels (normal) and 4 f (reduction). Every convolution of a cell has
    a BatchNorm of 2 f. With 36 filters:

        stem               2 916      separable, pointwise   1 944 000
        calibrations   1 365 984      separable, depthwise     341 424
        base convs       162 000      factorised identities     25 920
        auxiliary head   493 056      classifier                 7 200
        BatchNorm: 46 720             sum: 4 389 220
    """
    parts = {"stem": (3 * 9 * 3 * filters, 6 * filters, 1024)}
    channels, pixels, f = [3 * filters, 3 * filters], 1024, filters
    kernels = {"calibration": [], "base": [], "pointwise": [], "depthwise": [], "identity": []}
    norms = 0
    for index in range(17):
        numbers = REDUCTION if index in (5, 11) else NORMAL
        f *= 1 + (numbers is REDUCTION)
        inside = pixels // (4 if numbers is REDUCTION else 1)
        # On the resolution of the newer input, whether the older one is halved or not.
        kernels["calibration"] += [(width * f, pixels) for width in channels]
        kernels["base"] += [(f * f, pixels)]
        norms += 6 * f
        read = set()
        for source, code in zip(numbers[::2], numbers[1::2], strict=True):
            read.add(source)
            if code in (0, 1):
                kernels["depthwise"] += [(f * (9, 25)[code], inside)] * 2
                kernels["pointwise"] += [(f * f, inside)] * 2
                norms += 4 * f
            elif code == 4 and numbers is REDUCTION and source < 2:
                kernels["identity"] += [(f * f, inside)]
                norms += 2 * f
        channels, pixels = [channels[1], (7 - len(read)) * f], inside
        if index == 12:
            head = channels[1] * 128 + 2 * 2 * 128 * 768 + 768 * 10
            parts["auxiliary"] = head, 2 * (128 + 768), 0
    for key, entries in kernels.items():
        weights = sum(size for size, _ in entries)
        parts[key] = weights, 0, sum(size * places for size, places in entries)
    parts["norms"] = 0, norms, 0
    weights, norm, _ = parts["stem"]
    parts["stem"] = weights, norm, weights * 1024
    parts["classifier"] = channels[1] * 10, 0, channels[1] * 10
    return parts


@pytest.mark.parametrize(
    ("name", "filters", "size", "without_head", "kernels"),
    [
        ("supernet-e", 36, 4_389_220, 3_894_372, 4_342_500),
        ("supernet-ei", 72, 15_371_560, 14_784_552, 15_279_912),
    ],
)
def test_the_paper_s_supernets_have_enas_s_sizes(
    name: str, filters: int, size: int, without_head: int, kernels: int
) -> None:
    """The paper reports 4.6 M and 15.3 M.

    The latter is EI's kernels alone, auxiliary head included, which is what the counting script of
    the official release adds up. The former is the figure of ENAS's own paper.
    """
    with torch.device("meta"):
        net = build(NAMED[name], 3, 10)
    parts = published(filters)
    assert net.parameter_count() == sum(w + n for w, n, _ in parts.values()) == size
    assert size - sum(parts["auxiliary"][:2]) == without_head
    assert net.auxiliary_parameters() == sum(parts["auxiliary"][:2])
    everything = {
        name: torch.ones(layer.gate.channels, dtype=torch.bool)
        for name, layer in net.gated_layers().items()
    }
    assert net.candidate_parameters(everything) == without_head
    logits = {id(p) for p in net.distribution_parameters()}
    matrices = sum(p.numel() for p in net.parameters() if p.dim() > 1 and id(p) not in logits)
    assert matrices == sum(w for w, _, _ in parts.values()) == kernels


def test_describe() -> None:
    record = describe("supernet-e", width=18, cell=None, classes=10, size=32)
    parts = published(18).values()
    assert record["parameters"] == sum(weights + norms for weights, norms, _ in parts)
    # The auxiliary head does not run outside training.
    assert record["multiply_adds"] == sum(macs for _, _, macs in parts)
    assert len(record["gates"]) == 17 * (3 + 2 * 6) + 2 * 1 + 2 * 2 + 1


def test_gate_names() -> None:
    names = list(small(layers=3).gated_layers())
    separable = "{0}.sep{1}x{1}_1.pointwise", "{0}.sep{1}x{1}_2.pointwise"

    def twice(node: str, size: int) -> list[str]:
        return [form.format(f"nodes.{node}", size) for form in separable]

    normal = [
        *("older.conv", "newer.conv", "base.conv"),
        *twice("2.y", 3),
        *twice("3.y", 5),
        *twice("4.y", 5),
        *twice("5.x", 3),
        *twice("5.y", 5),
        *twice("6.y", 5),
    ]
    after = ["older.conv", "older.conv_shifted", *normal[1:]]
    reduction = [
        *("older.conv", "newer.conv", "base.conv"),
        *twice("2.x", 3),
        *twice("2.y", 3),
        *twice("4.x", 5),
        *twice("4.y", 5),
        *twice("5.x", 3),
        *("nodes.5.y.conv", "nodes.5.y.conv_shifted"),
        *twice("6.y", 5),
    ]
    cells = [normal, reduction, after, reduction, after]
    # The third cell follows a reduction cell, so its older input is twice as large.
    expected = [f"cells.{i}.{name}" for i, cell in enumerate(cells) for name in cell]
    assert names == [*expected, "classifier"]
    assert len(set(names)) == len(names)
    assert names == list(build(EnasConfig(name="enas", layers=3, filters=2), 1, 5).gated_layers())


def test_ungated_weights_are_stem_depthwise_kernels_and_the_head() -> None:
    net = small()
    gated = {id(weight) for weight in net.gated_weights()}
    ungated = {
        name
        for name, module in net.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and id(module.weight) not in gated
    }
    depthwise = {f"{n}.depthwise" for n, m in net.named_modules() if isinstance(m, SeparableConv2d)}
    head = {"auxiliary.2", "auxiliary.6", "auxiliary.11"}
    assert ungated == {"stem", *depthwise, *head}


@pytest.mark.parametrize("auxiliary_weight", [0, 0.4])
def test_one_training_step(auxiliary_weight: float) -> None:
    torch.manual_seed(0)
    net = EnasSupernet(3, 4, in_channels=3, classes=10)
    net.configure_gates(GateSettings())
    net.train()
    objective = Objective(length_scale2=0.1, examples=500_000)
    x, y = torch.randn(8, 3, 32, 32), torch.arange(8)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    if auxiliary_weight:
        logits, auxiliary = net.forward_training(x)
        extra = auxiliary_weight * F.cross_entropy(auxiliary, y)
    else:
        logits, extra = net(x), torch.zeros(())
    terms = objective(F.cross_entropy(logits, y, reduction="none"), net)
    (terms.loss + extra).backward()
    torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True).step()
    assert bool(torch.isfinite(terms.loss + extra))
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    head = {name for name in before if name.startswith("auxiliary.")}
    assert moved == before.keys() - (set() if auxiliary_weight else head)
    assert all(bool(torch.isfinite(p).all()) for p in net.parameters())


def test_candidates_are_drawn_and_evaluated() -> None:
    net = small().eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    whole = net(x)
    outputs = []
    drawn = net.posterior().sample(3, seed=0)
    for index in range(3):
        with net.candidate(drawn[index]):
            outputs.append(net(x))
    assert all(out.shape == (2, 7) and bool(torch.isfinite(out).all()) for out in outputs)
    assert not torch.allclose(outputs[0], outputs[1])
    assert torch.equal(net(x), whole)


@pytest.mark.parametrize(
    "gone",
    ["cells.1.older", "cells.1.base", "cells.2.nodes.3", "cells.3.nodes.5.y", "classifier", ""],
)
def test_whole_branches_may_go(gone: str) -> None:
    net = small().eval()
    choice = {
        name: torch.full((layer.gate.channels,), not name.startswith(gone))
        for name, layer in net.gated_layers().items()
    }
    assert not all(bool(mask.all()) for mask in choice.values())
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    whole = net(x)
    with net.candidate(choice):
        out = net(x)
        assert bool(torch.isfinite(out).all())
        assert not torch.allclose(out, whole)
        if not gone:  # nothing of the image is left
            torch.testing.assert_close(out[0], out[1])


def test_candidate_parameters_count_depthwise_kernels_with_their_slice() -> None:
    net = small()
    choice = random_choice(net)
    kept = 0
    for name, layer in net.gated_layers().items():
        per_channel = layer.weight[:, 0].numel()
        if name.endswith("pointwise"):
            per_channel += 9 if "sep3x3" in name else 25
        kept += int(choice[name].sum()) * per_channel
    everywhere = net.stem.weight.numel()
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d) and not name.startswith("auxiliary."):
            everywhere += 2 * module.num_features
    assert net.candidate_parameters(choice) == kept + everywhere
    # What is physically left is no more.
    image = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
    assert parameters(extract(net, choice, image)) <= net.candidate_parameters(choice)


def test_matching_rate_gives_equal_expected_parameters() -> None:
    net = small()
    q = net.posterior()
    rate = net.matching_drop_probability(q)
    assert 0 < rate < 1
    matched = ChannelPosterior.constant(q, rate)
    assert net.expected_parameters(matched) == pytest.approx(net.expected_parameters(q))


def test_an_extracted_candidate_computes_the_same() -> None:
    net = small().eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for seed in range(3):
        choice = random_choice(net, seed)
        with net.candidate(choice):
            expected = net(x)
        torch.testing.assert_close(extract(net, choice, x[:1])(x), expected, rtol=1e-9, atol=1e-9)


def test_the_auxiliary_head_needs_room() -> None:
    net = small().train()
    net.forward_training(torch.randn(2, 3, 17, 17).double())
    with pytest.raises(PdnasError, match="17 x 17 pixels or more, not 16 x 16"):
        net.forward_training(torch.randn(2, 3, 16, 16).double())
    assert net(torch.randn(2, 3, 16, 16).double()).shape == (2, 7)


def test_an_unknown_operation_is_an_error() -> None:
    with pytest.raises(PdnasError, match="no operation 5"):
        make_operation(5, 4, 1)


def test_drop_path_is_off_until_it_is_set_and_outside_training() -> None:
    net = small().train()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    choice = random_choice(net)
    with net.candidate(choice), torch.no_grad():
        before = net(x)
        assert torch.equal(net(x), before)
        net.set_drop_path(0.9)
        assert not torch.equal(net(x), before)
        net.eval()
        assert torch.equal(net(x), net(x))
    for number, cell in enumerate(net.cells, start=1):
        paths = [module.p for module in cell.modules() if isinstance(module, StochasticDepth)]
        assert paths == pytest.approx([0.9 * number / 5] * len(paths))
        assert len(paths) == (9 if number in (2, 4) else 8)  # operations that are no identity


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4])
def test_drop_path_drops_whole_operations_of_single_images_and_keeps_their_mean(code: int) -> None:
    torch.manual_seed(0)
    operation = make_operation(code, 4, 1).train()
    for module in operation.modules():
        if isinstance(module, ChannelGate):
            module.configure(GateSettings("none"))
    x = torch.randn(2000, 4, 3, 3)
    whole = operation(x)
    paths = [module for module in operation.modules() if isinstance(module, StochasticDepth)]
    assert len(paths) == (code != 4)  # ENAS never drops an identity
    for path in paths:
        path.p = 0.25
    ratio = (operation(x) / whole).flatten(1)
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), atol=1e-5)
    dropped = float((ratio[:, 0] == 0).float().mean())
    assert dropped == pytest.approx(0.25 if paths else 0, abs=5 * (0.25 * 0.75 / 2000) ** 0.5)
    torch.testing.assert_close(ratio.max(), torch.tensor(4 / 3 if paths else 1.0))


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_drop_path_is_torchvisions(p: float, training: bool) -> None:
    x = torch.randn(50, 4, 3, 3)
    outputs = []
    for module in (StochasticDepth(p), torchvision.ops.StochasticDepth(p, "row")):
        torch.manual_seed(0)
        outputs.append(module.train(training)(x))
    assert torch.equal(*outputs)


def test_other_supernets_have_no_drop_path() -> None:
    net = build(MultiBranchConfig(name="multibranch", width=2, blocks=1), 1, 10)
    net.set_drop_path(0)
    with pytest.raises(PdnasError, match="MultiBranchSupernet has no drop-path"):
        net.set_drop_path(0.1)
