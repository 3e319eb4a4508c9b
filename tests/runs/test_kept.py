"""Finished work is kept, and never replaced by another result without --force."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pdnas.commands.app import app
from pdnas.runs.kept import runs_folder
from pdnas.spec.scale import SCALES
from pdnas.support.errors import PdnasError

from ..workflow.test_workflow import start

TINY = Path(__file__).with_name("tiny.yaml")


def pdnas(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def search(
    out: Path, *options: str | Path, variant: str = "guided", scale: str = str(TINY)
) -> Result:
    return pdnas("search", "multibranch", variant, "--scale", scale, "--out", out, *options)


def finished(done: Result) -> bool:
    assert done.exit_code == 0, done.exception
    return done.stdout.startswith("finished already")


def refused(done: Result, *words: str) -> bool:
    assert isinstance(done.exception, PdnasError), done.exception
    return all(word in str(done.exception) for word in (*words, "--force"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all its stages finished."""
    run = tmp_path_factory.mktemp("kept") / "run"
    assert not finished(search(run))
    for stage in (["sample"], ["rank"], ["retrain"], ["retrain", "--mode", "finetune"]):
        assert not finished(pdnas(stage[0], run, *stage[1:]))
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(run.iterdir()) if path.is_file()}


def scale_with(folder: Path, old: str, new: str, name: str = "tiny.yaml") -> str:
    """A copy of a scale with one change, in another folder."""
    source = TINY if name == "tiny.yaml" else SCALES / "smoke.yaml"
    text = source.read_text()
    assert old in text
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text.replace(old, new, 1))
    return str(folder / name)


def test_the_same_again_is_finished_already(run: Path) -> None:
    before = contents(run)
    assert finished(search(run))
    assert finished(pdnas("sample", run))
    assert finished(pdnas("rank", run, "--scale", str(TINY)))
    assert finished(pdnas("retrain", run, "--scale", str(TINY)))
    assert finished(pdnas("retrain", run, "--mode", "finetune"))
    record = json.loads(search(run, "--json").stdout)
    assert record["seed"] == 0
    assert contents(run) == before


def test_another_search_is_refused(run: Path, tmp_path: Path) -> None:
    before = contents(run)
    assert refused(search(run, "--seed", "1"), "seed 0 and not 1")
    assert refused(search(run, variant="full"), "variant 'guided' and not 'full'")
    other = scale_with(tmp_path / "other", "epochs: 6", "epochs: 7")
    assert refused(search(run, scale=other), "training.epochs 6 and not 7")
    assert contents(run) == before


def test_another_result_of_a_later_stage_is_refused(run: Path, tmp_path: Path) -> None:
    before = contents(run)
    assert refused(pdnas("sample", run, "--count", "3"), "count 12 and not 3")
    assert refused(pdnas("sample", run, "--seed", "3"), "seed 0 and not 3")
    judged = scale_with(tmp_path / "j", "{count: 12}", "{count: 12, batchnorm: recalibrated}")
    assert refused(pdnas("rank", run, "--scale", judged), "batchnorm 'running'")
    assert refused(pdnas("retrain", run, "--scale", judged), "candidates.batchnorm 'running'")
    tuned = scale_with(tmp_path / "t", "retrain: {epochs: 1", "retrain: {epochs: 2")
    assert finished(pdnas("retrain", run, "--scale", tuned)), "it trains nothing"
    done = pdnas("retrain", run, "--mode", "finetune", "--scale", tuned)
    assert refused(done, "retrain.epochs 1 and not 2")
    assert contents(run) == before


def test_force_replaces_and_what_follows_is_made_anew(run: Path) -> None:
    assert not finished(pdnas("sample", run, "--force"))
    assert finished(pdnas("rank", run)), "of equal candidates"
    assert not finished(pdnas("sample", run, "--count", "3", "--force"))
    assert not finished(pdnas("rank", run)), "of candidates that are no more"
    assert finished(pdnas("rank", run))
    assert not finished(search(run, "--seed", "1", "--force"))
    assert json.loads((run / "run.json").read_text())["seed"] == 1
    assert not list(run.glob("ranking-*")) + list(run.glob("candidates-*"))
    assert not finished(pdnas("sample", run))


def test_what_is_missing_is_made_again(run: Path) -> None:
    before = contents(run)
    (run / "weights.safetensors").unlink()
    assert not finished(search(run))
    assert before.keys() == contents(run).keys()


def test_another_search_leaves_no_record_of_the_one_that_was_there(
    run: Path, tmp_path: Path
) -> None:
    """So it goes where the workflow makes a changed search anew, and only a part of the rest."""
    assert not finished(pdnas("extract", run, "--out", run / "subnet"))
    (run / "run.json").unlink()
    other = scale_with(tmp_path / "other", "learning_rate: 0.1}", "learning_rate: 0.2}")
    assert not finished(search(run, scale=other))
    assert not [*run.glob("ranking*.json"), *run.glob("result*"), *run.glob("*/subnet.json")]
    assert pdnas("show", run).exit_code == 0
    for stage in ("sample", "rank"):
        assert not finished(pdnas(stage, run))


