"""The figure of anybody's distribution over a ground truth, from its record of efficiency."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pdnas.report import style
from pdnas.report.style import GUIDED_COLOUR, Drawing
from pdnas.report.truth.methods import data_name
from pdnas.support.provenance import fingerprint
from pdnas.support.statistics import expected_draws


def draw(record: Mapping[str, Any], dataset: str, out: Path, force: bool = False) -> list[Path]:
    """Write the figure as PDF, PNG and CSV; returns the paths.

    Args:
        record: of :func:`pdnas.truth.measure.measure`.
        dataset: whose accuracies.
        out: path of the files; its suffix gives way to theirs.
        force: another figure may be replaced.

    Raises:
        PdnasError: another figure is there.
    """
    of = f"a distribution over {record['truth']} by {data_name(dataset)} #{fingerprint(record)}"
    return style.write_at(out, lambda: sampler(record, dataset), of, force)


def sampler(record: Mapping[str, Any], dataset: str) -> Drawing:
    """Two panels: expected samples to reach an accuracy, and the expected best of n."""
    import pandas as pd

    facts, where = record["datasets"][dataset], data_name(dataset)
    masses, best = facts["mass_by_accuracy"], facts["best_of_n"]
    reach = pd.DataFrame(
        {
            "panel": "samples to reach",
            "x": 100 * np.array(masses["threshold"]),
            "learned": list(map(expected_draws, masses["mass"])),
            "uniform": list(map(expected_draws, masses["uniform_mass"])),
        }
    )
    reach = reach[np.isfinite(reach["uniform"]) & (reach["uniform"] >= 1.5)]
    most = pd.DataFrame(
        {
            "panel": "best of n",
            "x": best["n"],
            "learned": 100 * np.array(best["expected"]),
            "uniform": 100 * np.array(best["uniform_expected"]),
            "low": 100 * np.array(best["quantile_05"]),
            "high": 100 * np.array(best["quantile_95"]),
        }
    )
    figure, axes = style.panels(1, 2, height=3.3, width=9.6)
    left, right = axes[0]
    look: Any = {"color": GUIDED_COLOUR, "label": "the distribution"}
    small: Any = {"markersize": 3.5}
    style.uniform(left, reach["x"], reach["uniform"], marker="s", **small)
    left.plot(reach["x"], reach["learned"], marker="o", **look, **small)
    left.set(yscale="log", ylim=(0.9, None), ylabel="expected number of samples")
    left.set_xlabel(f"target: true test accuracy on {where} [%]")
    left.yaxis.set_major_formatter("{x:g}")
    left.legend(loc="upper left")
    style.best_line(right, 100 * facts["best_accuracy"], f"{record['cells']} architectures")
    style.uniform(right, most["x"], most["uniform"])
    style.line(right, most["x"], [most[each] for each in ("learned", "low", "high")], **look)
    style.explain_bands(right, "5 to 95 % of draws")
    style.log_x(right)
    right.set(xlim=(1, most["x"].max()), xlabel="number of samples n")
    right.set_ylabel(f"expected best accuracy on {where} [%]")
    right.legend(loc="lower right")
    style.title(left, record["truth"])
    return Drawing(figure, pd.concat([reach, most], ignore_index=True))
