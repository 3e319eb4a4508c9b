"""Racing: the plain winner at a fraction of the cost, and plain ranking where nobody can be out."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from pdnas.runs.run import Run
from pdnas.spec.scale import load_scale
from pdnas.spec.spec import Spec
from pdnas.stages import race as module
from pdnas.stages.judge import Judge, make_judge, recalibrated
from pdnas.stages.materials import EVALUATION_BATCH, loader_of, trained_supernet
from pdnas.stages.race import FIRST_ROUND, race, rounds
from pdnas.stages.rank import rank_run
from pdnas.stages.retrain import retrain_run
from pdnas.stages.sample import sample_run
from pdnas.stages.search import search_run
from pdnas.support.files import read_table
from pdnas.train.evaluate import evaluate

CPU = torch.device("cpu")


def judge_of(correct, calls=None):
    def judge(racing, start, stop):
        if calls is not None:
            calls.extend((candidate, start, stop) for candidate in racing.tolist())
        return correct[racing, start:stop]

    return judge


def related(accuracies, images, seed=0):
    """Candidates that find the same images difficult."""
    difficulty = np.random.default_rng(seed).uniform(size=images)
    noise = np.random.default_rng(seed + 1).normal(scale=0.02, size=(len(accuracies), images))
    return difficulty + noise < np.array(accuracies)[:, None]


def test_a_clear_winner_is_found_with_few_evaluations():
    correct = related([0.5] * 99 + [0.7], 2000)
    result = race(100, 2000, judge_of(correct))
    assert result.best == 99
    assert result.seen[99] == 2000
    assert result.right[99] == correct[99].sum()
    assert result.evaluations == result.seen.sum() < correct.size / 8


def test_equal_candidates_are_all_judged_on_everything():
    """Nobody trails, so it is plain ranking: each judged on each image once, ties to the first."""
    correct = np.tile(related([0.6], 333), (5, 1))
    calls = []
    result = race(5, 333, judge_of(correct, calls))
    assert result.best == 0
    assert result.seen.tolist() == [333] * 5
    assert result.right.tolist() == correct.sum(axis=1).tolist()
    assert len(calls) == len(set(calls)) == 5 * len(rounds(333))


def test_nobody_is_out_before_the_first_round_is_over():
    correct = related(np.linspace(0.1, 0.9, 30), FIRST_ROUND - 1)
    result = race(30, FIRST_ROUND - 1, judge_of(correct))
    assert result.evaluations == correct.size
    assert result.best == correct.sum(axis=1).argmax()


def test_rounds_end_with_the_last_image():
    for images in (1, FIRST_ROUND, FIRST_ROUND + 1, 1999):
        stops = rounds(images)
        assert stops == sorted(set(stops))
        assert stops[-1] == images


@pytest.mark.parametrize("seed", range(20))
def test_whoever_is_left_at_the_end_is_ranked_plainly(seed):
    correct = related(np.random.default_rng(seed).uniform(0.55, 0.6, 40), 1000, seed)
    result = race(40, 1000, judge_of(correct))
    left = result.seen == 1000
    accuracy = np.where(left, correct.mean(axis=1), -1)
    assert result.best == accuracy.argmax()
    assert (result.right[left] == correct.sum(axis=1)[left]).all()


def races_won(seeds):
    """How often a race among near equals ends with the winner of plain ranking."""
    won = 0
    for seed in range(seeds):
        correct = related(np.random.default_rng(seed).uniform(0.5, 0.6, 40), 1000, seed)
        won += race(40, 1000, judge_of(correct)).best == correct.sum(axis=1).argmax()
    return won


def test_a_race_hardly_ever_loses_the_plain_winner(monkeypatch):
    assert races_won(40) >= 39
    monkeypatch.setattr(module, "CONFIDENCE", 0.5)
    assert races_won(40) < 35, "a race that is too quick loses it, or this test says nothing"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raced")
    spec = load_scale("smoke").spec("multibranch", "guided")
    racing = spec.candidates.model_copy(update={"ranking": "racing"})
    gates = spec.gates.model_copy(update={"length_scale2": 100})
    spec = spec.model_copy(update={"candidates": racing, "gates": gates})
    names = {"scale": "smoke", "study": "multibranch", "variant": "guided"}
    search_run(spec, **names, seed=0, out=folder, device=CPU)
    found = Run.load(folder)
    sample_run(found, "posterior", 20, 0)
    return found


def plainly(run):
    """The same candidates, every one judged on every image."""
    everything = run.spec.candidates.model_copy(update={"ranking": "all"})
    spec = run.spec.model_copy(update={"candidates": everything})
    return replace(run, spec=spec)


def test_a_raced_run_has_the_plain_accuracies_of_whoever_is_left(run):
    record, path = rank_run(run, "posterior", CPU), run.folder / "ranking-posterior.parquet"
    raced = read_table(path)
    report = Run.load(run.folder)
    assert report.ranking("posterior") is None, "survivors alone must not make a histogram"
    assert report.chosen("posterior")["candidate"] == record["best"]
    plain_record = rank_run(plainly(run), "posterior", CPU)
    plain = read_table(path)
    assert plain["validation_accuracy"].nunique() > 1
    assert plain_record["best"] == plain["validation_accuracy"].argmax() == record["best"]
    left = raced["images"] == record["images"]
    assert 0 < left.sum() < len(left), "a race that ends nothing, or everything, tests nothing"
    assert raced["validation_accuracy"][left].equals(plain["validation_accuracy"][left])
    np.testing.assert_allclose(
        raced["validation_loss"][left], plain["validation_loss"][left], rtol=1e-5
    )
    assert raced.loc[~left, ["validation_accuracy", "validation_loss"]].isna().all(axis=None)
    assert bool(left[record["best"]])
    others = ["parameters", "kept_channels", "kept_operations", "log_probability", "cell"]
    pd.testing.assert_frame_equal(raced[others], plain[others])
    assert set(record) == set(plain_record)


def test_a_killed_race_goes_on_and_ends_the_same(run, monkeypatch):
    path = run.folder / "ranking-posterior.parquet"
    rank_run(run, "posterior", CPU)
    whole = read_table(path)
    real, calls = Judge.each, []

    def counted(*arguments):
        calls.append(1)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(Judge, "each", counted)
    with pytest.raises(KeyboardInterrupt):
        rank_run(run, "posterior", CPU)
    (journal,) = run.folder.glob("checkpoint/*.jsonl")
    assert len(journal.read_text().splitlines()) == 24
    with journal.open("a") as file:
        file.write(json.dumps({"candidate": 0})[:5])  # half a line, as a kill may leave it
    rank_run(run, "posterior", CPU)
    pd.testing.assert_frame_equal(read_table(path), whole)
    assert not journal.exists()


@pytest.mark.parametrize("ranking", ["all", "racing"])
def test_many_candidates_in_one_batch_are_judged_as_one_by_one(run, ranking):
    """Several of the 20 at a time; losses within rounding of float32."""
    tables = []
    for pairs in (1, 700):
        settings = run.spec.candidates.model_copy(update={"ranking": ranking, "pairs": pairs})
        spec = run.spec.model_copy(update={"candidates": settings})
        rank_run(replace(run, spec=spec), "posterior", CPU)
        tables.append(read_table(run.folder / "ranking-posterior.parquet"))
    pd.testing.assert_frame_equal(*tables, rtol=1e-5)


def test_a_killed_ranking_of_many_at_once_goes_on(run, monkeypatch):
    settings = run.spec.candidates.model_copy(update={"ranking": "all", "pairs": 700})
    many = replace(run, spec=run.spec.model_copy(update={"candidates": settings}))
    rank_run(many, "posterior", CPU)
    whole = read_table(run.folder / "ranking-posterior.parquet")
    real, sizes = Judge.judge, []

    def counted(self, choices):
        if len(sizes) == 2:
            sizes.append(0)
            raise KeyboardInterrupt
        sizes.append(len(choices))
        return real(self, choices)

    monkeypatch.setattr(Judge, "judge", counted)
    with pytest.raises(KeyboardInterrupt):
        rank_run(many, "posterior", CPU)
    (journal,) = run.folder.glob("checkpoint/*.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    assert sizes[0] > 1
    assert len(lines) == sizes[0] + sizes[1]
    journal.write_text("".join(lines[:-1]))  # killed within the records of one batch
    rank_run(many, "posterior", CPU)
    pd.testing.assert_frame_equal(
        read_table(run.folder / "ranking-posterior.parquet"), whole, rtol=1e-5
    )


def test_candidates_with_statistics_of_their_own_are_judged_one_by_one(run):
    loader = loader_of(run, "validation", CPU)
    judge = Judge(trained_supernet(run, CPU), loader, run.spec.training, pairs=10_000)
    assert judge.together(100) == 100
    assert judge.together(10**6) == 10_000 // EVALUATION_BATCH
    assert replace(judge, batchnorm="recalibrated").together(100) == 1
    assert replace(judge, pairs=1).together(100) == 1


def test_whoever_is_judged_the_whole_network_is_as_it_was(run):
    """Recalibration gives a candidate its own statistics, and the whole network its own."""
    settings = {"batchnorm": "recalibrated", "recalibration_images": 60, "ranking": "all"}
    candidates = run.spec.candidates.model_copy(update=settings)
    recalibrating = replace(run, spec=run.spec.model_copy(update={"candidates": candidates}))
    record = rank_run(recalibrating, "posterior", CPU)
    supernet, loader = trained_supernet(run, CPU), loader_of(run, "validation", CPU)
    running, _ = evaluate(supernet, loader, run.spec.training)
    judge = make_judge(recalibrating, supernet, loader, CPU)
    with judge.statistics():
        accuracy, _ = evaluate(supernet, loader, run.spec.training)
    assert record["supernet_validation_accuracy"] == accuracy
    assert evaluate(supernet, loader, run.spec.training)[0] == running != accuracy


def test_recalibrated_statistics_are_plain_averages_over_the_batches(run):
    supernet = trained_supernet(run, CPU)
    norms = [each for each in supernet.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    batches = [x for x, _ in loader_of(run, "train", CPU, train=True).epoch(0)][:3]
    first = norms[0]  # of the stem, which no switch comes before
    inputs = [supernet.stem(x) for x in batches]
    with recalibrated(supernet, batches, run.spec.training):
        mean = torch.stack([x.mean(dim=(0, 2, 3)) for x in inputs]).mean(dim=0)
        var = torch.stack([x.var(dim=(0, 2, 3)) for x in inputs]).mean(dim=0)
        torch.testing.assert_close(first.running_mean, mean)
        torch.testing.assert_close(first.running_var, var)
        assert not any(norm.training for norm in norms)
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())
    assert {norm.momentum for norm in norms} == {0.1}


def test_recalibration_sees_training_images_only(run):
    settings = {"batchnorm": "recalibrated", "recalibration_images": 60}
    spec = run.spec.model_copy(
        update={"candidates": run.spec.candidates.model_copy(update=settings)}
    )
    validation = loader_of(run, "validation", CPU)
    judge = make_judge(replace(run, spec=spec), trained_supernet(run, CPU), validation, CPU)
    train = [x for x, _ in loader_of(run, "train", CPU, train=True).epoch(0)]
    assert sum(map(len, judge.calibration)) == 100, "two batches of 50, the first to make 60"
    assert all(map(torch.equal, judge.calibration, train))


def test_the_winner_is_tested_on_the_test_images(run):
    everything = plainly(run)
    rank_run(everything, "posterior", CPU)
    record = retrain_run(everything, "posterior", "none", CPU)
    number, choice = everything.candidate("posterior", None)
    supernet = trained_supernet(run, CPU)
    accuracy = {}
    for part in ("validation", "test"):
        with torch.no_grad(), supernet.candidate(choice):
            right = [supernet(x).argmax(dim=1) == y for x, y in loader_of(run, part, CPU).epoch(0)]
        accuracy[part] = torch.cat(right).double().mean().item()
    assert accuracy["test"] != accuracy["validation"], "or one could stand for the other"
    assert record["candidate"] == number
    assert record["test_accuracy"] == pytest.approx(accuracy["test"], abs=1e-12)
    assert record["validation_accuracy"] == pytest.approx(accuracy["validation"], abs=1e-12)
    assert record["test_images"] == 359


def test_a_race_needs_its_images_in_memory():
    spec = load_scale("smoke").spec("multibranch", "guided").model_dump()
    spec["candidates"]["ranking"] = "racing"
    assert Spec.model_validate(spec).candidates.ranking == "racing"
    spec["data"]["name"] = "imagenet"
    with pytest.raises(ValidationError, match="racing needs validation images in memory"):
        Spec.model_validate(spec)
