"""Imports point down and run in no circle: the contracts of pyproject.toml, and every module."""

from __future__ import annotations

from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]


def test_the_contracts_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    kept = lint_imports("pyproject.toml", no_cache=True, no_logo=True) == 0
    assert kept, capsys.readouterr().out
