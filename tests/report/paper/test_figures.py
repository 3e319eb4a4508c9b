"""Figures are drawn, look like something, and say in a CSV what they show."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

from pdnas.report import catalogue, style
from pdnas.report.collect import collect
from pdnas.report.paper.candidates import pareto_front
from pdnas.spec import products
from pdnas.support.errors import PdnasError

from ..conftest import FINETUNED_TEST, GATES, LAST_DROP, Tree, guided_accuracies

pytestmark = pytest.mark.slow


def draw(name: str, tree: Tree, folder: Path) -> pd.DataFrame:
    """Draw a figure, check its files, and return its data."""
    paths = catalogue.draw(name, collect(tree.scale_name, tree.folder), folder)
    assert [path.name for path in paths] == [f"{name}.pdf", f"{name}.png", f"{name}.csv"]
    assert paths[0].read_bytes().startswith(b"%PDF")
    with Image.open(paths[1]) as image:
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        pixels = np.asarray(image.convert("L"))
    assert len(np.unique(pixels)) > 10
    return pd.read_csv(paths[2])


def look(name: str, tree: Tree) -> Figure:
    """A figure as it is written, laid out."""
    with style.style():
        made = catalogue.figure(name, collect(tree.scale_name, tree.folder))
        assert made is not None
        style.finish(made.figure)
        made.figure.draw_without_rendering()
    return made.figure


def test_figure1(tree: Tree, tmp_path: Path) -> None:
    data = draw("figure1", tree, tmp_path)
    assert data.groupby(["seed", "variant"])["candidates"].sum().eq(60).all()
    edges = [
        tuple(group["bin_low_pct"]) for _, group in data.groupby(["seed", "variant"], sort=False)
    ]
    assert len(edges) == 6
    assert len(set(edges)) == 1, "all panels share their bins"
    guided = data[(data["seed"] == 1) & (data["variant"] == "guided")]
    bins = [*guided["bin_low_pct"], guided["bin_high_pct"].iloc[-1]]
    counts, _ = np.histogram(100 * guided_accuracies(1), bins)
    assert list(guided["candidates"]) == list(counts)
    assert (data["whole_supernet_pct"] == 50).all()


def test_mismatch(tree: Tree, tmp_path: Path) -> None:
    data = draw("mismatch", tree, tmp_path).set_index(["variant", "mode"])
    assert set(data.index) == {
        ("guided", "none"),
        ("random", "none"),
        ("random", "finetune"),
        ("full", "none"),
    }
    row = data.loc[("random", "finetune")]
    errors = 100 * (1 - np.array(FINETUNED_TEST))
    low, high = stats.t.interval(0.95, 2, errors.mean(), stats.sem(errors))
    assert row["test_error_pct"] == pytest.approx(errors.mean())
    assert (row["low95_pct"], row["high95_pct"]) == pytest.approx((low, high))


def test_pareto_front() -> None:
    size, error = [3, 1, 2, 2, 1, 4], [5, 9, 6, 7, 10, 5]
    assert pareto_front(size, error).tolist() == [True, True, True, False, False, False]


def test_pareto(tree: Tree, tmp_path: Path) -> None:
    data = draw("pareto", tree, tmp_path)
    assert set(data["kind"]) == {"guided, l² = 50", "guided, l² = 500", "random"}
    assert len(data) == 6 * 60 + 2
    # All candidates are of one size, so the best of a seed is its whole front.
    best = data[data["on_front"]].set_index("seed")["validation_error_pct"]
    for seed in range(3):
        assert best[seed] == data.loc[data["seed"] == seed, "validation_error_pct"].min()


def test_candidates(tree: Tree, tmp_path: Path) -> None:
    data = draw("candidates", tree, tmp_path).set_index(["kind", "candidates"])
    errors = [100 * (1 - guided_accuracies(seed)) for seed in range(3)]
    for count, values in ((1, np.mean(errors, axis=1)), (60, np.min(errors, axis=1))):
        row = data.loc[("guided, l² = 500", count)]
        low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
        assert row["validation_error_pct"] == pytest.approx(values.mean())
        assert (row["low95_pct"], row["high95_pct"]) == pytest.approx((low, high))
    assert data.loc["random"]["validation_error_pct"].is_monotonic_decreasing


def test_error_cost(tree: Tree, tmp_path: Path) -> None:
    data = draw("error-cost", tree, tmp_path).set_index(["variant", "mode"])
    row = data.loc[("random", "finetune")]
    assert row["minutes"] == pytest.approx((120 + 30 + 72) / 60)
    assert row["test_error_pct"] == pytest.approx(100 * (1 - np.mean(FINETUNED_TEST)))
    assert ("guided", "finetune") not in data.index


def test_error_cost_leaves_out_a_study_without_guided(tree: Tree, tmp_path: Path) -> None:
    scale = Path(tree.scale_name)
    alone = yaml.safe_load(scale.read_text())
    branches = alone["studies"]["branches"]
    branches["variants"] = {"full": branches["variants"]["full"]}
    scale.write_text(yaml.safe_dump(alone))
    assert "not run" in set(draw("error-cost", tree, tmp_path)["status"])


def test_trajectories(tree: Tree, tmp_path: Path) -> None:
    data = draw("trajectories", tree, tmp_path)
    assert set(data["length_scale2"]) == {500}
    assert (data.loc[data["epoch"] == 0, "drop_probability_pct"] == 10).all()
    last = data[data["epoch"] == 2].set_index(["gate", "group"])["drop_probability_pct"]
    for gate, values in zip(GATES, LAST_DROP, strict=True):
        for group, value in enumerate(values):
            assert last[gate, group] == pytest.approx(100 * (value + 0.02))  # mean of three seeds
    assert list(dict.fromkeys(data["gate"])) == list(GATES)


def test_kept_share(tree: Tree, tmp_path: Path) -> None:
    data = draw("kept-share", tree, tmp_path)
    share = data.set_index(["gate", "seed"])["kept_share_pct"]
    # The first gate has groups of 4 and 8 channels, dropped at 0.2 and 0.6 (seed 0).
    assert share[GATES[0], 0] == pytest.approx(100 * (4 * 0.8 + 8 * 0.4) / 12)
    assert share[GATES[1], 2] == pytest.approx(100 * (1 - 0.14))
    assert len(share) == 9


def test_posterior_cells(tree: Tree, tmp_path: Path) -> None:
    data = draw("posterior-cells", tree, tmp_path)
    assert len(data) == 30
    assert data.groupby("edge")["probability_pct"].sum().to_numpy() == pytest.approx(100)
    row = data[(data["edge"] == "edge 1>2") & (data["operation"] == "nor_conv_3x3")].iloc[0]
    values = [100 * np.exp(1.5 + 0.3 * s) / (np.exp(1.5 + 0.3 * s) + 4) for s in range(3)]
    assert row["probability_pct"] == pytest.approx(np.mean(values))
    assert row["half_width95_pct"] == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(values))


def test_efficiency(tree: Tree, efficiencies: list[dict[str, Any]], tmp_path: Path) -> None:
    data = draw("efficiency", tree, tmp_path).set_index("target_pct")
    targets = [each["datasets"]["cifar10"]["targets"] for each in efficiencies]
    for index, target in enumerate(targets[0]):
        row = data.loc[100 * target["target"]]
        assert row["uniform"] == pytest.approx(target["uniform_expected_samples"])
        samples = [seed[index]["expected_samples"] for seed in targets]
        assert row["learned"] == pytest.approx(stats.gmean(samples))
        assert row["low95"] < row["learned"] < row["high95"]


def test_best_of_n(tree: Tree, efficiencies: list[dict[str, Any]], tmp_path: Path) -> None:
    data = draw("best-of-n", tree, tmp_path)
    first = data[data["n"] == 1].iloc[0]
    datasets = [each["datasets"]["cifar10"] for each in efficiencies]
    assert first["learned_pct"] == pytest.approx(
        100 * np.mean([each["mean_accuracy"] for each in datasets])
    )
    assert first["uniform_pct"] == pytest.approx(100 * datasets[0]["uniform_mean_accuracy"])
    assert (data["learned_pct"] <= data["optimum_pct"] + 1e-9).all()
    assert data["learned_pct"].is_monotonic_increasing


def test_error_cost_shows_a_variant_s_own_candidates(tree: Tree, tmp_path: Path) -> None:
    """Whole networks, or random candidates, of a guided run are another method's."""
    before = draw("error-cost", tree, tmp_path / "a")
    for seed in range(3):
        path = tree.folder / "branches" / "guided" / f"seed{seed}"
        tree.result(path, "full", "none", 0.01)
    pd.testing.assert_frame_equal(before, draw("error-cost", tree, tmp_path / "b"))


