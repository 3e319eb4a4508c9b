"""Networks of the size space as candidates: drawn from any distribution over it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

from pdnas.space.candidates import Candidates
from pdnas.space.networks import NetworkSampler
from pdnas.space.posterior import ChannelPosterior
from pdnas.space.sizes import (
    NAMES,
    SizeSpace,
    network_probabilities,
    posterior_probabilities,
    source_probabilities,
    within,
)
from pdnas.support.errors import PdnasError

SPACE = SizeSpace()
DROP = {name: torch.tensor([0.2 + 0.1 * place]) for place, name in enumerate(NAMES)}
LEARNED = ChannelPosterior(DROP, {name: torch.tensor([16]) for name in NAMES})
BAND = (180_000, 220_000)


def kept(candidates: Candidates) -> np.ndarray:
    return np.stack([candidates.choices[name].sum(dim=1).numpy() for name in NAMES], axis=1)


def test_the_band_has_its_ends() -> None:
    sizes = SPACE.parameters(10)
    assert within(BAND).sum() == 4184
    one = int(sizes[777])
    assert within((one, one))[777]
    assert not within((one + 1, one + 2))[777]


def test_sources_within_a_band_by_a_loop_over_networks() -> None:
    sizes, whole = SPACE.parameters(10), network_probabilities(LEARNED)
    inside = [row for row in range(len(SPACE)) if BAND[0] <= sizes[row] <= BAND[1]]
    mass = math.fsum(whole[row] for row in inside)
    found = source_probabilities(LEARNED, "posterior", BAND)
    assert found.sum() == pytest.approx(1)
    for row in inside[::200]:
        assert found[row] == pytest.approx(whole[row] / mass)
    assert not np.delete(found, inside).any()
    assert set(source_probabilities(LEARNED, "uniform", BAND)) == {0.0, 1 / len(inside)}
    one = source_probabilities(LEARNED, "random", BAND)
    keep = one[inside[0]] / one[inside[1]]  # of one p, by trying them all
    expected = float(whole @ sizes)
    tried = np.linspace(0.3, 0.5, 4001)
    means = [float(posterior_probabilities([p] * 5) @ sizes) for p in tried[::40]]
    p = float(np.interp(-expected, -np.array(means), tried[::40]))
    q = posterior_probabilities([p] * 5)
    assert keep == pytest.approx(q[inside[0]] / q[inside[1]], rel=1e-2)


def test_candidates_are_networks_of_the_distribution() -> None:
    chosen = [5_000, 12_345, 32_767]
    q = np.zeros(len(SPACE))
    q[chosen] = (0.5, 0.2, 0.3)
    drawn = NetworkSampler(q, 16).sample(6_000, seed=3)
    rows = SPACE.rows(4 * kept(drawn))
    counts = [int((rows == row).sum()) for row in chosen]
    assert sum(counts) == 6_000
    assert scipy.stats.chisquare(counts, [3_000, 1_200, 1_800]).pvalue > 0.01
    # Which channels are kept: each as often as the other.
    mask = drawn.choices["c4"][torch.from_numpy(rows == chosen[1])]
    width = int(SPACE.counts[chosen[1], 4]) // 4
    each = mask.sum(dim=0).numpy()
    assert scipy.stats.chisquare(each).pvalue > 0.01
    assert each.sum() == width * len(mask)


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    sampler = NetworkSampler(source_probabilities(LEARNED, "posterior", BAND), 16)
    short, long = sampler.sample(5, seed=1), sampler.sample(9, seed=1)
    for name in NAMES:
        assert torch.equal(short.choices[name], long.choices[name][:5])
    assert within(BAND)[SPACE.rows(4 * kept(long))].all()


def test_probabilities_of_all_masks_add_up_to_that_of_the_network() -> None:
    q = posterior_probabilities([0.4] * 5)
    sampler = NetworkSampler(q, 8)
    row = SPACE.row("16:64:64:64:56")
    whole = torch.ones(8, dtype=torch.bool)
    pairs = list(itertools.combinations(range(8), 2))
    rows = [(pair, lost) for pair in pairs for lost in range(8)]
    masks = {name: whole.repeat(len(rows), 1) for name in NAMES}
    for number, (pair, lost) in enumerate(rows):
        masks["c0"][number] = torch.isin(torch.arange(8), torch.tensor(pair))
        masks["c4"][number, lost] = False
    found = sampler.log_probability(Candidates(masks))
    assert np.exp(found).sum() == pytest.approx(q[row])
    assert np.ptp(found) < 1e-9


@pytest.mark.parametrize("channels", [4, 12])
def test_a_supernet_that_cannot_tell_the_widths_apart(channels: int) -> None:
    with pytest.raises(PdnasError, match="multiple of 8"):
        NetworkSampler(np.full(len(SPACE), 1 / len(SPACE)), channels)


def test_another_supernets_posterior_has_no_networks() -> None:
    other = ChannelPosterior({"gate": torch.tensor([0.5])}, {"gate": torch.tensor([16])})
    with pytest.raises(PdnasError, match="use a run of natsbench-size"):
        source_probabilities(other, "posterior", BAND)
    with pytest.raises(PdnasError, match="no network in this band"):
        source_probabilities(LEARNED, "uniform", (1, 2))
