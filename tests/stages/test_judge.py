"""How candidates are judged: alone or together, and with which BatchNorm statistics."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.runs.run import Run
from pdnas.stages.judge import Judge, make_judge, recalibrated
from pdnas.stages.materials import EVALUATION_BATCH, loader_of, trained_supernet
from pdnas.stages.rank import rank_run
from pdnas.train.evaluate import evaluate

from .conftest import CPU


def test_candidates_with_statistics_of_their_own_are_judged_one_by_one(raced: Run) -> None:
    loader = loader_of(raced, "validation", CPU)
    judge = Judge(trained_supernet(raced, CPU), loader, raced.spec.training, pairs=10_000)
    assert judge.together(100) == 100
    assert judge.together(10**6) == 10_000 // EVALUATION_BATCH
    assert replace(judge, batchnorm="recalibrated").together(100) == 1
    assert replace(judge, pairs=1).together(100) == 1


class Sorted(MultiBranchSupernet):
    """A user's supernet with an operation that extraction has no rule for."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sort(dim=2).values)


class Branching(MultiBranchSupernet):
    """One that torch.fx cannot follow."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > 0 else -x)


@pytest.mark.parametrize("kind", [Sorted, Branching])
def test_a_supernet_that_cannot_be_extracted_is_judged_masked(
    raced: Run, kind: type[MultiBranchSupernet], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    supernet = kind(4, 1, 3, 10).eval()
    choice = supernet.posterior().sample(1, seed=0)[0]
    x, y = torch.rand(5, 3, 16, 16), torch.zeros(5, dtype=torch.int64)
    judge = Judge(supernet, loader_of(raced, "validation", CPU), raced.spec.training)
    expected = judge.each([choice], x, y)
    monkeypatch.setattr("pdnas.stages.judge.EXTRACTED", 1)
    assert all(map(torch.equal, judge.each([choice], x, y), expected))


def test_where_verdicts_could_differ_nothing_is_extracted(raced: Run) -> None:
    loader, training = loader_of(raced, "validation", CPU), raced.spec.training
    judge = Judge(trained_supernet(raced, CPU), loader, training)
    assert judge._extractor
    assert not replace(judge, batchnorm="recalibrated")._extractor
    bfloat16 = training.model_copy(update={"precision": "bfloat16"})
    assert not replace(judge, training=bfloat16)._extractor


def test_images_go_through_in_pieces_on_a_processor(
    raced: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge(
        trained_supernet(raced, CPU), loader_of(raced, "validation", CPU), raced.spec.training
    )
    sizes: list[int] = []
    judge.supernet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    whole = evaluate(judge.supernet, judge.loader, judge.training)
    monkeypatch.setattr("pdnas.train.evaluate.CPU_IMAGES", 7)
    pieces = evaluate(judge.supernet, judge.loader, judge.training)
    assert max(sizes[-3:]) == 7
    assert max(sizes) == 50
    assert pieces == pytest.approx(whole, rel=1e-6)


def test_whoever_is_judged_the_whole_network_is_as_it_was(raced: Run) -> None:
    """Recalibration gives a candidate its own statistics, and the whole network its own."""
    settings = {"batchnorm": "recalibrated", "recalibration_images": 60, "ranking": "all"}
    candidates = raced.spec.candidates.model_copy(update=settings)
    recalibrating = replace(raced, spec=raced.spec.model_copy(update={"candidates": candidates}))
    record = rank_run(recalibrating, "posterior", CPU)
    supernet, loader = trained_supernet(raced, CPU), loader_of(raced, "validation", CPU)
    running, _ = evaluate(supernet, loader, raced.spec.training)
    judge = make_judge(recalibrating, supernet, loader, CPU)
    with judge.statistics():
        accuracy, _ = evaluate(supernet, loader, raced.spec.training)
    assert record["supernet_validation_accuracy"] == accuracy
    assert evaluate(supernet, loader, raced.spec.training)[0] == running != accuracy


def test_recalibrated_statistics_are_plain_averages_over_the_batches(raced: Run) -> None:
    supernet = trained_supernet(raced, CPU)
    norms = [each for each in supernet.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    batches = [x for x, _ in loader_of(raced, "train", CPU, train=True).epoch(0)][:3]
    first = norms[0]  # of the stem, which no switch comes before
    inputs = [supernet.stem(x) for x in batches]
    with recalibrated(supernet, batches, raced.spec.training):
        mean = torch.stack([x.mean(dim=(0, 2, 3)) for x in inputs]).mean(dim=0)
        var = torch.stack([x.var(dim=(0, 2, 3)) for x in inputs]).mean(dim=0)
        torch.testing.assert_close(first.running_mean, mean)
        torch.testing.assert_close(first.running_var, var)
        assert not any(norm.training for norm in norms)
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())
    assert {norm.momentum for norm in norms} == {0.1}


def test_recalibration_sees_training_images_only(raced: Run) -> None:
    settings = {"batchnorm": "recalibrated", "recalibration_images": 60}
    spec = raced.spec.model_copy(
        update={"candidates": raced.spec.candidates.model_copy(update=settings)}
    )
    validation = loader_of(raced, "validation", CPU)
    judge = make_judge(replace(raced, spec=spec), trained_supernet(raced, CPU), validation, CPU)
    train = [x for x, _ in loader_of(raced, "train", CPU, train=True).epoch(0)]
    assert sum(map(len, judge.calibration)) == 100, "two batches of 50, the first to make 60"
    assert all(map(torch.equal, judge.calibration, train))
