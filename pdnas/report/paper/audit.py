"""The generated tables of docs/audit.md: what can be computed from code and public data.

The document is written by hand; between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` stands
what the function NAME here makes, so that no such number is ever typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
import torch

from pdnas.data.sources import SOURCES
from pdnas.nn.gates import GateSettings
from pdnas.nn.subnet import extract, parameters
from pdnas.nn.supernets import ChannelSupernet, build
from pdnas.report.columns import words
from pdnas.report.formats import OURS, PAPER, Column, Table, to_markdown
from pdnas.report.paper import official
from pdnas.report.paper.reported import paper
from pdnas.space.cells import EDGES, OPERATIONS, CellSpace
from pdnas.spec.supernets import NAMED, MultiBranchConfig, SupernetConfig
from pdnas.support.errors import PdnasError
from pdnas.truth.columns import DATASETS
from pdnas.truth.isomorphism import isomorphism_classes
from pdnas.truth.tables.nasbench201 import NasBench201

Block = Callable[[], Table]

_MARKED = re.compile(r"(<!-- begin (\S+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
_MARKER = re.compile(r"<!-- (?:begin|end) (\S+) -->")

SUPERNETS = {"M": "supernet-m", "MI": "supernet-mi", "E": "supernet-e", "EI": "supernet-ei"}
"""The paper's supernets for CIFAR-10, by the letters it gives them."""

RANDOM_KEEP = {"M": 0.9, "MI": 0.6, "E": 0.7, "EI": 0.7}
"""Keep rates of the random baselines: in the release (M, E, EI), fitted (MI)."""

_TABLES = {
    1: "table1_cifar10",
    3: "table3_guided_vs_random",
    6: "table6_num_candidates",
    8: "table8_imagenet",
    9: "table9_imagenet_resnet50",
}


def update(text: str) -> str:
    """The document with every block made anew.

    Raises:
        PdnasError: a marker has no partner or no such block, or public data are missing.
    """
    blocks = _MARKED.findall(text)
    names = [name for _, name, _ in blocks]
    if len(_MARKER.findall(text)) != 2 * len(names):
        raise PdnasError("a marker of a block has no partner; each begin needs its own end")
    for name in names:
        if name not in BLOCKS:
            raise PdnasError(f"no block {name!r}; choose one of {', '.join(BLOCKS)}")
    return _MARKED.sub(lambda found: found[1] + markdown(found[2]) + found[3], text)


def markdown(name: str) -> str:
    """One block as it stands between its markers."""
    return to_markdown(BLOCKS[name]())


def sizes() -> Table:
    """Parameters of the supernets, as reported and as built."""
    networks: list[tuple[str, float | None, ChannelSupernet]] = [
        (
            f"SupNet-{letters}",
            _reported(3, "params_m", supernet=letters, method="full model"),
            _build(NAMED[name]),
        )
        for letters, name in SUPERNETS.items()
    ]
    inflated = _reported(9, "params_m", model="Inflated ResNet-50")
    networks.append(("SupNet-R-50", inflated, _build(NAMED["supernet-r50"], 1000)))
    networks.append(("SupNet-D-121", None, official.supernet()))
    rows = [
        (name, reported, network.parameter_count() / 1e6, _kernels(network) / 1e6)
        for name, reported, network in networks
    ]
    return Table(
        "sizes",
        "Parameters in millions",
        (
            words("supernet"),
            Column("reported", "reported", PAPER, 1),
            Column("all", "all", OURS, 3),
            Column("kernels", "matrices and kernels alone", OURS, 3),
        ),
        tuple(rows),
    )


def inflation() -> Table:
    """SupNet-M at several widths, beside the reported size of SupNet-MI."""
    rows = []
    for width in (96, 128, 160, 192):
        network = _build(MultiBranchConfig(name="multibranch", width=width))
        rows.append((width, width / 96, network.parameter_count() / 1e6))
    return Table(
        "inflation",
        "The 3-branch ResNet by width",
        (
            Column("width", "width of the first stage"),
            Column("factor", "of SupNet-M's", decimals=2),
            Column("parameters", "parameters [M]", OURS, 3),
        ),
        tuple(rows),
    )


