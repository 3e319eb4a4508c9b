"""Ranking: many candidates in one batch, and going on after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from torch import Tensor, nn

from pdnas.runs.journal import Journal
from pdnas.runs.run import Run
from pdnas.space.candidates import Candidates, Choice
from pdnas.spec.names import Ranking as Comparison
from pdnas.stages.judge import Judge
from pdnas.stages.rank import Inputs, rank, rank_run
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


@pytest.mark.parametrize("how", ["all", "racing"])
def test_extracted_candidates_are_judged_as_masked_ones(
    raced: Run, how: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses within rounding; the same holds of a ranking that was begun with the others."""
    inputs = Inputs.open(raced, "posterior", CPU)
    masked, half = rank(inputs.candidates, inputs.judge, how), Journal()
    rank(inputs.candidates, inputs.judge, how, half)
    real, networks = Judge._verdicts, []

    def seen(self: Judge, network: nn.Module, *rest: Any) -> tuple[Tensor, Tensor]:
        networks.append(type(network).__name__)
        return real(self, network, *rest)

    monkeypatch.setattr(Judge, "_verdicts", seen)
    monkeypatch.setattr("pdnas.stages.judge.EXTRACTED", 1)
    extracted = rank(inputs.candidates, inputs.judge, how)
    assert set(networks) == {"Subnet"}
    del half.rows[len(half.rows) // 2 :]
    went_on = rank(inputs.candidates, inputs.judge, how, half)
    for found in (extracted, went_on):
        pd.testing.assert_frame_equal(found.table, masked.table, rtol=1e-5)
        assert found.supernet_accuracy == masked.supernet_accuracy


@pytest.mark.parametrize("how", ["all", "racing"])
def test_equal_candidates_are_judged_once_and_counted(
    raced: Run, how: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the row that it would have alone; the work is that of the distinct ones."""
    inputs = Inputs.open(raced, "posterior", CPU)
    own, _ = inputs.candidates.distinct()
    assert len(own) > 3
    assert [own[0][name].tolist() for name in own.choices] == [
        inputs.candidates[0][name].tolist() for name in own.choices
    ]
    real = Judge._verdicts
    work: list[int] = []

    def counted(
        self: Judge, network: nn.Module, candidates: int, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        work.append(candidates * len(x))
        return real(self, network, candidates, x, y)

    monkeypatch.setattr(Judge, "_verdicts", counted)
    rows = [2, 0, 2, 2, 1, 0]
    drawn, once = (
        Candidates({name: masks[numbers] for name, masks in own.choices.items()})
        for numbers in (rows, [2, 0, 1])
    )
    found = rank(drawn, inputs.judge, how)
    spent = sum(work)
    expected = rank(once, inputs.judge, how)
    assert spent == sum(work) - spent
    assert found.distinct == expected.distinct == 3
    table = found.table
    assert table["candidate"].tolist() == list(range(6))
    places = [[2, 0, 1].index(row) for row in rows]
    pd.testing.assert_frame_equal(
        table.drop(columns="candidate"),
        expected.table.drop(columns="candidate").iloc[places].reset_index(drop=True),
        check_exact=True,
    )
    assert found.best == places.index(expected.best)


def test_a_record_says_how_many_candidates_differ(raced: Run) -> None:
    record = rank_run(raced, "posterior", CPU)
    drawn, _ = raced.candidates("posterior")
    kinds = {str({name: rows.tolist() for name, rows in drawn[n].items()}) for n in range(20)}
    assert record["distinct_candidates"] == len(kinds)
