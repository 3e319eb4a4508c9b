"""The training loop: which images move what, what it resumes from, auxiliary head, compiler."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import lookup_backend

from pdnas.data.batches import Batch
from pdnas.data.memory import DeviceLoader
from pdnas.nn.gates import GatedConv2d, GatedLinear, GateSettings
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import ChannelSupernet
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.sizes import SizeSupernet
from pdnas.space.cells import CellSpace
from pdnas.spec.gates import GateConfig
from pdnas.spec.names import Estimator
from pdnas.spec.training import TrainingConfig
from pdnas.support.errors import Unfinished
from pdnas.train import checkpoint
from pdnas.train.checkpoint import Checkpoints
from pdnas.train.fit import Session, TrainingData, fit
from pdnas.train.state import History

from .trainings import BATCH, ENAS, branches, colour_images, enas, fitted, images, same_state, train


def test_held_out_images_move_the_switches_and_training_images_the_weights(tmp_path: Path) -> None:
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


def test_held_out_images_go_round_when_there_are_fewer_of_them(tmp_path: Path) -> None:
    one = train(tmp_path / "a", images(0, batches=3), images(1))
    again = train(tmp_path / "b", images(0, batches=3), images(1))
    assert all(map(torch.equal, one[:2], again[:2]))


def test_switches_stay_as_they_began_through_the_warm_up(tmp_path: Path) -> None:
    begin = torch.logit(torch.tensor(0.3))
    for number, heldout in enumerate((None, images(1))):
        _, logits, _ = train(tmp_path / f"{number}", images(0), heldout, epochs=2, warmup_epochs=2)
        torch.testing.assert_close(logits, begin.expand_as(logits))


def test_a_killed_training_with_head_drop_path_and_restarts_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = enas()
    fitted(whole, colour_images(), **ENAS)
    data = colour_images()
    epoch = data.epoch

    def dies(number: int, start: int) -> Iterator[Batch]:
        if number == 3:
            raise KeyboardInterrupt
        return epoch(number, start)

    monkeypatch.setattr(data, "epoch", dies)
    with pytest.raises(KeyboardInterrupt):
        fitted(enas(), data, tmp_path, **ENAS)
    resumed = enas()
    fitted(resumed, colour_images(), tmp_path, **ENAS)
    assert same_state(whole, resumed)


@pytest.mark.parametrize("schedule", ["cosine", {"name": "steps", "milestones": [1]}])
def test_a_training_killed_within_an_epoch_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str | dict[str, Any]
) -> None:
    """With held-out images for the switches, of which an epoch uses more than there are."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0)  # a checkpoint after every step
    whole = train(None, images(0, batches=5), images(1, batches=2), epochs=2, schedule=schedule)
    data = images(0, batches=5)
    epoch = data.epoch

    def dies(number: int, start: int) -> Iterator[Batch]:
        for done, batch in enumerate(epoch(number, start)):
            if (number, done) == (2, 3):
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(data, "epoch", dies)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, data, images(1, batches=2), epochs=2, schedule=schedule)
    last = max(tmp_path.glob("run/*"))
    assert last.name == "epoch-00001-step-0000003.safetensors"
    begun = []

    def begins(number: int, start: int) -> Iterator[Batch]:
        begun.append((number, start))
        return epoch(number, start)

    monkeypatch.setattr(data, "epoch", begins)
    resumed = train(tmp_path, data, images(1, batches=2), epochs=2, schedule=schedule)
    assert begun == [(2, 3)]
    assert all(map(torch.equal, whole[:2], resumed[:2]))
    timing = ("seconds", "images_per_second")
    for one, other in zip(whole[2], resumed[2], strict=True):
        assert {k: one[k] for k in one if k not in timing} == {
            k: other[k] for k in other if k not in timing
        }


def test_a_training_that_stops_in_time_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    settings = {"epochs": 3, "learning_rate": 0.1}
    whole = branches()
    fitted(whole, images(0), tmp_path / "a", deadline=time.monotonic() + 3600, **settings)
    for epoch in (1, 2):  # the time is up at once, but each call gets on by an epoch
        with pytest.raises(Unfinished, match=f"stopped after epoch {epoch}/3"):
            fitted(branches(), images(0), tmp_path / "b", deadline=time.monotonic(), **settings)
    resumed = branches()
    done = fitted(resumed, images(0), tmp_path / "b", deadline=time.monotonic(), **settings)
    assert [row["epoch"] for row in done.history] == [1, 2, 3]
    assert same_state(whole, resumed)


def test_the_next_epoch_takes_as_long_as_all_of_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as long as what was left of it when a killed training went on."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0)  # a checkpoint after every step
    settings = {"epochs": 2, "learning_rate": 0.1}

    class Killed(Checkpoints):
        def save(self, epoch: int, step: int, state: Mapping[str, Any]) -> None:
            spent = state["epoch"] | {"seconds": 1000.0}
            super().save(epoch, step, {**state, "epoch": spent})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(branches(), images(0, batches=2), tmp_path, checkpoints=Killed, **settings)
    in_time = time.monotonic() + 500  # for a step, but not for an epoch
    with pytest.raises(Unfinished, match="stopped after epoch 1/2"):
        fitted(branches(), images(0, batches=2), tmp_path, deadline=in_time, **settings)


