"""The official SupNet-D-121 search: its logs as data, its figures, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pdnas.commands.app import app
from pdnas.data.sources import SOURCES, Source
from pdnas.report.paper import official
from pdnas.report.style import style
from pdnas.spec.products import OFFICIAL_FIGURES
from pdnas.support.errors import PdnasError


@pytest.fixture(scope="module")
def path() -> Path:
    found = SOURCES["pgnas-log-p"].find()
    if found is None:
        pytest.skip("no official log; run `pdnas data fetch pgnas-log-p` or set PDNAS_MIRROR")
    return found


@pytest.fixture(scope="module")
def log(path: Path) -> pd.DataFrame:
    return official.read_drop_log(path)


@pytest.fixture(scope="module")
def selection() -> pd.DataFrame:
    found = SOURCES["pgnas-selection"].find()
    if found is None:
        pytest.skip("no official log; run `pdnas data fetch pgnas-selection` or set PDNAS_MIRROR")
    return official.read_selection(found)


@pytest.mark.data
def test_the_log_is_a_trajectory(log: pd.DataFrame) -> None:
    assert list(log) == ["epoch", "gate", "group", "option", "probability", "size"]
    assert len(log) == 180 * 638
    first = log[log["epoch"] == 0]
    assert first["probability"].eq(0.1).all()
    layers = official.supernet().gated_layers()
    channels = first.groupby("gate", sort=False)["size"].sum()
    assert channels.to_dict() == {name: layer.gate.channels for name, layer in layers.items()}
    # A line of the file's last epoch, read by eye.
    row = log[(log["epoch"] == 179) & (log["gate"] == "features.denseblock1.denselayer1.conv1")]
    assert list(row["probability"]) == [1.5644e-06]


@pytest.mark.data
def test_the_posterior_samples_what_it_says(log: pd.DataFrame) -> None:
    learned = official.posterior(log)
    kept = sum(float(rows.sum()) for rows in learned.sample(20, 0).choices.values()) / 20
    last = log[log["epoch"] == 179]
    expected = ((1 - last["probability"]) * last["size"]).sum()
    assert kept == pytest.approx(expected, rel=0.002)


@pytest.mark.data
def test_dropped_by_block(log: pd.DataFrame) -> None:
    table = official.dropped_by_block(log)
    assert len(table) == 4 * 2 + 3
    layers = official.supernet().gated_layers()
    assert table["channels"].sum() == sum(layer.gate.channels for layer in layers.values())
    own = table[(table["block"] == 3) & (table["convolution"] == "1x1")]
    learned = official.posterior(log)
    gates = [f"features.denseblock3.denselayer{n}.conv1" for n in range(1, 25)]
    by_hand = np.concatenate([learned.channel_drop(gate).numpy() for gate in gates])
    assert own["dropped"].item() == pytest.approx(by_hand.mean())
    assert own["channels"].item() == len(by_hand)


@pytest.mark.data
def test_selection(selection: pd.DataFrame) -> None:
    assert len(selection) == 1085
    assert list(selection.iloc[0]) == pytest.approx([0.7322, 0.91288])
    assert selection["top1"].max() == pytest.approx(0.73426)


@pytest.mark.data
def test_figures(log: pd.DataFrame, selection: pd.DataFrame) -> None:
    with style():
        histogram = official.candidates(selection).data
        sources_of = official.dropped(log).data
        lines = official.trajectories(log)
    assert histogram["candidates"].sum() == 1085
    assert sources_of["drop_probability"].max() == pytest.approx(0.78823)
    drawn = sum(len(axis.lines) for axis in lines.figure.axes)
    assert drawn == 638 + 8 * len(official.LEARNING_RATE_DROPS)


def test_without_the_logs_every_figure_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(source: Source, progress: bool = True) -> Path:
        raise PdnasError(f"cannot get {source.filename}; set PDNAS_MIRROR")

    monkeypatch.setattr(Source, "fetch", fetch)
    result = CliRunner().invoke(app, ["official", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert result.stderr.count("pdnas: not available: cannot get ") == 2
    for name in OFFICIAL_FIGURES:
        assert f"{tmp_path / name}.png" in result.stdout
        (row,) = pd.read_csv(tmp_path / f"{name}.csv").to_dict("records")
        assert row["status"] == "not available"
        assert row["reason"].endswith("set PDNAS_MIRROR")


@pytest.mark.data
@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda text: text[: len(text) // 2], "not some epochs of 119"),
        (lambda text: text.replace("0.1000]", "0.1000, 0.1000]", 1), "with 2 groups"),
        (lambda text: text.replace("denselayer2.conv1", "denselayer9.conv1", 1), "denselayer9"),
        (lambda text: text.replace("[0.1000]", "[0.1x00]", 1), "damaged"),
        (lambda text: "nothing", "has 0 gates"),
    ],
)
def test_another_log_is_refused(
    path: Path, tmp_path: Path, spoil: Callable[[str], str], named: str
) -> None:
    other = tmp_path / "log.txt"
    other.write_text(spoil(path.read_text()))
    with pytest.raises(PdnasError, match=named):
        official.read_drop_log(other)


def test_no_accuracies_is_one_clear_line(tmp_path: Path) -> None:
    empty = tmp_path / "selection.txt"
    empty.write_text("Acc\n")
    with pytest.raises(PdnasError, match="no lines of top-1"):
        official.read_selection(empty)
    with pytest.raises(PdnasError, match="cannot read"):
        official.read_selection(tmp_path / "absent.txt")
