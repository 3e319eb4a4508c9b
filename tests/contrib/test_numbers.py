"""Numbers in the pages are those of results/."""

from __future__ import annotations

from pathlib import Path

import pytest

from contrib import numbers


@pytest.mark.parametrize("page", numbers.PAGES, ids=lambda path: path.parent.name)
def test_no_number_is_stale(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert numbers.renewed(text) == text, "run python -m contrib.numbers"


def test_a_block_is_written_anew_and_the_rest_kept() -> None:
    page = "a\n<!-- numbers: runs -->\nstale\n<!-- end -->\nb\n"
    text = numbers.renewed(page)
    assert text.startswith("a\n<!-- numbers: runs -->\n\n| folder")
    assert text.endswith("<!-- end -->\nb\n")
    assert "stale" not in text
    assert all(f"[{folder}]({folder})" in text for folder in numbers.published())


def test_what_two_folders_hold_counts_once() -> None:
    studies = [claim.study for claim in numbers.all_claims()]
    assert any(study.startswith("laptop: nasbench201") for study in studies)
    assert not any(study.startswith("laptop-nasbench: nasbench201") for study in studies)
