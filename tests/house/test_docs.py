"""What docs/ says of the house is so: its picture, and the files that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contrib.house import PICTURE, picture

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
NAMED = re.compile(r"`((?:benchmarks|config|contrib|docs|pdnas|tests|workflow)/[\w/.-]*)`")


def test_the_picture_is_that_of_the_imports() -> None:
    assert PICTURE.read_text() == picture(), "draw it anew: python -m contrib.house"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = NAMED.findall(page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []
