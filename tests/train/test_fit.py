"""The training loop: which images move what, schedules, auxiliary head and drop-path."""

import math
import time

import pytest
import torch
from torch import nn
from torch._dynamo import lookup_backend

from pdnas.data.dataset import ImageSet
from pdnas.data.memory import DeviceLoader
from pdnas.data.sets import INFO
from pdnas.nn.gates import GateSettings
from pdnas.nn.objective import Objective
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.densenet import DenseNetSupernet
from pdnas.nn.supernets.enas import EnasSupernet
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.space.cells import CellSpace
from pdnas.spec.data import Augmentation
from pdnas.spec.gates import GateConfig
from pdnas.spec.training import TrainingConfig
from pdnas.support.errors import PdnasError, Unfinished
from pdnas.train import checkpoint
from pdnas.train.checkpoint import Checkpoints
from pdnas.train.fit import Session, TrainingData, fit
from pdnas.train.optimizers import make_optimizers

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


def train(folder, loader, heldout=None, epochs=1, schedule="cosine", **gates):
    """The gated weights, the logits and the history after a training."""
    torch.manual_seed(0)
    net = MultiBranchSupernet(4, 1, 1, 10)
    settings = GateConfig(length_scale2=1, learning_rate=0.1, **gates)
    net.configure_gates(GateSettings(initial=0.3))
    done = fit(
        net,
        TrainingData(
            loader,
            Objective(1, loader.examples),
            heldout and TrainingData(heldout, Objective(1, heldout.examples)),
        ),
        TrainingConfig(epochs=epochs, batch=BATCH, learning_rate=0.1, schedule=schedule),
        settings,
        Session(checkpoints=folder and Checkpoints(folder, "run")),
    )
    logits = torch.cat([p.detach() for p in net.distribution_parameters()])
    return nn.utils.parameters_to_vector(net.gated_weights()).detach(), logits, done.history


def test_held_out_images_move_the_switches_and_training_images_the_weights(tmp_path):
    """In each of two epochs one step of the weights, then one of the switches.

    Adam's first step has the size of its learning rate but for rounding, and here the same
    direction whatever the images; so the second step of the weights does not tell the held-out
    images apart.
    """
    weights, logits, _ = train(tmp_path / "a", images(0), images(1), epochs=2)
    other_heldout = train(tmp_path / "b", images(0), images(2), epochs=2)
    torch.testing.assert_close(weights, other_heldout[0])
    assert not torch.allclose(logits, other_heldout[1])
    other_training = train(tmp_path / "c", images(3), images(1), epochs=2)
    assert not torch.allclose(weights, other_training[0], atol=1e-3)


def test_held_out_images_go_round_when_there_are_fewer_of_them(tmp_path):
    one = train(tmp_path / "a", images(0, batches=3), images(1))
    again = train(tmp_path / "b", images(0, batches=3), images(1))
    assert all(map(torch.equal, one[:2], again[:2]))


def test_switches_stay_as_they_began_through_the_warm_up(tmp_path):
    begin = torch.logit(torch.tensor(0.3))
    for number, heldout in enumerate((None, images(1))):
        _, logits, _ = train(tmp_path / f"{number}", images(0), heldout, epochs=2, warmup_epochs=2)
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
        TrainingData(images, Objective(1, images.examples)),
        TrainingConfig(batch=BATCH, **training),
        GateConfig(length_scale2=1),
        Session("test", folder and checkpoints(folder, "run"), deadline=deadline),
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


def branches():
    torch.manual_seed(0)
    net = MultiBranchSupernet(2, 1, 1, 10)
    net.configure_gates(GateSettings(initial=0.3))
    return net


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
    data.epoch = lambda number, start: epoch(number) if number < 3 else kill(number)
    with pytest.raises(KeyboardInterrupt):
        fitted(enas(), data, tmp_path, **ENAS)
    resumed = enas()
    fitted(resumed, colour_images(), tmp_path, **ENAS)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


