"""A search by cells that are trained alone: real trainings on digits, resumable, all cells new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from pdnas.commands.app import app
from pdnas.runs import kept, layout
from pdnas.runs.journal import Journal
from pdnas.runs.run import Run
from pdnas.space.cells import CELL, CellSpace
from pdnas.space.fitted import expected_evidence, fitted_posterior
from pdnas.space.posterior import CategoricalPosterior
from pdnas.spec.scale import load_scale
from pdnas.spec.spec import Spec
from pdnas.stages import alone_search as module
from pdnas.stages.alone_search import AloneResult, alone_search, new_codes
from pdnas.stages.materials import trained_supernet
from pdnas.stages.rank import rank_run
from pdnas.stages.sample import sample_run
from pdnas.stages.search import search_run
from pdnas.support.errors import PdnasError, Unfinished

CPU = torch.device("cpu")
SPACE = CellSpace()
NAMES = {"scale": "mine", "study": "cells", "variant": "alone"}
GIVEN: dict[str, Any] = {
    "data": {
        "name": "digits",
        "train": 320,
        "validation": 50,
        "augmentation": {"crop": 0, "flip": False, "cutout": 0},
    },
    "supernet": {"name": "nasbench201", "channels": 4, "cells": 1},
    "training": {"epochs": 1, "batch": 16, "learning_rate": 0.1, "schedule": "constant"},
    "gates": {"length_scale2": 0},
    "alone": {"rounds": [6, 3]},
    "candidates": {"count": 3},
}


def spec(**changes: Any) -> Spec:
    return Spec.model_validate(GIVEN | changes)


@pytest.fixture(scope="module")
def found() -> AloneResult:
    return alone_search(spec(alone={"rounds": [30, 10]}), 0, Journal())


def worth(posterior: CategoricalPosterior, found: AloneResult) -> float:
    """What a sample gains over a uniform one, by what the first cells' evidence lets expect."""
    first = found.trainings[found.trainings["round"] == 1]
    f = expected_evidence(SPACE.codes[first["cell_id"]], first["evidence"], SPACE)
    return float(posterior.architecture_probabilities() @ f - f.mean())


def test_cells_of_the_posterior_learn_faster_than_uniform_ones(found: AloneResult) -> None:
    first, second = (table["evidence"] for _, table in found.trainings.groupby("round"))
    assert second.mean() > first.mean() + first.std() / 2
    assert worth(found.posteriors[1], found) > 0.5


def test_evidence_of_other_cells_leads_elsewhere(found: AloneResult) -> None:
    """The break that the test above is to notice: what was seen of one cell goes to another."""
    first = found.trainings[found.trainings["round"] == 1]
    for shift in (1, 7):
        evidence = np.roll(first["evidence"], shift)
        wrong = fitted_posterior(SPACE.codes[first["cell_id"]], evidence, SPACE, 0.01)
        assert worth(wrong, found) < 0.4


def test_a_round_is_drawn_from_what_the_rounds_before_it_made(found: AloneResult) -> None:
    trainings = found.trainings
    assert trainings.groupby("round").size().to_dict() == {1: 30, 2: 10}
    first = trainings[trainings["round"] == 1]
    codes = SPACE.codes[first["cell_id"].to_numpy()]
    fitted = fitted_posterior(codes, first["evidence"], SPACE, 0.01)
    torch.testing.assert_close(fitted.probabilities, found.posteriors[1].probabilities)
    drawn = new_codes(fitted, codes, 10, 0, 2)
    second = trainings[trainings["round"] == 2]
    assert SPACE.ids(drawn).tolist() == second["cell_id"].tolist()
    shape = found.trajectory().groupby("epoch").size().to_dict()
    assert shape == {0: 30, 1: 30, 2: 30}


