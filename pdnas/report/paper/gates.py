"""What channel gates learn: Table 7, chosen candidates as small networks, drop probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pdnas.report import style
from pdnas.report.collect import Collection
from pdnas.report.columns import SEEDS, STUDY, words
from pdnas.report.formats import NOT_RUN, OURS, PAPER, Cell, Column, Table
from pdnas.report.measures import by_candidates, estimate
from pdnas.report.notes import MEAN, conditions
from pdnas.report.paper.reported import paper
from pdnas.report.style import GUIDED_COLOUR, REFERENCE_COLOUR, Drawing
from pdnas.spec import selection

if TYPE_CHECKING:
    import pandas as pd


def table7(collection: Collection) -> Table:
    """Share dropped at channel and operation level."""
    wide = paper("table7_dropped_proportions").set_index("level")
    rows: list[tuple[Cell, ...]] = []
    for printed in map(str, wide):
        supernet = printed.replace("*", "")
        for level, column in (("channel", "kept_channels"), ("operation", "kept_operations")):
            entries: list[tuple[Cell, ...]] = []
            for study in selection.on_cifar10(collection.scale, supernet):
                variant = collection.roles[study].guided
                if printed != supernet:
                    variant = by_candidates(collection, study).get(10_000, variant)
                dropped = [
                    100 * (1 - float(chosen[column]))
                    for run in collection.find(study, variant)
                    if (chosen := run.chosen("posterior")) is not None
                ]
                if dropped:
                    entries.append((study, estimate(dropped), len(dropped)))
            for entry in entries or [(None, NOT_RUN, NOT_RUN)]:
                rows.append((printed, level, 100 * float(wide[printed][level]), *entry))
    return Table(
        "table7",
        "Table 7 of the paper: proportion dropped by the chosen candidate",
        (
            words("supernet", "SupNet"),
            words("level"),
            Column("paper_dropped_pct", "dropped [%]", PAPER, decimals=0),
            STUDY,
            Column("ours_dropped_pct", "dropped [%]", OURS, decimals=1, estimate=True),
            SEEDS,
        ),
        tuple(rows),
        (
            "Channel: share of gated input channels dropped. Operation: share of gated "
            "convolutions of which every input channel is dropped. MI* is the paper's run with "
            "10 000 candidates; ours in that row has as many where such a variant was run.",
            f"{MEAN}.",
            *conditions(collection, selection.on_cifar10(collection.scale)),
        ),
    )


def extraction(collection: Collection) -> Table:
    """Chosen candidates as physically smaller networks: what is left, and how much faster it is."""
    rows: list[tuple[Cell, ...]] = []
    for study in selection.over_channels(collection.scale):
        for variant in collection.scale.studies[study].variants:
            runs = collection.find(study, variant)
            records = [record for run in runs if (record := run.subnet())]
            if not records:
                continue
            whole = records[0]["supernet_parameters"]
            shares = (
                [100 * each["masked"]["parameters"] / whole for each in records],
                [100 * each["extracted"]["parameters"] / whole for each in records],
                [
                    100 * (each["extracted"]["multiply_adds"] / each["masked"]["multiply_adds"])
                    for each in records
                ],
                [each["speedup"]["median"] for each in records],
            )
            rows.append((study, variant, whole / 1e6, *map(estimate, shares), len(records)))
    return Table(
        "extraction",
        "Chosen candidates as networks of their own",
        (
            words("study"),
            words("variant"),
            Column("ours_supernet_params_m", "supernet, parameters [M]", OURS, decimals=3),
            Column("ours_masked_share_pct", "kept by the masks [%]", OURS, 1, estimate=True),
            Column("ours_extracted_share_pct", "extracted network [%]", OURS, 1, estimate=True),
            Column("ours_arithmetic_pct", "its multiply-adds [%]", OURS, 1, estimate=True),
            Column("ours_speedup", "faster than masked by", OURS, estimate=True),
            SEEDS,
        ),
        tuple(rows) or ((None, _first_guided(collection), *(NOT_RUN,) * 6),),
        (
            "Shares are of the supernet's parameters and multiply-adds. An extracted network has "
            "the outputs of the masked supernet (differences are rounding) without the channels "
            "that nothing reads. Faster: ratio of medians of interleaved evaluations of one batch; "
            "mean ± half-width of the 95 % t-interval over seeds.",
            *conditions(collection, dict.fromkeys(str(row[0]) for row in rows)),
        ),
    )


def _first_guided(collection: Collection) -> str | None:
    studies = selection.guided_over_channels(collection.scale)
    return next((collection.roles[study].guided for study in studies), None)


def _trajectories(collection: Collection) -> dict[str, dict[float, pd.DataFrame]]:
    """By study and l²: drop probabilities of every epoch, gate and group, a column a seed.

    The guided variant and those that differ in l² only; the index is (gate, group, size, epoch),
    gates in the order of the network.
    """
    import pandas as pd

    found: dict[str, dict[float, pd.DataFrame]] = {}
    for study in selection.drawn(collection.scale):
        sweep = selection.sweep(collection.scale, study, "gates.length_scale2")
        for variant, value in sweep.items():
            columns = {}
            for run in collection.find(study, variant):
                table = run.trajectory()
                if table is not None and (drop := table[table["option"] == "drop"]).size:
                    index = ["gate", "group", "size", "epoch"]
                    columns[run.seed] = drop.set_index(index)["probability"]
            if columns:
                found.setdefault(study, {})[float(value)] = pd.DataFrame(columns)
    return {study: dict(sorted(values.items())) for study, values in found.items()}


def trajectories(collection: Collection) -> Drawing | None:
    """Drop probabilities of the channel gates over training, a panel a value of l²."""
    import pandas as pd

    found = _trajectories(collection)
    if not found:
        return None
    shown = {study: list(values.items())[: style.MOST_PANELS] for study, values in found.items()}
    columns = max(len(values) for values in shown.values())
    figure, axes = style.panels(len(shown), columns, height=2.7, sharey="row")
    records = []
    for row, (study, values) in zip(axes, shown.items(), strict=True):
        for axis, (length_scale2, seeds) in zip(row, values, strict=False):
            means = 100 * seeds.mean(axis="columns")
            gates = list(dict.fromkeys(means.index.get_level_values("gate")))
            colours = style.sequence(max(len(gates), 2))
            for gate, lines in means.unstack("epoch").groupby(level="gate", sort=False):
                colour = colours[gates.index(gate)]
                axis.plot(lines.columns, lines.T, color=colour, linewidth=1.1)
            style.title(axis, f"l² = {length_scale2:g}")
            axis.set(xlabel="epoch", xlim=(0, means.index.get_level_values("epoch").max()))
            axis.xaxis.get_major_locator().set_params(integer=True)
            records.append(
                means.rename("drop_probability_pct")
                .reset_index()
                .assign(study=study, length_scale2=length_scale2, seeds=seeds.shape[1])
            )
        row[0].set(ylim=(0, None), ylabel="drop probability [%]\n" + collection.describe(study))
        bar = style.numbered(
            figure, colours, len(gates), ax=list(row), ticks=[1, len(gates)], aspect=30
        )
        bar.set_label("gate, input to output", fontsize=8)
    return Drawing(figure, pd.concat(records, ignore_index=True))


def kept_share(collection: Collection) -> Drawing | None:
    """Share of input channels that the posterior keeps, by layer, spread over seeds."""
    import pandas as pd

    found = _trajectories(collection)
    if not found:
        return None
    figure, axes = style.panels(len(found), 1, height=3.2)
    records = []
    for axis, (study, values) in zip(axes[:, 0], found.items(), strict=True):
        colours = style.sequence(len(values)) if len(values) > 1 else [GUIDED_COLOUR]
        for number, (length_scale2, seeds) in enumerate(values.items()):
            shares: Any = _kept_by_gate(seeds)
            x = np.arange(1, len(shares) + 1)
            style.line(
                axis,
                x,
                (shares.mean(axis=1), shares.min(axis=1), shares.max(axis=1)),
                color=colours[number],
                marker=style.MARKERS[number % 8],
                label=f"l² = {length_scale2:g}",
            )
            tidy = shares.rename_axis(columns="seed").stack().rename("kept_share_pct")
            records.append(tidy.reset_index().assign(study=study, length_scale2=length_scale2))
        style.explain_bands(axis, "lowest to highest seed")
        rates = [
            run.record["fixed_drop_probability"]
            for run in collection.find(study, collection.roles[study].random)
            if run.record.get("fixed_drop_probability") is not None
        ]
        if rates:
            axis.axhline(
                100 * (1 - float(np.mean(rates))),
                color=REFERENCE_COLOUR,
                linestyle="--",
                linewidth=1.2,
                label="random baseline",
            )
        axis.set(xlim=(0, len(shares) + 1), ylim=(0, 103), ylabel="input channels kept [%]")
        if len(shares) <= 40:
            axis.set_xticks(x, _without_common_prefix(shares.index), rotation=90, fontsize=7)
            axis.set_xlabel("gate, input to output")
        else:
            axis.set_xlabel("gate number, input to output")
        axis.grid(False, axis="x")
        style.title(axis, collection.describe(study))
        style.legend_right(axis)
    return Drawing(figure, pd.concat(records, ignore_index=True))


def _kept_by_gate(seeds: pd.DataFrame) -> pd.DataFrame:
    """Percent of its input channels that each gate keeps in the end, a column a seed."""
    flat = seeds.reset_index()
    last = flat[flat["epoch"] == flat["epoch"].max()]
    kept = 100 * (1 - last[list(seeds.columns)]) * last["size"].to_numpy()[:, None]
    total = last.groupby("gate", sort=False)["size"].sum()
    return kept.groupby(last["gate"], sort=False).sum().div(total, axis="index").loc[total.index]


def _without_common_prefix(names: Sequence[str]) -> list[str]:
    """``stages.0.a`` and ``stages.1.b`` as ``0.a`` and ``1.b``."""
    first = names[0].split(".")[0] + "."
    shared = first if all(name.startswith(first) for name in names) else ""
    return [name.removeprefix(shared) for name in names]
