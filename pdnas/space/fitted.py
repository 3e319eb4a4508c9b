"""A posterior over one-of-many switches, fitted to the evidence of architectures that were drawn.

Evidence is made linear in the options first, so the posterior has one categorical a switch. It is
the q that maximises ``E_q[f] / T + H(q)`` with f the fitted evidence (docs/nasbench201.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax
from scipy.stats import norm, rankdata
from sklearn.linear_model import BayesianRidge

from pdnas.space.categorical import CategoricalSpace
from pdnas.space.posterior import CategoricalPosterior

Floats = NDArray[np.float64]

_LOG_TEMPERATURES = (-20.0, 20.0)


def normal_scores(evidence: ArrayLike) -> Floats:
    """Quantiles of the normal distribution that evidence has by its rank; equals share theirs.

    Shape as ``evidence``, (n,). So one architecture that failed weighs no more than it should.
    """
    ranks = rankdata(evidence)
    return np.asarray(norm.ppf((ranks - 0.5) / ranks.size))


def worth_of_options(
    codes: NDArray[np.integer], evidence: ArrayLike, space: CategoricalSpace
) -> Floats:
    """What each option adds to the evidence, by Bayesian linear regression on normal scores.

    The prior's width and the noise are those of greatest marginal likelihood (MacKay 1992), so
    options that were seldom seen stay near 0.

    Args:
        codes: of the architectures, shape (n, switches).
        evidence: of each, shape (n,); higher is better.

    Returns:
        shape (switches, options), in standard deviations of the evidence.
    """
    switches, options = len(space.SWITCHES), len(space.options)
    chosen = np.eye(options)[codes].reshape(len(codes), switches * options)
    fitted = BayesianRidge(tol=1e-8, max_iter=1000).fit(chosen, normal_scores(evidence))
    return np.asarray(fitted.coef_, dtype=np.float64).reshape(switches, options)


def softened(worth: Floats, entropy: float) -> tuple[Floats, float]:
    """Probabilities ∝ exp(worth / T), switch by switch, with T such that the entropy is as asked.

    Args:
        worth: shape (switches, options).
        entropy: of all switches together, in nats.

    Returns:
        probabilities, shape as ``worth``, and T; without a T that does it, the closest.
    """

    def at(log_temperature: float) -> Floats:
        return np.asarray(log_softmax(worth / np.exp(log_temperature), axis=1))

    def excess(log_temperature: float) -> float:
        logs = at(log_temperature)
        return float(-(np.exp(logs) * logs).sum() - entropy)

    low, high = _LOG_TEMPERATURES
    if excess(high) <= 0:
        found = high
    elif excess(low) >= 0:
        found = low
    else:
        found = float(brentq(excess, low, high, xtol=1e-12))
    return np.exp(at(found)), float(np.exp(found))


def fitted_posterior(
    codes: Sequence[ArrayLike] | NDArray[np.integer],
    evidence: ArrayLike,
    space: CategoricalSpace,
    share: float,
) -> CategoricalPosterior:
    """The posterior that evidence of some architectures makes.

    Args:
        codes: of the architectures, shape (n, switches).
        evidence: of each, shape (n,); higher is better.
        share: the entropy is that of a uniform distribution over this share of the space.
    """
    worth = worth_of_options(np.asarray(codes), evidence, space)
    probabilities, _ = softened(worth, float(np.log(share * len(space))))
    return CategoricalPosterior(torch.from_numpy(probabilities), space)
