"""What the workflow runs again when a file is gone or a setting changes, as its dry runs say it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pdnas.spec.scale import SCALES, load_scale
from pdnas.spec.selection import over_cells

from ..processes import snakemake

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SNAKEFILE = ROOT / "workflow" / "Snakefile"
STUDY = Path("runs/tiny/multibranch")
REPORT = ("table ", "figure ", "one page of all tables and figures")


def start(
    folder: Path, *options: str, snakefile: Path = SNAKEFILE
) -> subprocess.CompletedProcess[str]:
    return snakemake(folder, "--snakefile", str(snakefile), "--cores", "1", *options)


def all_of_tiny(folder: Path, *options: str, snakefile: Path = SNAKEFILE) -> str:
    """What Snakemake prints for ``all`` of the scale file in a folder, without running anything."""
    config = ("--config", "scale=tiny.yaml", "studies=multibranch")
    done = start(folder, *options, "all", *config, snakefile=snakefile)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("bogus=1", "unknown config key 'bogus'; known are scale, studies"),
        ("scale=huge", "no scale 'huge'; choose one of gpu, laptop, paper, smoke"),
        ("studies=[nope]", "no study 'nope' at this scale; choose multibranch"),
    ],
)
def test_a_wrong_config_is_one_clear_line(setting: str, named: str, tmp_path: Path) -> None:
    done = start(tmp_path, "--dry-run", "all", "--config", setting)
    assert done.returncode == 2
    (line,) = (text for text in done.stderr.splitlines() if text.startswith("pdnas: error: "))
    assert named in line


SEARCHED = {"search": 6, "sample": 4, "rank": 4, "retrain": 10}
SIZES = {"search": 3, "sample": 9, "rank": 9, "sizes": 3}
MACRO = {"search": 2, "scores": 2, "macro": 2}
MADE = ("table_truths", "table_macro", "truths_page", "truths")
DRAWN = ("size_widths", "size_samples", "macro_samples", "macro_blocks", "truth_noise")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("table9", {"table9": 1}),
        ("table3", SEARCHED | {"table3": 1}),
        ("table_extraction", SEARCHED | {"extract": 4, "table_extraction": 1}),
        ("table_truths", SIZES | {"table_truths": 1}),
        ("table_macro", MACRO | {"table_macro": 1}),
        (
            "truths",
            {**SIZES, **MACRO, "search": 5, **dict.fromkeys(MADE, 1)}
            | dict.fromkeys(map("figure_{}".format, DRAWN), 1),
        ),
        ("table_efficiency", {"search": 1, "sample": 1, "rank": 1, "table_efficiency": 1}),
    ],
)
def test_a_target_runs_only_what_it_needs(
    target: str, expected: dict[str, int], tmp_path: Path
) -> None:
    done = start(tmp_path, "--dry-run", target, "--config", "scale=smoke")
    assert done.returncode == 0, done.stderr[-2000:]
    counts, _ = (done.stdout + done.stderr).split("total", 1)
    found = re.findall(r"^(\w+) +(\d+)$", counts, re.MULTILINE)
    assert {name: int(count) for name, count in found} == expected


@pytest.mark.parametrize(
    ("target", "last"), [("all", r"retrain \(none\)"), ("nasbench", "sample efficiency")]
)
def test_a_target_runs_every_seed(target: str, last: str, tmp_path: Path) -> None:
    """Of `laptop`: the first one too, which Snakemake would lose if it got a generator."""
    done = start(tmp_path, "--dry-run", target)
    said = done.stdout + done.stderr
    scale = load_scale("laptop")
    cells = set(over_cells(scale))
    expected = {
        f"{study}/{variant} seed {seed}"
        for study, content in scale.studies.items()
        for variant in content.variants
        for seed in content.seeds_of(variant)
        if (study in cells if target == "nasbench" else content.target == "all")
    }
    assert set(re.findall(r"^Job \d+: search (\S+ seed \d+)", said, re.MULTILINE)) == expected
    ends = {each for each in expected if target == "nasbench" or each.split("/")[0] not in cells}
    found = re.findall(rf"^Job \d+: {last}.* (\S+/\S+ seed \d+)", said, re.MULTILINE)
    assert set(found) == ends


def test_the_official_logs_are_asked_for_by_the_suites_own_scales_alone(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text((SCALES / "laptop.yaml").read_text())
    for name, count in (("laptop", 1), ("own.yaml", 0)):
        done = start(tmp_path, "--dry-run", "all", "--config", f"scale={name}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count(": the official SupNet-D-121 search") == count


ALONE = """
description: Cells that are trained alone, beside a supernet of cells
studies:
  alone:
    target: nasbench
    seeds: [0, 1]
    base: &base
      data: {name: cifar10, train: 64, validation: 8,
        augmentation: {crop: 0, flip: false, cutout: 0}}
      supernet: {name: nasbench201, channels: 2}
      training: {epochs: 1, batch: 32, learning_rate: 0.1, schedule: constant}
      gates: {length_scale2: 0}
      candidates: {count: 2}
      alone: {rounds: [3]}
    variants: {alone: {}}
  shared:
    target: nasbench
    seeds: [0]
    base: {<<: *base, alone: null}
    variants: {guided: {}}
"""


def test_cells_alone_are_searched_by_a_rule_that_waits_for_no_weights(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(ALONE)
    run = "runs/own/{}/seed0/efficiency.json".format
    wanted = [run("alone/alone"), run("shared/guided"), "runs/own/alone/alone/seed1/run.json"]
    done = start(tmp_path, "--dry-run", *wanted, "--config", "scale=own.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    counts, _ = (done.stdout + done.stderr).split("total", 1)
    found = dict(re.findall(r"^(\w+) +(\d+)$", counts, re.MULTILINE))
    assert found == {"search": "1", "search_alone": "2", "efficiency": "2"}


NO_PICTURES = """
description: Digits, and pictures that nobody has
studies:
  digits: &study
    seeds: [0]
    base: &base
      data: {name: digits, train: 100, validation: 20, augmentation: {cutout: 0}}
      supernet: {name: multibranch, width: 2, blocks: 1}
      training: {epochs: 1, batch: 50, learning_rate: 0.1}
      gates: {length_scale2: 0}
      candidates: {count: 2}
    variants:
      guided: {}
  r50:
    <<: *study
    stands_for: R-50
    base:
      <<: *base
      data: {name: folders, root: nobodys, side: 16, validation: 20}
      supernet: {name: resnet, width: 2, blocks: [1, 1, 1, 1], kernels: [3]}
"""


def test_a_study_without_images_is_left_out_and_its_table_says_so(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(NO_PICTURES)
    config = ("--config", "scale=own.yaml")
    planned = start(tmp_path, "--dry-run", "all", *config)
    assert planned.returncode == 0, planned.stderr[-2000:]
    said = planned.stdout + planned.stderr
    line = "pdnas: study r50 is left out: nobodys (data.root) is no folder in PDNAS_DATA"
    assert said.count(line) == 1
    assert set(re.findall(r"^Job \d+: search (\S+)/", said, re.MULTILINE)) == {"digits"}
    made = start(tmp_path, "table9", *config)
    assert made.returncode == 0, made.stderr[-2000:]
    assert "| not run: no data |" in (tmp_path / "runs/own/report/tables/table9.md").read_text()


def test_where_no_study_has_images_that_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(NO_PICTURES)
    done = start(tmp_path, "all", "--config", "scale=own.yaml", "studies=r50")
    assert done.returncode != 0
    assert "pdnas: error: nobodys (data.root) is no folder" in done.stderr


def jobs(folder: Path, snakefile: Path = SNAKEFILE) -> tuple[set[str], set[str]]:
    """The jobs that `all` would run now: those that compute, and those that report."""
    said = all_of_tiny(folder, "--dry-run", snakefile=snakefile)
    found = set(re.findall(r"^Job \d+: (.*)$", said, re.MULTILINE))
    reporting = {job for job in found if job.startswith(REPORT)}
    return found - reporting, reporting


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where all was run as far as Snakemake knows: every file is there, and empty."""
    folder = tmp_path_factory.mktemp("finished")
    scale = yaml.safe_load((SCALES / "smoke.yaml").read_text())
    scale["studies"]["multibranch"]["seeds"] = [0]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(scale))
    for line in all_of_tiny(folder, "--summary").splitlines():
        if (name := line.split("\t")[0]).startswith("runs/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    all_of_tiny(folder, "--touch", "--forceall")
    return folder


@pytest.fixture
def finished(everything: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    folder = tmp_path / everything.name
    shutil.copytree(everything, folder)
    return folder


def judged_and_finished(variant: str, source: str) -> set[str]:
    """The jobs of seed 0 that follow a search."""
    run = f"multibranch/{variant} seed 0"
    return {
        f"sample {run}: {source}",
        f"rank {run}: {source}",
        f"retrain (none) {run}",
        f"retrain (finetune) {run}",
        f"extract {run}",
    }


GUIDED = judged_and_finished("guided", "posterior")
RANDOM = judged_and_finished("random", "random")


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (
            "base.retrain.epochs",
            2,
            {
                f"retrain (finetune) multibranch/{variant} seed 0"
                for variant in ("guided", "random")
            },
        ),
        ("base.candidates.count", 5, GUIDED | RANDOM),
        # The random baseline is as large as the guided candidates, so it follows them.
        (
            "variants.guided",
            {"gates": {"length_scale2": 9}},
            {f"search multibranch/{variant} seed 0" for variant in ("guided", "random")}
            | (GUIDED | RANDOM),
        ),
    ],
    ids=["retrain", "candidates", "search"],
)
def test_a_changed_setting_runs_what_depends_on_it(
    finished: Path, place: str, value: object, expected: set[str]
) -> None:
    scale = yaml.safe_load((finished / "tiny.yaml").read_text())
    *folders, last = place.split(".")
    target = scale["studies"]["multibranch"]
    for folder in folders:
        target = target[folder]
    target[last] = value
    (finished / "tiny.yaml").write_text(yaml.safe_dump(scale))
    computing, reporting = jobs(finished)
    assert computing == expected
    assert {"table table3", "figure figure1", "one page of all tables and figures"} <= reporting