@pytest.mark.parametrize("estimator", ["straight-through", "relaxed", "score"])
@pytest.mark.parametrize("noise", ["image", "batch", 2])
def test_cells_train_in_bfloat16(
    estimator: Estimator, noise: Literal["image", "batch"] | int
) -> None:
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


def test_the_screen_shows_the_cross_entropy_and_not_the_whole_objective(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (row,) = fitted(branches(), images(0), epochs=1, learning_rate=0.1).history
    said = capsys.readouterr().err
    assert f"{row['loss']:.3f}" != f"{row['nll']:.3f}"
    assert f"nll {row['nll']:.3f} " in said
    assert "loss" not in said


def test_the_auxiliary_head_adds_its_weighted_loss_and_learns() -> None:
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


@pytest.mark.parametrize("size_prior", [0.0, 5.0])
def test_a_prior_on_the_size_is_a_term_of_the_loss_and_drops_channels(size_prior: float) -> None:
    torch.manual_seed(0)
    net = SizeSupernet([8] * 5, 1, 10)
    gates = GateConfig(length_scale2=0, size_prior=size_prior, learning_rate=0.1)
    net.configure_gates(GateSettings.of(gates))
    begun = float(net.expected_size().detach())
    data = TrainingData(images(0, batches=4), Objective.of(gates, 4 * BATCH))
    training = TrainingConfig(epochs=3, batch=BATCH, learning_rate=0.01)
    history = fit(net, data, training, gates).history
    terms = ("nll", "prior_term", "size_term", "entropy_term", "auxiliary_term")
    for row in history:
        assert row["loss"] == pytest.approx(sum(row[term] for term in terms), rel=1e-6)
    if not size_prior:
        assert [row["size_term"] for row in history] == [0, 0, 0]
        return
    of_epochs = [row["size_term"] * 100_000 / size_prior for row in history]
    assert begun > of_epochs[0] > of_epochs[1] > of_epochs[2] > float(net.expected_size().detach())
    assert of_epochs[0] == pytest.approx(begun, rel=0.2)


def sized(folder: Path | None, data: DeviceLoader, target: int) -> tuple[SizeSupernet, History]:
    """A search with a target for its size, which warms up for an epoch of four."""
    torch.manual_seed(0)
    net = SizeSupernet([8] * 5, 1, 10)
    settings = {"length_scale2": 0, "learning_rate": 0.05, "warmup_epochs": 1}
    # So few examples that the entropy, at its highest where half is dropped, resists the price.
    gates = GateConfig(size_target=target, examples=40, **settings)
    net.configure_gates(GateSettings.of(gates))
    training = TrainingConfig(epochs=4, batch=BATCH, learning_rate=0.01)
    checkpoints = Checkpoints(folder / "run", "one") if folder else None
    objective = Objective.of(gates, len(data) * BATCH)
    session = Session(checkpoints=checkpoints)
    return net, fit(net, TrainingData(data, objective), training, gates, session).history


def test_a_target_for_the_size_is_met() -> None:
    for target in (1500, 2000):
        net, history = sized(None, images(0, batches=40), target)
        assert float(net.expected_size().detach()) == pytest.approx(target, rel=0.05)
        prices = [row["size_prior"] for row in history]
        assert prices[0] == 0, "in the warm-up"
        assert prices[-1] > 0
        assert history[0]["size_term"] == 0 < history[-1]["size_term"]


def test_a_killed_search_for_a_size_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0)  # a checkpoint after every step
    whole, _ = sized(None, images(0, batches=5), 4000)
    data = images(0, batches=5)
    epoch = data.epoch

    def dies(number: int, start: int) -> Iterator[Batch]:
        for done, batch in enumerate(epoch(number, start)):
            if (number, done) == (3, 3):
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(data, "epoch", dies)
    with pytest.raises(KeyboardInterrupt):
        sized(tmp_path, data, 4000)
    resumed, _ = sized(tmp_path, images(0, batches=5), 4000)
    assert same_state(whole, resumed)


class Small(ChannelSupernet):
    """Compiled in a second."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.body = GatedConv2d(4, 4, 3, padding=1, relu=True)
        self.norm = nn.BatchNorm2d(4)
        self.classifier = GatedLinear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        self.draw_switches(x)
        return self.classifier(self.norm(self.body(self.stem(x))).mean(dim=(2, 3)))


def test_a_compiled_network_moves_its_switches_after_the_warm_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the likelihood alone (l² is 0 and N very large), and as a plain network does."""
    compiler, graphs = torch.compile, []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return lookup_backend("aot_eager")(graph, inputs)

    monkeypatch.setattr(torch, "compile", lambda network: compiler(network, backend=backend))
    trajectories = []
    for compiled in (False, True):
        torch.compiler.reset()
        torch.manual_seed(0)
        net = Small()
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
