"""The training loop: which images move what."""

import pytest
import torch
from torch import nn

from pdnas.config import Augmentation, GateConfig, TrainingConfig
from pdnas.data.images import INFO, ImageSet
from pdnas.data.loader import DeviceLoader
from pdnas.elbo import Objective
from pdnas.gates import GateSettings
from pdnas.supernets.multibranch import MultiBranchSupernet
from pdnas.train.checkpoint import Checkpoints
from pdnas.train.fit import fit

BATCH = 16
CPU = torch.device("cpu")


def images(seed, batches=1):
    generator = torch.Generator().manual_seed(seed)
    shape = (BATCH * batches, 1, 8, 8)
    pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, shape[:1], generator=generator)
    part = ImageSet(pixels, labels)
    plain = Augmentation(crop=0, flip=False, cutout=0)
    return DeviceLoader(part, INFO["digits"], BATCH, CPU, augmentation=plain, shuffle=True, seed=0)


def train(folder, loader, heldout=None, epochs=1, **gates):
    torch.manual_seed(0)
    net = MultiBranchSupernet(4, 1, 1, 10)
    settings = GateConfig(length_scale2=1, learning_rate=0.1, **gates)
    net.configure_gates(GateSettings(initial=0.3))
    fit(
        net,
        loader,
        TrainingConfig(epochs=epochs, batch=BATCH, learning_rate=0.1),
        settings,
        Objective(1, loader.examples),
        Checkpoints(folder, "run"),
        device=CPU,
        description="test",
        heldout=heldout and (heldout, Objective(1, heldout.examples)),
    )
    logits = torch.cat([p.detach() for p in net.distribution_parameters()])
    return nn.utils.parameters_to_vector(net.gated_weights()).detach(), logits


def test_held_out_images_move_the_switches_and_training_images_the_weights(tmp_path):
    """In each of two epochs one step of the weights, then one of the switches.

    Adam's first step has the size of its learning rate, and here the same direction whatever the
    images; so the second step of the weights does not yet tell the held-out images apart.
    """
    weights, logits = train(tmp_path / "a", images(0), images(1), epochs=2)
    other_heldout = train(tmp_path / "b", images(0), images(2), epochs=2)
    assert torch.equal(weights, other_heldout[0])
    assert not torch.equal(logits, other_heldout[1])
    other_training = train(tmp_path / "c", images(3), images(1), epochs=2)
    assert not torch.equal(weights, other_training[0])


def test_held_out_images_go_round_when_there_are_fewer_of_them(tmp_path):
    one = train(tmp_path / "a", images(0, batches=3), images(1))
    again = train(tmp_path / "b", images(0, batches=3), images(1))
    assert all(map(torch.equal, one, again))


def test_switches_stay_as_they_began_through_the_warm_up(tmp_path):
    begin = torch.logit(torch.tensor(0.3))
    for number, heldout in enumerate((None, images(1))):
        _, logits = train(tmp_path / f"{number}", images(0), heldout, epochs=2, warmup_epochs=2)
        torch.testing.assert_close(logits, begin.expand_as(logits))


def test_temperature_goes_to_its_end_in_equal_steps(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        MultiBranchSupernet, "set_temperature", lambda net, value: seen.append(value)
    )
    train(tmp_path, images(0), epochs=3, temperature=10, temperature_end=1)
    assert seen == pytest.approx([10, 5.5, 1])
