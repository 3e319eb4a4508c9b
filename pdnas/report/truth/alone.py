"""The figure of cells trained alone: what the seconds of a training buy, and the most there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdnas.report import style
from pdnas.report.style import Drawing, others

EVIDENCE = "loss_end"
"""The evidence that is drawn, which a posterior can be fitted to."""

_TAUS = {"tau": ("all", "all cells"), "tau_top": ("best_tenth", "the best tenth")}


def worth_of_seconds(record: Mapping[str, Any]) -> Drawing:
    """Kendall's tau with the truth, and samples saved, against the seconds of a cell's training.

    Args:
        record: the summary of ``pdnas nasbench alone``.
    """
    import pandas as pd

    rows = [each for each in record["evidence"] if each["evidence"] == EVIDENCE]
    reached = [
        name
        for name in rows[0]
        if name.startswith("speedup_") and any(row[name]["estimate"] is not None for row in rows)
    ]
    shown = [*_TAUS, *reached[-1:]]
    data = pd.DataFrame(
        {
            **{key: row[key] for key in ("variant", "seeds", "steps", "seconds")},
            **{
                f"{name}_{end}": row[name][end]
                for name in shown
                for end in ("estimate", "low", "high")
            },
        }
        for row in rows
    )
    figure, axes = style.panels(1, len(shown), height=3.2, width=3.4 * len(shown))
    variants = list(data["variant"].unique())
    for axis, name in zip(axes[0], shown, strict=True):
        for variant, colour in zip(variants, others(len(variants)), strict=True):
            own = data[data["variant"] == variant]
            curve = [own[f"{name}_{end}"] for end in ("estimate", "low", "high")]
            within = (-1.0, 1.0) if name in _TAUS else style.POSITIVE
            look: Any = {"color": colour, "marker": "o", "label": variant}
            style.line(axis, own["seconds"], curve, alpha=0.1, within=within, **look)
        style.log_x(axis)
        axis.set_xlabel("processor seconds of a cell's training")
        if name in _TAUS:
            key, among = _TAUS[name]
            look = {"color": style.REFERENCE_COLOUR, "linestyle": ":", "linewidth": 1.2}
            if (most := record["tau_ceiling"][key]) is not None:
                axis.axhline(most, label="the most that noise leaves", **look)
            axis.set_ylabel("Kendall's τ with the truth")
            style.title(axis, among)
        else:
            axis.axhline(1, color=style.RANDOM_COLOUR, linestyle="--", label="uniform sampling")
            axis.set_ylabel("times fewer samples")
            style.title(axis, f"to {name.removeprefix('speedup_')} %")
    style.explain_bands(axes[0, 0], "95 % interval over cells")
    style.legend_above(figure)
    return Drawing(figure, data)
