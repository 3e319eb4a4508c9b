"""Distributions as other people write them, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pdnas.runs.distributions import save_posterior
from pdnas.runs.run import Run
from pdnas.space.cells import CellSpace
from pdnas.space.posterior import CategoricalPosterior
from pdnas.spec.scale import load_scale
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

    def test_columns_and_lines_without_content_are_nothing(self, tmp_path: Path) -> None:
        path = write(tmp_path, "name,probability,,\n\nz1,0.25,,\nx0,0.75,,\n")
        assert read(path, SMALL).tolist() == [0.75, 0, 0, 0, 0, 0.25]

    def test_a_run_or_its_folder(self, tmp_path: Path) -> None:
        uniform = CategoricalPosterior.uniform(CellSpace())
        save_posterior(tmp_path / "posterior.safetensors", uniform, {})
        run = Run(tmp_path, {}, load_scale("smoke").spec("nasbench201", "guided"))
        for given in (tmp_path, str(tmp_path), run):
            found = of_anything(given, open_truth("nasbench201"))
            assert found == pytest.approx(np.full(15_625, 1 / 15_625))
        with pytest.raises(PdnasError, match="is a folder; give a CSV or Parquet table of prob"):
            of_anything(run, SMALL)

    def test_a_series_is_by_its_names(self) -> None:
        ordered = pd.Series({"z1": 0.25, "x0": 0.75})
        assert of_anything(ordered, SMALL).tolist() == [0.75, 0, 0, 0, 0, 0.25]
        all_of_them = pd.Series([0.2, 0.3, 0, 0, 0, 0.5], ["z1", "z0", "y1", "y0", "x1", "x0"])
        assert of_anything(all_of_them, SMALL).tolist() == [0.5, 0, 0, 0, 0.3, 0.2]
        with pytest.raises(PdnasError, match="names x0 twice"):
            of_anything(pd.Series([0.5, 0.5], ["x0", "x0"]), SMALL)
        assert of_anything(pd.Series(["x0", "z1"], ["a", "b"]), SMALL)[[0, 5]].tolist() == [0.5] * 2

    def test_a_series_of_all_rows_is_in_their_order(self) -> None:
        rows = pd.Series([0.5, 0.2, 0, 0, 0, 0.3])
        assert of_anything(rows, SMALL).tolist() == rows.tolist()
        for others in (rows.sort_values(), rows[1:], rows.set_axis([*"abcde", 6])):
            with pytest.raises(PdnasError, match="the index of the series is neither names nor 0"):
                of_anything(others, SMALL)

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
        ("name,probability\nx0,1,2,3\nx1,1\n", "Expected 2 fields in line 2, saw 4"),
        ("name,probability\nx0,1\nx1,0,1\n", "Expected 2 fields in line 3, saw 3"),
        ("name,probability\n7,x0,1\n", "Expected 2 fields in line 2, saw 3"),
        ("name,probability,probability\nx0,1,0\n", "the header has probability twice"),
        ("name, probability,probability \nx0,1,0\n", "the header has probability twice"),
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


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (torch.full((6,), 1 / 6, requires_grad=True), r"no plain array .*tensor\.detach"),
        (np.full(6, 1 / 6) + 0j, "complex numbers"),
        ([1 / 6 + 0j] * 6, "complex numbers"),
        (np.ma.masked_less(np.full(6, 1 / 6), 1), "masked entries"),
        ([0.5, -0.1, 0, 0, 0, 0.6], r"non-negative, and entry 1 \(counted from 0\) is -0.1"),
        ([0.5, 0.5, 0, 0, 0, np.nan], "entry 5 .* is nan"),
        ([0.5, 0.6, 0, 0, 0, 0], "sum to 1, not 1.1"),
        (np.array(0.5), "give the probabilities of all 6 architectures of small"),
        (["x0", 0.5], "give the probabilities of all 6"),
    ],
)
def test_bad_arrays(given: object, complaint: str) -> None:
    with pytest.raises(PdnasError, match=complaint) as caught:
        of_anything(given, SMALL)
    assert "\n" not in str(caught.value)


def test_tensors_and_arrays_of_names() -> None:
    assert of_anything(torch.tensor([0.5, 0, 0, 0, 0, 0.5]), SMALL).tolist()[5] == 0.5
    assert of_anything(np.array(["x0", "z1"]), SMALL).tolist()[5] == 0.5


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(PdnasError, match="does not exist"):
        read(tmp_path / "nothing.csv", SMALL)
    path = tmp_path / "mine.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(PdnasError, match="is no readable table"):
        read(path, SMALL)
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(PdnasError, match=r"no readable table|has the columns"):
        read(path, SMALL)
