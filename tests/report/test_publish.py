"""Publishing: the copies are enough to make the report again, and nothing doubtful gets in."""

import shutil
from pathlib import Path

import pytest
import yaml

from pdnas.report.catalogue import table
from pdnas.report.collect import collect
from pdnas.report.formats import to_markdown, write
from pdnas.report.publish import publish
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json

from .conftest import Tree


@pytest.fixture
def finished(tree: Tree) -> Tree:
    for name in ("tables", "figures"):
        folder = tree.folder / "report" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.md").write_text("made")
    return tree


def test_tables_can_be_made_from_the_copies(finished: Tree, tmp_path: Path) -> None:
    out = tmp_path / "results" / "mine"
    of_no_run = finished.folder / "report" / "figures" / "official-dropped.png"
    of_no_run.write_text("of a released log")
    summary = publish(finished.scale_name, finished.folder, out)
    assert not (out / of_no_run.relative_to(finished.folder)).exists()
    assert read_json(out / "published.json") == summary
    assert (out / "report" / "tables" / "tables.md").read_text() == "made"
    copied = collect(str(out / Path(finished.scale_name).name), out)
    original = collect(finished.scale_name, finished.folder)
    assert len(copied.runs) == len(original.runs) > 0
    for name in ("3", "efficiency"):
        assert to_markdown(table(name, copied)) == to_markdown(table(name, original))
    assert not list(out.rglob("weights.safetensors"))
    records = [read_json(path) for path in finished.folder.rglob("run.json")]
    searched = sum(record["provenance"]["wall_seconds"] for record in records)
    assert summary["wall_seconds"]["search"] == pytest.approx(searched, abs=1)

    shared = finished.folder / "cells" / "guided" / "seed0" / "run.json"
    write_json(shared, {**read_json(shared), "searched_by": "another"})
    again = publish(finished.scale_name, finished.folder, out)  # replaces what it published
    assert again["searches"] == summary["searches"] - 1
    assert again["wall_seconds"]["search"] < summary["wall_seconds"]["search"]
    assert not list(out.parent.glob(".*"))


def test_code_without_a_commit_is_refused(finished: Tree, tmp_path: Path) -> None:
    path = next(finished.folder.rglob("run.json"))
    record = read_json(path)
    made = record["provenance"]
    made["others"] = [{"code": made["code"] + "+changes", "hardware": made["hardware"]}]
    write_json(path, record)
    with pytest.raises(PdnasError, match="commit and run again"):
        publish(finished.scale_name, finished.folder, tmp_path / "out")
    made["code"] += "+changes"
    del made["others"]
    write_json(path, record)
    with pytest.raises(PdnasError, match="commit and run again"):
        publish(finished.scale_name, finished.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_else_is_overwritten(finished: Tree, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("")
    with pytest.raises(PdnasError, match="no published result"):
        publish(finished.scale_name, finished.folder, tmp_path / "out")
    assert (tmp_path / "out" / "precious").exists()


def test_tables_of_other_runs_are_not_published(finished: Tree, tmp_path: Path) -> None:
    tables = finished.folder / "report" / "tables"
    write(table("3", collect(finished.scale_name, finished.folder)), tables)
    publish(finished.scale_name, finished.folder, tmp_path / "out")
    shutil.rmtree(finished.folder / "branches" / "random")
    with pytest.raises(PdnasError, match=r"table3\.csv is not what the runs say now"):
        publish(finished.scale_name, finished.folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_was_published_is_replaced_by_the_same_and_more(
    finished: Tree, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    publish(finished.scale_name, finished.folder, out)
    publish(finished.scale_name, finished.folder, out)
    (finished.folder / "cells/guided/seed0/run.json").unlink()
    with pytest.raises(PdnasError, match=r"has the run cells/guided/seed0, which .*--force"):
        publish(finished.scale_name, finished.folder, out)
    other = Path(finished.scale_name).with_name("other.yaml")
    other.write_text(Path(finished.scale_name).read_text())
    with pytest.raises(PdnasError, match=r"is of tiny and not of other.*--force"):
        publish(str(other), finished.folder, out)
    publish(finished.scale_name, finished.folder, out, force=True)
    assert not (out / "cells/guided/seed0").exists()


def test_a_changed_scale_is_refused(finished: Tree, tmp_path: Path) -> None:
    path = Path(finished.scale_name)
    scale = yaml.safe_load(path.read_text())
    scale["studies"]["branches"]["base"]["training"]["epochs"] = 7
    path.write_text(yaml.safe_dump(scale))
    with pytest.raises(PdnasError, match=r"training\.epochs"):
        publish(finished.scale_name, finished.folder, tmp_path / "out")
