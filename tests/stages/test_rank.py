"""Ranking: many candidates in one batch, and going on after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest

from pdnas.runs.run import Run
from pdnas.space.candidates import Choice
from pdnas.stages.judge import Judge
from pdnas.stages.rank import rank_run
from pdnas.support.files import read_table

from .conftest import CPU


@pytest.mark.parametrize("ranking", ["all", "racing"])
def test_many_candidates_in_one_batch_are_judged_as_one_by_one(raced: Run, ranking: str) -> None:
    """Several of the 20 at a time; losses within rounding of float32."""
    tables = []
    for pairs in (1, 700):
        settings = raced.spec.candidates.model_copy(update={"ranking": ranking, "pairs": pairs})
        spec = raced.spec.model_copy(update={"candidates": settings})
        rank_run(replace(raced, spec=spec), "posterior", CPU)
        tables.append(read_table(raced.folder / "ranking-posterior.parquet"))
    one_by_one, together = tables
    pd.testing.assert_frame_equal(one_by_one, together, rtol=1e-5)


def test_a_killed_ranking_of_many_at_once_goes_on(
    raced: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = raced.spec.candidates.model_copy(update={"ranking": "all", "pairs": 700})
    many = replace(raced, spec=raced.spec.model_copy(update={"candidates": settings}))
    rank_run(many, "posterior", CPU)
    whole = read_table(raced.folder / "ranking-posterior.parquet")
    real = Judge.judge
    sizes: list[int] = []

    def counted(self: Judge, choices: Sequence[Choice]) -> list[tuple[float, float]]:
        if len(sizes) == 2:
            sizes.append(0)
            raise KeyboardInterrupt
        sizes.append(len(choices))
        return real(self, choices)

    monkeypatch.setattr(Judge, "judge", counted)
    with pytest.raises(KeyboardInterrupt):
        rank_run(many, "posterior", CPU)
    (journal,) = raced.folder.glob("checkpoint/*.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    assert sizes[0] > 1
    assert len(lines) == sizes[0] + sizes[1]
    journal.write_text("".join(lines[:-1]))  # killed within the records of one batch
    rank_run(many, "posterior", CPU)
    pd.testing.assert_frame_equal(
        read_table(raced.folder / "ranking-posterior.parquet"), whole, rtol=1e-5
    )
