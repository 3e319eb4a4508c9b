"""The official SupNet-D-121 search on ImageNet: readers of its released logs, and their figures.

The release (github.com/scenarios/PGNAS) holds the drop probabilities that the search printed and
the accuracies of the candidates drawn from them; :mod:`pdnas.data.sources` has both files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pdnas.data.sources import SOURCES
from pdnas.nn.supernets import ChannelSupernet, build
from pdnas.report import style
from pdnas.report.paper.architecture import architecture, operations
from pdnas.report.paper.reported import paper
from pdnas.report.style import GUIDED_COLOUR, RANDOM_COLOUR, REFERENCE_COLOUR, Drawing
from pdnas.space.posterior import ChannelPosterior
from pdnas.spec.supernets import NAMED
from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    import pandas as pd

LEARNING_RATE_DROPS = (90, 150)
"""Epochs at which the released training log divides its learning rate by 10; the supplement says
90, 140 and 160."""

_GATE = re.compile(r"^module\.(\S+)\.p_logit\s+tensor\(\[([^]]*)\]", re.MULTILINE)
_ACCURACY = re.compile(r"^ \* Acc@1 (\S+) Acc@5 (\S+)$", re.MULTILINE)
_PLACE = re.compile(r"features\.(?:denseblock|transition)(\d)(?:\.denselayer(\d+))?\.conv(\d?)")


def supernet() -> ChannelSupernet:
    """SupNet-D-121 at full size, without storage for its weights."""
    with torch.device("meta"):
        network = build(NAMED["supernet-d121"], 3, 1000)
    assert isinstance(network, ChannelSupernet)
    return network


def read_drop_log(path: Path) -> pd.DataFrame:
    """The drop probabilities as rows like those of a run's ``trajectory.parquet``.

    The search printed before each epoch, so row 0 is the initial value and the last row is the
    state before the last epoch; the state after it is in no released file.

    Args:
        path: the source ``pgnas-log-p``.

    Returns:
        ``epoch`` (epochs trained so far), ``gate``, ``group``, ``option`` (``drop``),
        ``probability``, ``size`` (input channels of the group).

    Raises:
        PdnasError: the text is not a log of SupNet-D-121's gates.
    """
    import pandas as pd

    sizes = {name: layer.gate.group_sizes for name, layer in supernet().gated_layers().items()}
    gates = list(sizes)
    found = _GATE.findall(_read(path))
    if not found or len(found) % len(gates):
        raise PdnasError(
            f"{path} has {len(found)} gates, not some epochs of {len(gates)}; it is no log of "
            "SupNet-D-121"
        )
    rows = []
    for number, (gate, values) in enumerate(found):
        epoch, place = divmod(number, len(gates))
        try:
            probabilities = [float(value) for value in values.split(",")]
        except ValueError as error:
            raise PdnasError(f"{path}: epoch {epoch}, gate {gate} is damaged: {error}") from error
        if gate != gates[place] or len(probabilities) != len(sizes[gate]):
            raise PdnasError(
                f"{path}: epoch {epoch} has gate {gate} with {len(probabilities)} groups where "
                f"SupNet-D-121 has {gates[place]} with {len(sizes[gates[place]])}"
            )
        rows += [
            (epoch, gate, group, "drop", probability, sizes[gate][group])
            for group, probability in enumerate(probabilities)
        ]
    return pd.DataFrame(rows, columns=["epoch", "gate", "group", "option", "probability", "size"])


def read_selection(path: Path) -> pd.DataFrame:
    """``top1`` and ``top5`` accuracy (fractions) of each candidate, in the order of the file.

    Args:
        path: the source ``pgnas-selection``.

    Raises:
        PdnasError: the text holds no accuracies.
    """
    import pandas as pd

    found = _ACCURACY.findall(_read(path))
    if not found:
        raise PdnasError(f"{path} holds no lines of top-1 and top-5 accuracy")
    return pd.DataFrame(found, columns=["top1", "top5"]).astype(float) / 100


def posterior(log: pd.DataFrame) -> ChannelPosterior:
    """The distribution of the log's last epoch, which candidates of ours can be drawn from."""
    last = log[log["epoch"] == log["epoch"].max()].groupby("gate", sort=False)
    return ChannelPosterior(
        {str(gate): torch.tensor(rows["probability"].to_numpy()) for gate, rows in last},
        {str(gate): torch.tensor(rows["size"].to_numpy()) for gate, rows in last},
    )


