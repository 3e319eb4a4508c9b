"""Draw candidates: from the learned posterior, at a fixed drop rate, or uniformly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdnas.runs import layout
from pdnas.runs.distributions import save_candidates
from pdnas.runs.run import Run
from pdnas.space.candidates import Candidates
from pdnas.space.posterior import CellPosterior, ChannelPosterior, Posterior
from pdnas.spec.names import Source
from pdnas.spec.spec import Spec
from pdnas.stages.materials import matching_drop_probability
from pdnas.support.errors import PdnasError


@dataclass(frozen=True)
class Sample:
    """Candidates, and what each one's log-probability was (nats)."""

    candidates: Candidates
    log_probability: NDArray[np.float64]
    seed: int

    def write(self, run: Run, source: Source) -> None:
        """Write ``candidates-SOURCE.safetensors`` into a run's folder."""
        metadata = {
            "source": source,
            "seed": self.seed,
            "log_probability": self.log_probability.tolist(),
        }
        path = run.folder / layout.candidates(source)
        save_candidates(path, self.candidates, metadata, run.identity)


def sample_run(run: Run, source: Source, count: int, seed: int) -> Candidates:
    """Draw candidates and write ``candidates-SOURCE.safetensors`` into the run's folder."""
    drawn = sample(distribution(run.posterior(), source, run.spec), count, seed)
    drawn.write(run, source)
    return drawn.candidates


def sample(posterior: Posterior, count: int, seed: int) -> Sample:
    """Draw ``count`` independent candidates; equal seeds give equal ones."""
    candidates = posterior.sample(count, seed)
    return Sample(candidates, posterior.log_probability(candidates), seed)


def distribution(own: Posterior, source: Source, spec: Spec) -> Posterior:
    """What candidates of ``source`` are drawn from after a search that ended with ``own``.

    ``posterior`` is what the search ended with. ``random`` has one drop probability everywhere: the
    search's own fixed one, or for a learned posterior that which gives the same expected number of
    parameters. ``uniform`` gives every architecture the same probability.

    Raises:
        PdnasError: ``random`` was asked for on cells, whose switches have no rate to fix.
    """
    if isinstance(own, CellPosterior):
        if source == "random":
            raise PdnasError("a cell has no drop rate to fix; choose source posterior or uniform")
        return own if source == "posterior" else CellPosterior.uniform(own.space)
    assert isinstance(own, ChannelPosterior)
    if source == "posterior" or (source == "random" and spec.gates.mode == "fixed"):
        return own
    drop = 0.5 if source == "uniform" else matching_drop_probability(spec, own)
    return ChannelPosterior.constant(own, drop)