def test_an_extraction_is_replaced_by_the_same_alone(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "network"

    def extract(*options: str | Path) -> Result:
        return pdnas("extract", run, "--out", out, *options)

    assert not finished(extract())
    before = contents(out)
    assert finished(extract())
    best = json.loads((out / "subnet.json").read_text())["candidate"]
    other = str((best + 1) % 12)
    assert finished(extract("--candidate", str(best)))
    assert refused(extract("--candidate", other), f"candidate {best} and not {other}")
    assert refused(extract("--format", "export"), "format 'torch' and not 'export'")
    assert refused(extract("--multiple", "4"), "multiple 1 and not 4")
    judged = scale_with(tmp_path / "j", "{count: 12}", "{count: 12, batchnorm: recalibrated}")
    assert refused(extract("--scale", judged), "candidates.batchnorm 'running'")
    assert contents(out) == before
    assert not finished(extract("--format", "export", "--force"))
    assert sorted(contents(out)) == ["network.pt2", "subnet.json"]


def test_an_extraction_replaces_no_other_run_and_no_strangers_files(
    run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "network"
    assert not finished(pdnas("extract", run, "--out", out))
    other = tmp_path / "other"
    assert not finished(search(other, "--seed", "1"))
    for stage in ("sample", "rank"):
        assert not finished(pdnas(stage, other))
    assert refused(pdnas("extract", other, "--out", out), "is of another run")
    assert not finished(pdnas("extract", other, "--out", out, "--force"))
    before = contents(run)
    done = pdnas("extract", run, "--out", run, "--force")
    assert "holds a run, whose weights would be lost" in str(done.exception)
    assert contents(run) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/network.py").write_text("mine = 1")
    assert refused(pdnas("extract", run, "--out", tmp_path / "mine"), "network.py is there already")


def test_an_extraction_in_its_runs_folder_follows_its_candidates(run: Path) -> None:
    out = run / "subnet"
    out.mkdir()
    (out / "network.py").write_text("left by a killed extraction")
    assert not finished(pdnas("extract", run, "--out", out))
    assert not finished(pdnas("sample", run, "--seed", "5", "--force"))
    best = str(json.loads((out / "subnet.json").read_text())["candidate"])
    done = pdnas("extract", run, "--out", out, "--candidate", best)
    assert refused(done, "of other candidates")


def test_a_drawing_is_replaced_by_the_same_alone(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "drawings"

    def draw(*options: str) -> Result:
        return pdnas("draw", run, "--out", out / "drawn", *options)

    assert draw().exit_code == 0
    before = contents(out)
    assert draw().exit_code == 0
    assert contents(out) == before
    candidate = ("--source", "posterior", "--candidate", "3")
    assert refused(draw(*candidate), "posterior of multibranch/guided", "not of candidate 3")
    assert contents(out) == before
    assert draw(*candidate, "--force").exit_code == 0
    assert contents(out) != before
    (out / "table.csv").write_text("mine")
    assert refused(pdnas("draw", run, "--out", out / "table"), "table.csv is of something else")


def test_a_scale_file_called_like_a_scale_of_the_package_has_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = scale_with(tmp_path / "mine", "epochs: 6", "epochs: 7", "smoke.yaml")
    with pytest.raises(PdnasError, match="give the file another name"):
        runs_folder(path)
    done = pdnas("search", "multibranch", "guided", "--scale", path)
    assert isinstance(done.exception, PdnasError)
    assert not Path("runs").exists()
    assert runs_folder("smoke") == Path("runs/smoke")
    assert runs_folder(
        scale_with(tmp_path / "same", "epochs: 6", "epochs: 6", "smoke.yaml")
    ) == Path("runs/smoke")
    other = scale_with(tmp_path / "mine", "epochs: 6", "epochs: 7", "mine.yaml")
    assert runs_folder(other) == Path("runs/mine")


def test_two_scale_files_of_one_name_have_no_folder_in_common(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = scale_with(tmp_path / "a", "epochs: 6", "epochs: 1")
    second = scale_with(tmp_path / "b", "epochs: 6", "epochs: 2")
    words = ["search", "multibranch", "guided", "--scale"]
    assert not finished(pdnas(*words, first))
    before = contents(Path("runs/tiny/multibranch/guided/seed0"))
    for again in ([*words, second], ["table", "3", "--scale", second]):
        said = str(pdnas(*again).exception)
        assert said.startswith("runs/tiny holds the runs of a/tiny.yaml, another scale than")
        assert said.endswith("give one of the files another name")
    assert contents(Path("runs/tiny/multibranch/guided/seed0")) == before
    assert not finished(pdnas(*words, second, "--out", tmp_path / "elsewhere"))

    scale_with(tmp_path / "b", "epochs: 6", "epochs: 1")
    assert finished(pdnas(*words, second)), "a copy is the same scale"
    scale_with(tmp_path / "a", "epochs: 6", "epochs: 3")
    assert refused(pdnas(*words, first), "training.epochs 1 and not 3"), "edited: as ever"
    with pytest.raises(PdnasError, match="another scale"):
        runs_folder(second)
    Path(first).rename(tmp_path / "moved.yaml")
    assert finished(pdnas(*words, second)), "the other file is no more"
    with pytest.raises(PdnasError, match=r"holds the runs of b/tiny\.yaml"):
        runs_folder(scale_with(tmp_path / "a", "epochs: 6", "epochs: 3"))


def test_the_workflow_refuses_a_second_scale_file_of_one_name(tmp_path: Path) -> None:
    first = scale_with(tmp_path / "a", "epochs: 6", "epochs: 1")
    second = scale_with(tmp_path / "b", "epochs: 6", "epochs: 2")
    assert start(tmp_path, "--unlock", "--config", f"scale={first}").returncode == 0
    done = start(tmp_path, "all", "--config", f"scale={second}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("pdnas: error: runs/tiny holds the runs of a/")


def test_the_workflow_refuses_such_a_scale_file(tmp_path: Path) -> None:
    path = scale_with(tmp_path / "mine", "epochs: 6", "epochs: 7", "smoke.yaml")
    done = start(tmp_path, "--dry-run", "all", "--config", f"scale={path}")
    assert done.returncode == 2
    assert "give the file another name" in done.stderr
