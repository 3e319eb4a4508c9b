"""What the tests of supernets share."""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pdnas.nn.gates import GateSettings
from pdnas.nn.objective import Objective
from pdnas.nn.supernets.base import ChannelSupernet

Network = TypeVar("Network", bound=nn.Module)


def randomised(net: Network) -> Network:
    """In float64, with drop probabilities and BatchNorm values that are not those of a new one."""
    torch.manual_seed(1)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                for positive in (module.running_var, module.weight):
                    positive.uniform_(0.5, 1.5)
                for real in (module.running_mean, module.bias):
                    real.normal_()
        for name, parameter in net.named_parameters():
            if name.endswith("logit_p"):
                parameter.normal_()
    return net.double()


def assert_a_training_step_moves_everything(net: ChannelSupernet, length_scale2: float) -> None:
    """``net``: a supernet in float32, for colour images of 64 pixels and 7 classes."""
    net.configure_gates(GateSettings())
    net.train()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    logits = net(torch.randn(4, 3, 64, 64))
    nll = F.cross_entropy(logits, torch.tensor([0, 3, 6, 1]), reduction="none")
    Objective(length_scale2=length_scale2, examples=1000)(nll, net).loss.backward()
    optimiser.step()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter).all()
        assert not torch.equal(parameter, before[name]), name


def assert_a_candidate_is_the_network_without_the_dropped_slices(net: ChannelSupernet) -> None:
    """``net``: a supernet in float64 and evaluation mode, for colour images of 64 pixels."""
    choice = net.posterior().sample(1, seed=0)[0]
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with net.candidate(choice), torch.no_grad():
        found = net(x)
    removed = 0
    with torch.no_grad():
        for name, layer in net.gated_layers().items():
            removed += layer.weight[:, ~choice[name]].numel()
            layer.weight[:, ~choice[name]] = 0
        torch.testing.assert_close(found, net(x))
    assert net.candidate_parameters(choice) == net.parameter_count() - removed


def drop_layers(net: ChannelSupernet, ending: str) -> tuple[dict[str, Tensor], Tensor]:
    """Drop every gated layer whose name ends so.

    Args:
        net: a supernet in float64, for colour images of 64 pixels.

    Returns:
        the choice, and its logits in evaluation and in training, (2, images, classes).
    """
    choice = {
        name: torch.full((layer.gate.channels,), not name.endswith(ending))
        for name, layer in net.gated_layers().items()
    }
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    logits = []
    for training in (False, True):
        with net.train(training).candidate(choice):
            logits.append(net(x))
    return choice, torch.stack(logits)