@pytest.mark.parametrize("schedule", ["cosine", {"name": "steps", "milestones": [1]}])
def test_a_training_killed_within_an_epoch_ends_with_the_same_bits(tmp_path, monkeypatch, schedule):
    """With held-out images for the switches, of which an epoch uses more than there are."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0)  # a checkpoint after every step
    whole = train(None, images(0, batches=5), images(1, batches=2), epochs=2, schedule=schedule)
    data = images(0, batches=5)
    epoch = data.epoch

    def dies(number, start):
        for done, batch in enumerate(epoch(number, start)):
            if (number, done) == (2, 3):
                raise KeyboardInterrupt
            yield batch

    data.epoch = dies
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, data, images(1, batches=2), epochs=2, schedule=schedule)
    last = max(tmp_path.glob("run/*"))
    assert last.name == "epoch-00001-step-0000003.safetensors"
    begun = []
    data.epoch = lambda number, start: (begun.append((number, start)), epoch(number, start))[1]
    resumed = train(tmp_path, data, images(1, batches=2), epochs=2, schedule=schedule)
    assert begun == [(2, 3)]
    assert all(map(torch.equal, whole[:2], resumed[:2]))
    timing = ("seconds", "images_per_second")
    for one, other in zip(whole[2], resumed[2], strict=True):
        assert {k: one[k] for k in one if k not in timing} == {
            k: other[k] for k in other if k not in timing
        }


def diverging(poison, folder=None, step=2):
    """The message of a training of 3 epochs that is spoilt before a step of the second."""
    net, data = MultiBranchSupernet(4, 1, 1, 10), images(0, batches=3)
    net.configure_gates(GateSettings(initial=0.3))
    epoch = data.epoch

    def spoils(number, start):
        for done, (x, y) in enumerate(epoch(number, start), start=1):
            if (number, done) == (2, step):
                poison(net, x)
            yield x, y

    data.epoch = spoils
    with pytest.raises(PdnasError) as raised:
        fitted(net, data, folder, epochs=3, learning_rate=0.1)
    return str(raised.value)


def test_a_loss_that_is_no_number_names_step_term_and_gate(tmp_path):
    def gate(net, x):
        list(net.gated_layers().values())[3].gate.logit_p.data.fill_(math.nan)

    names = list(MultiBranchSupernet(4, 1, 1, 10).gated_layers())
    text = diverging(gate, tmp_path)
    assert "epoch 2, step 2: the loss became nan" in text
    assert f"{names[3]}.gate.logit_p is not finite" in text
    assert str(tmp_path / "run") in text
    (last,) = tmp_path.glob("run/*")
    assert last.name == "epoch-00001-step-0000000.safetensors"
    state = Checkpoints(tmp_path, "run").latest()["supernet"]
    assert all(torch.isfinite(value).all() for value in state.values())


def test_images_that_are_no_numbers_are_traced_to_the_layer_that_reads_them():
    text = diverging(lambda net, x: x.fill_(math.inf))
    assert "first its term nll; stem computes what is not finite" in text


def test_a_state_that_is_spoilt_is_noticed_before_it_is_saved(tmp_path):
    """The loss does not see running statistics; a checkpoint would keep them."""
    text = diverging(lambda net, x: net.stem_norm.running_var.fill_(math.nan), tmp_path, step=3)
    assert "epoch 2, step 3: stem_norm.running_var is not finite" in text
    (last,) = tmp_path.glob("run/*")
    assert last.name == "epoch-00001-step-0000000.safetensors"


@pytest.mark.parametrize("estimator", ["straight-through", "relaxed", "score"])
@pytest.mark.parametrize("noise", ["image", "batch", 2])
def test_cells_train_in_bfloat16(estimator, noise):
    """Two epochs, the second of which moves the distribution, unless there is nothing to compare.

    Weights and logits stay in float32.
    """
    torch.manual_seed(0)
    net = NasBench201Supernet(4, 1, CellSpace(), in_channels=3, classes=10)
    settings = {"learning_rate": 0.1, "estimator": estimator, "noise": noise}
    gates = GateConfig(length_scale2=1, warmup_epochs=1, **settings)
    net.configure_gates(GateSettings(estimator=estimator, masks_per_batch=gates.masks_per_batch))
    computed = set()
    net.stem[0].register_forward_hook(lambda module, x, out: computed.add(out.dtype))
    torch.manual_seed(0)
    done = fit(
        net,
        TrainingData(colour_images(), Objective(1, BATCH)),
        TrainingConfig(epochs=2, batch=BATCH, learning_rate=0.1, precision="bfloat16"),
        gates,
    )
    assert computed == {torch.bfloat16}
    assert all(math.isfinite(row["loss"]) for row in done.history)
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    moved = not torch.equal(done.trajectory[1], done.trajectory[2])
    assert moved or (estimator, noise) == ("score", "batch")


def test_a_training_that_stops_in_time_goes_on_to_the_same_bits(tmp_path):
    settings = {"epochs": 3, "learning_rate": 0.1}
    whole = branches()
    fitted(whole, images(0), tmp_path / "a", deadline=time.monotonic() + 3600, **settings)
    for epoch in (1, 2):  # the time is up at once, but each call gets on by an epoch
        with pytest.raises(Unfinished, match=f"stopped after epoch {epoch}/3"):
            fitted(branches(), images(0), tmp_path / "b", deadline=time.monotonic(), **settings)
    resumed = branches()
    done = fitted(resumed, images(0), tmp_path / "b", deadline=time.monotonic(), **settings)
    assert [row["epoch"] for row in done.history] == [1, 2, 3]
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_the_next_epoch_takes_as_long_as_all_of_the_last_one(tmp_path, monkeypatch):
    """Not as long as what was left of it when a killed training went on."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0)  # a checkpoint after every step
    settings = {"epochs": 2, "learning_rate": 0.1}

    class Killed(Checkpoints):
        def save(self, epoch, step, state):
            super().save(epoch, step, state | {"epoch": state["epoch"] | {"seconds": 1000.0}})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(branches(), images(0, batches=2), tmp_path, checkpoints=Killed, **settings)
    in_time = time.monotonic() + 500  # for a step, but not for an epoch
    with pytest.raises(Unfinished, match="stopped after epoch 1/2"):
        fitted(branches(), images(0, batches=2), tmp_path, deadline=in_time, **settings)


