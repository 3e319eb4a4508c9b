"""Judge candidates with the supernet's own weights on validation data, and choose the best.

Every candidate is judged on the same images (paper, section 3.4), or, in a race, on as many of them
as show that it cannot win: no fine-tuning, no test data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from pdnas.nn.supernets import ChannelSupernet
from pdnas.runs import layout
from pdnas.runs.journal import Journal
from pdnas.runs.run import Run
from pdnas.space.candidates import Candidates
from pdnas.spec.names import Ranking as Comparison
from pdnas.spec.names import Source
from pdnas.stages.judge import Judge, make_judge
from pdnas.stages.materials import loader_of, trained_supernet
from pdnas.stages.race import race_all
from pdnas.support import distributed
from pdnas.support.progress import Progress
from pdnas.support.provenance import fingerprint, provenance
from pdnas.train.evaluate import evaluate


@dataclass(frozen=True)
class Inputs:
    """What a ranking reads of a run.

    Attributes:
        drawn: metadata of the candidates: ``seed``, ``log_probability``.
    """

    candidates: Candidates
    drawn: dict[str, Any]
    judge: Judge

    @classmethod
    def open(cls, run: Run, source: Source, device: torch.device) -> Inputs:
        """Read candidates, weights and validation images.

        Raises:
            PdnasError: there are no candidates, or they are another supernet's.
        """
        candidates, drawn = run.candidates(source)
        supernet = trained_supernet(run, device)
        judge = make_judge(run, supernet, loader_of(run, "validation", device), device)
        return cls(candidates, drawn, judge)


@dataclass(frozen=True)
class Ranking:
    """Candidates as they were judged, equal ones once.

    Attributes:
        table: a row a candidate: ``candidate``, ``validation_accuracy``, ``validation_loss``,
            ``parameters``, ``kept_channels``, ``kept_operations`` (docs/files.md); after a race
            also ``images``.
        distinct: how many of the candidates differ.
        supernet_accuracy: of everything together, judged alike; None for cells.
    """

    table: pd.DataFrame
    distinct: int
    supernet_accuracy: float | None

    @property
    def best(self) -> int:
        """The candidate with the highest accuracy; of equals, the first."""
        return int(np.nanargmax(self.table["validation_accuracy"].to_numpy()))


def rank_run(run: Run, source: Source, device: torch.device) -> dict[str, Any]:
    """Judge a run's candidates and write ``ranking-SOURCE.parquet`` and ``.json``.

    Each judgement goes to a journal at once, so a killed ranking goes on where it was.

    Returns:
        the record written to ``ranking-SOURCE.json``.

    Raises:
        PdnasError: there are no candidates, or they are another supernet's.
    """
    inputs = Inputs.open(run, source, device)
    candidates, sha256 = inputs.candidates, run.candidates_sha256(source)
    settings = run.spec.candidates.model_dump(mode="json")
    belongs_to = {
        **settings,
        "candidates": sha256,
        "distinct": len(candidates.distinct()[0]),
        "weights": run.provenance["finished"],
    }
    name = layout.journal(f"ranking-{source}", fingerprint(belongs_to))
    journal = Journal(run.folder / name)
    description = f"rank {source} {run.study}/{run.variant} seed {run.seed}"
    how = run.spec.candidates.ranking
    ranking = rank(candidates, inputs.judge, how, journal, description)
    table = ranking.table
    table["log_probability"] = inputs.drawn["log_probability"]
    table["cell"] = [run.cell_string(candidates[number]) for number in range(len(candidates))]
    config = {**settings, "source": source, "count": len(candidates)}
    record = {
        "images": inputs.judge.loader.examples,
        "batchnorm": inputs.judge.batchnorm,
        "best": ranking.best,
        "distinct_candidates": ranking.distinct,
        "supernet_validation_accuracy": ranking.supernet_accuracy,
        "candidates_sha256": sha256,
        "provenance": provenance(config, inputs.drawn["seed"], journal.stopwatch),
    }
    run.write(layout.ranking(source), table)
    run.write(layout.ranking_record(source), record)
    journal.remove()
    return record


def rank(
    candidates: Candidates,
    judge: Judge,
    how: Comparison = "all",
    journal: Journal | None = None,
    description: str = "",
) -> Ranking:
    """Judge candidates, equal ones once, and the whole supernet beside them.

    Args:
        how: ``all`` on every image, or ``racing``.
        journal: keeps each judgement, so that a killed call goes on where it was.
        description: what is being done, for people.
    """
    journal = journal or Journal()
    compare = race_all if how == "racing" else judge_all
    distinct, equal = candidates.distinct()
    table = compare(distinct, judge, journal, description).iloc[equal].reset_index(drop=True)
    table["candidate"] = np.arange(len(candidates))
    whole = None
    if isinstance(judge.supernet, ChannelSupernet):
        with judge.statistics():
            whole, _ = evaluate(judge.supernet, judge.loader, judge.training)
    return Ranking(table, len(distinct), whole)


def judge_all(
    candidates: Candidates, judge: Judge, journal: Journal, description: str
) -> pd.DataFrame:
    """The ranking's table, every candidate judged on every image, as many at once as is fastest."""
    done = len(journal.rows)
    step = distributed.chunk(len(candidates) - done, judge.together(judge.loader.examples))

    def judged(first: int) -> list[dict[str, float]]:
        numbers = range(first, min(first + step, len(candidates)))
        choices = [candidates[number] for number in numbers]
        return [
            {
                "candidate": number,
                "validation_accuracy": accuracy,
                "validation_loss": loss,
                **judge.size(choice),
            }
            for number, choice, (accuracy, loss) in zip(
                numbers, choices, judge.judge(choices), strict=True
            )
        ]

    quiet = not (description and distributed.is_first())
    with Progress(description, len(candidates), done, quiet) as progress:
        for rows in distributed.spread(judged, range(done, len(candidates), step)):
            for row in rows:
                journal.append(row)
                progress.advance(note=f"accuracy {row['validation_accuracy']:.1%}")
    return pd.DataFrame(journal.rows)
