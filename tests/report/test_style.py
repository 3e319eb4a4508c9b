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
    ends = np.concatenate([line.get_xydata() for line in right.lines])
    assert (ends.min(axis=0).tolist(), ends.max(axis=0).tolist()) == ([0, 0], [5, 100])
    arrows = {(*map(tuple, line.get_xydata()), line.get_marker()) for line in right.lines}
    assert {((0, 50), "<"), ((5, 50), "|"), ((1, 0), "v"), ((1, 100), "^")} <= arrows
    for axis in (left, right):
        assert axis.get_ylim()[0] == 0
        assert axis.get_ylim()[1] <= 103
    assert right.get_xlim()[0] == 0


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_a_legend_above_fits_its_figure(count: int) -> None:
    with style.style():
        figure, axes = style.panels(width=4.2)
        for number in range(count):
            axes[0, 0].plot([0, 1], [0, 1], label=f"the long name of number {number}")
        style.legend_above(figure)
        figure.draw_without_rendering()
    [legend] = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert len(legend.texts) == count


def test_bands_are_explained_where_there_are_any() -> None:
    _, axes = style.panels(1, 2)
    for axis, low in zip(axes[0], (1, 2), strict=True):
        style.line(axis, [1, 2], ([2, 2], [low] * 2, [2, 2]), color="blue", label="a line")
        style.explain_bands(axis)
    shown = [axis.get_legend_handles_labels()[1] for axis in axes[0]]
    assert shown == [["a line", "band: 95 % interval over seeds"], ["a line"]]


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
