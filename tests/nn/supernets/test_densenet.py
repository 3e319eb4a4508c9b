"""DenseNet supernets against torchvision's DenseNets and the official SupNet-D-121 search."""

import re

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from pdnas.data.sources import SOURCES
from pdnas.nn.describe import describe
from pdnas.nn.gates import GatedConv2d, GateSettings
from pdnas.nn.supernets import build
from pdnas.nn.supernets.densenet import DenseNetSupernet
from pdnas.space.posterior import ChannelPosterior
from pdnas.spec.spec import Spec
from pdnas.spec.supernets import NAMED, DenseNetConfig
from pdnas.support.errors import PdnasError

from .conftest import (
    assert_a_candidate_is_the_network_without_the_dropped_slices,
    assert_a_training_step_moves_everything,
    drop_layers,
    randomised,
)


def small(layers: tuple[int, ...] = (2, 3), growth: int = 4, classes: int = 7) -> DenseNetSupernet:
    torch.manual_seed(0)
    return randomised(DenseNetSupernet(layers, growth, 3, classes)).eval()


@pytest.fixture(scope="module")
def official_log() -> list[dict[str, list[float]]]:
    """Gate names and drop probabilities that the official search printed, epoch by epoch."""
    path = SOURCES["pgnas-log-p"].find()
    if path is None:
        pytest.skip("no official log; run `pdnas data fetch pgnas-log-p` or set PDNAS_MIRROR")
    text = path.read_text()
    printed = re.findall(r"^module\.(\S+)\.p_logit\s+tensor\(\[([^]]*)\]", text, re.MULTILINE)
    assert len(printed) == text.count("module.") == 180 * 119
    values = [(name, [float(value) for value in row.split(",")]) for name, row in printed]
    return [dict(values[start : start + 119]) for start in range(0, len(values), 119)]


@pytest.mark.parametrize("training", [False, True])
def test_without_gates_the_network_is_torchvision_s(training: bool) -> None:
    theirs = randomised(torchvision.models.densenet121(num_classes=5)).eval()
    ours = DenseNetSupernet((6, 12, 24, 16), 32, 3, 5).double()
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not unexpected
    assert len(missing) == 119
    assert all(name.endswith("gate.logit_p") for name in missing)
    ours.configure_gates(GateSettings(mode="none"))
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(x))


@pytest.mark.parametrize("depth", [121, 169, 201])
def test_sizes_are_torchvision_s(depth: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"densenet{depth}")()
        ours = build(NAMED[f"supernet-d{depth}"], 3, 1000)
    assert ours.parameter_count() == sum(p.numel() for p in theirs.parameters())
    # Every convolution but the stem is gated: 2 a layer, and the transitions.
    convolutions = {n: m for n, m in ours.named_modules() if isinstance(m, nn.Conv2d)}
    plain = [n for n, m in convolutions.items() if not isinstance(m, GatedConv2d)]
    assert plain == ["features.conv0"]
    assert len(ours.gated_layers()) == len(convolutions) - 1 == depth - 2


@pytest.mark.data
def test_gates_are_those_of_the_official_log(official_log: list[dict[str, list[float]]]) -> None:
    with torch.device("meta"):
        layers = build(NAMED["supernet-d121"], 3, 1000).gated_layers()
    ours = [(name, len(layer.gate.group_sizes)) for name, layer in layers.items()]
    assert len(ours) == 119
    for epoch in official_log:
        assert [(name, len(values)) for name, values in epoch.items()] == ours


def test_groups_follow_the_layer_that_produced_the_channels() -> None:
    with torch.device("meta"):
        layers = build(NAMED["supernet-d121"], 3, 1000).gated_layers()
    inputs = {1: 64, 2: 128, 3: 256, 4: 512}
    for name, layer in layers.items():
        block = int(re.search(r"(?:block|transition)(\d)", name)[1])
        number = int(match[1]) if (match := re.search(r"denselayer(\d+)", name)) else None
        if name.endswith("conv2"):
            expected = (128,)
        else:
            earlier = (6, 12, 24, 16)[block - 1] if number is None else number - 1
            expected = (inputs[block], *(32,) * earlier)
        assert layer.gate.group_sizes == expected, name


