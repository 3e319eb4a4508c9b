"""Posteriors fitted to evidence: against formulas in float64, and against what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from scipy.stats import multivariate_normal

from pdnas.space.cells import CellSpace
from pdnas.space.fitted import fitted_posterior, normal_scores, softened, worth_of_options

SPACE = CellSpace()
Floats = NDArray[np.float64]


def drawn(count: int, noise: float, seed: int = 0) -> tuple[NDArray[np.int8], Floats, Floats]:
    """Codes of cells, evidence that is linear in their operations but for noise, and the slopes."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 5, (count, 6)).astype(np.int8)
    worth = rng.normal(size=(6, 5))
    return codes, worth[np.arange(6), codes].sum(axis=1) + noise * rng.normal(size=count), worth


def test_normal_scores_are_quantiles_of_ranks() -> None:
    """Of four: those of 1/8, 3/8, 5/8 and 7/8; what failed is last, equals are equal."""
    expected = [0.318639, -1.150349, 1.150349, -0.318639]
    assert normal_scores([0.2, -np.inf, 7.0, 0.1]) == pytest.approx(expected, abs=1e-6)
    assert normal_scores([1, 1, 2])[0] == normal_scores([1, 1, 2])[1]


def test_worth_is_that_of_greatest_marginal_likelihood() -> None:
    """The likelihood of the scores as a multivariate normal, maximised over its two variances."""
    codes, evidence, _ = drawn(80, noise=1.0)
    scores = normal_scores(evidence)
    chosen = np.eye(5)[codes].reshape(80, 30)
    centred = chosen - chosen.mean(axis=0)
    gram = centred @ centred.T

    def unlikely(logs: Floats) -> float:
        prior, noise = np.exp(logs)
        covariance = prior * gram + noise * np.eye(80)
        return -float(multivariate_normal(np.zeros(80), covariance).logpdf(scores))

    prior, noise = np.exp(minimize(unlikely, (0.0, 0.0), method="Nelder-Mead", tol=1e-9).x)
    expected = prior * centred.T @ np.linalg.solve(prior * gram + noise * np.eye(80), scores)
    found = worth_of_options(codes, evidence, SPACE)
    assert found == pytest.approx(expected.reshape(6, 5), abs=1e-3)


@pytest.mark.parametrize("share", [0.5, 0.01, 0.001])
def test_the_posterior_maximises_worth_at_its_entropy(share: float) -> None:
    rng = np.random.default_rng(1)
    worth, entropy = rng.normal(size=(6, 5)), float(np.log(share * len(SPACE)))
    q, temperature = softened(worth, entropy)
    assert -(q * np.log(q)).sum() == pytest.approx(entropy, abs=1e-9)

    def goal(probabilities: Floats) -> float:
        return float((probabilities * (worth / temperature - np.log(probabilities))).sum())

    for _ in range(50):
        other = np.exp(log_softmax(np.log(q) + 0.1 * rng.normal(size=(6, 5)), axis=1))
        assert goal(other) < goal(q)


def test_what_cannot_be_told_apart_stays_uniform() -> None:
    codes, _, _ = drawn(40, noise=0)
    posterior = fitted_posterior(codes, np.zeros(40), SPACE, 0.01)
    assert posterior.probabilities.numpy() == pytest.approx(np.full((6, 5), 0.2))


def test_the_best_operations_are_found() -> None:
    codes, evidence, worth = drawn(200, noise=0.1)
    posterior = fitted_posterior(codes, evidence, SPACE, 0.01)
    assert posterior.entropy() == pytest.approx(np.log(156.25))
    (mode,) = posterior.mode().choices[SPACE.KEY].tolist()
    assert mode == worth.argmax(axis=1).tolist()
    gained = (posterior.probabilities.numpy() * (worth - worth.mean(1, keepdims=True))).sum()
    assert gained > 3
    turned = fitted_posterior(codes, -evidence, SPACE, 0.01).probabilities.numpy()
    assert (turned * (worth - worth.mean(1, keepdims=True))).sum() < -3
