"""Distributions as other people write them, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdnas.support.errors import PdnasError
from pdnas.truth.samplers import of_anything, product, read
from pdnas.truth.tables import open_truth

from .small import SMALL


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text)
    return path


class TestForms:
    def test_names_and_probabilities(self, tmp_path: Path) -> None:
        path = write(tmp_path, "name, probability,note\nz1,0.25,a\nx0,0.75,b\n")
        assert read(path, SMALL).tolist() == [0.75, 0, 0, 0, 0, 0.25]

    def test_samples(self, tmp_path: Path) -> None:
        path = write(tmp_path, "name\nz1\nx0\nz1\nz1\n")
        assert read(path, SMALL).tolist() == [0.25, 0, 0, 0, 0, 0.75]

    @pytest.mark.parametrize("word", ["switch", "position"])
    def test_marginals(self, tmp_path: Path, word: str) -> None:
        rows = "letter,x,0.5\nletter,z,0.5\ndigit,1,0.9\ndigit,0,0.1\n"
        path = write(tmp_path, f"{word},option,probability\n{rows}")
        assert read(path, SMALL) == pytest.approx([0.05, 0.45, 0, 0, 0.05, 0.45])

    def test_parquet_also_of_numbers(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.parquet"
        pd.DataFrame({"name": [5000, 3], "probability": [0.5, 0.5]}).to_parquet(path)
        q = read(path, open_truth("nasbench201"))
        assert np.flatnonzero(q).tolist() == [3, 5000]

    def test_leading_zeros_of_names_are_kept(self, tmp_path: Path) -> None:
        truth = open_truth("nasbench-macro")
        path = write(tmp_path, "name,probability\n00000012,1\n")
        assert np.flatnonzero(read(path, truth)).tolist() == [5]

    def test_rounded_probabilities_are_taken_as_shares(self, tmp_path: Path) -> None:
        path = write(tmp_path, "name,probability\nx0,0.33333\nx1,0.33333\ny0,0.33333\n")
        assert read(path, SMALL)[:3] == pytest.approx([1 / 3] * 3)

    def test_a_product_is_that_of_all_switches(self) -> None:
        rng = np.random.default_rng(0)
        marginals = {"letter": rng.dirichlet(np.ones(3)), "digit": rng.dirichlet(np.ones(2))}
        q = product(marginals, SMALL)
        assert q == pytest.approx(np.outer(marginals["letter"], marginals["digit"]).ravel())
        assert of_anything(q, SMALL) == pytest.approx(q)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name,probability\nw0,1\n", "row 1: 'w0' is no architecture of small"),
        ("name,probability\nx0,1\n,0\n", "row 2 has no name"),
        ("name,probability\nx0,0.5\nx1,0.4\n", "probabilities sum to 0.9, not to 1"),
        ("name,probability\nx0,nan\nx1,1\n", "row 1 has the probability nan"),
        ("name,probability\nx0,\nx1,1\n", "row 1 has the probability nothing"),
        ("name,probability\nx0,often\nx1,1\n", "row 1 has the probability often"),
        ("name,probability\nx0,-0.5\nx1,1.5\n", "row 1 has the probability -0.5"),
        ("name,probability\nx0,inf\n", "row 1 has the probability inf"),
        ("name,probability\nx0,0.5\nx0,0.5\n", "names x0 twice"),
        ("name,p\nx0,0.5\n", "has the columns name, p; it needs name and probability"),
        ("probability\n1\n", "has the columns probability; it needs name and probability"),
        ("option,probability\nx,1\n", "has the columns option, probability"),
        ("name,probability\n", "no rows"),
        ("", "no readable table"),
        ("name,probability\nx0,1,2,3\nx1,1\n", "row"),
        ("switch,option,probability\ncolour,x,1\n", "no switch 'colour'; it has letter, digit"),
        ("switch,option,probability\nletter,w,1\n", "letter has no option 'w'; it has x, y, z"),
        ("switch,option,probability\nletter,x,1\n", "lacks the switch digit"),
        ("switch,option,probability\nletter,x,1\nletter,x,0\n", "option x of switch letter twice"),
        (
            "switch,option,probability\nletter,x,1\ndigit,0,0.2\ndigit,1,0.7\n",
            "probabilities of switch digit sum to 0.9",
        ),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PdnasError, match=complaint) as caught:
        read(path, SMALL)
    assert "\n" not in str(caught.value)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(PdnasError, match="is no file"):
        read(tmp_path / "nothing.csv", SMALL)
    path = tmp_path / "mine.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(PdnasError, match="is no readable table"):
        read(path, SMALL)
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(PdnasError, match=r"no readable table|has the columns"):
        read(path, SMALL)
