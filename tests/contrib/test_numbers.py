"""Numbers in the pages are those of results/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pdnas
from contrib import numbers
from contrib.numbers.claims import all_claims, guidance, reproduced
from contrib.numbers.published import part, published
from pdnas.report.formats import NOT_RUN, Column, Table


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
    assert all(f"[{folder}]({folder})" in text for folder in published())


def test_what_two_folders_hold_counts_once() -> None:
    studies = [claim.study for claim in all_claims()]
    assert any(study.startswith("laptop: nasbench201") for study in studies)
    assert not any(study.startswith("laptop-nasbench: nasbench201") for study in studies)


def test_errors_of_several_studies_have_their_own_seeds() -> None:
    what, _, errors, seeds, _ = reproduced().rows[0]
    assert what == "test error on CIFAR-10; CIFAR-100; ImageNet"
    assert str(errors).count("±") == 3
    assert seeds == "5; 3; 3"


def test_uniform_samples_to_the_best_digits_count_cells_that_are_equally_good() -> None:
    accuracy = pdnas.truth("digits").accuracy()
    reached = accuracy >= np.sort(accuracy)[-len(accuracy) // 20]
    *_, (truth, _, goal, uniform, *_) = guidance().rows
    assert (truth, goal) == ("digits", "best 5 %")
    assert uniform == pytest.approx(1 / reached.mean())
    assert reached.mean() > 0.055


def test_every_block_stands_in_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in numbers.PAGES)
    used = [match[2] for match in numbers.MARKED.finditer(pages)]
    assert sorted(used) == sorted([*numbers.TABLES, *numbers.TEXTS])


def test_a_part_of_a_table_has_its_own_headings_and_no_row_that_was_not_run() -> None:
    columns = (Column("a", "long a", "ours"), Column("b", "b"), Column("seeds", "seeds", "ours"))
    table = Table("t", "T", columns, ((1, 2, 3), (NOT_RUN, 5, 4), (NOT_RUN, 6, NOT_RUN)))
    found = part(table, {"seeds": "seeds", "a": "a"})
    assert [(column.heading, column.group) for column in found.columns] == [
        ("seeds", ""),
        ("a", ""),
    ]
    assert found.rows == ((3, 1), (4, None))


def test_what_was_measured_by_code_that_is_gone_is_left_out() -> None:
    rows = [row for row in numbers.block("bench").splitlines() if "one-hot step" in row]
    amd, intel, gpu = zip(*(row.split(" | ")[2:5] for row in rows), strict=True)
    assert {*amd, *gpu} == {"–"}
    assert "–" not in intel
