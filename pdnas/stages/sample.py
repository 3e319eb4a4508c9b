"""Draw candidates: from the learned posterior, at a fixed drop rate, or uniformly."""

from __future__ import annotations

from typing import assert_never

from pdnas.runs import layout
from pdnas.runs.distributions import save_candidates
from pdnas.runs.run import Run
from pdnas.space.candidates import Candidates
from pdnas.space.networks import NetworkSampler
from pdnas.space.posterior import CategoricalPosterior, ChannelPosterior, Posterior, Sampler
from pdnas.space.sizes import NAMES, source_probabilities
from pdnas.spec.names import Source
from pdnas.spec.spec import Spec
from pdnas.stages.materials import matching_drop_probability
from pdnas.support.errors import PdnasError


def sample_run(run: Run, source: Source, count: int, seed: int) -> Candidates:
    """Draw candidates and write ``candidates-SOURCE.safetensors`` into the run's folder."""
    band = run.spec.candidates.band
    drawn_from = distribution(run.posterior(), source, run.spec, run.classes)
    candidates = drawn_from.sample(count, seed)
    log_probability = drawn_from.log_probability(candidates).tolist()
    metadata = {"source": source, "seed": seed, "log_probability": log_probability}
    if band is not None:
        metadata["band"] = band
    path = run.folder / layout.candidates(source)
    save_candidates(path, candidates, metadata, run.identity)
    return candidates


def distribution(own: Posterior, source: Source, spec: Spec, classes: int | None = None) -> Sampler:
    """What candidates of ``source`` are drawn from after a search that ended with ``own``.

    ``posterior`` is what the search ended with. ``random`` has one drop probability everywhere: the
    search's own fixed one, or for a learned posterior that which gives the same expected number of
    parameters. ``uniform`` gives every architecture the same probability.
    With a band of the size space's parameters, all three are about its networks in the band
    (:func:`pdnas.space.sizes.source_probabilities`).

    Args:
        classes: how many there are; default: as in the data set as published.

    Raises:
        PdnasError: ``random`` was asked for on one-of-many switches, which have no rate to fix.
    """
    if spec.candidates.band is not None:
        assert isinstance(own, ChannelPosterior)
        probabilities = source_probabilities(own, source, spec.candidates.band)
        return NetworkSampler(probabilities, own.widths[NAMES[0]])
    if source == "posterior":
        return own
    if isinstance(own, CategoricalPosterior):
        if source == "uniform":
            return CategoricalPosterior.uniform(own.space)
        what = own.space.ARCHITECTURE
        raise PdnasError(f"a {what} has no drop rate to fix; choose source posterior or uniform")
    assert isinstance(own, ChannelPosterior)
    if source == "uniform":
        return ChannelPosterior.constant(own, 0.5)
    if source == "random":
        if spec.gates.mode == "fixed":
            return own
        return ChannelPosterior.constant(own, matching_drop_probability(spec, own, classes))
    assert_never(source)