def placed(log: pd.DataFrame) -> pd.DataFrame:
    """The log with ``block`` (1 to 4), ``layer`` (0 for a transition) and ``convolution``."""
    places = {gate: _place(gate) for gate in log["gate"].unique()}
    return log.assign(
        **{
            column: log["gate"].map({gate: place[index] for gate, place in places.items()})
            for index, column in enumerate(("block", "layer", "convolution"))
        }
    )


def dropped_by_block(log: pd.DataFrame) -> pd.DataFrame:
    """Expected share of dropped input channels at the log's end, by block and convolution.

    Returns:
        ``block``, ``convolution`` (``1x1``, ``3x3``, ``transition``), ``channels``, ``dropped``.
    """
    last = placed(log[log["epoch"] == log["epoch"].max()])
    last["dropped"] = last["probability"] * last["size"]
    sums = last.groupby(["block", "convolution"])[["size", "dropped"]].sum().reset_index()
    sums["dropped"] /= sums["size"]
    return sums.rename(columns={"size": "channels"})


def draw(folder: Path, progress: bool = True) -> tuple[list[Path], list[str]]:
    """Write all figures as PDF, PNG and CSV into ``folder``.

    Where a log cannot be had, its figures say so.

    Returns:
        the paths, and for each log that cannot be had the reason.

    Raises:
        PdnasError: a file is no log of this search.
    """
    written: list[Path] = []
    reasons: list[str] = []
    for source, (read, makers) in _DRAWN.items():
        found: Any = None
        try:
            path = SOURCES[source].fetch(progress)
        except PdnasError as error:
            reasons.append(str(error))
        else:
            found = read(path)
        with style.style():
            for name, make in makers.items():
                absent = found is None
                made = style.not_available(name, reasons[-1]) if absent else make(found)
                written += style.write(made, folder, name)
    return written, reasons


def trajectories(log: pd.DataFrame) -> Drawing:
    """Drop probabilities over the epochs, a column a dense block, 1x1 convolutions above."""
    table = placed(log)
    colours = style.sequence(table["layer"].max())
    figure, axes = style.panels(2, 4, height=2.1, sharex=True, sharey="row")
    for block, column in enumerate(axes.T, start=1):
        own = table[table["block"] == block]
        for (kind, _, _), values in own.groupby(["convolution", "layer", "group"], sort=False):
            transition = kind == "transition"
            layer = int(values["layer"].iloc[0])
            column[int(kind != "1x1")].plot(
                values["epoch"],
                100 * values["probability"],
                color=RANDOM_COLOUR if transition else colours[layer - 1],
                linestyle="--" if transition else "-",
                linewidth=0.7,
                alpha=0.8,
            )
        for axis in column:
            for epoch in LEARNING_RATE_DROPS:
                axis.axvline(epoch, color=REFERENCE_COLOUR, linewidth=0.6, linestyle=":")
        column[0].set_ylim(0, 100)
        column[1].set(yscale="log", xlim=(0, table["epoch"].max()), xlabel="epochs trained")
        style.title(column[0], f"block {block}")
    axes[0, 0].set_ylabel("1x1, a line a source\ndrop probability [%]")
    axes[1, 0].set_ylabel("3x3, transition (dashed)\ndrop probability [%]")
    style.numbered(
        figure,
        colours,
        len(colours),
        ax=list(axes.flat),
        ticks=[1, 6, 12, 18, 24],
        aspect=40,
        label="layer of the block",
    )
    drawn = table.rename(columns={"probability": "drop_probability"})
    columns = ["epoch", "block", "layer", "convolution", "group", "size", "drop_probability"]
    return Drawing(figure, drawn[columns])


