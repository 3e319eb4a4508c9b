"""What a run over the size space's widths is worth in its band of parameters: ``sizes.json``.

Three distributions are held against uniform sampling in the band, exactly (:mod:`.measure`): the
posterior, one drop probability for all widths with as many expected parameters, and the largest
networks. How good the best by inherited weights is, is an expectation over the candidates that were
ranked: of n drawn from them with replacement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdnas.runs import layout
from pdnas.runs.kept import configured_like
from pdnas.runs.run import Run
from pdnas.space.posterior import ChannelPosterior
from pdnas.space.sizes import (
    CLASSES,
    NAMES,
    SizeSpace,
    largest,
    network_probabilities,
    one_drop_probabilities,
    restricted,
    rounded,
    uniform,
    within,
)
from pdnas.support.errors import PdnasError
from pdnas.support.provenance import Stopwatch, provenance
from pdnas.support.statistics import finite_or_none, kendall_tau
from pdnas.truth import sampling
from pdnas.truth.measure import TOP, goals, measure
from pdnas.truth.noise import DRAWS
from pdnas.truth.sampling import Floats, expected_accuracy_of_chosen
from pdnas.truth.tables import Truth, open_truth

if TYPE_CHECKING:
    from pdnas.space.candidates import Candidates

TRUTH = "natsbench-size"
SOURCES = ("posterior", "random", "uniform")
"""What candidates of the study are drawn from and ranked."""

CHOSEN_OF = (1, 2, 5, 10, 20, 50, 100)
"""Numbers of samples among which inherited weights choose."""


@dataclass(frozen=True)
class Ranked:
    """Candidates of a source as they were ranked.

    Args:
        rows: the space's networks that they stand for, shape (candidates,).
        scores: validation accuracies with inherited weights, shape (candidates,).
    """

    rows: NDArray[np.int64]
    scores: Floats

    @classmethod
    def of(cls, candidates: Candidates, scores: Floats) -> Ranked:
        """Candidates whose kept channels are rounded to the space's widths."""
        masks = [candidates.choices[name].numpy() for name in NAMES]
        counts = [rounded(mask.sum(axis=1), mask.shape[1]) for mask in masks]
        return cls(SizeSpace().rows(np.stack(counts, axis=1)), scores)


@dataclass(frozen=True)
class Inputs:
    """What is read of a run: its posterior, its band, and its rankings by source."""

    posterior: ChannelPosterior
    band: tuple[int, int]
    ranked: Mapping[str, Ranked]

    @classmethod
    def open(cls, run: Run) -> Inputs:
        """Read the posterior and all rankings that there are.

        Raises:
            PdnasError: the run has no band, or a ranking is of other candidates than there are.
        """
        posterior, band = run.posterior(), run.spec.candidates.band
        if band is None or not isinstance(posterior, ChannelPosterior):
            raise PdnasError(
                f"{run.folder} has no band of parameters; use a run of natsbench-size whose scale "
                "has candidates.band"
            )
        ranked = {}
        for source in SOURCES:
            if (table := run.ranking(source)) is None:
                continue
            candidates, metadata = run.candidates(source)
            if metadata.get("band") != band:
                raise PdnasError(
                    f"{run.folder / layout.candidates(source)} is of another band than {band}; "
                    "sample and rank again"
                )
            if why := run.outdated(source):
                raise PdnasError(f"{run.folder / layout.ranking(source)} is {why}; rank them again")
            ranked[source] = Ranked.of(candidates, table["validation_accuracy"].to_numpy())
        return cls(posterior, (band[0], band[1]), ranked)


def judge_run(run: Run, force: bool = False) -> dict[str, Any]:
    """The record of a run, with its provenance, as ``sizes.json`` has it.

    Args:
        force: a ``sizes.json`` that was made in another way may be replaced.

    Raises:
        PdnasError: as :meth:`Inputs.open`, the posterior has nothing in the band, or the run has
            another ``sizes.json``.
    """
    stopwatch = Stopwatch()
    inputs = Inputs.open(run)
    config = {"band": list(inputs.band), "sources": list(inputs.ranked)}
    configured_like(run.folder / layout.SIZES, config, run.identity, force)
    record = judge(inputs, open_truth(TRUTH))
    return {**record, "provenance": provenance(config, run.seed, stopwatch)}


def judge(inputs: Inputs, truth: Truth, draws: int = DRAWS) -> dict[str, Any]:
    """What the samplers of a run are worth, ready for JSON.

    Args:
        draws: as for :func:`pdnas.truth.measure.measure`.

    Returns:
        ``truth``; ``parameters``: the band; ``networks`` in it; ``expected_parameters`` of the
        posterior, whatever the band; ``samplers``: records of ``measure`` for ``posterior``,
        ``random`` (one drop probability) and ``largest`` (the band's top hundredth by size);
        ``widths``: mean widths in the band of these, of ``uniform`` and, by data set, of the
        ``best`` hundredth, five numbers each; ``ranked``: see :func:`chosen`, by source.

    Raises:
        PdnasError: the posterior is another supernet's, or has nothing in the band.
    """
    kept, sizes = within(inputs.band), SizeSpace().parameters(CLASSES)
    learned = network_probabilities(inputs.posterior)
    expected = float(learned @ sizes)
    top = max(1, round(TOP * int(kept.sum())))
    samplers = {
        "posterior": learned,
        "random": one_drop_probabilities(expected, CLASSES),
        "largest": largest(sizes, kept, top),
    }
    widths: dict[str, Any] = {
        name: mean_widths(restricted(q, kept))
        for name, q in {**samplers, "uniform": uniform(kept)}.items()
    }
    widths["best"] = {}
    for name in truth.datasets:
        accuracy = truth.accuracy(name)
        best = kept & (accuracy >= goals(accuracy[kept])["top"])
        widths["best"][name] = mean_widths(uniform(best))
    return {
        "truth": truth.name,
        "parameters": list(inputs.band),
        "networks": int(kept.sum()),
        "expected_parameters": expected,
        "samplers": {
            name: measure(truth, q, parameters=inputs.band, draws=draws)
            for name, q in samplers.items()
        },
        "widths": widths,
        "ranked": {source: chosen(ranked, truth) for source, ranked in inputs.ranked.items()},
    }


def mean_widths(probabilities: Floats) -> list[float]:
    """Expected widths c0 to c4 of a network of the space."""
    means: list[float] = (probabilities @ SizeSpace().counts).tolist()
    return means


def chosen(ranked: Ranked, truth: Truth) -> dict[str, Any]:
    """True accuracy of the best by inherited weights, of n of the ranked candidates.

    The n are drawn with replacement, each candidate as likely as the other. So n = 1 is their mean.

    Returns:
        ``candidates``, and by data set ``n``, ``expected``, ``kendall_tau`` between scores and true
        accuracies (null: of one candidate), ready for JSON.
    """
    each, datasets = sampling.uniform(ranked.rows.size), {}
    for name in truth.datasets:
        accuracy = truth.accuracy(name)[ranked.rows]
        expected = expected_accuracy_of_chosen(each, ranked.scores, accuracy, CHOSEN_OF)
        datasets[name] = {
            "n": list(CHOSEN_OF),
            "expected": expected.tolist(),
            "kendall_tau": finite_or_none(kendall_tau(ranked.scores, accuracy)),
        }
    return {"candidates": ranked.rows.size, "datasets": datasets}