def test_checkpoints_that_take_long_are_few(tmp_path):
    """The first epoch's, to have one, and the last one's; in between there is no time for them."""
    saved = []

    class Slow(Checkpoints):
        def save(self, epoch, step, state):
            super().save(epoch, step, state)
            saved.append(epoch)
            time.sleep(0.3)

    fitted(branches(), images(0), tmp_path, checkpoints=Slow, epochs=6, learning_rate=0.1)
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


@pytest.mark.parametrize("own_rate", [None, 0.03])
def test_who_optimises_what(own_rate):
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


def test_a_compiled_network_moves_its_switches_after_the_warm_up(monkeypatch):
    """By the likelihood alone (l² is 0 and N very large), and as a plain network does."""
    compiler, graphs = torch.compile, []

    def backend(graph, inputs):
        graphs.append(graph)
        return lookup_backend("aot_eager")(graph, inputs)

    monkeypatch.setattr(torch, "compile", lambda network: compiler(network, backend=backend))
    trajectories = []
    for compiled in (False, True):
        torch.compiler.reset()
        torch.manual_seed(0)
        net = MultiBranchSupernet(2, 1, 1, 10)
        net.configure_gates(GateSettings(initial=0.3, temperature=1))
        done = fit(
            net,
            TrainingData(images(0, batches=2), Objective(0, 10**9)),
            TrainingConfig(epochs=3, batch=BATCH, learning_rate=0.1, compile=compiled),
            GateConfig(length_scale2=0, warmup_epochs=1),
        )
        trajectories.append(done.trajectory)
        assert bool(graphs) == compiled
    plain, compiled = trajectories
    assert torch.equal(plain[0], plain[1])
    assert (plain[3] - plain[1]).abs().max() > 1e-4
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-6)


def test_an_image_alone_that_has_shrunk_to_a_pixel_is_one_clear_line():
    net = DenseNetSupernet((1, 1), 2, 1, 10)  # the second block of 8x8 images has one pixel
    with pytest.raises(PdnasError, match="an image went through the network alone"):
        fitted(net, images(0), epochs=1, learning_rate=0.1, micro_batch=1)
    fitted(net, images(0), epochs=1, learning_rate=0.1, micro_batch=2)
