"""Two runs or variants against each other: paired by seed, and refused where it means nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from scipy import stats
from typer.testing import CliRunner

from pdnas.commands import report
from pdnas.report.collect import collect
from pdnas.report.compare import Comparison, compare, read
from pdnas.spec.data import FoldersConfig
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json

from .conftest import GUIDED_TEST, RANDOM_TEST, Tree


def hold(first: Path, second: Path) -> Comparison:
    return compare(read(first), read(second))


def edit(path: Path, old: str, new: str) -> None:
    """Another record of a run, as if a search had written it."""
    write_json(path, json.loads(json.dumps(read_json(path)).replace(old, new)))


def test_variants_are_paired_by_seed(tree: Tree) -> None:
    study = tree.folder / "branches"
    made = hold(study / "guided", study / "random")
    assert made.seeds == ((0, 0), (1, 1), (2, 2))
    assert made.settings == {
        "gates.mode": ("learned", "fixed"),
        "gates.match": (None, "guided"),
    }
    by_name = {each.quantity: each for each in made.differences}
    error = by_name["test error, inherited weights [%]"]
    differences = 100 * (np.array(GUIDED_TEST) - np.array(RANDOM_TEST))
    low, high = stats.ttest_1samp(differences, 0).confidence_interval()
    assert error.difference.estimate == pytest.approx(differences.mean())
    assert (error.difference.low, error.difference.high) == pytest.approx((low, high))
    assert error.first.estimate == pytest.approx(100 * (1 - np.mean(GUIDED_TEST)))
    # Guided candidates were not fine-tuned, random ones were: nothing to hold against each other.
    assert not any("fine-tuned" in name for name in by_name)
    assert by_name["search time [min]"].difference.estimate == 0


def test_a_seed_that_one_side_lacks_is_left_out_and_told(tree: Tree) -> None:
    study = tree.folder / "branches"
    shutil.rmtree(study / "random" / "seed1")
    made = hold(study / "guided", study / "random")
    assert made.seeds == ((0, 0), (2, 2))
    assert "Left out: 1 run" in made.notes[0]


def test_settings_are_those_that_the_stages_were_told(tree: Tree) -> None:
    """Ranking or fine-tuning may have been told others than the search."""
    for seed in range(3):
        folder = tree.folder / "branches" / "random" / f"seed{seed}"
        for name, config in (
            ("ranking-random.json", {"batchnorm": "recalibrated", "source": "random"}),
            ("result-random-finetune.json", {"retrain": {"epochs": 7, "learning_rate": 0.01}}),
        ):
            record = read_json(folder / name)
            record["provenance"]["config"] = config
            write_json(folder / name, record)
    sides = [read(tree.folder / "branches" / name) for name in ("guided", "random")]
    made = compare(*sides)
    assert made.settings["candidates.batchnorm"] == ("running", "recalibrated")
    assert made.settings["retrain.epochs"] == (1, 7)
    assert not any("not all made alike" in note for note in made.notes)
    record["provenance"]["config"] = {"retrain": {"epochs": 8, "learning_rate": 0.01}}
    write_json(folder / name, record)
    again = compare(sides[0], read(tree.folder / "branches" / "random"))
    assert "The seeds of branches/random were not all made alike" in again.notes[0]


def test_single_runs_have_no_interval(tree: Tree) -> None:
    study = tree.folder / "branches"
    made = hold(study / "guided" / "seed0", study / "guided" / "seed2")
    assert made.seeds == ((0, 2),)
    assert made.settings == {}
    error = made.differences[0].difference
    assert error.estimate == pytest.approx(100 * (GUIDED_TEST[0] - GUIDED_TEST[2]))
    assert np.isnan(error.low)
    assert made.notes[-1] == "The seeds differ (0 and 2): the difference may be theirs alone."
    made = hold(study / "guided" / "seed2", study / "random" / "seed2")
    assert "One seed, 2:" in made.notes[-1]


def test_other_machines_make_times_incomparable(tree: Tree) -> None:
    path = tree.folder / "branches" / "random" / "seed0" / "run.json"
    edit(path, "Abacus 9000", "Abacus 9001")
    made = hold(tree.folder / "branches" / "guided", tree.folder / "branches" / "random")
    assert "different machines" in made.notes[0]


def test_what_cannot_be_compared_is_a_clear_error(tree: Tree, tmp_path: Path) -> None:
    study = tree.folder / "branches"
    with pytest.raises(PdnasError, match="neither a run"):
        read(tmp_path)
    path = study / "random" / "seed0" / "run.json"
    edit(path, '"cifar10"', '"digits"')
    with pytest.raises(PdnasError, match=r"guided seed 0 was run on cifar10 .* on digits"):
        hold(study / "guided" / "seed0", study / "random" / "seed0")
    shutil.rmtree(study / "full" / "seed0")
    with pytest.raises(PdnasError, match="share no seed: they have 0 and 1, 2"):
        hold(study / "weak-prior", study / "full")


def test_searches_of_different_images_are_not_compared(tree: Tree) -> None:
    """Whatever their folder is called: a folder's pictures change."""
    study = tree.folder / "branches"
    folders: dict[str, dict[str, str]] = {
        "guided": {"ant": "2 aa bb", "bee": "2 cc dd"},
        "random": {"ant": "2 aa", "bee": "2 cc"},  # an earlier version's record
    }
    for variant, classes in folders.items():
        for path in study.glob(f"{variant}/*/run.json"):
            write_json(path, {**read_json(path), "folders": {"train": classes}})
    assert hold(study / "guided", study / "random").seeds == ((0, 0), (1, 1), (2, 2))
    path = study / "random" / "seed1" / "run.json"
    write_json(path, {**read_json(path), "folders": {"train": {"ant": "2 aa", "bee": "2 ee"}}})
    words = r"guided.seed0 and .*random.seed1 were searched with different images \(images of tra"
    with pytest.raises(PdnasError, match=words):
        hold(study / "guided", study / "random")
    with pytest.raises(PdnasError, match=words):
        collect(tree.scale_name, tree.folder)


