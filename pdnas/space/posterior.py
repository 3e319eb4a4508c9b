"""Distributions over architectures: what a search learns and what candidates are drawn from.

A posterior knows its marginals, draws candidates, and gives their probability. There is one for
gates on channels and one for one-of-many switches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdnas.space.candidates import Candidates
from pdnas.space.categorical import CategoricalSpace
from pdnas.space.chain import option_marginals, row_weights, rows_used
from pdnas.support.errors import PdnasError


class Sampler(ABC):
    """Whatever candidates of one supernet are drawn from, in float64 on the CPU."""

    @abstractmethod
    def sample(self, count: int, seed: int) -> Candidates:
        """Draw ``count`` independent candidates; equal seeds give equal candidates, and the first
        n of a larger draw are the candidates of a draw of n."""

    @abstractmethod
    def log_probability(self, candidates: Candidates) -> NDArray[np.float64]:
        """Natural logarithm of each candidate's probability, shape (candidates,).

        Raises:
            PdnasError: the candidates belong to another supernet; the switch is named.
        """


class Posterior(Sampler):
    """A distribution over the architectures of one supernet that a search may end with."""

    @abstractmethod
    def marginals(self) -> pd.DataFrame:
        """One row for each gate, group and option: ``gate``, ``group``, ``option``,
        ``probability`` and ``size`` (input channels in the group; 1 for a one-of-many switch)."""

    @abstractmethod
    def entropy(self) -> float:
        """Entropy in nats."""

    @abstractmethod
    def mode(self) -> Candidates:
        """The single most probable architecture (of equals: channels, the one that keeps
        more; one-of-many switches, the first)."""


class ChannelPosterior(Posterior):
    """Independent Bernoulli switches on the input channels of gated layers.

    Args:
        drop: drop probability of each group, shape (groups,), by gate name; values in [0, 1].
        group_sizes: input channels of each group, by gate name.
    """

    def __init__(self, drop: Mapping[str, Tensor], group_sizes: Mapping[str, Tensor]) -> None:
        self.drop = {name: value.double() for name, value in drop.items()}
        self.group_sizes = {name: group_sizes[name].long() for name in self.drop}
        for name, value in self.drop.items():
            if value.shape != self.group_sizes[name].shape:
                raise PdnasError(f"gate {name}: one drop probability is needed for each group")
            if bool((self.group_sizes[name] < 1).any()):
                raise PdnasError(f"gate {name}: a group has at least one input channel")
            if not bool(((value >= 0) & (value <= 1)).all()):
                raise PdnasError(f"gate {name}: drop probabilities must lie between 0 and 1")

    @classmethod
    def constant(cls, like: ChannelPosterior, drop: float) -> ChannelPosterior:
        """The same gates with one fixed drop probability (the random baseline)."""
        rates = {name: torch.full_like(value, drop) for name, value in like.drop.items()}
        return cls(rates, like.group_sizes)

    @property
    def widths(self) -> dict[str, int]:
        """Input channels of each gate."""
        return {name: int(sizes.sum()) for name, sizes in self.group_sizes.items()}

    def channel_drop(self, gate: str) -> Tensor:
        """Drop probability of each input channel of a gate, shape (channels,)."""
        return torch.repeat_interleave(self.drop[gate], self.group_sizes[gate])

    def marginals(self) -> pd.DataFrame:
        rows = [
            (name, group, "drop", float(p), int(size))
            for name, value in self.drop.items()
            for group, (p, size) in enumerate(zip(value, self.group_sizes[name], strict=True))
        ]
        return pd.DataFrame(rows, columns=["gate", "group", "option", "probability", "size"])

    def sample(self, count: int, seed: int) -> Candidates:
        channel_drop = torch.cat([self.channel_drop(name) for name in self.drop])
        generator = torch.Generator().manual_seed(seed)
        # One row a candidate, so that a longer draw begins with the shorter one's candidates.
        uniform = torch.rand(count, len(channel_drop), dtype=torch.float64, generator=generator)
        masks = torch.split(uniform >= channel_drop, list(self.widths.values()), dim=1)
        return Candidates(dict(zip(self.drop, masks, strict=True)))

    def log_probability(self, candidates: Candidates) -> NDArray[np.float64]:
        total = torch.zeros(len(candidates), dtype=torch.float64)
        candidates.check_masks(self.widths)
        for name in self.drop:
            drop, mask = self.channel_drop(name), candidates.choices[name]
            total += torch.where(mask, torch.log1p(-drop), torch.log(drop)).sum(dim=1)
        return total.numpy()

    def entropy(self) -> float:
        total = 0.0
        for name in self.drop:
            p = self.channel_drop(name)
            total -= float((torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)).sum())
        return total

    def mode(self) -> Candidates:
        return Candidates({name: (self.channel_drop(name) <= 0.5)[None] for name in self.drop})


class CategoricalPosterior(Posterior):
    """Categorical distributions over the same options, one for each switch of a space.

    Switches are independent, or each depends on the one before it in the space's order (a Markov
    chain). One categorical is the distribution of independent Bernoulli switches on the options,
    given that exactly one is on: probabilities proportional to the keep odds (1 - p)/p.

    Args:
        probabilities: independent switches: shape (switches, options). A chain: (switches, options,
            options), where row r of a switch holds if the switch before it has option r; the
            chain's first switch uses row 0. Rows add up to 1.
        space: which switches and options there are.
    """

    def __init__(self, probabilities: Tensor, space: CategoricalSpace) -> None:
        # Independent switches are a chain with a single row.
        tables = probabilities.unsqueeze(1) if probabilities.dim() == 2 else probabilities
        self.conditionals = tables.double()
        self.space = space
        switches, options = len(space.SWITCHES), len(space.options)
        if self.conditionals.shape not in (
            (switches, 1, options),
            (switches, options, options),
        ):
            raise PdnasError(
                f"a {space.ARCHITECTURE} posterior needs {switches} x {options} probabilities, a "
                f"chain {switches} x {options} x {options}, not {tuple(probabilities.shape)}"
            )
        sums = self.conditionals.sum(dim=2)
        if not (bool((self.conditionals >= 0).all()) and torch.allclose(sums, sums.new_ones(()))):
            raise PdnasError(
                f"a {space.ARCHITECTURE} posterior's probabilities must add up to 1 for every "
                "switch"
            )
        self.conditionals = self.conditionals / sums[:, :, None]

    @staticmethod
    def uniform(space: CategoricalSpace) -> CategoricalPosterior:
        """Every architecture equally likely."""
        options = len(space.options)
        return CategoricalPosterior(torch.full((len(space.SWITCHES), options), 1 / options), space)

    @property
    def probabilities(self) -> Tensor:
        """Marginal probability of each option of each switch, shape (switches, options)."""
        return option_marginals(self.conditionals, self.space.ORDER)

    def architecture_probabilities(self) -> NDArray[np.float64]:
        """Probability of every architecture of the space, by its number, shape (len(space),)."""
        return np.exp(self._log_of(self.space.codes))

    def marginals(self) -> pd.DataFrame:
        rows = [
            (gate, 0, option, float(p), 1)
            for gate, probabilities in zip(self.space.gates, self.probabilities, strict=True)
            for option, p in zip(self.space.options, probabilities, strict=True)
        ]
        return pd.DataFrame(rows, columns=["gate", "group", "option", "probability", "size"])

    def sample(self, count: int, seed: int) -> Candidates:
        switches = len(self.space.SWITCHES)
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(count, switches, 1, dtype=torch.float64, generator=generator)
        # Inverse CDF; the last bound is left out, so rounding can never choose past the end.
        bounds = self.conditionals.cumsum(dim=2)[:, :, :-1]
        codes = torch.zeros(count, switches, dtype=torch.long)
        for switch in self.space.ORDER:
            rows = self._rows(codes)[:, switch]
            codes[:, switch] = (uniform[:, switch] >= bounds[switch, rows]).sum(dim=1)
        return Candidates({self.space.KEY: codes.to(torch.int8)})

    def log_probability(self, candidates: Candidates) -> NDArray[np.float64]:
        candidates.check_codes(self.space)
        return self._log_of(candidates.choices[self.space.KEY].numpy())

    def _log_of(self, codes: NDArray[np.integer]) -> NDArray[np.float64]:
        log = torch.log(self.conditionals).numpy()
        rows = self._rows(torch.tensor(codes)).numpy()
        return log[np.arange(len(log)), rows, codes].sum(axis=1)

    def _rows(self, codes: Tensor) -> Tensor:
        return rows_used(codes, self.conditionals.shape[1], self.space.ORDER)

    def entropy(self) -> float:
        # The chain rule: every row's entropy, as often as the row is used.
        terms = torch.xlogy(self.conditionals, self.conditionals)
        weights = row_weights(self.conditionals, self.space.ORDER)
        return -float((weights[:, :, None] * terms).sum())

    def mode(self) -> Candidates:
        # Viterbi: backwards, the best option for each row and the probability from there on.
        best = torch.empty(self.conditionals.shape[:2], dtype=torch.long)
        onwards = self.conditionals.new_ones(())
        for switch in reversed(self.space.ORDER):
            onwards, best[switch] = (self.conditionals[switch] * onwards).max(dim=1)
        codes = torch.zeros(1, len(best), dtype=torch.long)
        for switch in self.space.ORDER:
            codes[:, switch] = best[switch, self._rows(codes)[:, switch]]
        return Candidates({self.space.KEY: codes.to(torch.int8)})
