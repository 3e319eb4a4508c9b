"""The package as others install it: a wheel without the source tree around it, an empty folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pdnas

from ..conftest import ENVIRONMENT

ROOT = Path(__file__).parents[2]

BUILD = "from setuptools import build_meta; build_meta.build_{}('..')"

COMMANDS = """
import sys
from importlib.metadata import distribution

(script,) = distribution("pdnas").entry_points.select(name="pdnas")
main = script.load()
for line in sys.stdin:
    sys.argv = ["pdnas", *line.split()]
    try:
        main()
    except SystemExit as end:
        if end.code:
            sys.exit(f"{line.strip()}: exit code {end.code}")
"""
"""One process for all commands: torch is imported once."""


def installed(folder: Path, kind: str) -> Path:
    """What a wheel installs, in a folder of its own; the source lies in ``folder/pdnas``.

    Args:
        kind: ``wheel`` or ``editable``.
    """
    pytest.importorskip("setuptools")
    source = folder / "pdnas"
    shutil.copytree(ROOT / "pdnas", source / "pdnas", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-c", BUILD.format(kind)]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, which is all that it holds."""
    return installed(tmp_path_factory.mktemp("built"), "wheel")


def call(site: Path, folder: Path, *lines: str) -> str:
    """Run command lines in a folder, with the installed package; what they print."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        input="\n".join(lines),
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(site), "PDNAS_COMMIT": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_above_a_clone_finds_the_package(tmp_path: Path) -> None:
    """Where the clone is called as the package is."""
    site = installed(tmp_path, "editable")
    find = f"import site; site.addsitedir({str(site)!r}); import pdnas; print(pdnas.__file__)"
    found = subprocess.run(
        [sys.executable, "-S", "-c", find],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(tmp_path / "pdnas/pdnas/__init__.py")


def test_every_file_of_the_package_is_installed(site: Path) -> None:
    def files(package: Path) -> set[str]:
        found = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
        return {str(path) for path in found if "__pycache__" not in path.parts}

    assert files(site / "pdnas") == files(ROOT / "pdnas")


def test_an_installed_pdnas_runs_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    smoke = (site / "pdnas/spec/scales/smoke.yaml").read_text()
    (tmp_path / "short.yaml").write_text(smoke.replace("epochs: 6", "epochs: 1"))
    run = "runs/short/multibranch/guided/seed0"
    call(
        site,
        tmp_path,
        "search multibranch guided --scale short.yaml",
        f"sample {run}",
        f"rank {run}",
        "table 3 --scale short.yaml",
        "table 8 --runs .",
        "data list",
        "regress --help",
    )
    assert (tmp_path / run / "ranking-posterior.parquet").exists()
    record = json.loads((tmp_path / run / "run.json").read_text())
    assert record["provenance"]["code"] == f"{pdnas.__version__} (no git checkout)"


def test_an_installed_pdnas_knows_the_benchmark(site: Path, tmp_path: Path) -> None:
    assert '"flops": 43172490' in call(site, tmp_path, "nasbench query 5000 --json")