def r50() -> Table:
    """Readings of SupNet-R-50's construction, by arithmetic on ResNet-50's block widths."""
    widths = np.repeat([64, 128, 256, 512], [3, 4, 6, 3])
    squares = int((widths**2).sum())  # a 3x3 kernel has 9 of it, the 1x1 behind it 4
    channels = int(widths.sum())
    plain = 25_557_032
    dilated, dense = 1 + 9 + 9 + 25, 1 + 9 + 25 + 81  # taps of 1x1, 3x3, 5x5 and 9x9 kernels
    readings = (
        ("a quarter of the maps each, 5x5 and 9x9 dilated (the text; ours)", dilated / 4, 4),
        ("a quarter each, 5x5 and 9x9 dense", dense / 4, 4),
        ("half of the maps each, dilated, 1x1 behind reads twice as many", dilated / 2, 8),
        ("all maps each, dilated, summed", dilated, 4),
        ("all maps each, dilated, concatenated", dilated, 16),
    )
    network = _build(NAMED["supernet-r50"], 1000)
    built = network.parameter_count()
    assert built == plain + (dilated // 4 - 9) * squares
    gated = sum(layer.weight.numel() for layer in network.gated_layers().values())
    needed = 1e6 * _reported(9, "params_m", model="PGNAS-R-50")
    rows = tuple(
        # The BatchNorm in front of the 1x1 behind has two numbers for each channel that this reads.
        (
            reading,
            (plain + (taps - 9 + behind - 4) * squares + 2 * (behind / 4 - 1) * channels) / 1e6,
        )
        for reading, taps, behind in readings
    )
    return Table(
        "r50",
        "SupNet-R-50 by reading of its construction; the paper reports 44.0 M",
        (
            words("reading"),
            Column("parameters", "parameters [M]", OURS, 2),
        ),
        rows,
        (
            f"Of the {built:,} of the text's reading {gated:,} are gated. The reported "
            f"{needed / 1e6:.1f} M after the search mean {100 * (built - needed) / gated:.1f} % of "
            "these dropped.",
        ),
    )


def random_sizes() -> Table:
    """The random baselines' sizes by the counting rules of paper, release and pdnas."""
    rows = []
    for letters, keep in RANDOM_KEEP.items():
        network = _build(NAMED[SUPERNETS[letters]])
        layers = network.gated_layers()
        gated = sum(layer.weight.numel() for layer in layers.values())
        if letters in ("M", "MI"):  # a path's kernels alone; what its second drops, its first loses
            first = sum(layers[name].weight.numel() for name in layers if name.endswith(".1"))
            second = sum(layers[name].weight.numel() for name in layers if name.endswith(".4"))
            release = keep**2 * first + keep * second
        else:
            release = keep * _kernels(network)
            gated = sum(
                size * layers[name].gate.channels
                for name, size in network.slice_parameters().items()
            )
        ours = network.parameter_count() - (1 - keep) * gated
        rows.append(
            (
                f"SupNet-{letters}",
                _reported(3, "params_m", supernet=letters, method="random w/o FT"),
                keep,
                release / 1e6,
                ours / 1e6,
            )
        )
    return Table(
        "random-sizes",
        "Parameters of randomly sampled sub-networks, in millions",
        (
            words("supernet"),
            Column("reported", "reported", PAPER, 1),
            Column("keep", "keep rate", decimals=1),
            Column("release", "release's counting rule", OURS, 2),
            Column("masked", "everything but dropped slices", OURS, 2),
        ),
        tuple(rows),
    )


def extraction() -> Table:
    """SupNet-M, half of the channels kept at random: counted by masks, and really needed."""
    torch.manual_seed(0)
    network = build(NAMED["supernet-m"], 3, 10)
    network.configure_gates(GateSettings(mode="fixed", initial=0.5))
    choice = network.posterior().sample(1, seed=0)[0]
    small = extract(network, choice, torch.zeros(1, 3, 32, 32))
    counts = network.candidate_parameters(choice), parameters(small)
    return Table(
        "extraction",
        "A random candidate of SupNet-M at keep rate 0.5 (seed 0)",
        (
            words("count", "what is counted"),
            Column("parameters", "parameters [M]", OURS, 2),
        ),
        (
            ("everything but dropped kernel slices", counts[0] / 1e6),
            ("the extracted network, equal in output", counts[1] / 1e6),
        ),
    )


def d121_sizes() -> Table:
    """Expected size of a candidate of the official D-121 search."""
    network = official.supernet()
    learned = official.posterior(_drop_log())
    gated = sum(layer.weight.numel() for layer in network.gated_layers().values())
    whole = network.parameter_count()
    expected = network.expected_parameters(learned)
    reported = _reported(8, "params_m", method="PGNAS-D-121")
    return Table(
        "d121-sizes",
        "Parameters of SupNet-D-121 and of a candidate, in millions",
        (
            words("count", "what is counted"),
            Column("reported", "candidate", PAPER, 1),
            Column("whole", "supernet", OURS, 3),
            Column("expected", "candidate, expected from the log", OURS, 3),
        ),
        (
            ("gated kernels", reported, gated / 1e6, (expected - whole + gated) / 1e6),
            ("all", None, whole / 1e6, expected / 1e6),
        ),
    )


def d121_dropped() -> Table:
    """Expected share of dropped channels at the end of the official log."""
    table = official.dropped_by_block(_drop_log())
    shares = table.pivot(index="block", columns="convolution", values="dropped")
    rows = [
        (f"block {block}", *(None if np.isnan(share) else 100 * share for share in row))
        for block, row in zip(shares.index, shares.to_numpy(), strict=True)
    ]
    total = (table["dropped"] * table["channels"]).sum() / table["channels"].sum()
    return Table(
        "d121-dropped",
        "Dropped input channels in percent, expected from the official log",
        (
            words("block", "dense block"),
            *(Column(str(kind), str(kind), OURS, 3) for kind in shares),
        ),
        tuple(rows),
        (f"Over all gates: {100 * total:.2f} %.",),
    )


def d121_candidates() -> Table:
    """The official candidates beside the reported error."""
    selection = 100 * official.read_selection(SOURCES["pgnas-selection"].fetch(progress=False))
    rows = []
    for name, column in (("top-1", "top1"), ("top-5", "top5")):
        values = selection[column]
        rows.append(
            (
                f"{name} accuracy [%]",
                100 - _reported(8, f"{column}_error_pct", method="PGNAS-D-121"),
                values.mean(),
                values.std(),
                values.min(),
                values.max(),
            )
        )
    return Table(
        "d121-candidates",
        f"The {len(selection)} candidates of the official selection log",
        (
            words("measure"),
            Column("reported", "chosen candidate", PAPER, 1),
            Column("mean", "mean", "release"),
            Column("std", "standard deviation", "release"),
            Column("min", "lowest", "release"),
            Column("max", "highest", "release"),
        ),
        tuple(rows),
    )


def days() -> Table:
    """GPU days of PGNAS-MI: Table 1's totals less Table 6's for ranking the candidates."""
    methods = {"PGNAS-MI (1500 candidates)": 1500, "PGNAS-MI* (10000 candidates)": 10_000}
    rows = []
    for method, count in methods.items():
        total = _reported(1, "gpu_days", method=method)
        ranking = _reported(6, "extra_gpu_days", candidates=count)
        rows.append((count, total, ranking, total - ranking))
    return Table(
        "days",
        "GPU days of PGNAS-MI in the paper",
        (
            Column("candidates", "candidates"),
            Column("total", "Table 1", PAPER, 1),
            Column("ranking", "of it for ranking (Table 6)", PAPER),
            Column("training", "difference: training", "arithmetic"),
        ),
        tuple(rows),
    )


def nasbench_cells() -> Table:
    """Distinct cells of NAS-Bench-201, by what counts as the same."""
    rows = (
        ("architecture strings", len(CellSpace())),
        ("the benchmark's string form", len(np.unique(isomorphism_classes()))),
        (
            "the same with zero terms dropped and sums flattened",
            len({_computation(c) for c in CellSpace().cells.tolist()}),
        ),
    )
    return Table(
        "nasbench-cells",
        "Cells of NAS-Bench-201 that differ",
        (words("form", "by"), Column("cells", "cells", OURS)),
        rows,
    )


def nasbench_grid() -> Table:
    """Whether 12-epoch validation accuracies are those of one training or means of two."""
    images = {"cifar10": 25_000, "cifar100": 5_000, "imagenet16_120": 3_000}
    truth = NasBench201.load()
    rows = []
    for name in DATASETS:
        right = truth.validation_12(name) * images[name]  # images classified rightly
        whole, halves = (np.isclose(k * right, np.round(k * right), atol=1e-3) for k in (1, 2))
        rows.append((name, images[name], 100 * whole.mean(), 100 * halves.mean()))
    return Table(
        "nasbench-grid",
        "12-epoch validation accuracies that are a number of images",
        (
            words("dataset", "data set"),
            Column("images", "validation images"),
            Column("whole", "whole number of images [% of cells]", OURS, 1),
            Column("halves", "halves allowed [% of cells]", OURS, 1),
        ),
        tuple(rows),
    )


def nasbench_skip() -> Table:
    """The true accuracy of the cell that the published DARTS searches end in."""
    truth = NasBench201.load()
    space = CellSpace()
    cell = int(space.ids(np.full(6, space.operations.index("skip_connect"))))
    published = paper("nasbench201_published")
    darts = published[published["method"] == "DARTS"].set_index("dataset")["test_accuracy_pct"]
    return Table(
        "nasbench-skip",
        "The cell of six skip connections: test accuracy in percent",
        (
            words("dataset", "data set"),
            Column("published", "DARTS", "published"),
            Column("cell", "all-skip cell", "the benchmark's table"),
        ),
        tuple(
            (
                name,
                float(darts[name]),
                100 * float(truth.accuracy(name)[cell]),
            )
            for name in DATASETS
        ),
    )


def _reported(number: int, column: str, **row: object) -> float:
    """The one number of a table of the paper in ``column`` where the columns ``row`` say so."""
    table = paper(_TABLES[number])
    for name, value in row.items():
        table = table[table[name] == value]
    return float(table[column].item())


def _build(config: SupernetConfig, classes: int = 10) -> ChannelSupernet:
    """A supernet without storage for its weights."""
    with torch.device("meta"):
        network = build(config, 3, classes)
    assert isinstance(network, ChannelSupernet)
    return network


def _kernels(network: ChannelSupernet) -> int:
    """Parameters that are matrices or kernels: no BatchNorm, no biases, no switches."""
    logits = {id(parameter) for parameter in network.distribution_parameters()}
    return sum(p.numel() for p in network.parameters() if p.dim() > 1 and id(p) not in logits)


@cache
def _drop_log() -> pd.DataFrame:
    return official.read_drop_log(SOURCES["pgnas-log-p"].fetch(progress=False))


def _computation(cell: Sequence[int]) -> str:
    """What a cell computes: sums flattened and sorted, zero terms dropped."""
    nodes: list[list[str]] = [["0"]]
    for target in (1, 2, 3):
        terms: list[str] = []
        for code, (source, end) in zip(cell, EDGES, strict=True):
            if end != target or OPERATIONS[code] == "none" or not nodes[source]:
                continue
            read = "+".join(nodes[source])
            skip = OPERATIONS[code] == "skip_connect"
            terms += nodes[source] if skip else [f"({read})@{OPERATIONS[code]}"]
        nodes.append(sorted(terms))
    return "+".join(nodes[-1])


BLOCKS: dict[str, Block] = {
    "sizes": sizes,
    "inflation": inflation,
    "r50": r50,
    "random-sizes": random_sizes,
    "extraction": extraction,
    "days": days,
    "d121-sizes": d121_sizes,
    "d121-dropped": d121_dropped,
    "d121-candidates": d121_candidates,
    "nasbench-cells": nasbench_cells,
    "nasbench-grid": nasbench_grid,
    "nasbench-skip": nasbench_skip,
}
"""What makes each block, by its name in the document."""
