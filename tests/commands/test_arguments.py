"""What people type: numbers out of range, names as they say them, the Tab key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pdnas
from pdnas.commands.app import app
from pdnas.data.sources import cache_directory, data_directory, mirror_folders, users_path
from pdnas.report.catalogue import find_figure, find_table
from pdnas.space.cells import CellSpace
from pdnas.support.errors import PdnasError

ROOT = Path(__file__).parents[2]

HUGE = "9" * 30


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("search multibranch guided", "--seed"),
        ("sample run", "--seed"),
        ("sample run", "--count"),
        ("rank run", "--threads"),
        ("describe supernet-m", "--width"),
        ("describe supernet-m", "--classes"),
        ("describe supernet-m", "--size"),
        ("nasbench score run", "--images"),
        ("extract run --out small", "--multiple"),
        ("regress", "--jobs"),
    ],
)
def test_a_huge_number_is_out_of_range(command: str, option: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), option, HUGE])
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit), "a traceback"
    assert "Invalid value" in done.output


@pytest.mark.parametrize("seeds", [HUGE, f"0-{HUGE}", "0-99999999"])
def test_huge_seeds_of_a_rival_are_one_line(seeds: str) -> None:
    done = CliRunner().invoke(app, ["nasbench", "rival", "random", "--seeds", seeds])
    assert isinstance(done.exception, PdnasError)
    assert f"--seeds {seeds} is too much" in str(done.exception)


def test_the_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"pdnas {pdnas.__version__}\n")


@pytest.mark.parametrize("name", ["1", "figure1", "Figure1"])
def test_a_figure_by_its_number(name: str) -> None:
    assert find_figure(name).name == "figure1"


def test_tables_and_figures_by_their_target() -> None:
    assert find_table("table_ablations").name == find_table("ablations").name == "ablations"
    assert find_figure("figure_best_of_n").name == find_figure("best_of_n").name == "best-of-n"
    with pytest.raises(PdnasError, match="no table 'figure1'; choose one of table1"):
        find_table("figure1")


@pytest.mark.parametrize("command", ["table 3", "figure 1", "report", "publish out"])
def test_without_runs_there_is_no_table(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*command.split(), "--scale", "smoke"])
    assert isinstance(done.exception, PdnasError)
    assert "runs/smoke is no folder" in str(done.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("search ", {"multibranch", "nasbench201", "ablations"}),
        ("search --scale smoke ", {"multibranch", "nasbench201"}),
        ("search multibranch gu", {"guided", "guided-l2-50"}),
        ("search multibranch guided --scale ", {"gpu", "laptop", "paper", "smoke"}),
        ("rank run --source ", {"posterior", "random", "uniform"}),
        ("table ab", {"ablations"}),
        ("figure best", {"best-of-n", "best-so-far"}),
        ("describe supernet-d", {"supernet-d121", "supernet-d169", "supernet-d201"}),
    ],
)
def test_the_tab_key(line: str, offered: set[str]) -> None:
    words = line.split(" ")
    environment = {
        "_PDNAS_COMPLETE": "complete_bash",
        "COMP_WORDS": f"pdnas {line}",
        "COMP_CWORD": str(len(words)),
    }
    done = CliRunner().invoke(app, prog_name="pdnas", env=environment)
    assert offered <= set(done.stdout.split())


def test_the_tab_key_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pdnas.commands import complete; complete.scales(); complete.tables(); "
        "complete.figures(); complete.supernets(); import pdnas.cli; "
        "sys.exit(bool({'torch', 'pandas', 'matplotlib'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_is_wrapped_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    done = CliRunner().invoke(app, ["data", "list"])
    assert lines_with(done.stdout, "CIFAR-10 as PNG files in an npm package, the same pixels")


def lines_with(text: str, words: str) -> list[str]:
    return [line for line in text.splitlines() if words in line]


def test_a_tilde_in_a_variable_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PDNAS_CACHE", "PDNAS_DATA", "PDNAS_MIRROR"):
        monkeypatch.setenv(name, "~/d")
    (tmp_path / "d").mkdir()
    assert cache_directory() == tmp_path / "d"
    assert users_path("a") == tmp_path / "d" / "a"
    assert data_directory(None, "it") == tmp_path / "d"
    assert mirror_folders() == [tmp_path / "d"]


def test_a_mirror_that_does_not_exist_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDNAS_MIRROR", f"{tmp_path}:{tmp_path / 'no'}")
    with pytest.raises(PdnasError, match=r"no \(PDNAS_MIRROR\) is no folder"):
        mirror_folders()


FIRST = "|none~0|+|none~0|none~1|+|"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{FIRST}none~0|none~1|nor_conv_5x5~2|", "token 6, 'nor_conv_5x5~2', has no known"),
        (f"{FIRST}none~0|nor_con_3x3~1|none~2|", "did you mean nor_conv_3x3?"),
        (f"{FIRST}none~0|none~2|none~2|", "token 5, 'none~2', has to end in ~1"),
        (f"{FIRST}none~0|none~1|", "it has 5 operations and not 6"),
        (f"{FIRST}none~0|none~1|none~2|none~3|", "it has 7 operations and not 6"),
        (f"{FIRST}none~0|none~1|none~2", "its bars are not where they belong"),
        (f"{FIRST}none|none~1|none~2|", "token 4, 'none', has to end in ~0"),
        ("", "it has 0 operations"),
    ],
)
def test_a_wrong_architecture_string_says_which_token(text: str, problem: str) -> None:
    with pytest.raises(PdnasError) as raised:
        CellSpace().from_string(text)
    assert problem in str(raised.value)
    assert "is no cell" in str(raised.value)


def test_make_has_the_workflow_s_targets() -> None:
    command = ["make", "-n", "table3", "figure_best_of_n", "nasbench", "SCALE=smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("table3", "figure_best_of_n", "nasbench"):
        assert lines_with(done.stdout, f" {target} --config scale=smoke")
