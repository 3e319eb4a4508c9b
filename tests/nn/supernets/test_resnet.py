"""Multi-kernel ResNet against torchvision and a slow reading of its parallel kernels."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck

from pdnas.nn.describe import describe
from pdnas.nn.gates import GatedConv2d, GateSettings
from pdnas.nn.supernets import build
from pdnas.nn.supernets.resnet import (
    MultiKernelBottleneck,
    MultiKernelConv2d,
    MultiKernelResNetSupernet,
)
from pdnas.spec.supernets import NAMED, ResNetConfig
from pdnas.support.errors import PdnasError

from .conftest import (
    assert_a_candidate_is_the_network_without_the_dropped_slices,
    assert_a_training_step_moves_everything,
    drop_layers,
    randomised,
)

KERNELS = (1, 3, 5, 9)


def small(
    width: int = 8,
    blocks: tuple[int, ...] = (1, 2),
    kernels: tuple[int, ...] = KERNELS,
    classes: int = 7,
) -> MultiKernelResNetSupernet:
    torch.manual_seed(0)
    return randomised(MultiKernelResNetSupernet(width, blocks, kernels, 3, classes)).eval()


def load(net: MultiKernelResNetSupernet, theirs: nn.Module) -> MultiKernelResNetSupernet:
    """Copy torchvision's weights; every name but those of gates must find its counterpart."""
    weights = {}
    for name, value in theirs.state_dict().items():
        for stage in range(1, 5):
            name = name.replace(f"layer{stage}.", f"stages.{stage - 1}.")
        weights[name.replace("conv2.weight", "conv2.kernel3.weight")] = value
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(name.endswith("gate.logit_p") for name in missing)
    return net


@pytest.mark.parametrize(("inputs", "stride"), [(32, 1), (32, 2), (16, 1)])
@pytest.mark.parametrize("training", [False, True])
def test_with_the_3x3_kernel_alone_a_block_is_torchvision_s(
    inputs: int, stride: int, training: bool
) -> None:
    same = stride == 1 and inputs == 32
    shortcut = nn.Sequential(nn.Conv2d(inputs, 32, 1, stride, bias=False), nn.BatchNorm2d(32))
    theirs = randomised(Bottleneck(inputs, 8, stride, None if same else shortcut)).eval()
    ours = load(MultiKernelBottleneck(inputs, 8, stride, [3]).double(), theirs)
    for module in ours.modules():
        if isinstance(module, GatedConv2d):
            module.gate.configure(GateSettings(mode="none"))
    x = torch.randn(2, inputs, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(x))


def test_with_the_3x3_kernel_alone_the_network_is_torchvision_s() -> None:
    theirs = randomised(torchvision.models.resnet50(num_classes=5)).eval()
    ours = MultiKernelResNetSupernet(64, (3, 4, 6, 3), [3], 3, 5).double().eval()
    load(ours, theirs)
    assert ours.parameter_count() == sum(p.numel() for p in theirs.parameters())
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("stride", [1, 2])
def test_parallel_kernels_are_dense_kernels_with_holes(stride: int) -> None:
    """Written with undilated kernels of the full extents, whose other taps are zero."""
    layer = MultiKernelConv2d(5, 8, stride, KERNELS).double().eval()
    x = torch.randn(2, 5, 11, 10, dtype=torch.float64)
    expected = []
    for extent, gap in ((1, 1), (3, 1), (5, 2), (9, 2)):
        weight = getattr(layer, f"kernel{extent}").weight
        dense = torch.zeros(2, 5, extent, extent, dtype=torch.float64)
        dense[:, :, ::gap, ::gap] = weight
        expected.append(F.conv2d(x, dense, stride=stride, padding=(extent - 1) // 2))
    torch.testing.assert_close(layer(x), torch.cat(expected, dim=1))


def test_sizes() -> None:
    """The paper reports 25.6 M for ResNet-50 and 44.0 M for the supernet; see the module's text."""
    squares = sum(n * (64 * 2**stage) ** 2 for stage, n in enumerate((3, 4, 6, 3)))
    with torch.device("meta"):
        plain = build(ResNetConfig(name="resnet", kernels=(3,)), 3, 1000)
        net = build(NAMED["supernet-r50"], 3, 1000)
    assert plain.parameter_count() == 25_557_032
    assert net.parameter_count() == 25_557_032 - 9 * squares + 11 * squares == 28_071_976
    gated = sum(layer.weight.numel() for layer in net.gated_layers().values())
    assert gated == 11 * squares


def test_gate_names() -> None:
    with torch.device("meta"):
        layers = build(NAMED["supernet-r50"], 3, 1000).gated_layers()
    assert list(layers) == [
        f"stages.{stage}.{block}.conv2.kernel{extent}"
        for stage, blocks in enumerate((3, 4, 6, 3))
        for block in range(blocks)
        for extent in KERNELS
    ]
    for name, layer in layers.items():
        assert layer.gate.group_sizes == (64 * 2 ** int(name[7]),)


def test_describe() -> None:
    record = describe("supernet-r50", width=None, cell=None, classes=None, size=None)
    assert record["parameters"] == 28_071_976
    assert len(record["gates"]) == 64
    plain = 4_089_184_256  # ResNet-50's multiply-adds at 224x224, as torchvision documents them
    sides = {0: 56, 1: 28, 2: 14, 3: 7}
    more = sum(2 * n * (64 * 2**s) ** 2 * sides[s] ** 2 for s, n in enumerate((3, 4, 6, 3)))
    assert record["multiply_adds"] == plain + more
    assert record["image"] == [3, 224, 224]
    with pytest.raises(PdnasError, match="multiple of 4"):
        describe("supernet-r50", width=30, cell=None, classes=None, size=None)


def test_build_follows_the_configuration() -> None:
    config = ResNetConfig(name="resnet", width=4, blocks=(1, 1, 1), kernels=(9, 1))
    net = build(config, 1, 7).eval()
    assert [name.split(".")[-1] for name in net.gated_layers()] == ["kernel9", "kernel1"] * 3
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 7)  # scikit-learn's digits
    for wrong in ({"kernels": (3, 3)}, {"kernels": ()}, {"kernels": (7,)}, {"blocks": ()}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ResNetConfig(name="resnet", **wrong)


def test_one_training_step() -> None:
    assert_a_training_step_moves_everything(small().float(), length_scale2=80)


def test_a_candidate_is_the_network_without_the_dropped_slices() -> None:
    assert_a_candidate_is_the_network_without_the_dropped_slices(small())


@pytest.mark.parametrize("gone", [*[f"kernel{extent}" for extent in KERNELS], ""])
def test_whole_branches_dropped_give_finite_outputs(gone: str) -> None:
    """One kernel size everywhere, and all of them."""
    net = small()
    choice, logits = drop_layers(net, gone)
    assert torch.isfinite(logits).all()
    for first, second in logits:
        assert not torch.allclose(first, second)  # the skip connections still carry images
    assert net.kept(choice) == ((0.75, 0.75) if gone else (0, 0))


def test_a_candidate_of_the_real_input_size() -> None:
    net = small(width=4, blocks=(3, 4, 6, 3), classes=1000).float()
    choice = net.posterior().sample(1, seed=0)[0]
    with net.candidate(choice), torch.no_grad():
        logits = net(torch.randn(1, 3, 224, 224))
    assert logits.shape == (1, 1000)
    assert torch.isfinite(logits).all()
