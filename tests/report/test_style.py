"""What all figures share: nothing impossible is drawn, and colours and words are right."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from pdnas.report import style


@pytest.mark.parametrize(("count", "words"), [(0, "0 seeds"), (1, "1 seed"), (2, "2 seeds")])
def test_seeds_in_words(count: int, words: str) -> None:
    assert style.seeds(count) == words


def test_a_dozen_colours_are_told_apart() -> None:
    kept = [style.GUIDED_COLOUR, style.RANDOM_COLOUR, style.REFERENCE_COLOUR]
    for one, other in combinations(map(to_rgb, [*kept, *style.others(12)]), 2):
        assert np.linalg.norm(np.subtract(one, other)) > 0.2


def test_bands_and_bars_end_where_values_do() -> None:
    figure, axes = style.panels(1, 2)
    left, right = axes[0]
    style.line(left, [1, 2], ([5, 96], [-20, 60], [30, 130]), color="blue")
    style.cross(right, (1, -3, 5), (50, -40, 140), color="blue", marker="o", label="one")
    left.set_ylabel("error [%]")
    right.set(xlabel="time [min]", ylabel="error [%]")
    style.finish(figure)
    (band,) = left.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0, 100)
    ends = np.concatenate([np.concatenate(bars.get_segments()) for bars in right.collections])
    assert (ends.min(axis=0).tolist(), ends.max(axis=0).tolist()) == ([0, 0], [5, 100])
    for axis in (left, right):
        assert axis.get_ylim()[0] == 0
        assert axis.get_ylim()[1] <= 103
    assert right.get_xlim()[0] == 0


def test_units_without_a_bound_keep_their_limits() -> None:
    figure, axes = style.panels()
    axes[0, 0].plot([-300, 300], [-1, 1])
    axes[0, 0].set_xlabel("difference")
    style.finish(figure)
    assert axes[0, 0].get_xlim()[0] < -300


def test_a_row_says_where_its_interval_goes_on() -> None:
    _, axes = style.panels()
    axis = axes[0, 0]
    axis.set_xlim(80, 95)
    nothing = float("nan")
    for place, interval in enumerate(
        [(90, 85, 94), (90, 50, 120), (10, 10, 10), (90, *[nothing] * 2)]
    ):
        style.row(axis, place, interval, color="blue", marker="o")
    arrows = {(line.get_ydata()[0], line.get_marker()) for line in axis.lines} - {
        (place, each) for place in range(4) for each in ("o", "None")
    }
    assert arrows == {(1, "<"), (1, ">"), (2, "<")}
    marked = [line.get_ydata()[0] for line in axis.lines if line.get_marker() == "o"]
    assert marked == [0, 1, 3], "a mark outside the frame is none"


def test_a_figure_that_cannot_be_had_says_why(tmp_path: Path) -> None:
    with style.style():
        style.write(style.not_available("some", "no network"), tmp_path, "some")
    row = pd.read_csv(tmp_path / "some.csv").to_dict("records")
    assert row == [{"status": "not available", "reason": "no network"}]