def test_what_was_not_run_says_so(empty_tree: Tree, tmp_path: Path) -> None:
    (row,) = draw("figure1", empty_tree, tmp_path).to_dict("records")
    assert row["status"] == "not run"
    assert "has no run yet" in row["reason"]


@pytest.mark.parametrize("name", [name for name in catalogue.FIGURES if name != "truth-noise"])
def test_nothing_is_drawn_of_what_was_not_run(name: str, empty_tree: Tree) -> None:
    collection = collect(empty_tree.scale_name, empty_tree.folder)
    assert catalogue.figure(name, collection) is None
    why = "; ".join(catalogue.reasons(catalogue.find_figure(name), collection))
    assert "has no run yet" in why or "no study that it is made" in why


def test_one_seed_is_enough_to_draw(tree: Tree) -> None:
    for run in tree.folder.glob("*/*/seed[12]/run.json"):
        run.unlink()
    for name in catalogue.FIGURES:
        if products.FIGURES[name].target != "all" or name == "figure2":
            continue  # this tree has no scores, no searches of a table, no posterior to draw
        assert look(name, tree).axes, name


def test_two_seeds_far_apart_draw_nothing_below_zero(tree: Tree) -> None:
    for variant, source in (("guided", "posterior"), ("random", "random")):
        for seed, accuracy in ((0, 0.95), (1, 0.2)):
            path = tree.search("branches", variant, seed, seconds=60 + 2000 * seed)
            tree.result(path, source, "none", accuracy)
            tree.rank(path, source, [accuracy] * 60)
        (tree.folder / "branches" / variant / "seed2" / "run.json").unlink()
    for name in ("candidates", "mismatch", "error-cost"):
        for axis in look(name, tree).axes:
            low, high = axis.get_ylim()
            assert low >= 0, name
            assert high <= 103, name
            paths = [path for band in axis.collections for path in band.get_paths()]
            drawn = [*(path.vertices for path in paths), *(bar.get_xydata() for bar in axis.lines)]
            ends = np.concatenate([np.asarray(each) for each in drawn if len(each)])
            assert ends[:, 1].min() >= 0, name
            assert name != "error-cost" or ends[:, 0].min() >= 0


