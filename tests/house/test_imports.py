"""Imports point down and run in no circle: the contracts of pyproject.toml, and every module."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]


def test_the_contracts_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    kept = lint_imports("pyproject.toml", no_cache=True, no_logo=True) == 0
    assert kept, capsys.readouterr().out


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Through a package's ``__init__`` either; an import for types alone is none."""
    graph = grimp.build_graph("pdnas", exclude_type_checking_imports=True, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imports).prepare()  # its CycleError names the circle
