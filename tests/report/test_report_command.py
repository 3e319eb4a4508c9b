"""``pdnas table``, ``figure`` and ``show``, and the captions of the report."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pdnas.commands import report
from pdnas.commands.app import app as every_command
from pdnas.report.claims import claims
from pdnas.report.collect import collect
from pdnas.spec.products import TABLES
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json

from .conftest import Tree

app = typer.Typer()
app.command("table")(report.table)
app.command("figure")(report.figure)
app.command("show")(report.show)
app.command("claims")(report.claims)


def invoke(*arguments: str | Path) -> str:
    wide = {"COLUMNS": "200"}  # so that no line of the terminal is folded
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=wide)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_table_writes_three_formats_and_prints_markdown(tree: Tree, tmp_path: Path) -> None:
    options = ["--scale", tree.scale_name, "--runs", tree.folder]
    printed = invoke("table", "3", *options, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "table3.csv",
        "table3.md",
        "table3.tex",
    ]
    assert printed.strip() == (tmp_path / "out" / "table3.md").read_text().strip()


def test_a_stale_run_matters_to_its_own_tables_only(tree: Tree) -> None:
    path = tree.folder / "cells" / "guided" / "seed1" / "run.json"
    record = read_json(path)
    record["spec"]["gates"]["learning_rate"] = 7
    write_json(path, record)
    options = ["--scale", tree.scale_name, "--runs", tree.folder]
    assert "PGNAS" in invoke("table", "3", *options)
    with pytest.raises(PdnasError, match=r"gates\.learning_rate = 7\.0"):
        invoke("table", "efficiency", *options)


def test_table_as_json(tree: Tree) -> None:
    options = ["--scale", tree.scale_name, "--runs", tree.folder, "--json"]
    for name in TABLES:
        record = json.loads(invoke("table", name, *options))
        assert record["name"] == name
        assert record["rows"]
    rows = json.loads(invoke("table", "3", *options))["rows"]
    (row,) = (row for row in rows if (row["supernet"], row["method"]) == ("M", "PGNAS"))
    assert row["ours_test_error_pct"]["estimate"] == pytest.approx(37)
    assert row["ours_test_error_pct"]["count"] == 3


def test_claims_of_a_scale_are_corrected_together(tree: Tree, tmp_path: Path) -> None:
    options = ["--scale", tree.scale_name, "--runs", tree.folder]
    rows = json.loads(invoke("claims", *options, "--json"))["rows"]
    found = claims(collect(tree.scale_name, tree.folder))
    alone = {each.question: each.p for each in found}
    tested = sum(not math.isnan(p) for p in alone.values())
    smallest = min(rows, key=lambda row: math.inf if row["ours_p"] is None else row["ours_p"])
    assert smallest["ours_p"] == pytest.approx(tested * alone[smallest["question"]])
    assert "verdict" in invoke("claims", *options)
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert "not run" in invoke("claims", "--scale", tree.scale_name, "--runs", nothing)


def test_figure_prints_what_it_wrote(tree: Tree, tmp_path: Path) -> None:
    options = ["--scale", tree.scale_name, "--runs", tree.folder, "--out", tmp_path]
    written = invoke("figure", "kept-share", *options).split()
    assert [Path(path).suffix for path in written] == [".pdf", ".png", ".csv"]
    assert all(Path(path).is_file() for path in written)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["table", "3"], "table3.md"),
        (["table", "rivals"], "rivals.md"),
        (["figure", "kept-share"], "kept-share.csv"),
    ],
)
def test_a_product_is_replaced_by_the_same_of_its_scale_alone(
    tree: Tree, tmp_path: Path, words: list[str], name: str
) -> None:
    out = tmp_path / "out"

    def make(scale: str, *options: str) -> str:
        return invoke(*words, "--scale", scale, "--runs", tree.folder, "--out", out, *options)

    make(tree.scale_name)
    make(tree.scale_name)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    other = Path(tree.scale_name).with_name("other.yaml")
    other.write_text(Path(tree.scale_name).read_text())
    if words[1] != "rivals":  # a table of no runs says nothing of a scale
        with pytest.raises(PdnasError, match=r"scale tiny.* and not of .*scale other.*--force"):
            make(str(other))
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        make(str(other), "--force")
    for path in out.iterdir():
        path.write_text("mine")
    with pytest.raises(PdnasError, match="is of something else and not of"):
        make(tree.scale_name)
    assert (out / name).read_text() == "mine"


def test_show(tree: Tree) -> None:
    printed = invoke("show", tree.folder / "branches" / "guided" / "seed0")
    for part in (
        "l² = 500",
        "1 block a stage",
        "60 from posterior",
        "test error 40.00 %",
        "3 gates",
        "cross-entropy 0.750 (whole objective 1.000), training accuracy 60.00 %",
    ):
        assert part in printed
    printed = invoke("show", tree.folder / "cells" / "guided" / "seed0")
    for part in ("edge 0>1", "nor_conv_3x3", "samples to 93.5 % cifar10"):
        assert part in printed
    printed = invoke("show", tree.folder / "branches" / "random" / "seed0")
    inherited, tuned = printed.index("inherited weights"), printed.index("fine-tuned")
    assert "test error 70.00 %" in printed[inherited:tuned]
    assert "test error 45.00 %" in printed[tuned:]
    assert "plain network" in invoke("show", tree.folder / "branches" / "full" / "seed0")


def test_show_says_what_is_of_other_candidates(tree: Tree) -> None:
    folder = tree.folder / "branches" / "guided" / "seed0"
    assert "other candidates" not in invoke("show", folder)
    (folder / "candidates-posterior.safetensors").write_bytes(b"others")
    printed = invoke("show", folder)
    for line in printed.splitlines():
        about = "60 from posterior" in line or "test error" in line
        assert ("; of other candidates than there are now" in line) == about, line
    assert printed.count("other candidates") == 2
    record = json.loads(invoke("show", folder, "--json"))
    assert record["rankings"]["posterior"]["outdated"] == record["results"][0]["outdated"]
    assert "other" in record["results"][0]["outdated"]


def test_show_as_json(tree: Tree) -> None:
    record = json.loads(invoke("show", tree.folder / "branches" / "guided" / "seed0", "--json"))
    drop = record["drop_probability"]
    assert (drop["minimum"], drop["maximum"], drop["gates"]) == pytest.approx((0.1, 0.6, 3))
    # Groups of 4, 8, 4 and 4 channels.
    assert drop["mean"] == pytest.approx((4 * 0.2 + 8 * 0.6 + 4 * 0.1 + 4 * 0.4) / 20)
    assert record["training"]["epoch"] == 2
    assert record["rankings"]["posterior"]["candidates"] == 60
    assert record["results"][0]["test_accuracy"] == 0.6


def test_a_wrong_name_or_folder_is_a_clear_error(tree: Tree, tmp_path: Path) -> None:
    options = ["--scale", tree.scale_name, "--runs", tree.folder]
    with pytest.raises(PdnasError, match="no table 'nonsense'"):
        invoke("table", "nonsense", *options)
    with pytest.raises(PdnasError, match="is no folder"):
        invoke("table", "3", "--scale", tree.scale_name, "--runs", tmp_path / "elsewhere")
    with pytest.raises(PdnasError, match="no run"):
        invoke("show", tmp_path)


def test_the_papers_numbers_need_no_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/laptop").mkdir(parents=True)
    printed = invoke("table", "9")
    assert "22.73" in printed
    assert "not run" in printed


def commands(group: Any) -> Iterator[tuple[str, str]]:
    """Every command below a group, with its help."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command)
        else:
            yield name, command.help or ""


def test_every_command_has_an_example() -> None:
    found = dict(commands(typer.main.get_command(every_command)))
    assert len(found) > 15
    without = [
        name for name, text in found.items() if not re.search(rf"pdnas (\w+ )?{name}\b", text)
    ]
    assert without == []
