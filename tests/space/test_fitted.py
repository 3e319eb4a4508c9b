"""Posteriors fitted to evidence: against formulas in float64, and against what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from scipy.stats import multivariate_normal

from pdnas.space.categorical import pair_features
from pdnas.space.cells import CellSpace
from pdnas.space.fitted import (
    annealed,
    expected_evidence,
    fitted_posterior,
)
from pdnas.support.statistics import normal_scores

SPACE = CellSpace()
Floats = NDArray[np.float64]


def drawn(count: int, noise: float, seed: int = 0) -> tuple[NDArray[np.int8], Floats, Floats]:
    """Codes of cells, evidence that is linear in their operations but for noise, and the slopes."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 5, (count, 6)).astype(np.int8)
    worth = rng.normal(size=(6, 5))
    return codes, worth[np.arange(6), codes].sum(axis=1) + noise * rng.normal(size=count), worth


def test_expected_evidence_is_that_of_greatest_marginal_likelihood() -> None:
    """The likelihood of the scores as a multivariate normal, maximised over its two variances."""
    codes, evidence, _ = drawn(200, noise=1.0)
    scores = normal_scores(evidence)
    every = pair_features(SPACE)
    seen = every[SPACE.ids(codes)]
    centre = seen.mean(axis=0)
    gram = (seen - centre) @ (seen - centre).T

    def unlikely(logs: Floats) -> float:
        prior, noise = np.exp(logs)
        covariance = prior * gram + noise * np.eye(200)
        return -float(multivariate_normal(np.zeros(200), covariance).logpdf(scores))

    prior, noise = np.exp(minimize(unlikely, (-2.0, 0.0), method="Nelder-Mead", tol=1e-9).x)
    slopes = (seen - centre).T @ np.linalg.solve(prior * gram + noise * np.eye(200), scores)
    found = expected_evidence(codes, evidence, SPACE)
    assert found == pytest.approx(prior * (every - centre) @ slopes, abs=2e-3)


@pytest.mark.parametrize("share", [0.5, 0.01, 0.001])
def test_the_posterior_is_a_maximum_at_its_entropy(share: float) -> None:
    """Of E_q[f] / T + H(q), by brute force: no other product nearby has more."""
    rng = np.random.default_rng(1)
    features = pair_features(SPACE)
    slopes = rng.normal(size=30 + 15 * 25)
    slopes[features.sum(axis=0) < 5**5] /= 3  # of pairs, which fewer cells have
    f = (features @ slopes).reshape((5,) * 6)
    entropy = float(np.log(share * 5**6))
    q = annealed(f, entropy)
    assert -(q * np.log(q)).sum() == pytest.approx(entropy, abs=1e-6)

    def joint(probabilities: Floats) -> Floats:
        return np.exp(sum(np.log(p)[code] for p, code in zip(probabilities, codes, strict=True)))

    codes = np.indices(f.shape)
    # The temperature, from the condition of one switch: log q = E[f | option] / T + constant.
    given = np.array([(joint(q) * f)[option].sum() / q[0, option] for option in range(5)])
    slope = np.polyfit(given, np.log(q[0]), 1)[0]
    assert np.log(q[0]) - slope * given == pytest.approx(
        np.full(5, (np.log(q[0]) - slope * given)[0]), abs=1e-5
    )

    def goal(probabilities: Floats) -> float:
        nats = -(probabilities * np.log(probabilities)).sum()
        return slope * float((joint(probabilities) * f).sum()) + float(nats)

    for _ in range(20):
        other = np.exp(log_softmax(np.log(q) + 0.1 * rng.normal(size=(6, 5)), axis=1))
        assert goal(other) < goal(q)
    assert (joint(q) * f).sum() > f.mean()


def test_where_switches_do_not_interact_it_is_softmax() -> None:
    worth = np.random.default_rng(2).normal(size=(6, 5))
    f = sum(worth[edge][code] for edge, code in enumerate(np.indices((5,) * 6)))
    q = annealed(np.asarray(f), float(np.log(0.01 * 5**6)))
    slopes = [np.polyfit(worth[edge], np.log(q[edge]), 1)[0] for edge in range(6)]
    assert slopes == pytest.approx([slopes[0]] * 6)


def test_one_of_two_ways_is_chosen_whole() -> None:
    """Two switches that must agree: half of each way would be worse than either."""
    f = np.where(np.eye(5)[:, :, None], 1.0, 0.0) + np.zeros((5, 5, 5))
    f[3, 3] += 0.5
    q = annealed(f, 1.7)
    assert q[0].argmax() == q[1].argmax() == 3
    assert min(q[0, 3], q[1, 3]) > 0.9


def test_what_cannot_be_told_apart_stays_uniform() -> None:
    codes, _, _ = drawn(40, noise=0)
    posterior = fitted_posterior(codes, np.zeros(40), SPACE, 0.01)
    assert posterior.probabilities.numpy() == pytest.approx(np.full((6, 5), 0.2))


def test_the_best_operations_are_found() -> None:
    codes, evidence, worth = drawn(400, noise=0.1)
    posterior = fitted_posterior(codes, evidence, SPACE, 0.01)
    assert posterior.entropy() == pytest.approx(np.log(156.25))
    (mode,) = posterior.mode().choices[SPACE.KEY].tolist()
    assert mode == worth.argmax(axis=1).tolist()
    gained = (posterior.probabilities.numpy() * (worth - worth.mean(1, keepdims=True))).sum()
    assert gained > 3
    turned = fitted_posterior(codes, -evidence, SPACE, 0.01).probabilities.numpy()
    assert (turned * (worth - worth.mean(1, keepdims=True))).sum() < -3
