"""Batches in parts: the same random numbers, the same gradients, and BatchNorm's exception."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pdnas.nn.gates import GateSettings
from pdnas.nn.noise import DrawsNoise, micro_batches
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import Supernet
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.enas import EnasSupernet
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.space.cells import CellSpace
from pdnas.spec.gates import GateConfig
from pdnas.spec.training import TrainingConfig
from pdnas.train.fit import TrainingData, fit

from ..support.work import Plain

IMAGES = 16


class OneBatch:
    """A loader whose epoch is one batch."""

    examples = IMAGES

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(IMAGES, 3, 8, 8, generator=generator, dtype=dtype)
        self.y = torch.randint(10, (IMAGES,), generator=generator)

    def __len__(self) -> int:
        return 1

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.x, self.y


def one_step(net: Supernet, images: OneBatch, micro_batch: int | None) -> dict[str, Any]:
    """The record of one step of plain gradient descent, of step size 1, on weights and switches."""
    torch.manual_seed(3)
    training = TrainingConfig(
        epochs=1, batch=IMAGES, micro_batch=micro_batch, learning_rate=1, momentum=0
    )
    data = TrainingData(images, Objective(30, IMAGES))
    done = fit(net, data, training, GateConfig(length_scale2=1))
    return done.history[0]


@pytest.mark.parametrize(
    ("micro_batch", "masks"),
    [(8, None), (5, None), (1, None), (8, 1), (5, 1), (1, 1), (8, 2)],  # 5: parts of unequal size
)
def test_gradients_are_those_of_the_whole_batch(micro_batch: int, masks: int | None) -> None:
    """In float64; but switches are always computed in float32, where the last bit may differ."""
    moved, records = [], []
    for size in (None, micro_batch):
        torch.manual_seed(0)
        net = Plain().double()
        net.configure_gates(GateSettings(initial=0.3, masks_per_batch=masks))
        start = {name: value.clone() for name, value in net.state_dict().items()}
        records.append(one_step(net, OneBatch(torch.float64), size))
        moved.append({name: value - start[name] for name, value in net.state_dict().items()})
    whole, parts = moved
    for name, gradient in whole.items():
        assert gradient.abs().max() > 1e-3, name
        tolerance = 1e-6 if name.endswith("logit_p") else 1e-9
        torch.testing.assert_close(parts[name], gradient, rtol=tolerance, atol=tolerance)
    terms = ("loss", "nll", "prior_term", "entropy_term", "train_accuracy")
    assert [records[1][term] for term in terms] == pytest.approx(
        [records[0][term] for term in terms]
    )
    assert records[0]["prior_term"] > 0.1  # terms that would count more than once are there


def shaken() -> MultiBranchSupernet:
    return MultiBranchSupernet(4, 1, 3, 10, merge="shake-shake")


def enas() -> EnasSupernet:
    net = EnasSupernet(layers=3, filters=2, in_channels=3, classes=10)
    net.set_drop_path(0.5)
    return net


def cells() -> NasBench201Supernet:
    return NasBench201Supernet(4, 1, CellSpace(), in_channels=3, classes=10)


@pytest.mark.parametrize(
    ("build", "settings"),
    [
        (shaken, {}),
        (enas, {}),
        (cells, {"estimator": "straight-through"}),
        (cells, {"estimator": "straight-through", "dependence": "chain"}),
        (cells, {"estimator": "relaxed"}),
        (cells, {"estimator": "score"}),
        (cells, {"estimator": "score", "dependence": "chain"}),
    ],
)
def test_every_image_draws_what_it_would_draw_in_the_whole_batch(
    build: Callable[[], Supernet], settings: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    net = build().double()
    net.configure_gates(GateSettings(initial=0.4, temperature=1, **settings))
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # with fixed statistics no image sees another one
            module.eval()
    images = OneBatch(torch.float64)
    with torch.no_grad():
        torch.manual_seed(1)
        whole, after = net(images.x), torch.rand(1)
        torch.manual_seed(1)
        parts = torch.cat([net(x) for x, _ in micro_batches(net, images.x, images.y, 5)])
        assert torch.equal(torch.rand(1), after)  # the next batch goes on from the same state
        torch.manual_seed(2)
        other = net(images.x)
    of_the_draw = (other - whole).abs().max()
    assert (parts - whole).abs().max() / of_the_draw < 1e-6


def test_batchnorm_statistics_move_to_the_mean_of_the_parts() -> None:
    norm = nn.BatchNorm2d(3)
    x, y = OneBatch().x + 1, OneBatch().y
    parts = []
    for size in (10, 6):
        part = nn.BatchNorm2d(3)
        part(x[:10] if size == 10 else x[10:])
        parts.append((size / IMAGES, part))
    for images, _ in micro_batches(norm, x, y, 10):
        norm(images)
    for name in ("running_mean", "running_var"):
        mean = sum(share * getattr(part, name) for share, part in parts)
        torch.testing.assert_close(getattr(norm, name), mean)


def test_outside_of_parts_numbers_are_drawn_for_the_images_at_hand() -> None:
    network = DrawsNoise()
    assert network.for_images(4, torch.arange).tolist() == [0, 1, 2, 3]
    x, y = OneBatch().x, OneBatch().y
    drawn = [
        network.for_images(len(part), torch.arange).tolist()
        for part, _ in micro_batches(network, x, y, 6)
    ]
    assert drawn == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11], [12, 13, 14, 15]]
    assert network.for_images(4, torch.arange).tolist() == [0, 1, 2, 3]
