"""Imports point one way: commands, report, studies and stages, training, supernets, gates."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pdnas"
LAYERS = (
    {"cli", "commands"},
    {"report", "regression"},
    {"stages"},
    {"truth"},
    {"train"},
    {"runs"},
    {"nn"},
    {"data"},
    {"spec"},
    {"space"},
    {"support"},
)


def layer(path: Path) -> int:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return next((number for number, parts in enumerate(LAYERS) if part in parts), len(LAYERS))


def imported(path: Path) -> set[str]:
    """Parts of pdnas that a module imports, at its top or in a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "pdnas":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pdnas."):
            names.add(str(node.module).split(".")[1])
    return names


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_nothing_imports_what_lies_above_it(path: Path) -> None:
    above = set().union(*LAYERS[: layer(path)])
    assert not imported(path) & above
