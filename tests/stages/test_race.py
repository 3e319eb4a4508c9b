"""Racing: the plain winner at a fraction of the cost, and plain ranking where nobody can be out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from pdnas.runs.run import Run
from pdnas.spec.scale import load_scale
from pdnas.spec.spec import Spec
from pdnas.stages import race as module
from pdnas.stages.judge import Judge
from pdnas.stages.race import FIRST_ROUND, race, rounds
from pdnas.stages.rank import rank_run
from pdnas.support.files import read_table

from .conftest import CPU, plainly

Right = NDArray[np.bool_]
Judged = Callable[[NDArray[np.int64], int, int], Right]


def judge_of(correct: Right, calls: list[tuple[int, int, int]] | None = None) -> Judged:
    def judge(racing: NDArray[np.int64], start: int, stop: int) -> Right:
        if calls is not None:
            calls.extend((candidate, start, stop) for candidate in racing.tolist())
        return correct[racing, start:stop]

    return judge


def related(accuracies: Sequence[float] | NDArray[np.float64], images: int, seed: int = 0) -> Right:
    """Candidates that find the same images difficult."""
    difficulty = np.random.default_rng(seed).uniform(size=images)
    noise = np.random.default_rng(seed + 1).normal(scale=0.02, size=(len(accuracies), images))
    return difficulty + noise < np.array(accuracies)[:, None]


def test_a_clear_winner_is_found_with_few_evaluations() -> None:
    correct = related([0.5] * 99 + [0.7], 2000)
    result = race(100, 2000, judge_of(correct))
    assert result.best == 99
    assert result.seen[99] == 2000
    assert result.right[99] == correct[99].sum()
    assert result.evaluations == result.seen.sum() < correct.size / 8


def test_equal_candidates_are_all_judged_on_everything() -> None:
    """Nobody trails, so it is plain ranking: each judged on each image once, ties to the first."""
    correct = np.tile(related([0.6], 333), (5, 1))
    calls: list[tuple[int, int, int]] = []
    result = race(5, 333, judge_of(correct, calls))
    assert result.best == 0
    assert result.seen.tolist() == [333] * 5
    assert result.right.tolist() == correct.sum(axis=1).tolist()
    assert len(calls) == len(set(calls)) == 5 * len(rounds(333))


def test_nobody_is_out_before_the_first_round_is_over() -> None:
    correct = related(np.linspace(0.1, 0.9, 30), FIRST_ROUND - 1)
    result = race(30, FIRST_ROUND - 1, judge_of(correct))
    assert result.evaluations == correct.size
    assert result.best == correct.sum(axis=1).argmax()


def test_rounds_end_with_the_last_image() -> None:
    for images in (1, FIRST_ROUND, FIRST_ROUND + 1, 1999):
        stops = rounds(images)
        assert stops == sorted(set(stops))
        assert stops[-1] == images


@pytest.mark.parametrize("seed", range(20))
def test_whoever_is_left_at_the_end_is_ranked_plainly(seed: int) -> None:
    correct = related(np.random.default_rng(seed).uniform(0.55, 0.6, 40), 1000, seed)
    result = race(40, 1000, judge_of(correct))
    left = result.seen == 1000
    accuracy = np.where(left, correct.mean(axis=1), -1)
    assert result.best == accuracy.argmax()
    assert (result.right[left] == correct.sum(axis=1)[left]).all()


def races_won(seeds: int) -> int:
    """How often a race among near equals ends with the winner of plain ranking."""
    won = 0
    for seed in range(seeds):
        correct = related(np.random.default_rng(seed).uniform(0.5, 0.6, 40), 1000, seed)
        won += race(40, 1000, judge_of(correct)).best == correct.sum(axis=1).argmax()
    return won


def test_a_race_hardly_ever_loses_the_plain_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert races_won(40) >= 39
    monkeypatch.setattr(module, "CONFIDENCE", 0.5)
    assert races_won(40) < 35, "a race that is too quick loses it, or this test says nothing"


def test_a_raced_run_has_the_plain_accuracies_of_whoever_is_left(raced: Run) -> None:
    record, path = rank_run(raced, "posterior", CPU), raced.folder / "ranking-posterior.parquet"
    table = read_table(path)
    report = Run.load(raced.folder)
    assert report.ranking("posterior") is None, "survivors alone must not make a histogram"
    chosen = report.chosen("posterior")
    assert chosen is not None
    assert chosen["candidate"] == record["best"]
    plain_record = rank_run(plainly(raced), "posterior", CPU)
    plain = read_table(path)
    assert plain["validation_accuracy"].nunique() > 1
    assert plain_record["best"] == plain["validation_accuracy"].argmax() == record["best"]
    left = table["images"] == record["images"]
    assert 0 < left.sum() < len(left), "a race that ends nothing, or everything, tests nothing"
    assert table["validation_accuracy"][left].equals(plain["validation_accuracy"][left])
    np.testing.assert_allclose(
        table["validation_loss"][left], plain["validation_loss"][left], rtol=1e-5
    )
    assert table.loc[~left, ["validation_accuracy", "validation_loss"]].isna().all(axis=None)
    assert bool(left[record["best"]])
    others = ["parameters", "kept_channels", "kept_operations", "log_probability", "cell"]
    pd.testing.assert_frame_equal(table[others], plain[others])
    assert set(record) == set(plain_record)


def test_a_killed_race_goes_on_and_ends_the_same(
    raced: Run, kill_at: Callable[[Any, str, int], list[Any]]
) -> None:
    path = raced.folder / "ranking-posterior.parquet"
    rank_run(raced, "posterior", CPU)
    whole = read_table(path)
    kill_at(Judge, "each", 25)
    with pytest.raises(KeyboardInterrupt):
        rank_run(raced, "posterior", CPU)
    (journal,) = raced.folder.glob("checkpoint/*.jsonl")
    assert len(journal.read_text().splitlines()) == 24
    with journal.open("a") as file:
        file.write(json.dumps({"candidate": 0})[:5])  # half a line, as a kill may leave it
    rank_run(raced, "posterior", CPU)
    pd.testing.assert_frame_equal(read_table(path), whole)
    assert not journal.exists()


def test_a_race_needs_its_images_in_memory() -> None:
    spec = load_scale("smoke").spec("multibranch", "guided").model_dump()
    spec["candidates"]["ranking"] = "racing"
    assert Spec.model_validate(spec).candidates.ranking == "racing"
    spec["data"]["name"] = "imagenet"
    with pytest.raises(ValidationError, match="racing needs validation images in memory"):
        Spec.model_validate(spec)
