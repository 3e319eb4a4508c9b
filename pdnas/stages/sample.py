"""Draw candidates: from the learned posterior, at a fixed drop rate, or uniformly."""

from __future__ import annotations

from typing import Literal

import torch

from pdnas.nn.supernets import ChannelSupernet
from pdnas.runs.distributions import save_candidates
from pdnas.runs.run import Run, make_supernet
from pdnas.space.candidates import Candidates
from pdnas.space.posterior import CellPosterior, ChannelPosterior, Posterior
from pdnas.support.errors import PdnasError

Source = Literal["posterior", "random", "uniform"]


def distribution(run: Run, source: Source) -> Posterior:
    """What candidates of ``source`` are drawn from.

    ``posterior`` is what the search ended with. ``random`` has one drop probability everywhere: the
    run's own fixed one, or for a learned posterior that which gives the same expected number of
    parameters. ``uniform`` gives every architecture the same probability.

    Raises:
        PdnasError: ``random`` was asked for on cells, whose switches have no rate to fix.
    """
    own = run.posterior()
    if isinstance(own, CellPosterior):
        if source == "random":
            raise PdnasError("a cell has no drop rate to fix; choose source posterior or uniform")
        return own if source == "posterior" else CellPosterior.uniform(own.space)
    assert isinstance(own, ChannelPosterior)
    if source == "posterior" or (source == "random" and run.spec.gates.mode == "fixed"):
        return own
    if source == "uniform":
        return ChannelPosterior.constant(own, 0.5)
    supernet = make_supernet(run.spec, torch.device("cpu"))
    assert isinstance(supernet, ChannelSupernet)
    return ChannelPosterior.constant(own, supernet.matching_drop_probability(own))


def sample(run: Run, source: Source, count: int, seed: int) -> Candidates:
    """Draw candidates and write ``candidates-SOURCE.safetensors`` into the run's folder."""
    drawn_from = distribution(run, source)
    candidates = drawn_from.sample(count, seed)
    save_candidates(
        run.folder / f"candidates-{source}.safetensors",
        candidates,
        {
            "source": source,
            "seed": seed,
            "log_probability": drawn_from.log_probability(candidates).tolist(),
        },
        run.identity,
    )
    return candidates
