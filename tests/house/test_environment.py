"""One environment, told in three files: the lock, pyproject.toml and environment.yml; and make."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)(?: ; (.+))?")

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_lines() -> list[str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def locked() -> dict[str, str]:
    pins = [PIN.fullmatch(line) for line in lock_lines()]
    return {normal(pin[1]): pin[2] for pin in pins if pin}


def conda() -> tuple[list[str], list[str]]:
    """What conda installs and what pip installs."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    return [entry for entry in entries if isinstance(entry, str)], pip


def conda_pins() -> dict[str, str]:
    pins = [PIN.fullmatch(line) for line in conda()[1] if not line.startswith("-")]
    assert all(pins), "only exact pins and options in the pip section"
    return {normal(pin[1]): pin[2] for pin in pins if pin}


def direct() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    wanted += project["optional-dependencies"]["dev"]  # the cluster's are not in the lock
    names = [re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in wanted]
    return {normal(name[0]) for name in names if name}


def test_the_lock_is_exact_pins_and_nothing_else() -> None:
    lines = lock_lines()
    assert [line for line in lines if not PIN.fullmatch(line)] == []
    names = [normal(line.split("==")[0]) for line in lines]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_the_lock_names_no_address_or_path() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert re.findall(r"\w+://|[/\\~@]|--\w+|\b(?:[\w-]+\.)+(?:com|org|net|io)\b", text) == []


def test_environment_yml_pins_the_direct_dependencies_as_the_lock_does() -> None:
    assert direct() <= locked().keys()
    assert conda_pins() == {name: locked()[name] for name in direct()}


def test_environment_yml_installs_the_package_beside_the_lock() -> None:
    packages, pip = conda()
    assert packages == ["python=3.12", "pip", "git", "make"]
    assert pip[0] == "-c requirements.lock"
    assert pip[-1] == "-e ."


# make, with an installer that installs nothing

UV = """#!/bin/sh
echo "uv $*" >> "$CALLS"
if [ "$1" = venv ]; then mkdir -p .venv/bin && ln -s "$REAL_PYTHON" .venv/bin/python; fi
if [ "$1" = pip ] && [ -n "${KILLED:-}" ]; then kill -9 $PPID; fi
"""


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.folder.mkdir()
        for name in ("Makefile", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, self.folder)
        tools = folder / "tools"
        tools.mkdir()
        self.calls_file = folder / "calls"
        self.stamp = self.folder / ".venv/.installed"
        (tools / "uv").write_text(UV)
        (tools / "uv").chmod(0o755)
        self.environ = {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "CALLS": str(self.calls_file),
            "REAL_PYTHON": sys.executable,
        }

    def make(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", f"PYTHON={sys.executable}", *arguments],
            cwd=self.folder,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        """The installer's calls since the last time, by their first word."""
        text = self.calls_file.read_text() if self.calls_file.exists() else ""
        self.calls_file.unlink(missing_ok=True)
        return [line.split()[1] for line in text.splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@needs_make
@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["all"], "snakemake all"),
        ([], "snakemake all"),
        (
            ["all", "SCALE=smoke"],
            "snakemake all --config scale=smoke",
        ),
        (["test"], "pytest -q -n auto --dist loadfile --no-loadscope-reorder"),
        (["regress"], "pdnas regress"),
        (["lint"], "ruff format --check"),
        (
            ["site"],
            "sphinx-build --fail-on-warning --nitpicky --quiet --fresh-env "
            "-c docs/site . build/site",
        ),
    ],
)
def test_make_runs(checkout: Checkout, arguments: list[str], command: str) -> None:
    done = checkout.make("-n", *arguments)
    assert done.returncode == 0, done.stderr
    planned = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert f".venv/bin/{command}" in planned


@needs_make
def test_the_environment_is_made_once_and_again_when_the_lock_changes(checkout: Checkout) -> None:
    assert checkout.make(".venv/.installed").returncode == 0
    assert checkout.calls() == ["venv", "pip", "pip"]
    assert checkout.make(".venv/.installed").returncode == 0
    assert checkout.calls() == []
    for name in ("requirements.lock", "pyproject.toml"):
        later = checkout.stamp.stat().st_mtime + 1
        os.utime(checkout.stamp, (later - 10, later - 10))
        os.utime(checkout.folder / name, (later - 5, later - 5))
        assert checkout.make(".venv/.installed").returncode == 0
        assert checkout.calls() == ["pip", "pip"]


@needs_make
def test_an_install_that_is_killed_leaves_no_stamp_and_is_begun_anew(checkout: Checkout) -> None:
    assert checkout.make(".venv/.installed", KILLED="yes").returncode != 0
    assert not checkout.stamp.exists()
    checkout.calls()
    assert checkout.make(".venv/.installed").returncode == 0
    assert checkout.calls() == ["venv", "pip", "pip"]
    assert checkout.stamp.exists()


@needs_make
def test_an_old_python_is_refused_in_words(checkout: Checkout) -> None:
    done = checkout.make("test", "PYTHON=false")
    assert done.returncode != 0
    assert "pdnas needs Python 3.11 or newer" in done.stderr
    assert checkout.calls() == []
