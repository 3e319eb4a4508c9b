"""Each supernet, narrow but on images of the real size: a step, candidates, ranks, extraction."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from pdnas.nn.gates import GateSettings
from pdnas.nn.objective import Objective
from pdnas.nn.subnet import extract, parameters
from pdnas.nn.supernets import build
from pdnas.spec.supernets import (
    NAMED,
    DenseNetConfig,
    EnasConfig,
    MultiBranchConfig,
    NasBench201Config,
    NasBenchMacroConfig,
    NatsBenchSizeConfig,
    ResNetConfig,
    SupernetConfig,
)
from pdnas.spec.training import TrainingConfig
from pdnas.stages.judge import Judge
from pdnas.stages.rank import rank

CIFAR, IMAGENET = (32, 10), (224, 1000)
"""Pixels a side, classes."""

NARROW: dict[str, tuple[SupernetConfig, tuple[int, int]]] = {
    "multibranch": (MultiBranchConfig(name="multibranch", width=4, blocks=2), CIFAR),
    "enas": (EnasConfig(name="enas", filters=4, layers=6), CIFAR),
    "resnet": (ResNetConfig(name="resnet", width=4), IMAGENET),
    "densenet": (DenseNetConfig(name="densenet", growth=2), IMAGENET),
    "nasbench201": (NasBench201Config(name="nasbench201", channels=4), CIFAR),
    "nasbench-macro": (NasBenchMacroConfig(name="nasbench-macro", channels=4), CIFAR),
    "natsbench-size": (NatsBenchSizeConfig(name="natsbench-size", width=4), CIFAR),
}


class Batches:
    """The same images in every epoch."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.examples = len(y)
        self._batch = x, y

    def __len__(self) -> int:
        return 1

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        yield self._batch


def test_no_supernet_is_forgotten() -> None:
    assert {config.name for config in NAMED.values()} == NARROW.keys()


@pytest.mark.parametrize("name", NARROW)
def test_from_a_training_step_to_the_extracted_winner(name: str) -> None:
    config, (side, classes) = NARROW[name]
    torch.manual_seed(0)
    net = build(config, 3, classes)
    net.configure_gates(GateSettings(initial=0.3, temperature=1.0))
    x, y = torch.randn(4, 3, side, side), torch.randint(classes, (4,))

    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    nll = nn.functional.cross_entropy(net.train()(x), y, reduction="none")
    loss = Objective(length_scale2=1.0, examples=1000)(nll, net).loss
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)

    candidates = net.eval().posterior().sample(3, seed=0)
    training = TrainingConfig(epochs=1, batch=4, learning_rate=0.01)
    rows = rank(candidates, Judge(net, Batches(x, y), training)).table.to_dict("records")
    assert [row["candidate"] for row in rows] == [0, 1, 2]
    best = min(rows, key=lambda row: row["validation_loss"])
    choice = candidates[int(best["candidate"])]
    small = extract(net, choice, x[:1])
    with torch.no_grad():
        with net.candidate(choice):
            masked = net(x)
        torch.testing.assert_close(small(x), masked, rtol=1e-3, atol=1e-4)
        loss_of_small = nn.functional.cross_entropy(small(x), y)
    assert float(loss_of_small) == pytest.approx(best["validation_loss"], rel=1e-4)
    assert parameters(small) <= best["parameters"] <= net.parameter_count()
