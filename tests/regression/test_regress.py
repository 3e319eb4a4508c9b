"""The regression test of the method: a sound search passes, a broken one is noticed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from pdnas.commands.app import app
from pdnas.nn.supernets.categorical.credit import Credit
from pdnas.nn.supernets.cells import scoring
from pdnas.regression import digits, regress
from pdnas.regression.regress import compare, load_calibration, metrics, study
from pdnas.runs import tasks
from pdnas.runs.run import Run
from pdnas.spec.spec import Spec
from pdnas.stages import score
from pdnas.support.errors import PdnasError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sound_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of one seed of the study as it is."""
    folder = tmp_path_factory.mktemp("runs") / "sound"
    study(digits.specification("guided"), 0, folder)
    return folder


@pytest.fixture(scope="module")
def sound(sound_run: Path) -> dict[str, list[float]]:
    return one_seed(sound_run)


def one_seed(folder: Path | None = None) -> dict[str, list[float]]:
    return {key: [value] for key, value in study(digits.specification("guided"), 0, folder).items()}


def failed(measured: Mapping[str, list[float]]) -> set[str]:
    verdicts = compare(measured, load_calibration())
    return {name for name, verdict in verdicts.items() if not verdict.passed}


def test_a_sound_search_passes(sound: dict[str, list[float]]) -> None:
    assert failed(sound) == set()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(torch.zeros_like, id="likelihood ignored", marks=pytest.mark.thorough),
        pytest.param(torch.neg, id="sign flipped", marks=pytest.mark.thorough),
        pytest.param(lambda credit: credit.flip(-1), id="credit to the wrong operation"),
    ],
)
def test_a_broken_posterior_is_noticed(
    change: Callable[[Any], Tensor], sound_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real search with a wrong gradient; its cells are not scored anew, to save time."""
    real = Credit.backward

    def broken(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        node, credit, *outputs = real(ctx, slope)
        return node, change(credit), *outputs

    def sound_scores(run: Run, images: int | None, device: torch.device) -> None:
        shutil.copy(sound_run / "scores.parquet", run.folder)

    monkeypatch.setattr(Credit, "backward", staticmethod(broken))
    monkeypatch.setattr(regress, "score_run", sound_scores)
    assert {"speedup", "mean_accuracy"} <= failed(one_seed())


def test_scores_of_other_cells_are_noticed(
    sound_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real scoring that mixes up the cells of a block, after a sound search."""
    real = scoring.score_block

    def mixed_up(*arguments: Any) -> pd.DataFrame:
        table = real(*arguments)
        return table.assign(score=table["score"].to_numpy()[::-1])

    unscored = shutil.ignore_patterns("scores*")

    def sound_search(spec: Spec, *, out: Path, **names: Any) -> None:
        shutil.copytree(sound_run, out, ignore=unscored, dirs_exist_ok=True)

    monkeypatch.setattr(score, "score_block", mixed_up)
    monkeypatch.setattr(regress, "search_run", sound_search)
    assert failed(one_seed()) >= {"kendall_tau"}


def test_metrics_by_hand() -> None:
    accuracy = np.linspace(0.01, 0.4, 40)  # the best 5 % are two cells
    q = np.full(40, 0.5 / 38)
    q[-2:] = 0.25
    found = metrics(q, accuracy, accuracy, candidates=3)
    assert found["speedup"] == pytest.approx(0.5 / 0.05)
    assert found["mean_accuracy"] == pytest.approx(q @ accuracy)
    assert found["kendall_tau"] == pytest.approx(1)
    assert metrics(q, -accuracy, accuracy, 3)["kendall_tau"] == pytest.approx(-1)
    best_of_three = [
        accuracy[np.random.default_rng(seed).choice(40, 3, p=q)].max() for seed in range(20_000)
    ]
    assert found["chosen_accuracy"] == pytest.approx(np.mean(best_of_three), abs=0.002)


def test_what_cannot_be_compared_fails(sound: dict[str, list[float]]) -> None:
    for value in (0.0, float("nan")):
        assert failed({**sound, "speedup": [value]}) == {"speedup"}


def command(
    monkeypatch: pytest.MonkeyPatch, measured: Mapping[str, list[float]], *arguments: str
) -> Result:
    monkeypatch.setattr(regress, "run_seeds", lambda *_: measured)
    return CliRunner().invoke(app, ["regress", *arguments])


def test_the_command_says_what_left_its_interval_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_before = {name: values[:4] for name, values in load_calibration()["metrics"].items()}
    done = command(monkeypatch, as_before)
    assert done.exit_code == 0
    assert "FAILED" not in done.stdout
    assert done.stderr == ""

    done = command(monkeypatch, {**as_before, "kendall_tau": [-0.1] * 4})
    assert done.exit_code == 1
    assert done.stdout.count("FAILED") == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("pdnas: regression: kendall_tau is -0.1, outside ")

    done = command(monkeypatch, as_before, "--json")
    assert json.loads(done.stdout).keys() == regress.METRICS.keys()


def test_a_stale_calibration_is_refused(tmp_path: Path) -> None:
    record = load_calibration()
    record["provenance"]["config"]["training"]["epochs"] += 1
    (tmp_path / "intervals.json").write_text(json.dumps(record))
    with pytest.raises(PdnasError, match=r"another specification.*--rebuild intervals"):
        load_calibration(tmp_path)
    (tmp_path / "intervals.json").write_text("{}")
    with pytest.raises(PdnasError, match="another specification"):
        load_calibration(tmp_path)


def test_a_killed_calibration_goes_on_with_the_same_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = load_calibration()
    monkeypatch.setenv("PDNAS_CACHE", str(tmp_path / "cache"))
    asked: list[int] = []

    def measured(spec: Spec, seed: int) -> dict[str, float]:
        asked.append(seed)
        if len(asked) in (3, 9):
            raise KeyboardInterrupt
        return {name: values[seed] for name, values in record["metrics"].items()}

    monkeypatch.setattr(regress, "study", measured)
    monkeypatch.setattr(tasks, "code_version", lambda: "another")
    with pytest.raises(KeyboardInterrupt):
        regress.calibrate(range(20), 1, tmp_path)
    monkeypatch.setattr(tasks, "code_version", lambda: "this")
    with pytest.raises(KeyboardInterrupt):
        regress.calibrate(range(20), 1, tmp_path)
    for _ in range(2):  # the second time, all anew: the journal is gone when its work has ended
        regress.calibrate(range(20), 1, tmp_path)
    assert asked == [*range(3), *range(6), *range(5, 20), *range(20)]
    again = load_calibration(tmp_path)
    assert again["metrics"] == record["metrics"]
    assert again["seeds"] == list(range(20))


@pytest.mark.thorough
def test_the_regression_passes_in_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With half of the seeds, so wider intervals; `make regress` runs all."""
    monkeypatch.setattr(regress, "SEEDS", regress.SEEDS[:2])
    done = CliRunner().invoke(app, ["regress", "--jobs", "2"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("passed") == len(regress.METRICS)
