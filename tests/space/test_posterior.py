"""Posteriors against enumeration and scipy."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from pdnas.space.candidates import Candidates
from pdnas.space.cells import CELL, CellSpace
from pdnas.space.posterior import CategoricalPosterior, ChannelPosterior, Posterior
from pdnas.support.errors import PdnasError

THREE = CellSpace(("none", "skip_connect", "nor_conv_3x3"))


def channels(**drop: list[float]) -> ChannelPosterior:
    rates = {"a": [0.3, 0.8], "b.conv": [0.5]} | drop
    return ChannelPosterior(
        {name: torch.tensor(p) for name, p in rates.items()},
        {"a": torch.tensor([2, 1]), "b.conv": torch.tensor([2])},
    )


def every_mask() -> Candidates:
    masks = torch.tensor(list(itertools.product([False, True], repeat=5)))
    return Candidates({"a": masks[:, :3], "b.conv": masks[:, 3:]})


def test_candidates_are_shown_in_a_line() -> None:
    assert repr(every_mask()) == "<32 candidates: a, b.conv>"


def cell_posterior(space: CellSpace = THREE, seed: int = 0) -> CategoricalPosterior:
    rng = np.random.default_rng(seed)
    return CategoricalPosterior(
        torch.from_numpy(rng.dirichlet(np.ones(len(space.operations)), 6)), space
    )


def test_channel_probabilities_by_enumeration() -> None:
    q = channels()
    log_q = q.log_probability(every_mask())
    assert np.exp(log_q).sum() == pytest.approx(1, rel=1e-12)
    assert q.entropy() == pytest.approx(-(np.exp(log_q) * log_q).sum(), rel=1e-6)
    keep = np.array([0.7, 0.7, 0.2, 0.5, 0.5])
    masks = np.hstack([every_mask().choices["a"], every_mask().choices["b.conv"]])
    expected = scipy.stats.bernoulli.logpmf(masks, keep).sum(axis=1)
    np.testing.assert_allclose(log_q, expected, rtol=1e-6)


def test_channel_frequencies_follow_the_marginals() -> None:
    q, n = channels(), 40_000
    drawn = q.sample(n, seed=3)
    masks = np.hstack([drawn.choices["a"], drawn.choices["b.conv"]])
    np.testing.assert_allclose(masks.mean(axis=0), [0.7, 0.7, 0.2, 0.5, 0.5], atol=0.01)
    # Independent, within a group too: the joint frequencies are those of the product.
    observed = np.bincount(masks @ (2 ** np.arange(4, -1, -1)), minlength=32)
    expected = np.exp(q.log_probability(every_mask()))
    assert scipy.stats.chisquare(observed, n * expected / expected.sum()).pvalue > 1e-3


def test_channel_marginals_table() -> None:
    table = channels().marginals()
    assert list(table.gate) == ["a", "a", "b.conv"]
    assert list(table.group) == [0, 1, 0]
    assert list(table["size"]) == [2, 1, 2]
    np.testing.assert_allclose(table.probability, [0.3, 0.8, 0.5], rtol=1e-6)


@pytest.mark.parametrize("q", [channels(), cell_posterior()], ids=["channels", "cells"])
def test_a_short_draw_is_the_beginning_of_a_long_one(q: Posterior) -> None:
    short, long, other = q.sample(13, seed=5), q.sample(26, seed=5), q.sample(26, seed=6)
    assert len(short) == 13
    assert len(long) == 26
    for name, rows in short.choices.items():
        assert torch.equal(rows, long.choices[name][:13])
    assert any(not torch.equal(rows, other.choices[name]) for name, rows in long.choices.items())


def test_certain_switches() -> None:
    q = channels(a=[0.0, 1.0])
    drawn = q.sample(500, seed=0)
    assert drawn.choices["a"].unique(dim=0).tolist() == [[True, True, False]]
    log_q = q.log_probability(every_mask())
    possible = (every_mask().choices["a"] == torch.tensor([True, True, False])).all(dim=1).numpy()
    np.testing.assert_allclose(log_q[possible], 2 * math.log(0.5))
    assert np.isneginf(log_q[~possible]).all()
    assert q.entropy() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("operation", [0, 1, 2])
def test_certain_cells(operation: int) -> None:
    probabilities = torch.zeros(6, 3)
    probabilities[:, operation] = 1
    q = CategoricalPosterior(probabilities, THREE)
    assert (q.sample(500, seed=0).choices[CELL] == operation).all()
    assert q.entropy() == 0
    assert q.architecture_probabilities().max() == 1
    assert q.architecture_probabilities().sum() == 1


def test_constant_rate_keeps_the_gates() -> None:
    q = ChannelPosterior.constant(channels(), 0.25)
    assert {name: p.tolist() for name, p in q.drop.items()} == {"a": [0.25, 0.25], "b.conv": [0.25]}
    assert q.channel_drop("a").tolist() == [0.25] * 3


def test_cell_probabilities_by_enumeration() -> None:
    q = cell_posterior()
    p = q.architecture_probabilities()
    assert p.shape == (729,)
    assert p.sum() == pytest.approx(1, rel=1e-12)
    by_hand = [
        math.prod(float(q.probabilities[edge, code]) for edge, code in enumerate(cell))
        for cell in itertools.product(range(3), repeat=6)
    ]
    np.testing.assert_allclose(p, by_hand, rtol=1e-12)
    assert q.entropy() == pytest.approx(-(p * np.log(p)).sum(), rel=1e-12)
    cells = Candidates({CELL: torch.from_numpy(THREE.cells)})
    np.testing.assert_allclose(q.log_probability(cells), np.log(by_hand), rtol=1e-12)


def test_uniform_cells() -> None:
    q = CategoricalPosterior.uniform(CellSpace())
    np.testing.assert_allclose(q.architecture_probabilities(), 1 / 15_625, rtol=1e-10)
    assert q.entropy() == pytest.approx(6 * math.log(5))


def test_cell_frequencies_follow_the_probabilities() -> None:
    space = CellSpace(("none", "skip_connect"))
    q, n = cell_posterior(space, seed=4), 50_000
    drawn = q.sample(n, seed=1).choices[CELL]
    assert drawn.dtype == torch.int8
    marginal = np.stack([(drawn.numpy() == code).mean(axis=0) for code in range(2)], axis=1)
    np.testing.assert_allclose(marginal, q.probabilities, atol=0.01)
    expected = n * q.architecture_probabilities()
    observed = np.bincount(space.ids(drawn.numpy()), minlength=64)
    common = expected > 5
    table = [np.append(x[common], x[~common].sum()) for x in (observed, expected)]
    assert scipy.stats.chisquare(*table).pvalue > 1e-3


def test_cell_marginals_table() -> None:
    q = cell_posterior()
    table = q.marginals()
    assert list(table.gate.unique()) == [
        "edge 0>1",
        "edge 0>2",
        "edge 1>2",
        "edge 0>3",
        "edge 1>3",
        "edge 2>3",
    ]
    assert tuple(table.option[:3]) == THREE.operations
    np.testing.assert_allclose(table.probability, q.probabilities.ravel())


def test_modes_have_the_highest_probability() -> None:
    q = channels()
    assert q.log_probability(q.mode())[0] == pytest.approx(q.log_probability(every_mask()).max())
    assert q.mode()[0]["b.conv"].all()  # of equals, the one that keeps more
    cells = cell_posterior()
    assert math.exp(cells.log_probability(cells.mode())[0]) == pytest.approx(
        cells.architecture_probabilities().max()
    )


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        ({"a": torch.ones(2, 3).bool()}, "b.conv"),
        (
            {
                "a": torch.ones(2, 3).bool(),
                "b.conv": torch.ones(2, 2).bool(),
                "c": torch.ones(2, 1).bool(),
            },
            "switch 'c' is not in this supernet",
        ),
        ({"a": torch.ones(2, 4).bool(), "b.conv": torch.ones(2, 2).bool()}, "gate a .*3.*4"),
        ({"a": torch.ones(2, 3).bool(), "b.conv": torch.ones(2, 1).bool()}, "gate b.conv"),
    ],
    ids=["missing", "extra", "long", "short"],
)
def test_candidates_of_another_supernet_are_refused(choices: dict[str, Any], named: str) -> None:
    with pytest.raises(PdnasError, match=named):
        channels().log_probability(Candidates(choices))


def test_masks_are_no_cells() -> None:
    with pytest.raises(PdnasError, match="switch"):
        cell_posterior().log_probability(every_mask())


@pytest.mark.parametrize("rates", [[0.1], [0.1, 1.1], [-0.1, 0.5], [0.5, math.nan]])
def test_bad_drop_probabilities_are_refused(rates: list[float]) -> None:
    with pytest.raises(PdnasError, match="gate a"):
        channels(a=rates)


@pytest.mark.parametrize(
    "probabilities",
    [
        torch.full((5, 3), 1 / 3),
        torch.full((6, 2), 1 / 2),
        torch.full((6, 3), 0.3),
        torch.tensor([[1.5, -0.5, 0.0]] * 6),
        torch.full((6, 3), math.nan),
    ],
)
def test_bad_cell_probabilities_are_refused(probabilities: Tensor) -> None:
    with pytest.raises(PdnasError, match="probabilities"):
        CategoricalPosterior(probabilities, THREE)
