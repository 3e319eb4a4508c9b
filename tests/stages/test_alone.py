"""Cells trained alone: by the formula, every prefix a shorter training, and resumable."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.runs.run import Run
from pdnas.space.cells import CELL
from pdnas.spec.alone import AloneConfig
from pdnas.spec.scale import load_scale
from pdnas.stages.alone import batches, fresh_network, prepared, train_alone
from pdnas.stages.materials import trained_supernet
from pdnas.stages.search import search_run
from pdnas.support.errors import PdnasError

CELL_CODES = (3, 2, 3, 1, 4, 3)


def tiny(**changes: object) -> AloneConfig:
    """Digits, a few seconds."""
    given = {
        "dataset": "digits",
        "train": 300,
        "validation": 60,
        "learning_rate": 0.05,
        "supernet": {"name": "nasbench201", "channels": 4, "cells": 1},
        "steps": 12,
        "batch": 20,
        "warmup": 3,
        "checkpoints": [6, 12],
    }
    return AloneConfig.model_validate(given | changes)


@pytest.mark.parametrize("kernels", ["random", "identity"])
def test_losses_are_those_of_the_formula(kernels: str) -> None:
    """SGD with Nesterov momentum, written out in float64, on the supernet's candidate."""
    config = tiny(kernels=kernels)
    torch.manual_seed(7)
    supernet = NasBench201Supernet.of(config.supernet, 1, 10)
    if kernels == "random":
        supernet.begin_alone()
    supernet.double().train()
    x, y = prepared(config, "train")
    parameters = [p for p in supernet.parameters() if p is not supernet.logits]
    velocity = [torch.zeros_like(p) for p in parameters]
    expected = []
    order = batches(config, 7, len(y))
    with supernet.candidate({CELL: torch.tensor(CELL_CODES, dtype=torch.int8)}):
        for step, chosen in enumerate(order, 1):
            rate = config.learning_rate * min(1, step / 4)
            loss = F.cross_entropy(supernet(x[chosen].double()), y[chosen])
            expected.append(loss.item())
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            with torch.no_grad():
                for p, v, g in zip(parameters, velocity, gradients, strict=True):
                    if g is not None:
                        v.mul_(config.momentum).add_(g)
                        p -= rate * (g + config.momentum * v)
    found = train_alone(config, CELL_CODES, 7)
    assert found["losses"] == pytest.approx(expected, rel=2e-3)
    assert found["losses"][-1] < found["losses"][0] < 1.5 * math.log(10)


def test_a_longer_training_begins_with_the_shorter_one() -> None:
    short = train_alone(tiny(steps=6, checkpoints=[6]), CELL_CODES, 0)
    long = train_alone(tiny(), CELL_CODES, 0)
    assert long["losses"][:6] == short["losses"]
    assert long["accuracies"][:6] == short["accuracies"]
    assert long["validation_losses"][:1] == short["validation_losses"]
    assert len(long["validation_accuracies"]) == 2


def test_every_image_is_seen_once_before_any_comes_again() -> None:
    config = tiny(steps=30)
    seen = torch.cat(list(batches(config, 0, 300)))
    assert torch.equal(seen[:300].sort().values, torch.arange(300))
    assert torch.equal(seen[300:].sort().values, torch.arange(300))
    assert not torch.equal(seen[:300], seen[300:])
    assert not torch.equal(seen[:300], torch.cat(list(batches(config, 1, 300)))[:300])


def test_cells_of_one_seed_begin_alike_where_they_agree() -> None:
    other = (3, 3, 3, 1, 4, 3)
    one, two = (fresh_network(tiny(), each, 0) for each in (CELL_CODES, other))
    assert torch.equal(one[0][0].weight, two[0][0].weight)
    kernel = one[1].convolutions[1]["nor_conv_3x3"][1].weight  # edge 1>2
    assert torch.equal(kernel, two[1].convolutions[1]["nor_conv_3x3"][1].weight)
    again = fresh_network(tiny(), CELL_CODES, 1)
    assert not torch.equal(one[0][0].weight, again[0][0].weight)


def test_smaller_images_are_means_of_the_larger_ones() -> None:
    whole, _ = prepared(tiny(), "train")
    half, _ = prepared(tiny(side=4), "train")
    assert half.shape == (300, 1, 4, 4)
    expected = whole.double().reshape(300, 1, 4, 2, 4, 2).mean(dim=(3, 5))
    assert torch.allclose(half.double(), expected, atol=1e-6)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the search of seed 3."""
    smoke = load_scale("smoke").spec("nasbench201", "guided")
    parts = {
        "data": smoke.data.model_copy(update={"train": 300, "validation": 60}),
        "supernet": tiny().supernet,
        "training": smoke.training.model_copy(update={"epochs": 2}),
        "gates": smoke.gates.model_copy(update={"warmup_epochs": 1}),
    }
    folder = tmp_path_factory.mktemp("searched")
    names = {"scale": "smoke", "study": "nasbench201", "variant": "guided"}
    spec, out = smoke.model_copy(update=parts), folder / "seed3"
    search_run(spec, **names, seed=3, out=out, device=torch.device("cpu"))
    return folder


def test_cells_may_begin_with_a_supernets_weights(searched: Path) -> None:
    config = tiny(inherit=f"{searched}/seed{{seed}}", checkpoints=[])
    supernet = trained_supernet(Run.load(searched / "seed3"), torch.device("cpu"))
    x, y = prepared(config, "train")
    first = next(batches(config, 3, len(y)))
    supernet.train()
    with supernet.candidate({CELL: torch.tensor(CELL_CODES, dtype=torch.int8)}):
        expected = F.cross_entropy(supernet(x[first]), y[first])
    assert train_alone(config, CELL_CODES, 3)["losses"][0] == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"supernet": {"name": "nasbench201", "channels": 4, "cells": 2}}, "another supernet"),
        ({"validation": 50, "checkpoints": []}, r"another data\.validation"),
        ({"inherit": "nowhere"}, "nowhere is no run"),
    ],
)
def test_what_cannot_be_inherited_is_named(
    searched: Path, changes: dict[str, object], problem: str
) -> None:
    config = tiny(**{"inherit": f"{searched}/seed3", **changes})
    with pytest.raises(PdnasError, match=problem):
        train_alone(config, CELL_CODES, 3)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"side": 3}, "side: 3 does not divide the 8 pixels"),
        ({"side": 2}, "halves images of 2 pixels"),
        ({"checkpoints": [13]}, "checkpoints"),
        ({"checkpoints": [6, 6]}, "checkpoints"),
        ({"validation": 0}, "checkpoints need validation images"),
        ({"batch": 301}, "batch"),
        ({"steps": 0}, "steps"),
        ({"kernels": "dirac"}, "kernels"),
        ({"stepz": 3}, "did you mean 'steps'"),
        ({"dataset": "imagenet"}, "dataset"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, object], problem: str) -> None:
    from pydantic import ValidationError

    from pdnas.spec.base import first_problem

    with pytest.raises(ValidationError) as error:
        tiny(**changes)
    assert problem in first_problem(error.value)
