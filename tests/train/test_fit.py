"""The training loop: which images move what, schedules, auxiliary head and drop-path."""

import math
import time

import pytest
import torch
from torch import nn

from pdnas.config import Augmentation, GateConfig, TrainingConfig
from pdnas.data.images import INFO, ImageSet
from pdnas.data.loader import DeviceLoader
from pdnas.elbo import Objective
from pdnas.errors import Unfinished
from pdnas.gates import GateSettings
from pdnas.supernets.enas import EnasSupernet
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
    return loader(pixels, labels, "digits")


def loader(pixels, labels, name):
    part = ImageSet(pixels, labels)
    plain = Augmentation(crop=0, flip=False, cutout=0)
    return DeviceLoader(part, INFO[name], BATCH, CPU, augmentation=plain, shuffle=True, seed=0)


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

    Adam's first step has the size of its learning rate but for rounding, and here the same direction
    whatever the images; so the second step of the weights does not tell the held-out images apart.
    """
    weights, logits = train(tmp_path / "a", images(0), images(1), epochs=2)
    other_heldout = train(tmp_path / "b", images(0), images(2), epochs=2)
    torch.testing.assert_close(weights, other_heldout[0])
    assert not torch.allclose(logits, other_heldout[1])
    other_training = train(tmp_path / "c", images(3), images(1), epochs=2)
    assert not torch.allclose(weights, other_training[0], atol=1e-3)


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


def fitted(net, images, folder=None, deadline=None, checkpoints=Checkpoints, **training):
    """Train with settings of ``training``; the seed is the same each time."""
    torch.manual_seed(0)
    return fit(
        net,
        images,
        TrainingConfig(batch=BATCH, **training),
        GateConfig(length_scale2=1),
        Objective(1, images.examples),
        folder and checkpoints(folder, "run"),
        device=CPU,
        description="test",
        deadline=deadline,
    )


def cosine(share, low=0.0):
    return low + (0.1 - low) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.1] * 6),
        ("cosine", [cosine(epoch / 6) for epoch in range(6)]),
        (
            {"name": "steps", "milestones": [1, 4], "factor": 0.2},
            [0.1, 0.02, 0.02, 0.02, 0.004, 0.004],
        ),
        (
            {"name": "warm-restarts", "period": 2, "growth": 2, "minimum": 0.01},
            [cosine(share, 0.01) for share in (0, 1 / 2, 0, 1 / 4, 2 / 4, 3 / 4)],
        ),
    ],
)
def test_the_learning_rate_of_each_epoch(schedule, expected):
    net = MultiBranchSupernet(2, 1, 1, 10)
    settings = {"epochs": 6, "learning_rate": 0.1, "schedule": schedule}
    done = fitted(net, images(0, batches=2), **settings)
    assert [row["learning_rate"] for row in done.history] == pytest.approx(expected)


ENAS = {
    "epochs": 3,
    "learning_rate": 0.05,
    "auxiliary_weight": 0.4,
    "drop_path": 0.4,
    "schedule": {"name": "warm-restarts", "period": 1},
}
"""How SupNet-E is trained."""


def enas():
    torch.manual_seed(0)
    net = EnasSupernet(layers=3, filters=2, in_channels=3, classes=10)
    net.configure_gates(GateSettings(initial=0.3))
    return net


def colour_images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (BATCH, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (BATCH,), generator=generator)
    return loader(pixels, labels, "cifar10")


def test_a_killed_training_with_head_drop_path_and_restarts_ends_with_the_same_bits(tmp_path):
    def kill(number):
        raise KeyboardInterrupt

    whole = enas()
    fitted(whole, colour_images(), **ENAS)
    data = colour_images()
    epoch = data.epoch
    data.epoch = lambda number: epoch(number) if number < 3 else kill(number)
    with pytest.raises(KeyboardInterrupt):
        fitted(enas(), data, tmp_path, **ENAS)
    resumed = enas()
    fitted(resumed, colour_images(), tmp_path, **ENAS)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_training_that_stops_in_time_goes_on_to_the_same_bits(tmp_path):
    whole = enas()
    fitted(whole, colour_images(), **ENAS)
    for epoch in (1, 2):  # the time is up at once, but each call gets on by an epoch
        with pytest.raises(Unfinished, match=f"stopped after epoch {epoch}/3"):
            fitted(enas(), colour_images(), tmp_path, deadline=time.monotonic(), **ENAS)
    resumed = enas()
    done = fitted(resumed, colour_images(), tmp_path, deadline=time.monotonic(), **ENAS)
    assert [row["epoch"] for row in done.history] == [1, 2, 3]
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_training_with_time_enough_does_not_stop(tmp_path):
    fitted(enas(), colour_images(), tmp_path, deadline=time.monotonic() + 3600, **ENAS)


def test_checkpoints_that_take_long_are_few(tmp_path):
    """The first epoch's, to have one, and the last one's; in between there is no time for them."""
    saved = []

    class Slow(Checkpoints):
        def save(self, epoch, state):
            super().save(epoch, state)
            saved.append(epoch)
            time.sleep(0.3)

    net = MultiBranchSupernet(2, 1, 1, 10)
    fitted(net, images(0), tmp_path, checkpoints=Slow, epochs=6, learning_rate=0.1)
    assert saved == [1, 6]


def test_the_auxiliary_head_adds_its_weighted_loss_and_learns():
    """Of a weight of 0, the head neither runs nor counts."""
    settings = {**ENAS, "epochs": 1, "drop_path": 0}
    rows, moved = [], []
    for weight in (0, 0.4, 0.8):
        net = enas()
        before = net.auxiliary[2].weight.detach().clone()
        (row,) = fitted(net, colour_images(), **{**settings, "auxiliary_weight": weight}).history
        terms = ("nll", "prior_term", "entropy_term", "auxiliary_term")
        assert row["loss"] == pytest.approx(sum(row[term] for term in terms), rel=1e-6)
        rows.append(row)
        moved.append(not torch.equal(net.auxiliary[2].weight, before))
    assert moved == [False, True, True]
    assert rows[0]["auxiliary_term"] == 0
    assert rows[2]["auxiliary_term"] == pytest.approx(2 * rows[1]["auxiliary_term"])
    assert rows[1]["auxiliary_term"] > 0.4
    assert len({row["nll"] for row in rows}) == 1  # before the first step nothing differs yet


def test_drop_path_grows_to_its_full_value(monkeypatch):
    seen = []
    original = EnasSupernet.set_drop_path
    monkeypatch.setattr(
        EnasSupernet, "set_drop_path", lambda net, p: (seen.append(p), original(net, p))
    )
    fitted(enas(), colour_images(), **ENAS)
    assert seen == pytest.approx([0.4 / 3, 0.8 / 3, 0.4, 0])  # none after training
