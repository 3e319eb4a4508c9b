"""Gathering runs: the tidy table, what is absent, what does not belong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pdnas.report import catalogue
from pdnas.report.collect import collect
from pdnas.runs.run import Run
from pdnas.spec import selection
from pdnas.spec.selection import flatten
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json

from .conftest import GUIDED_TEST, Tree, provenance


def test_a_row_for_every_measurement(tree: Tree) -> None:
    rows = collect(tree.scale_name, tree.folder).measurements
    keys = ["study", "variant", "seed", "source", "mode"]
    assert not rows.duplicated(keys).any()
    branches = rows[rows["study"] == "branches"]
    assert branches.groupby(["variant", "source", "mode"]).size().to_dict() == {
        ("guided", "posterior", "none"): 3,
        ("random", "random", "none"): 3,
        ("random", "random", "finetune"): 3,
        ("full", "full", "none"): 3,
        ("weak-prior", "posterior", "none"): 1,
    }
    row = rows[(rows["variant"] == "guided") & (rows["study"] == "branches")].iloc[1]
    assert row["test_error"] == pytest.approx(100 * (1 - GUIDED_TEST[1]))
    assert row["validation_error"] == pytest.approx(60)
    assert row["supernet_validation_error"] == pytest.approx(50)
    assert (row["search_seconds"], row["rank_seconds"]) == (120, 30)
    assert (row["retrain_seconds"], row["parameters"], row["candidates"]) == (12, 60_000, 60)
    assert (row["length_scale2"], row["temperature"], row["gates_mode"]) == (500, 0.2, "learned")
    assert row["stands_for"] == "M"


def test_ranked_but_not_tested_candidates_have_a_row(tree: Tree) -> None:
    rows = collect(tree.scale_name, tree.folder).measurements
    cells = rows[rows["study"] == "cells"]
    assert list(cells["source"]) == ["posterior"] * 3
    assert cells["mode"].isna().all()
    assert cells["test_error"].isna().all()
    assert (cells["rank_seconds"] == 30).all()


def test_no_runs_is_an_empty_table(empty_tree: Tree) -> None:
    collection = collect(empty_tree.scale_name, empty_tree.folder)
    assert collection.runs == ()
    assert len(collection.measurements) == 0


def test_a_run_of_another_configuration_is_refused(tree: Tree) -> None:
    path = tree.folder / "branches" / "guided" / "seed1" / "run.json"
    record = read_json(path)
    record["spec"]["gates"]["length_scale2"] = 7
    write_json(path, record)
    with pytest.raises(PdnasError, match=r"seed1 was made with gates\.length_scale2 = 7.0"):
        collect(tree.scale_name, tree.folder)
    others = collect(tree.scale_name, tree.folder, selection.over_cells)
    assert {run.study for run in others.runs} == {"cells"}, "it is no matter for other studies"


def test_a_record_of_another_configuration_is_refused(tree: Tree) -> None:
    scale, (ranking, result) = (
        Path(tree.scale_name),
        ("ranking-random.json", "result-random-finetune.json"),
    )
    spec = tree.scale.spec("branches", "random").model_dump(mode="json")
    for name, config in ((ranking, spec["candidates"]), (result, spec)):
        path = tree.folder / "branches" / "random" / "seed1" / name
        record = read_json(path)
        record["provenance"]["config"] = config
        write_json(path, record)
    # What was searched holds for any number of candidates; what was ranked or fine-tuned does not.
    text = scale.read_text()
    scale.write_text(text.replace("count: 60", "count: 61"))
    with pytest.raises(
        PdnasError, match=r"ranking-random.json was made with candidates.count = 60"
    ):
        collect(tree.scale_name, tree.folder)
    scale.write_text(text.replace("learning_rate: 0.01", "learning_rate: 0.02"))
    with pytest.raises(
        PdnasError, match=r"finetune.json was made with retrain.learning_rate = 0.0"
    ):
        collect(tree.scale_name, tree.folder)
    (tree.folder / "branches" / "random" / "seed1" / result).unlink()
    run = collect(tree.scale_name, tree.folder).find("branches", "random")[1]
    assert run.spec.retrain is not None
    assert run.spec.retrain.learning_rate == 0.02, "the scale's, where no record says otherwise"


def test_cells_scored_with_other_statistics_or_images_are_refused(tree: Tree) -> None:
    path = tree.folder / "cells" / "guided" / "seed0" / "scores.json"
    write_json(path, {"provenance": {"config": {"images": 5, "batchnorm": "running"}}})
    collect(tree.scale_name, tree.folder)
    scale = Path(tree.scale_name)
    scale.write_text(scale.read_text().replace("  cells:\n", "  cells:\n    score_images: 6\n"))
    with pytest.raises(PdnasError, match=r"scores\.json was made with score_images = 5, but the s"):
        collect(tree.scale_name, tree.folder)
    write_json(path, {"provenance": {"config": {"images": 5, "batchnorm": "recalibrated"}}})
    with pytest.raises(PdnasError, match=r"scores\.json was made with candidates\.batchnorm"):
        collect(tree.scale_name, tree.folder)


def test_a_test_with_other_statistics_is_refused(tree: Tree) -> None:
    path = tree.folder / "branches" / "guided" / "seed0" / "result-posterior-none.json"
    spec = tree.scale.spec("branches", "guided").model_dump(mode="json")
    spec["candidates"] |= {"count": 1, "batchnorm": "recalibrated"}  # the number is no matter
    record = read_json(path)
    record["provenance"]["config"] = spec
    write_json(path, record)
    with pytest.raises(PdnasError, match=r"none\.json was made with candidates\.batchnorm = recal"):
        collect(tree.scale_name, tree.folder)


def test_records_of_another_run_are_refused(tree: Tree) -> None:
    path = tree.folder / "branches" / "guided" / "seed0" / "subnet" / "subnet.json"
    write_json(path, read_json(path), owner="another")
    with pytest.raises(PdnasError, match="another run"):
        collect(tree.scale_name, tree.folder).find("branches", "guided")[0].subnet()


@pytest.mark.parametrize(
    ("copied", "place"),
    [
        ("branches/guided/seed0", "branches/guided/seed1"),
        ("branches/guided/seed1", "branches/random/seed1"),
        ("cells/guided/seed1", "branches/guided/seed1"),
    ],
)
def test_a_run_in_the_folder_of_another_is_refused(tree: Tree, copied: str, place: str) -> None:
    """A copied seed would count twice, and narrow every interval."""
    shutil.rmtree(tree.folder / place)
    shutil.copytree(tree.folder / copied, tree.folder / place)
    with pytest.raises(PdnasError, match=f"{place} holds the run {copied}, so its name is wrong"):
        collect(tree.scale_name, tree.folder)


def test_what_is_of_other_candidates_is_refused(tree: Tree) -> None:
    """Drawn anew, and not ranked; ranked anew, and not finished."""
    folder = tree.folder / "branches" / "guided" / "seed1"
    candidates, name = folder / "candidates-posterior.safetensors", "ranking-posterior.json"
    before = candidates.read_bytes()
    candidates.write_bytes(b"others")
    with pytest.raises(PdnasError, match=r"ranking-posterior\.json is of other candidates than "):
        collect(tree.scale_name, tree.folder)
    candidates.write_bytes(before)
    collect(tree.scale_name, tree.folder)
    record = read_json(folder / name)
    record["provenance"]["finished"] = "2026-01-02T00:00:00+00:00"
    write_json(folder / name, record)
    with pytest.raises(
        PdnasError, match=r"posterior-none\.json is of an earlier ranking .*retrain"
    ):
        collect(tree.scale_name, tree.folder)


def test_networks_and_judgements_of_other_candidates_are_refused(tree: Tree) -> None:
    folder = tree.folder / "branches" / "guided" / "seed1"
    sizes, subnet = folder / "sizes.json", folder / "subnet" / "subnet.json"
    old = {"provenance": {**provenance(1), "finished": "2025-12-31T00:00:00+00:00"}}
    write_json(sizes, old)
    with pytest.raises(PdnasError, match=r"sizes\.json is older than a ranking"):
        collect(tree.scale_name, tree.folder)
    sizes.unlink()
    record = {"source": "posterior", "candidates_sha256": "0", **old}
    write_json(subnet, record)
    found = collect(tree.scale_name, tree.folder)
    with pytest.raises(PdnasError, match=r"subnet\.json is of other candidates .*extract again"):
        catalogue.table("extraction", found)
    assert catalogue.table("table3", found).rows, "which reads of no networks"


def test_a_setting_that_an_old_run_lacks_means_its_default(tree: Tree) -> None:
    path = tree.folder / "branches" / "guided" / "seed1" / "run.json"
    record = read_json(path)
    del record["spec"]["gates"]["form"]
    write_json(path, record)
    assert len(collect(tree.scale_name, tree.folder).find("branches", "guided")) == 3


def test_a_setting_that_this_version_lacks_is_named(tree: Tree) -> None:
    path = tree.folder / "branches" / "guided" / "seed1" / "run.json"
    record = read_json(path)
    record["spec"]["gates"]["colour"] = "blue"
    write_json(path, record)
    with pytest.raises(PdnasError, match=r"gates\.colour"):
        collect(tree.scale_name, tree.folder)


def test_a_folder_without_a_run_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(PdnasError, match="no run"):
        Run.load(tmp_path)


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": [3]}) == {"a.b": 1, "a.c.d": 2, "e": [3]}