def test_one_seed_is_no_seeds(tree: Tree) -> None:
    for run in tree.folder.glob("cells/*/seed[12]/run.json"):
        run.unlink()
    for name in ("posterior-cells", "efficiency", "best-of-n"):
        assert look(name, tree).axes[0].get_title("left") == "cells, 1 seed"


def test_nothing_strikes_the_seed_in_figure1(tree: Tree) -> None:
    for number, axis in enumerate(look("figure1", tree).axes):
        (label,) = axis.texts
        assert label.get_text() == f"seed {number}"
        assert not label.get_window_extent().overlaps(axis.get_window_extent())


@pytest.mark.parametrize("millions", [0.004, 0.06, 7.9, 25])
def test_sizes_on_pareto_s_axis_do_not_touch(tree: Tree, millions: float) -> None:
    for seed in range(3):
        path = tree.folder / f"branches/guided/seed{seed}/ranking-posterior.parquet"
        table = pd.read_parquet(path)
        sizes = 1e6 * millions * np.linspace(0.93, 1.07, len(table))
        table.assign(parameters=sizes.astype(int)).to_parquet(path)
    for path in tree.folder.glob("branches/random/*/ranking-random.parquet"):
        table = pd.read_parquet(path)
        table.assign(parameters=int(1e6 * millions)).to_parquet(path)
    for path in tree.folder.glob("branches/weak-prior/*/run.json"):
        path.unlink()
    figure = look("pareto", tree)
    boxes = [
        label.get_window_extent()
        for axis in figure.axes
        for label in axis.get_xticklabels()
        if label.get_text() and axis.get_xlim()[0] <= label.get_position()[0] <= axis.get_xlim()[1]
    ]
    assert len(boxes) >= 6
    gaps = [after.x0 - before.x1 for before, after in pairwise(sorted(boxes, key=lambda b: b.x0))]
    assert min(gaps) > 3
    label = figure.get_supxlabel()
    assert label == f"parameters [{'thousands' if millions < 0.9 else 'M'}]"


@pytest.mark.parametrize(
    "name", ["mismatch", "candidates", "kept-share", "error-cost", "best-of-n"]
)
def test_bars_and_bands_are_in_the_legend(name: str, tree: Tree) -> None:
    figure = look(name, tree)
    legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]
    said = " ".join(each.get_text() for legend in legends for each in legend.texts)
    assert ("bar: 95 %" in said) == (name in ("mismatch", "error-cost"))
    assert ("band: " in said) == (name in ("candidates", "kept-share", "best-of-n"))


def test_legends_lie_beside_what_is_drawn(tree: Tree) -> None:
    for name in ("error-cost", "kept-share"):
        for axis in look(name, tree).axes:
            legend = axis.get_legend()
            assert legend is not None
            assert not legend.get_window_extent().overlaps(axis.get_window_extent())


def test_the_same_data_give_the_same_bytes(tree: Tree, tmp_path: Path) -> None:
    draw("mismatch", tree, tmp_path / "a")
    draw("mismatch", tree, tmp_path / "b")
    for suffix in ("pdf", "png", "csv"):
        name = f"mismatch.{suffix}"
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_users_settings_neither_change_figures_nor_are_changed(
    tree: Tree, tmp_path: Path
) -> None:
    draw("mismatch", tree, tmp_path / "a")
    with mpl.rc_context({"axes.facecolor": "red", "lines.linewidth": 9}):
        draw("mismatch", tree, tmp_path / "b")
        assert mpl.rcParams["lines.linewidth"] == 9
    first, second = (tmp_path / folder / "mismatch.png" for folder in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_an_unknown_figure_is_one_clear_line(empty_tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(PdnasError, match="no figure 'figure7'; choose one of figure1"):
        draw("figure7", empty_tree, tmp_path)