def test_dropping_a_group_hides_what_one_layer_produced() -> None:
    net = small(layers=(3,))
    block = net.features.denseblock1
    seen = {}
    for number in (1, 2, 3):
        getattr(block, f"denselayer{number}").register_forward_hook(
            lambda _, inputs, output, number=number: seen.update({number: (inputs[0], output)})
        )
    reader = block.denselayer3
    everything = {n: torch.ones(g.gate.channels).bool() for n, g in net.gated_layers().items()}
    for number in (1, 2):  # group 0 is the block's input
        sizes = reader.conv1.gate.group_sizes
        mask = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)) != number
        with net.candidate({**everything, "features.denseblock1.denselayer3.conv1": mask}):
            net(torch.randn(2, 3, 32, 32, dtype=torch.float64))
        inputs, found = seen[3]
        place = slice(8 + 4 * (number - 1), 8 + 4 * number)  # behind the stem's 8 channels
        torch.testing.assert_close(inputs[:, place], seen[number][1])
        y = torch.relu(reader.norm1(inputs))
        y[:, place] = 0
        y = torch.relu(reader.norm2(F.conv2d(y, reader.conv1.weight)))
        torch.testing.assert_close(found, F.conv2d(y, reader.conv2.weight, padding=1))


@pytest.mark.data
def test_the_official_posterior_has_the_reported_size_in_gated_kernels_alone(
    official_log: list[dict[str, list[float]]],
) -> None:
    """Table 8's 6.6 M leaves out stem, BatchNorm and classifier; with them it is 7.7 M."""
    with torch.device("meta"):
        net = build(NAMED["supernet-d121"], 3, 1000)
        layers = net.gated_layers()
    sizes = {name: torch.tensor(layer.gate.group_sizes) for name, layer in layers.items()}
    last = {name: torch.tensor(values) for name, values in official_log[-1].items()}
    expected = net.expected_parameters(ChannelPosterior(last, sizes))
    ungated = net.parameter_count() - sum(layer.weight.numel() for layer in layers.values())
    assert round((expected - ungated) / 1e6, 1) == 6.6
    assert round(expected / 1e6, 1) == 7.7


def test_describe() -> None:
    record = describe("supernet-d121", width=None, cell=None, classes=None, size=None)
    assert record["parameters"] == 7_978_856
    assert record["multiply_adds"] == 2_834_161_664  # torchvision documents 2.83 GFLOPS
    assert record["image"] == [3, 224, 224]
    gates = {gate["name"]: gate for gate in record["gates"]}
    assert gates["features.transition1.conv"]["groups"] == 7
    assert describe("d121", width=None, cell=None, classes=None, size=None) == record
    with pytest.raises(PdnasError, match="29 pixels"):
        describe("supernet-d121", width=None, cell=None, classes=None, size=28)


@pytest.mark.parametrize("layers", [(1,), (1, 2), (2, 1, 1), (1, 1, 1, 1)])
def test_the_smallest_image(layers: tuple[int, ...]) -> None:
    config = DenseNetConfig(name="densenet", layers=layers, growth=2)
    net = build(config, 1, 3).eval()
    side = config.smallest_image
    assert net(torch.zeros(1, 1, side, side)).isfinite().all()
    if len(layers) > 1:  # without a transition any image will do
        with pytest.raises(RuntimeError, match="too small"):
            net(torch.zeros(1, 1, side - 1, side - 1))


def test_digits_are_too_small_for_many_blocks() -> None:
    spec = {
        "data": {"name": "digits", "validation": 10},
        "supernet": {"name": "densenet", "layers": [1, 1]},
        "training": {"epochs": 1, "batch": 8, "learning_rate": 0.1},
        "gates": {"length_scale2": 1},
        "candidates": {"count": 1},
    }
    assert Spec.model_validate(spec).supernet.smallest_image <= 8
    spec["supernet"]["layers"] = [1, 1, 1]
    with pytest.raises(ValueError, match="too small for 3 dense blocks"):
        Spec.model_validate(spec)


def test_one_training_step() -> None:
    assert_a_training_step_moves_everything(small().float(), length_scale2=100)


def test_a_candidate_is_the_network_without_the_dropped_slices() -> None:
    assert_a_candidate_is_the_network_without_the_dropped_slices(small())


@pytest.mark.parametrize("gone", ["conv1", "conv2", "transition1.conv", ""])
def test_whole_layers_dropped_give_finite_outputs(gone: str) -> None:
    """Every layer's first or second convolution, every transition, and all of them."""
    _, logits = drop_layers(small(), gone)
    assert torch.isfinite(logits).all()


def test_a_candidate_of_the_real_input_size() -> None:
    net = small(layers=(6, 12, 24, 16), growth=4, classes=1000).float()
    choice = net.posterior().sample(1, seed=0)[0]
    with net.candidate(choice), torch.no_grad():
        logits = net(torch.randn(1, 3, 224, 224))
    assert logits.shape == (1, 1000)
    assert torch.isfinite(logits).all()
