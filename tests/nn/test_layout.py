"""Which networks lie channels last in memory, and which channels first."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pdnas.data.sets import INFO
from pdnas.data.splits import make_splits
from pdnas.nn.layout import memory_format
from pdnas.nn.supernets import build
from pdnas.regression.digits import specification
from pdnas.spec.scale import SCALES, load_scale
from pdnas.spec.spec import Spec
from pdnas.spec.supernets import MultiBranchConfig, ResNetConfig, SupernetConfig
from pdnas.stages.materials import make_loader, make_supernet

CPU = torch.device("cpu")
FIRST, LAST = torch.contiguous_format, torch.channels_last


@pytest.mark.parametrize(
    ("layer", "layout"),
    [
        (nn.Conv2d(8, 4, 3), LAST),
        (nn.Conv2d(8, 3, 3), FIRST),
        (nn.Conv2d(8, 3, (1, 5)), FIRST),
        (nn.Conv2d(8, 3, 1), LAST),
        (nn.Conv2d(2, 2, 3, groups=2), LAST),
        (nn.Linear(8, 2), LAST),
    ],
)
def test_few_channels_come_first_on_a_cpu(layer: nn.Module, layout: torch.memory_format) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), layer)
    assert memory_format(network, CPU) == layout
    assert memory_format(network, torch.device("cuda")) == LAST


@pytest.mark.parametrize(
    ("config", "layout"),
    [
        (MultiBranchConfig(name="multibranch", width=4, blocks=1), LAST),
        (MultiBranchConfig(name="multibranch", width=3, blocks=1), FIRST),
        (ResNetConfig(name="resnet", width=16, blocks=(1,)), LAST),
        (ResNetConfig(name="resnet", width=12, blocks=(1,)), FIRST),
    ],
)
def test_a_network_and_its_images_have_the_same_layout(
    config: SupernetConfig, layout: torch.memory_format
) -> None:
    smoke = load_scale("smoke").spec("multibranch", "guided")
    spec = smoke.model_copy(update={"supernet": config})
    network = make_supernet(spec, CPU)
    assert memory_format(network, CPU) == layout
    images, _ = next(make_loader(spec, make_splits(spec.data), "test", CPU, seed=0).epoch(0))
    kernel = next(weight for weight in network.parameters() if weight.dim() == 4)
    for tensor in (images, kernel):  # of one colour channel, so only the strides tell
        assert (tensor.stride(1) == 1) == (layout == LAST)


def test_no_network_of_the_suite_is_so_narrow() -> None:
    specs: list[Spec] = [specification("guided")]
    for path in SCALES.glob("*.yaml"):
        scale = load_scale(path.stem)
        for study, content in scale.studies.items():
            specs += [scale.spec(study, variant) for variant in content.variants]
    tiny = load_scale("smoke").spec("nasbench-macro", "posterior").supernet  # so it is first
    for config in {spec.supernet for spec in specs} - {tiny}:
        with torch.device("meta"):
            network = build(config, INFO["cifar10"].channels, 10)
        assert memory_format(network, CPU) == LAST