def test_a_deleted_result_is_made_again_and_the_report_with_it(finished: Path) -> None:
    (finished / STUDY / "random/seed0/result-random-finetune.json").unlink()
    computing, reporting = jobs(finished)
    assert computing == {"retrain (finetune) multibranch/random seed 0"}
    assert {"table table3", "figure mismatch", "one page of all tables and figures"} <= reporting


def test_a_deleted_table_is_made_again_alone(finished: Path) -> None:
    (finished / "runs/tiny/report/tables/table3.csv").unlink()
    assert jobs(finished) == (set(), {"table table3", "one page of all tables and figures"})


def test_another_caption_makes_the_page_anew_and_nothing_else(
    finished: Path, tmp_path: Path
) -> None:
    captions = "pdnas/report/captions"
    for part in ("workflow", "config", captions):
        shutil.copytree(ROOT / part, tmp_path / "house" / part)
    caption = tmp_path / "house" / captions / "tables" / "table3.rst"
    caption.write_text("Other words.")
    expected: tuple[set[str], set[str]] = (set(), {"one page of all tables and figures"})
    assert jobs(finished, tmp_path / "house" / "workflow" / "Snakefile") == expected


def test_a_setting_of_one_study_leaves_the_tables_of_others(finished: Path) -> None:
    scale = yaml.safe_load((finished / "tiny.yaml").read_text())
    scale["studies"]["nasbench201"]["base"]["training"]["epochs"] = 9
    (finished / "tiny.yaml").write_text(yaml.safe_dump(scale))
    assert "table table3" not in jobs(finished)[1]


@pytest.mark.parametrize("times", ["kept", "lost"])
def test_copied_runs_do_not_run_again(finished: Path, tmp_path: Path, times: str) -> None:
    """Without Snakemake's own records; where times were lost, the documented command mends them."""
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.copy(finished / "tiny.yaml", clone)
    shutil.copytree(finished / "runs", clone / "runs")
    missing = set()
    if times == "lost":
        files = [path for path in (clone / "runs").rglob("*") if path.is_file()]
        files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for second, path in enumerate(files):  # copied in the worst order: results come first
            os.utime(path, (second, second))
        assert "sample multibranch/guided seed 0: posterior" in jobs(clone)[0]
        (clone / STUDY / "random/seed0/result-random-finetune.json").unlink()
        missing = {"retrain (finetune) multibranch/random seed 0"}
        all_of_tiny(clone, "--touch")
    assert jobs(clone)[0] == missing