def test_a_folder_called_as_a_published_data_set_is_another(tree: Tree) -> None:
    study = tree.folder / "branches"
    config = {"name": "folders", "root": "my/cifar10", "side": 32, "validation": 1}
    assert FoldersConfig(**config).title == "folder cifar10"
    path = study / "random" / "seed0" / "run.json"
    record = read_json(path)
    record["spec"]["data"] = config
    write_json(path, record)
    with pytest.raises(PdnasError, match=r"guided seed 0 was run on cifar10 .* on folder cifar10"):
        hold(study / "guided" / "seed0", study / "random" / "seed0")


@pytest.mark.parametrize(
    ("parameters", "printed"), [(1_234, "0.00123"), (61_234, "0.0612"), (2_345_678, "2.346")]
)
def test_small_networks_are_printed_with_enough_digits(
    tree: Tree, parameters: int, printed: str
) -> None:
    runs = [tree.folder / "branches" / "guided" / f"seed{seed}" for seed in (0, 1)]
    for run in runs:
        path = run / "result-posterior-none.json"
        write_json(path, {**read_json(path), "parameters": parameters})
    app = typer.Typer()
    app.command()(report.compare)
    said = CliRunner().invoke(app, [*map(str, runs)], env={"COLUMNS": "200"}).stdout
    [line] = [line for line in said.splitlines() if "parameters of the chosen" in line]
    assert line.split()[-3:-1] == [printed, printed]


def test_a_run_is_not_compared_with_itself(tree: Tree) -> None:
    guided = tree.folder / "branches" / "guided"
    for other in (guided, guided / "seed1"):
        with pytest.raises(PdnasError, match="are the same run; give another one"):
            hold(guided, other)


def test_a_seed_counts_once(tree: Tree) -> None:
    """A copied seed would narrow every interval."""
    guided = tree.folder / "branches" / "guided"
    shutil.rmtree(guided / "seed1")
    shutil.copytree(guided / "seed0", guided / "seed1")
    with pytest.raises(PdnasError, match=r"seed1 holds a run of seed 0, so its name is wrong"):
        read(guided)
    with pytest.raises(PdnasError, match=r"seed1 holds a run of seed 0"):
        read(guided / "seed1")
    (guided / "seed1").rename(guided / "seed0-copy")
    with pytest.raises(PdnasError, match=r"seed0 and .*seed0-copy are both of seed 0; keep one"):
        read(guided)
    shutil.rmtree(guided / "seed0-copy")
    shutil.copytree(tree.folder / "branches" / "random" / "seed1", guided / "seed1")
    with pytest.raises(PdnasError, match=r"is of branches/guided and .*seed1 of branches/random"):
        read(guided)


def test_what_is_of_other_candidates_is_refused(tree: Tree) -> None:
    folder = tree.folder / "branches" / "guided" / "seed0"
    (folder / "candidates-posterior.safetensors").write_bytes(b"others")
    with pytest.raises(PdnasError, match=r"ranking-posterior\.json is of other candidates than th"):
        read(folder.parent)


def test_the_command(tree: Tree) -> None:
    app = typer.Typer()
    app.command()(report.compare)
    folders = [str(tree.folder / "branches" / variant) for variant in ("guided", "random")]
    printed = CliRunner().invoke(app, folders, env={"COLUMNS": "200"}).stdout
    for part in ("gates.mode", "branches/guided", "37.00 ± 8.96", "3 seeds"):
        assert part in printed
    runs = [f"{folders[0]}/seed{seed}" for seed in (0, 1)]
    assert "The seeds differ (0 and 1)" in CliRunner().invoke(app, runs).stdout
    record = json.loads(CliRunner().invoke(app, [*folders, "--json"]).stdout)
    assert record["differences"][0]["difference"]["count"] == 3
    assert record["settings"]["gates.mode"] == {"first": "learned", "second": "fixed"}