def dropped(log: pd.DataFrame) -> Drawing:
    """At the log's end: drop probability of each source for each reader, a panel a dense block."""
    from matplotlib.ticker import MaxNLocator

    last = placed(log[log["epoch"] == log["epoch"].max()])
    last = last[last["convolution"] != "3x3"]
    figure, axes = style.panels(1, 4, height=1.9)
    for block, axis in enumerate(axes[0], start=1):
        own = last[last["block"] == block]
        readers = int(own["layer"].max() + (own["layer"] == 0).any())  # a transition reads last
        grid = np.full((readers, int(own["group"].max()) + 1), np.nan)
        reader = own["layer"].where(own["layer"] > 0, readers)
        grid[reader - 1, own["group"]] = 100 * own["probability"]
        axis.patch.set(hatch="////", edgecolor="0.85", facecolor="white")
        image = axis.imshow(
            grid,
            cmap="Blues",
            vmin=0,
            vmax=100,
            extent=(-0.5, grid.shape[1] - 0.5, readers + 0.5, 0.5),
        )
        axis.grid(False)
        axis.set_xlabel("source")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(MaxNLocator(5, integer=True))
        style.title(axis, f"block {block}")
    axes[0, 0].set_ylabel("read by")
    bar = figure.colorbar(image, ax=list(axes[0]), shrink=0.65, pad=0.01)
    bar.set_label("drop probability [%]", fontsize=8)
    columns = ["block", "layer", "convolution", "group", "size", "probability"]
    return Drawing(figure, last[columns].rename(columns={"probability": "drop_probability"}))


def candidates(selection: pd.DataFrame) -> Drawing:
    """Histogram of the candidates' top-1 accuracy beside the accuracy that the paper reports."""
    import pandas as pd

    values = 100 * selection["top1"].to_numpy()
    reported = reported_accuracy()
    bins = np.arange(np.floor(50 * values.min()), np.ceil(50 * values.max()) + 1) / 50
    counts, _ = np.histogram(values, bins)
    figure, axes = style.panels(height=2.6)
    axis = axes[0, 0]
    axis.stairs(counts, bins, fill=True, color=GUIDED_COLOUR, label=f"{len(values)} candidates")
    axis.axvline(reported, color=REFERENCE_COLOUR, linestyle="--", label=f"paper: {reported:.1f} %")
    axis.annotate(
        f"best {values.max():.2f} %",
        (values.max(), 0),
        (8, 14),
        textcoords="offset points",
        fontsize=8,
        arrowprops={"arrowstyle": "-", "linewidth": 0.8},
    )
    axis.set(xlabel="top-1 accuracy on ImageNet's validation set [%]", ylabel="candidates")
    axis.grid(False, axis="x")
    axis.legend(loc="upper center")
    data = {"bin_low_pct": bins[:-1], "bin_high_pct": bins[1:], "candidates": counts}
    return Drawing(figure, pd.DataFrame(data))


def reported_accuracy() -> float:
    """The paper's top-1 accuracy of PGNAS-D-121 in percent (Table 8)."""
    rows = paper("table8_imagenet")
    return 100 - float(rows.loc[rows["method"] == "PGNAS-D-121", "top1_error_pct"].item())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PdnasError(f"cannot read {path}: {error}") from error


def _place(gate: str) -> tuple[int, int, str]:
    """Block, layer (0 for a transition) and kind of convolution of a gate."""
    match = _PLACE.fullmatch(gate)
    assert match, gate
    layer = int(match[2] or 0)
    return int(match[1]), layer, {"1": "1x1", "2": "3x3", "": "transition"}[match[3]]


def _architecture(log: pd.DataFrame) -> Drawing:
    found = operations(supernet(), posterior(log), None)
    return architecture("the official SupNet-D-121, last row of its log", found)


_DRAWN: dict[str, tuple[Callable[[Path], Any], dict[str, Callable[[Any], Drawing]]]] = {
    "pgnas-log-p": (
        read_drop_log,
        {
            "official-trajectories": trajectories,
            "official-dropped": dropped,
            "official-architecture": _architecture,
        },
    ),
    "pgnas-selection": (read_selection, {"official-candidates": candidates}),
}
"""Each log, its reader, and what is drawn from it."""
