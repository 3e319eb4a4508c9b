"""Every notebook runs from top to bottom, by itself, and is committed without outputs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from ..conftest import ENVIRONMENT
from ..processes import forked

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_holds_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    source = "\n".join(cell.source for cell in code)
    assert re.search("^import pdnas$", source, re.MULTILINE), "what people are told to use"
    assert not re.search(r"pdnas\.(stages\.(search|sample|retrain|extract)|truth)\b", source)
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    environment = ENVIRONMENT | {"MPLBACKEND": "agg"}
    done = forked(lambda: exec(source, {"__name__": "__main__"}), path.parent, environment)
    assert done.returncode == 0, done.stderr[-2000:]
