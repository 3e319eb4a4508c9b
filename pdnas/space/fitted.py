"""A posterior over one-of-many switches, fitted to the evidence of architectures that were drawn.

It has one categorical a switch: among such distributions, the q that maximises
``E_q[f] / T + H(q)``, with f the evidence that is expected of each architecture
(docs/nasbench201.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax, xlogy
from sklearn.linear_model import BayesianRidge

from pdnas.space.categorical import CategoricalSpace, pair_features
from pdnas.space.posterior import CategoricalPosterior
from pdnas.support.statistics import normal_scores

Floats = NDArray[np.float64]

COOLING = 0.95
"""The ratio of a temperature to the one before it."""

SWEEPS = 2000
"""Of the switches at one temperature, at most."""

CONVERGED = 1e-10
"""Change of a probability within a sweep that is none."""


def expected_evidence(
    codes: NDArray[np.integer], evidence: ArrayLike, space: CategoricalSpace
) -> Floats:
    """The normal score that is expected of every architecture of the space, shape (len(space),).

    Bayesian linear regression on options and pairs of options. The prior's width and the noise are
    those of greatest marginal likelihood (MacKay 1992): what was seldom seen stays near the mean.

    Args:
        codes: of the architectures that were seen, shape (n, switches).
        evidence: of each, shape (n,); higher is better.
    """
    every = pair_features(space)
    seen = every[space.ids(codes)]
    fitted = BayesianRidge(tol=1e-8, max_iter=1000).fit(seen, normal_scores(evidence))
    return np.asarray(fitted.predict(every), dtype=np.float64)


def mean_field(f: Floats, temperature: float, start: Floats) -> Floats:
    """The product of categoricals that maximises E_q[f] / T + H(q), near a start.

    Coordinate ascent: each switch's categorical is ∝ exp(E[f | its option] / T) given the others.

    Args:
        f: of every architecture, shape (options, ..., options), an axis a switch.
        start: probabilities, shape (switches, options).

    Returns:
        shape as ``start``.
    """
    q = start.copy()
    for _ in range(SWEEPS):
        before = q.copy()
        for switch in range(len(q)):
            expected = f
            for other in reversed(range(len(q))):
                if other != switch:
                    expected = np.tensordot(expected, q[other], axes=(other, 0))
            q[switch] = softmax(expected / temperature)
        if np.abs(q - before).max() < CONVERGED:
            break
    return q


def annealed(f: Floats, entropy: float) -> Floats:
    """:func:`mean_field` with an entropy as asked, cooled down from the uniform distribution.

    Cooling slowly keeps q from what looks best too early (deterministic annealing). Where entropy
    falls by a leap, it is the most that is no more than asked.

    Args:
        f: as there.
        entropy: of all switches together, in nats.

    Returns:
        probabilities, shape (switches, options); uniform if f tells nothing apart.
    """
    switches, options = f.ndim, f.shape[0]
    q = np.full((switches, options), 1 / options)
    spread = float(f.std())
    if spread < CONVERGED:
        return q
    cold = 10 * spread  # the uniform distribution is nearly the best
    while _entropy(q) > entropy and cold > CONVERGED * spread:  # ties stay whatever it is
        cold *= COOLING
        q = mean_field(f, cold, q)
    warm = cold / COOLING
    for _ in range(40):
        middle = (cold + warm) / 2
        found = mean_field(f, middle, q)
        if _entropy(found) > entropy:
            warm = middle
        else:
            cold, q = middle, found
    return q


def _entropy(q: Floats) -> float:
    return -float(xlogy(q, q).sum())


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
    f = expected_evidence(np.asarray(codes), evidence, space)
    grid = f.reshape((len(space.options),) * len(space.SWITCHES))
    q = annealed(grid, float(np.log(share * len(space))))
    return CategoricalPosterior(torch.from_numpy(q), space)
