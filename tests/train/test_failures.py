"""What goes wrong in a training is one clear line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pdnas.data.batches import Batch
from pdnas.nn.supernets.densenet import DenseNetSupernet
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.support.errors import PdnasError
from pdnas.train.checkpoint import Checkpoints

from .trainings import branches, fitted, images


def diverging(
    poison: Callable[[MultiBranchSupernet, Tensor], object],
    folder: Path | None = None,
    step: int = 2,
) -> str:
    """The message of a training of 3 epochs that is spoilt before a step of the second."""
    net, data = branches(width=4), images(0, batches=3)
    epoch = data.epoch

    def spoils(number: int, start: int) -> Iterator[Batch]:
        for done, (x, y) in enumerate(epoch(number, start), start=1):
            if (number, done) == (2, step):
                poison(net, x)
            yield x, y

    data.epoch = spoils  # type: ignore[method-assign]
    with pytest.raises(PdnasError) as raised:
        fitted(net, data, folder, epochs=3, learning_rate=0.1)
    return str(raised.value)


def test_a_loss_that_is_no_number_names_step_term_and_gate(tmp_path: Path) -> None:
    def gate(net: MultiBranchSupernet, x: Tensor) -> None:
        list(net.gated_layers().values())[3].gate.logit_p.data.fill_(math.nan)

    names = list(MultiBranchSupernet(4, 1, 1, 10).gated_layers())
    text = diverging(gate, tmp_path)
    assert "epoch 2, step 2: the loss became nan" in text
    assert f"{names[3]}.gate.logit_p is not finite" in text
    assert str(tmp_path / "run") in text
    (last,) = tmp_path.glob("run/*")
    assert last.name == "epoch-00001-step-0000000.safetensors"
    state = Checkpoints(tmp_path, "run").latest()
    assert state is not None
    assert all(torch.isfinite(value).all() for value in state["supernet"].values())


def test_images_that_are_no_numbers_are_traced_to_the_layer_that_reads_them() -> None:
    text = diverging(lambda net, x: x.fill_(math.inf))
    assert "first its term nll; stem computes what is not finite" in text


def test_a_state_that_is_spoilt_is_noticed_before_it_is_saved(tmp_path: Path) -> None:
    """The loss does not see running statistics; a checkpoint would keep them."""
    text = diverging(lambda net, x: net.stem_norm.running_var.fill_(math.nan), tmp_path, step=3)
    assert "epoch 2, step 3: stem_norm.running_var is not finite" in text
    (last,) = tmp_path.glob("run/*")
    assert last.name == "epoch-00001-step-0000000.safetensors"


def test_an_image_alone_that_has_shrunk_to_a_pixel_is_one_clear_line() -> None:
    net = DenseNetSupernet((1, 1), 2, 1, 10)  # the second block of 8x8 images has one pixel
    with pytest.raises(PdnasError, match="an image went through the network alone"):
        fitted(net, images(0), epochs=1, learning_rate=0.1, micro_batch=1)
    fitted(net, images(0), epochs=1, learning_rate=0.1, micro_batch=2)


def test_it_is_the_same_line_where_the_network_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torch raises another type there."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    net = DenseNetSupernet((1, 1), 2, 1, 10)
    with pytest.raises(PdnasError, match="an image went through the network alone"):
        fitted(net, images(0), epochs=1, learning_rate=0.1, micro_batch=1, compile=True)