def test_no_cell_is_trained_twice_not_even_by_another_name() -> None:
    canonical = SPACE.ids(SPACE.canonical_codes())
    narrow = torch.full((6, 5), 0.001, dtype=torch.float64)
    narrow[:, :2] = 0.4985  # nothing and skip connections: many cells compute the same
    posterior = CategoricalPosterior(narrow, SPACE)
    known = new_codes(posterior, np.empty((0, 6), np.int8), 30, 0, 1)
    fresh = new_codes(posterior, known, 30, 0, 2)
    computed = canonical[SPACE.ids(np.concatenate([known, fresh]))]
    assert len(set(computed.tolist())) == 60
    with pytest.raises(PdnasError, match=r"alone\.rounds: fewer than 15000 cells are left"):
        new_codes(posterior, known, 15_000, 0, 2)


def test_a_posterior_too_narrow_for_new_cells_is_refused() -> None:
    """It would be drawn from for ever."""
    narrow = torch.full((6, 5), 1e-9, dtype=torch.float64)
    narrow[:, 3] = 1 - 4e-9
    posterior = CategoricalPosterior(narrow, SPACE)
    known = new_codes(posterior, np.empty((0, 6), np.int8), 1, 0, 1)
    with pytest.raises(PdnasError, match=r"alone\.share: the posterior is too narrow to meet 5"):
        new_codes(posterior, known, 5, 0, 2)


def test_a_killed_search_ends_alike_and_a_finished_one_is_kept(
    tmp_path: Path, kill_at: Callable[[Any, str, int], list[Any]]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    search_run(spec(), **NAMES, seed=3, out=whole, device=CPU)
    calls = kill_at(module, "train_alone", 8)
    with pytest.raises(KeyboardInterrupt):
        search_run(spec(), **NAMES, seed=3, out=killed, device=CPU)
    assert not (killed / layout.RUN).exists()
    search_run(spec(), **NAMES, seed=3, out=killed, device=CPU)
    assert len(calls) == 9 + 1, "only the killed cell is trained again"
    one, other = Run.load(whole), Run.load(killed)
    for name in ("round", "cell_id", "evidence"):
        assert one.history()[name].tolist() == other.history()[name].tolist()
    assert one.trajectory().equals(other.trajectory())
    assert isinstance(one.posterior(), CategoricalPosterior)
    torch.testing.assert_close(one.posterior().conditionals, other.posterior().conditionals)
    assert set(layout.SEARCHED_ALONE) == {path.name for path in killed.iterdir() if path.is_file()}
    assert kept.search(killed, spec(), {**NAMES, "seed": 3}, None) == other.record
    with pytest.raises(PdnasError, match=r"alone\.rounds"):
        kept.search(killed, spec(alone={"rounds": [6, 4]}), {**NAMES, "seed": 3}, None)


def test_a_deadline_ends_it_with_what_is_done(tmp_path: Path) -> None:
    with pytest.raises(Unfinished, match="before the next cell of round 1"):
        search_run(spec(), **NAMES, seed=0, out=tmp_path, device=CPU, deadline=0.0)


def test_nothing_can_be_judged_with_weights_that_are_gone(tmp_path: Path) -> None:
    search_run(spec(alone={"rounds": [3]}), **NAMES, seed=0, out=tmp_path, device=CPU)
    run = Run.load(tmp_path)
    shown = CliRunner().invoke(app, ["show", str(tmp_path)]).output
    assert "fitted to 3 cells trained alone" in shown
    assert "epoch" not in shown
    assert sample_run(run, "posterior", 3, 0).choices[CELL].shape == (3, 6)
    with pytest.raises(PdnasError, match="trained cells alone: there is no supernet"):
        rank_run(run, "posterior", CPU)
    with pytest.raises(PdnasError, match="trained cells alone: there is no supernet"):
        trained_supernet(run, CPU)


def test_a_file_may_say_it(tmp_path: Path) -> None:
    study = {"target": "nasbench", "seeds": [0], "base": GIVEN, "variants": {"alone": {}}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"description": "x", "studies": {"cells": study}}))
    found = load_scale(str(path)).spec("cells", "alone")
    config = found.alone_config
    assert config is not None
    assert (config.steps, config.batch, config.train) == (20, 16, 320)
