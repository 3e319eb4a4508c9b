"""docs/audit.md says what code and data say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pdnas.data.sources import SOURCES
from pdnas.report.paper import audit
from pdnas.support.errors import PdnasError

DOCUMENT = Path(__file__).parents[3] / "docs/audit.md"
DATA = {
    "d121-sizes": "pgnas-log-p",
    "d121-dropped": "pgnas-log-p",
    "d121-candidates": "pgnas-selection",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.data if name in DATA else ()) for name in audit.BLOCKS],
)
def test_a_block_is_up_to_date(name: str) -> None:
    if name in DATA and SOURCES[DATA[name]].find() is None:
        pytest.skip(f"run `pdnas data fetch {DATA[name]}` or set PDNAS_MIRROR")
    text = DOCUMENT.read_text()
    written = re.search(rf"<!-- begin {name} -->\n(.*?)<!-- end {name} -->", text, re.DOTALL)
    assert written is not None, f"{name} is in no place of the document"
    assert written[1] == audit.markdown(name)


def test_random_baselines_have_the_reported_sizes() -> None:
    """What explains how the paper counts: all four, to the digit that it reports."""
    table = audit.random_sizes()
    names = [column.key for column in table.columns]
    for row in table.rows:
        cells = dict(zip(names, row, strict=True))
        assert round(float(cells["release"]), 1) == cells["reported"], cells["supernet"]  # type: ignore[arg-type]
        assert round(float(cells["masked"]), 1) != cells["reported"], cells["supernet"]  # type: ignore[arg-type]


def test_blocks_are_replaced_in_place() -> None:
    text = "before\n<!-- begin inflation -->\nold\n<!-- end inflation -->\nafter\n"
    updated = audit.update(text)
    assert updated.startswith("before\n<!-- begin inflation -->\n**")
    assert updated.endswith("\n<!-- end inflation -->\nafter\n")
    assert "old" not in updated
    assert audit.update(updated) == updated


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<!-- begin sizes -->\n", "no partner"),
        ("<!-- begin sizes -->\n<!-- end inflation -->\n", "no partner"),
        ("<!-- begin weather -->\n<!-- end weather -->\n", "weather"),
    ],
)
def test_wrong_markers_are_one_clear_line(text: str, named: str) -> None:
    with pytest.raises(PdnasError, match=named):
        audit.update(text)
