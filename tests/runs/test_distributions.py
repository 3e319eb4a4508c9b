"""Files of posteriors and candidates."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pdnas.runs.distributions import (
    load_candidates,
    load_posterior,
    save_candidates,
    save_posterior,
)
from pdnas.space.candidates import Candidates
from pdnas.space.cells import CELL, CellSpace
from pdnas.space.posterior import CategoricalPosterior, ChannelPosterior
from pdnas.support.errors import PdnasError
from pdnas.support.files import write_tensors

THREE = CellSpace(("none", "skip_connect", "nor_conv_3x3"))


def channels(first: Sequence[float] = (0.3, 0.8)) -> ChannelPosterior:
    return ChannelPosterior(
        {"a": torch.tensor(first), "b.conv": torch.tensor([0.5])},
        {"a": torch.tensor([2, 1]), "b.conv": torch.tensor([2])},
    )


def cell_posterior(shape: tuple[int, ...] = (6, 3)) -> CategoricalPosterior:
    options = len(THREE.operations)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(options), shape[:-1])
    return CategoricalPosterior(torch.from_numpy(probabilities), THREE)


def test_channel_posterior_round_trip(tmp_path: Path) -> None:
    q = channels([0.0, 1 / 3])
    save_posterior(tmp_path / "q.safetensors", q, {"seed": 3})
    back = load_posterior(tmp_path / "q.safetensors")
    assert isinstance(back, ChannelPosterior)
    assert list(back.drop) == ["a", "b.conv"]
    for name in q.drop:
        assert torch.equal(back.drop[name], q.drop[name])
        assert torch.equal(back.group_sizes[name], q.group_sizes[name])
    same = back.sample(20, seed=9)
    assert torch.equal(same.choices["a"], q.sample(20, seed=9).choices["a"])


def test_gate_order_survives_a_round_trip(tmp_path: Path) -> None:
    gates = ["z", "a", "m"]
    q = ChannelPosterior(
        {name: torch.tensor([0.5]) for name in gates},
        {name: torch.tensor([3]) for name in gates},
    )
    save_posterior(tmp_path / "q.safetensors", q, {})
    back = load_posterior(tmp_path / "q.safetensors")
    for name in gates:  # the draw depends on the order
        assert torch.equal(back.sample(8, 0).choices[name], q.sample(8, 0).choices[name])


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 3)], ids=["independent", "chain"])
def test_cell_posterior_round_trip(tmp_path: Path, shape: tuple[int, ...]) -> None:
    q = cell_posterior(shape)
    save_posterior(tmp_path / "q.safetensors", q, {})
    back = load_posterior(tmp_path / "q.safetensors")
    assert isinstance(back, CategoricalPosterior)
    assert back.space == THREE
    np.testing.assert_allclose(back.conditionals, q.conditionals, rtol=1e-15)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 17])
def test_candidates_round_trip_with_odd_widths(tmp_path: Path, width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    masks = {
        "z": torch.rand(5, width, generator=generator) < 0.5,
        "a": torch.rand(5, 3, generator=generator) < 0.5,
    }
    save_candidates(tmp_path / "c.safetensors", Candidates(masks), {"seed": 4})
    back, metadata = load_candidates(tmp_path / "c.safetensors")
    assert metadata["seed"] == 4
    assert set(back.choices) == set(masks)
    for name, rows in masks.items():
        assert back.choices[name].dtype == torch.bool
        assert torch.equal(back.choices[name], rows)
        assert torch.equal(back[2][name], rows[2])


def test_cell_candidates_round_trip(tmp_path: Path) -> None:
    drawn = cell_posterior().sample(11, seed=0)
    save_candidates(tmp_path / "c.safetensors", drawn, {})
    back, _ = load_candidates(tmp_path / "c.safetensors")
    assert back.choices[CELL].dtype == torch.int8
    assert torch.equal(back.choices[CELL], drawn.choices[CELL])


@pytest.mark.parametrize("what", ["candidates", "posterior"])
def test_the_other_kind_of_file_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.safetensors"
    if what == "candidates":
        save_posterior(path, channels(), {})
        with pytest.raises(PdnasError, match="holds no candidates"):
            load_candidates(path)
    else:
        save_candidates(path, channels().sample(2, 0), {})
        with pytest.raises(PdnasError, match="is no posterior"):
            load_posterior(path)


def test_a_file_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x", {"t": torch.zeros(1)}, {"kind": "else"})
    with pytest.raises(PdnasError, match="is no posterior"):
        load_posterior(tmp_path / "x")
