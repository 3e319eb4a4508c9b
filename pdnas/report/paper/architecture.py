"""Architecture drawings as in the supplement's Figure 2: blocks, branches, and what is kept.

Every gated operation is a box with its kept share; those of a branch stand below each other,
branches of a block side by side, and blocks follow each other in rows. Parts without gates (stem,
identity shortcuts, R-50's 1x1 convolutions, pooling) have nothing to drop and are left out, and so
is the wiring inside a cell of ENAS: its branches are the two inputs' calibrations, then the nodes'
two operations each, from left to right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pdnas.data.sets import dataset
from pdnas.nn.gates import GatedConv2d, GatedLayer
from pdnas.nn.supernets import CategoricalSupernet, ChannelSupernet, Supernet, build
from pdnas.report import style
from pdnas.report.collect import Collection, describe_supernet
from pdnas.report.style import OPTION_NAMES, Drawing
from pdnas.runs import layout
from pdnas.runs.run import Run
from pdnas.space.candidates import Choice
from pdnas.space.categorical import CategoricalSpace
from pdnas.space.cells import EDGES, CellSpace
from pdnas.space.macro import STAGES
from pdnas.space.posterior import Posterior
from pdnas.spec import selection
from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# What a gate's name says of its place; what fits none of these is a block of its own.
_NAMES = (
    re.compile(r"stages\.(?P<row>\d+)\.(?P<block>\d+)\.(?P<branch>branch\d+|skip\.\w+|conv2\.\w+)"),
    re.compile(r"features\.\w+?(?P<row>\d+)\.(?:denselayer(?P<block>\d+)|conv)"),
    re.compile(
        r"cells\.(?P<block>\d+)\.(?P<branch>(?:older|newer|base|nodes\.\d+\.[xy])(?:\.conv\w*)?)"
    ),
)

MOST_BLOCKS = 13
"""A row with more blocks than this goes on in the next one."""

CELLS_A_ROW = 2
"""ENAS's cells have up to a dozen branches each."""


@dataclass(frozen=True)
class Operation:
    """One box: where it stands, what it is called, and its kept share (0 to 1)."""

    row: str
    block: str
    branch: str
    label: str
    share: float


def operations(network: Supernet, posterior: Posterior, choice: Choice | None) -> list[Operation]:
    """The gated operations of a supernet, from input to output.

    Args:
        network: any supernet; its weights do not matter.
        posterior: of this supernet; it gives the shares unless there is a ``choice``.
        choice: a candidate, whose masks or codes give the shares.

    Raises:
        PdnasError: the posterior or the candidate is another supernet's; a gate is named.
    """
    table = posterior.marginals()
    if isinstance(network, CategoricalSupernet):
        return _options(network.space, table, choice)
    assert isinstance(network, ChannelSupernet)
    marginals = dict(list(table.groupby("gate")))
    found = []
    layers = network.gated_layers()
    for gate, switches in network.gates().items():
        if gate not in (marginals if choice is None else choice):
            raise PdnasError(f"gate {gate} is not in what is to be drawn; use this supernet's")
        if choice is None:
            rows = marginals[gate]
            channels = int(rows["size"].sum())
            share = 1 - float((rows["probability"] * rows["size"]).sum()) / channels
        else:
            channels, share = len(choice[gate]), float(choice[gate].double().mean())
        if channels != switches.channels:
            raise PdnasError(
                f"gate {gate} has {switches.channels} input channels, not {channels}; use this "
                "supernet's posterior and candidates"
            )
        label = _label(gate, layers[gate]) if gate in layers else "width"  # which layers share
        found.append(Operation(*_place(gate), label, share))
    return found


