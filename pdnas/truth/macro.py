"""What a run over NAS-Bench-Macro's networks is worth, exactly: ``macro.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdnas.runs import layout
from pdnas.runs.kept import configured_like
from pdnas.runs.run import Run
from pdnas.space.macro import MacroSpace
from pdnas.space.posterior import CategoricalPosterior
from pdnas.support.errors import PdnasError
from pdnas.support.provenance import Stopwatch, provenance
from pdnas.truth.efficiency import load_scores
from pdnas.truth.measure import goals, measure
from pdnas.truth.noise import DRAWS
from pdnas.truth.sampling import Floats
from pdnas.truth.tables import Truth, open_truth

TRUTH = "nasbench-macro"


@dataclass(frozen=True)
class Inputs:
    """What is read of a run.

    Attributes:
        scores: one-shot accuracies of all networks, shape (6561,); None: they were not scored.
        scored: the record of that, to which the result belongs.
    """

    posterior: CategoricalPosterior
    scores: Floats | None = None
    scored: Mapping[str, Any] | None = None

    @classmethod
    def open(cls, run: Run) -> Inputs:
        """Read the posterior, and the scores if there are any.

        Raises:
            PdnasError: the run's architectures are none of NAS-Bench-Macro.
        """
        posterior = run.posterior()
        if not isinstance(posterior, CategoricalPosterior) or not isinstance(
            posterior.space, MacroSpace
        ):
            raise PdnasError(
                f"{run.folder} is no run of nasbench-macro (supernet {run.spec.supernet.name})"
            )
        scored, scores = run.scores_record, None
        if scored is not None:
            scores = load_scores(run.folder / layout.SCORES, posterior.space, run.identity)
        return cls(posterior, scores, scored)


def judge_run(run: Run, force: bool = False) -> dict[str, Any]:
    """The record of a run, with its provenance, as ``macro.json`` has it.

    Args:
        force: a ``macro.json`` that was made in another way may be replaced.

    Raises:
        PdnasError: as :meth:`Inputs.open`, or the run has another ``macro.json``.
    """
    stopwatch = Stopwatch()
    inputs = Inputs.open(run)
    config = {"images": None if inputs.scored is None else inputs.scored["images"]}
    configured_like(run.folder / layout.MACRO, config, run.identity, force)
    record = judge(inputs, open_truth(TRUTH))
    return {**record, "provenance": provenance(config, run.seed, stopwatch)}


def judge(inputs: Inputs, truth: Truth, draws: int = DRAWS) -> dict[str, Any]:
    """What a posterior is worth, ready for JSON.

    Args:
        draws: as for :func:`pdnas.truth.measure.measure`.

    Returns:
        The record of ``measure``, and ``blocks``: by layer, the probability of each block under the
        ``posterior``, and its share of the truly ``best`` hundredth of networks; (8, 3) each.
    """
    q = inputs.posterior.architecture_probabilities()
    accuracy, space = truth.accuracy(), inputs.posterior.space
    best = space.codes[accuracy >= goals(accuracy)["top"]]
    shares = np.stack([(best == code).mean(axis=0) for code in range(len(space.options))], axis=1)
    return {
        **measure(truth, q, scores=inputs.scores, draws=draws),
        "blocks": {
            "posterior": inputs.posterior.probabilities.tolist(),
            "best": shares.tolist(),
        },
    }
