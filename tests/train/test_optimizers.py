"""Which optimizer moves what."""

from __future__ import annotations

import pytest
import torch

from pdnas.spec.gates import GateConfig
from pdnas.spec.training import TrainingConfig
from pdnas.train.optimizers import make_optimizers

from .trainings import BATCH, branches


@pytest.mark.parametrize("own_rate", [None, 0.03])
def test_who_optimises_what(own_rate: float | None) -> None:
    """The Gaussian prior stands for the weight decay of gated weights, and switches have none."""
    net = branches()
    training = TrainingConfig(
        epochs=1, batch=BATCH, learning_rate=0.1, momentum=0.8, weight_decay=0.01
    )
    gates = GateConfig(length_scale2=1, learning_rate=own_rate)
    sgd, *others = make_optimizers(net, training, gates)
    decay, settings = {}, set()
    for group in sgd.param_groups:
        settings.add((group["lr"], group["momentum"], group["nesterov"]))
        decay |= {id(parameter): group["weight_decay"] for parameter in group["params"]}
    assert settings == {(0.1, 0.8, True)}
    logits = {id(parameter) for parameter in net.distribution_parameters()}
    gated = {id(parameter) for parameter in net.gated_weights()}
    assert decay == {
        id(parameter): 0 if id(parameter) in gated | logits else 0.01
        for parameter in net.parameters()
        if own_rate is None or id(parameter) not in logits
    }
    found = [(type(each), each.param_groups[0]["lr"]) for each in others]
    assert found == ([] if own_rate is None else [(torch.optim.Adam, 0.03)])
    assert {id(p) for each in others for p in each.param_groups[0]["params"]} == (
        set() if own_rate is None else logits
    )