def architecture(title: str, found: list[Operation], *, arrows: bool = True) -> Drawing:
    """Draw operations; the data are theirs, one row each.

    Args:
        title: stands above.
        found: from :func:`operations`.
        arrows: whether a block of a row reads the one before (the edges of a cell do not).
    """
    import pandas as pd
    from matplotlib.figure import Figure

    rows = _layout(found)
    widths = [sum(len(branches) + _GAP for branches in row.values()) - _GAP for _, row in rows]
    depths = [
        max(len(boxes) for branches in row.values() for boxes in branches.values())
        for _, row in rows
    ]
    width = min(max(_WIDEST_BOX * max(widths) + 2 * _MARGIN, _NARROWEST), style.WIDTH)
    unit = (width - 2 * _MARGIN) / max(widths)
    heights = [depth * _BOX_HEIGHT + _ROW_GAP for depth in depths]
    height = sum(heights) + _TITLE
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)  # inches, from the top left corner
    axes.set_axis_off()
    axes.text(_MARGIN, 0.08, f"{title}\n{_MEANING}", fontsize=8, va="top")
    top = _TITLE
    for (name, row), row_height in zip(rows, heights, strict=True):
        axes.text(_MARGIN, top, name, fontsize=7, va="center", color=style.REFERENCE_COLOUR)
        _draw_row(axes, row, top + 0.28, unit, arrows, numbered=len(row) > 1 or not name)
        top += row_height
    return Drawing(figure, pd.DataFrame(found))


def draw_run(
    run: Run, source: str | None, number: int | None, out: Path, force: bool = False
) -> list[Path]:
    """Write a run's posterior, or one of its candidates, as a drawing; returns the paths.

    Args:
        run: a finished search.
        source: None: the posterior; else which candidates, ``posterior``, ``random``, ``uniform``.
        number: the candidate, from 0; None: the best of the ranking.
        out: path of the files; its suffix gives way to ``.pdf``, ``.png`` and ``.csv``.
        force: another drawing may be replaced.

    Raises:
        PdnasError: there is no such posterior or candidate, or another drawing is there.
    """
    what, choice = _chosen(run, source, number)
    searched = f"{run.study}/{run.variant} seed {run.seed} ({run.scale})"
    of = f"{what} of {searched} #{run.identity}"
    return style.write_at(out, lambda: _of_run(run, what, choice), of, force)


def figure2(collection: Collection) -> Drawing | None:
    """The chosen candidate, else the posterior, of the first guided search over channels."""
    for study in selection.guided_over_channels(collection.scale):
        for run in collection.find(study, collection.roles[study].guided):
            if (run.folder / layout.POSTERIOR).is_file():
                source = "posterior" if "posterior" in run.ranking_records else None
                drawing = _of_run(run, *_chosen(run, source, None))
                return replace(drawing, data=drawing.data.assign(study=study))
    return None


_MEANING = "number in a box: share kept [%]; dashed: gone"
_TITLE, _MARGIN, _WIDEST_BOX, _BOX_HEIGHT, _ROW_GAP = 0.55, 0.12, 0.62, 0.36, 0.42  # inches
_NARROWEST = 4.6  # inches, for the title
_GAP = 0.7  # between two blocks, in boxes

_Branches = dict[str, list[Operation]]


def _chosen(run: Run, source: str | None, number: int | None) -> tuple[str, Choice | None]:
    """What :func:`draw_run` draws, in words and as a choice; None: the posterior."""
    if source is None:
        return "posterior", None
    number, choice = run.candidate(source, number)
    return f"candidate {number} of {source}", choice


def _of_run(run: Run, what: str, choice: Choice | None) -> Drawing:
    with torch.device("meta"):
        network = build(run.spec.supernet, dataset(run.spec.data).channels, run.classes)
    return architecture(
        f"{describe_supernet(run.spec)}; seed {run.seed}, {what}",
        operations(network, run.posterior(), choice),
        arrows=isinstance(network, ChannelSupernet),
    )


def _options(
    space: CategoricalSpace, table: pd.DataFrame, choice: Choice | None
) -> list[Operation]:
    """All options of one-of-many switches; ``table``: a posterior's marginals."""
    if choice is not None and set(choice) != {space.KEY}:
        raise PdnasError(
            f"switch {next(iter(choice))} is no {space.ARCHITECTURE}; use this supernet's "
            "candidates"
        )
    found = []
    for number, (gate, place) in enumerate(zip(space.gates, _places(space), strict=True)):
        rows = table[table["gate"] == gate]
        if rows.empty:
            raise PdnasError(f"switch {gate} is not in what is to be drawn; use this supernet's")
        for code, (name, share) in enumerate(zip(rows["option"], rows["probability"], strict=True)):
            if choice is not None:
                share = float(int(choice[space.KEY][number]) == code)
            label = OPTION_NAMES[name].replace(" ", "\n")
            found.append(Operation(*place, name, label, share))
    return found


def _places(space: CategoricalSpace) -> list[tuple[str, str]]:
    """Row and block of each switch: edges by the node that they lead to, layers by their stage."""
    if isinstance(space, CellSpace):
        return [(f"node {target}", f"from {source}") for source, target in EDGES]
    rows = [f"stage {stage}" for stage, layers in enumerate(STAGES) for _ in range(layers)]
    return [(row, f"layer {layer}") for layer, row in enumerate(rows)]


def _place(gate: str) -> tuple[str, str, str]:
    """Row, block and branch of a gate."""
    for pattern in _NAMES:
        if match := pattern.match(gate):
            parts = match.groupdict()
            row, block = parts.get("row"), parts["block"]
            if row is None:
                first = int(block) // CELLS_A_ROW * CELLS_A_ROW
                return f"cells from {first}", block, parts["branch"]
            kind = "stage" if gate.startswith("stages") else "dense block"
            return f"{kind} {row}", block or "transition", parts.get("branch") or ""
    return gate, "", ""


def _label(gate: str, layer: GatedLayer) -> str:
    if not isinstance(layer, GatedConv2d):
        return "linear"
    if separable := re.search(r"sep(\dx\d)", gate):
        return f"s{separable[1]}"
    extent = (layer.kernel_size[0] - 1) * layer.dilation[0] + 1
    return f"{extent}x{extent}"


def _layout(found: list[Operation]) -> list[tuple[str, dict[str, _Branches]]]:
    """Rows of blocks of branches of operations; long rows in equal parts."""
    rows: dict[str, dict[str, _Branches]] = {}
    for operation in found:
        blocks = rows.setdefault(operation.row, {})
        blocks.setdefault(operation.block, {}).setdefault(operation.branch, []).append(operation)
    parts: list[tuple[str, dict[str, _Branches]]] = []
    for name, blocks in rows.items():
        count = -(-len(blocks) // MOST_BLOCKS)
        size = -(-len(blocks) // count)
        names = list(blocks)
        for start in range(0, len(names), size):
            part = {block: blocks[block] for block in names[start : start + size]}
            parts.append((name if start == 0 else "", part))
    return parts


def _draw_row(
    axes: Axes,
    row: Mapping[str, _Branches],
    top: float,
    unit: float,
    arrows: bool,
    numbered: bool,
) -> None:
    from matplotlib import colormaps

    size = min(7.0, 20 * unit)
    line: Any = {"color": style.REFERENCE_COLOUR, "linewidth": 0.6, "zorder": 1}
    depth = max(len(boxes) for branches in row.values() for boxes in branches.values())
    bottom = top + depth * _BOX_HEIGHT
    left = _MARGIN
    for number, (block, branches) in enumerate(row.items()):
        right = left + len(branches) * unit
        if numbered or not block.isdigit():
            middle = (left + right) / 2
            axes.text(middle, top - 0.12, block, fontsize=size, ha="center", va="center")
        if arrows and number:  # from the block before
            middle = (top + bottom) / 2
            axes.annotate(
                "",
                (left - 0.02, middle),
                (left - _GAP * unit + 0.02, middle),
                arrowprops={"arrowstyle": "->", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
            )
        ends = left + unit / 2, right - unit / 2
        axes.plot(ends, (top - 0.04, top - 0.04), **line)
        axes.plot(ends, (bottom, bottom), **line)
        for place, boxes in enumerate(branches.values()):
            middle = left + (place + 0.5) * unit
            axes.plot((middle, middle), (top - 0.04, bottom), **line)
            for level, operation in enumerate(boxes):
                gone = operation.share == 0
                axes.text(
                    middle,
                    top + (level + 0.45) * _BOX_HEIGHT,
                    f"{operation.label}\n{100 * operation.share:.0f}",
                    fontsize=size,
                    ha="center",
                    va="center",
                    linespacing=1.0,
                    color="white" if operation.share > 0.7 else "black",
                    bbox={
                        "boxstyle": "square,pad=0.25",
                        "facecolor": colormaps["Blues"](0.85 * operation.share),
                        "edgecolor": style.REFERENCE_COLOUR,
                        "linewidth": 0.5,
                        "linestyle": "--" if gone else "-",
                    },
                )
        left = right + _GAP * unit
