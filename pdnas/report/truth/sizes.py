"""The study of the size space: what posteriors over widths are worth in bands of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pdnas.report import style
from pdnas.report.collect import Collection
from pdnas.report.columns import SEEDS, words
from pdnas.report.formats import NOT_RUN, OURS, Cell, Column, Table
from pdnas.report.measures import bounds, estimate
from pdnas.report.notes import conditions
from pdnas.report.style import GUIDED_COLOUR, RANDOM_COLOUR, REFERENCE_COLOUR, Drawing
from pdnas.report.truth.methods import data_name, retrained
from pdnas.runs.run import Run
from pdnas.space.sizes import LARGEST, NAMES
from pdnas.spec import selection
from pdnas.spec.selection import judged_by
from pdnas.support.statistics import (
    Interval,
    confidence_interval,
    expected_draws,
    expected_draws_over_seeds,
    geometric_interval,
    holm,
    mean_is_zero,
)

SAMPLERS = {
    "posterior": "guided",
    "random": "one p for all widths",
    "uniform": "uniform in the band",
    "largest": "the largest 1 %",
}
"""What networks of a band are drawn from, and what people call it."""

GOALS = {"near_best": "0.5 points below the best", "top": "the best 1 %"}

CHOSEN_OF = 10
"""Samples among which inherited weights choose, in the table."""

NEW_TRAININGS = (
    "New trainings: what the noise of the truth's single trainings leaves of the same number, 95 % "
    "(geometric mean over seeds of both ends; docs/truths.md). For the size space it is an upper "
    "bound."
)


@dataclass(frozen=True)
class Band:
    """Runs of a variant, whose posteriors are judged in one band: a record a seed."""

    study: str
    variant: str
    runs: list[Run]
    records: list[Mapping[str, Any]]
    alike: bool = False
    """Whether another variant has the same band and images."""

    @property
    def size(self) -> str:
        """``180–220 k``."""
        low, high = (each / 1000 for each in self.records[0]["parameters"])
        return f"{low:g}–{high:g} k"

    @property
    def label(self) -> str:
        """The same, with the study and variant where another has the same."""
        return f"{self.size} ({self.study}/{self.variant})" if self.alike else self.size

    @property
    def searched_on(self) -> str:
        """The data set whose images it saw, as people write it."""
        return data_name(self.runs[0].spec.data.title)

    @property
    def own(self) -> str:
        """The truth's data set that its search was about."""
        return judged_by(self.runs[0].spec.data.name)

    @property
    def title(self) -> str:
        """What a panel says of it."""
        return (
            f"{self.size} parameters,\n{style.seeds(len(self.records))} searched on "
            f"{self.searched_on}" + f"\n({self.study}/{self.variant})" * self.alike
        )

    @property
    def datasets(self) -> list[str]:
        return list(self.records[0]["samplers"]["posterior"]["datasets"])

    def facts(self, sampler: str, dataset: str) -> list[Mapping[str, Any]]:
        """What is said of a sampler on a data set, by seed."""
        return [record["samplers"][sampler]["datasets"][dataset] for record in self.records]

    def mean(self, sampler: str, dataset: str) -> list[float]:
        """Mean true accuracy (percent) of a sample, by seed."""
        if sampler == "uniform":
            facts = self.facts("posterior", dataset)
            return [100 * each["uniform_mean_accuracy"] for each in facts]
        return [100 * each["mean_accuracy"] for each in self.facts(sampler, dataset)]

    def gain(self, dataset: str) -> list[float]:
        """Points by which the posterior's mean is above that of one p, by seed."""
        means = (self.mean(sampler, dataset) for sampler in ("posterior", "random"))
        return [guided - one for guided, one in zip(*means, strict=True)]

    def chosen(self, sampler: str, dataset: str, n: int) -> list[float]:
        """Expected true accuracy (percent) of the best by inherited weights of n, by seed."""
        ranked = (record["ranked"].get(sampler) for record in self.records)
        found = [each["datasets"][dataset] for each in ranked if each is not None]
        return [100 * each["expected"][each["n"].index(n)] for each in found]

    def taus(self, sampler: str, dataset: str) -> list[float | None]:
        """Kendall's tau of inherited and true accuracy among what was ranked, by seed."""
        ranked = (record["ranked"].get(sampler) for record in self.records)
        return [each["datasets"][dataset]["kendall_tau"] for each in ranked if each is not None]

    def samples(self, sampler: str, dataset: str, goal: str) -> Interval | float:
        """Expected samples to a goal; exact where seeds have no say."""
        if sampler == "uniform":
            return self.most(dataset, goal)
        masses = [each[goal]["mass"] for each in self.facts(sampler, dataset)]
        return (
            expected_draws(masses[0]) if sampler == "largest" else expected_draws_over_seeds(masses)
        )

    def speedup(self, sampler: str, dataset: str, goal: str) -> Interval | float:
        """Uniform expected samples by those of the sampler."""
        ratios = self.speedups(sampler, dataset, goal)
        if sampler == "largest":
            return ratios[0]
        return geometric_interval(ratios).within(most=self.most(dataset, goal))

    def speedups(self, sampler: str, dataset: str, goal: str) -> list[float]:
        """The same by seed."""
        return [float(each[goal]["speedup"]) for each in self.facts(sampler, dataset)]

    def most(self, dataset: str, goal: str) -> float:
        """Uniform expected samples: no sampler can save more."""
        return expected_draws(self.facts("posterior", dataset)[0][goal]["uniform_mass"])

    def retrained(self, sampler: str, dataset: str, goal: str) -> Interval | None:
        """The speed-up with the interval that the noise of the truth leaves; None: unknown."""
        return retrained([each[goal] for each in self.facts(sampler, dataset)], "speedup")


def bands(collection: Collection) -> list[Band]:
    """Every band that was run, in the order of the scale."""
    found = []
    for study in selection.over_sizes(collection.scale):
        for variant in collection.scale.studies[study].variants:
            pairs = [
                (run, record)
                for run in collection.find(study, variant)
                if (record := run.sizes_record()) is not None
            ]
            if pairs:
                runs, records = map(list, zip(*pairs, strict=True))
                found.append(Band(study, variant, runs, records))
    shown = [(band.size, band.searched_on) for band in found]
    return [replace(band, alike=shown.count(of) > 1) for band, of in zip(found, shown, strict=True)]


def truths(collection: Collection) -> Table:
    """How good sampled networks truly are, and how many samples guidance saves at equal size."""
    found = bands(collection)
    compared = [(band, dataset) for band in found for dataset in band.datasets]
    p_values = holm([mean_is_zero(band.gain(dataset)) for band, dataset in compared])
    rows = [
        _cells(band, dataset, sampler, p)
        for (band, dataset), p in zip(compared, p_values, strict=True)
        for sampler in SAMPLERS
    ]
    gaps = (NOT_RUN,) * (6 + 3 * len(GOALS))
    rows = rows or [(None, None, None, name, *gaps) for name in SAMPLERS.values()]
    return Table(
        "truths",
        "NATS-Bench's size space: samplers in bands of parameters against the ground truth",
        (
            words("band", "parameters"),
            words("searched_on", "searched on"),
            words("dataset", "data set"),
            words("sampler", "networks"),
            Column("ours_mean_accuracy_pct", "mean of a sample [%]", OURS, estimate=True),
            Column("ours_above_one_p", "above one p [points]", OURS, estimate=True),
            Column("ours_p_holm", "p, corrected", OURS, digits=2),
            *(
                column
                for goal, what in GOALS.items()
                for column in (
                    Column(
                        f"ours_samples_{goal}", f"samples to {what}", OURS, digits=3, estimate=True
                    ),
                    Column(
                        f"ours_speedup_{goal}",
                        "fewer than uniform by",
                        OURS,
                        digits=3,
                        estimate=True,
                    ),
                    Column(
                        f"ours_retrained_{goal}", "new trainings", OURS, digits=3, estimate=True
                    ),
                )
            ),
            Column(
                f"ours_chosen_{CHOSEN_OF}_pct",
                f"best of {CHOSEN_OF} by inherited weights [%]",
                OURS,
                estimate=True,
            ),
            Column("ours_kendall_tau", "Kendall τ", OURS, estimate=True),
            SEEDS,
        ),
        tuple(rows),
        (
            "Every network of the band was trained by itself; means, expected samples and ratios "
            "are exact, by enumeration of the band's networks. All samplers are conditioned on the "
            "band. Guided: the posterior, which never saw these accuracies. One p: a single drop "
            "probability for all widths, with the posterior's expected parameters. Bands are of "
            "parameters on CIFAR-10; data sets that were not searched on are transfer.",
            "Means and differences (paired by seed): mean ± half-width of the 95 % t-interval over "
            "seeds. p: of a paired t-test that guided and one p are equal, corrected by Holm's "
            "method for all such tests of this table. Samples and ratios: geometric mean with the "
            "95 % t-interval of the logarithms, cut at one sample. What has no interval does not "
            "depend on the seed.",
            NEW_TRAININGS,
            f"By inherited weights: the true accuracy of the one of {CHOSEN_OF} samples whose "
            "accuracy with inherited weights on validation images is highest; an expectation over "
            "draws, with replacement, from the candidates that were ranked. τ: Kendall's, between "
            "both accuracies of these candidates.",
            *conditions(collection, dict.fromkeys(band.study for band in found)),
        ),
    )


def _cells(band: Band, dataset: str, sampler: str, p: float) -> tuple[Cell, ...]:
    exact = sampler in ("uniform", "largest")
    mean = band.mean(sampler, dataset)
    goals: list[Cell] = []
    for goal in GOALS:
        goals.append(band.samples(sampler, dataset, goal))
        if sampler == "uniform":
            goals += [None, None]
        else:
            goals.append(band.speedup(sampler, dataset, goal))
            goals.append(band.retrained(sampler, dataset, goal))
    ranked = sampler != "largest"
    tested = None if math.isnan(p) else p
    gain = (confidence_interval(band.gain(dataset)), tested) if sampler == "posterior" else ()
    return (
        band.label,
        band.searched_on,
        data_name(dataset),
        SAMPLERS[sampler],
        mean[0] if exact else confidence_interval(mean),
        *(gain or (None, None)),
        *goals,
        estimate(band.chosen(sampler, dataset, CHOSEN_OF)) if ranked else None,
        estimate(band.taus(sampler, dataset)) if ranked else None,
        len(band.records),
    )


def size_widths(collection: Collection) -> Drawing | None:
    """Mean widths of guided networks, of one p's and of the truly best, a panel a band."""
    import pandas as pd

    found = bands(collection)
    if not found:
        return None
    figure, axes = style.panels(1, len(found), height=3.3, width=3.6 * len(found), sharey=True)
    tables, x = [], np.arange(len(NAMES))
    for axis, band in zip(axes[0], found, strict=True):
        widths = [record["widths"] for record in band.records]
        best = widths[0]["best"]
        curves = {
            "guided": [each["posterior"] for each in widths],
            "one p for all widths": [each["random"] for each in widths],
            "uniform in the band": [widths[0]["uniform"]],
            **{f"best 1 % on {data_name(name)}": [best[name]] for name in best},
        }
        looks = _looks(len(best))
        for (name, seeds), look in zip(curves.items(), looks, strict=True):
            intervals = [confidence_interval(values) for values in np.transpose(seeds)]
            ends = np.array([bounds(each) for each in intervals]).T
            style.line(axis, x, [*ends], within=(0, LARGEST), label=name, **look)
            values = dict(zip(("width", "low95", "high95"), ends, strict=True))
            drawn = {"networks": name, "gate": NAMES, **values, "seeds": len(seeds)}
            tables.append(pd.DataFrame({"study": band.study, "band": band.label, **drawn}))
        style.explain_bands(axis)
        axis.set_xticks(x, NAMES)
        axis.grid(False, axis="x")
        axis.set(ylim=(0, LARGEST + 2), xlabel="width, input to output")
        axis.set_yticks(range(0, LARGEST + 1, 16))
        style.title(axis, band.title)
    axes[0, 0].set_ylabel("mean channels of a network")
    style.legend_above(figure)
    return Drawing(figure, pd.concat(tables, ignore_index=True))


def _looks(best: int) -> list[dict[str, Any]]:
    """Guided, one p, uniform, and the best by each data set."""
    own: list[dict[str, Any]] = [
        {"color": GUIDED_COLOUR, "marker": "o", "linewidth": 2.2},
        {"color": RANDOM_COLOUR, "marker": "s"},
        {"color": style.OTHERS[-1], "linestyle": "--", "linewidth": 1.2},
    ]
    colours = [REFERENCE_COLOUR, *style.others(best - 1)]
    return own + [
        {"color": colour, "marker": style.MARKERS[2 + number], "linestyle": ":", "linewidth": 1.4}
        for number, colour in enumerate(colours)
    ]


def size_samples(collection: Collection) -> Drawing | None:
    """Expected best true accuracy of n samples, a column a band and a row a data set."""
    import pandas as pd

    found = bands(collection)
    if not found:
        return None
    datasets = found[0].datasets
    figure, axes = style.panels(
        len(datasets), len(found), height=2.4, width=3.6 * len(found), sharex=True
    )
    tables = []
    for column, band in enumerate(found):
        for row, dataset in enumerate(datasets):
            axis = axes[row, column]
            tables.append(_draw_best_of_n(axis, band, dataset))
            if row == 0:
                style.title(axis, band.title)
            if column == 0:
                axis.set_ylabel(f"best of n on\n{data_name(dataset)} [%]")
    for axis in axes[-1]:
        axis.set_xlabel("number of samples n")
    figure.align_ylabels(axes[:, 0])
    style.legend_above(figure)
    return Drawing(figure, pd.concat(tables, ignore_index=True))


_MOST = 1000
"""Samples at which the curves end: all have found about the best then."""


def _draw_best_of_n(axis: Any, band: Band, dataset: str) -> Any:
    import pandas as pd

    looks: dict[str, dict[str, Any]] = {
        "posterior": {"color": GUIDED_COLOUR, "linewidth": 2.2},
        "random": {"color": RANDOM_COLOUR, "linestyle": "-."},
        "uniform": {"color": style.OTHERS[-1], "linestyle": "--"},
        "largest": {"color": style.OTHERS[0], "linestyle": (0, (5, 1, 1, 1)), "linewidth": 1.2},
    }
    best = 100 * band.facts("posterior", dataset)[0]["best_accuracy"]
    tables = []
    for sampler, look in looks.items():
        key, source = "expected", sampler
        if sampler == "uniform":  # every record has it
            key, source = "uniform_expected", "posterior"
        curves = [facts["best_of_n"] for facts in band.facts(source, dataset)]
        n = np.array(curves[0]["n"])
        shown = n <= _MOST
        values = 100 * np.array([curve[key] for curve in curves])[:, shown]
        ends = np.array([bounds(confidence_interval(each)) for each in values.T]).T
        within = (0, best)
        style.line(axis, n[shown], [*ends], within=within, label=SAMPLERS[sampler], **look)
        columns = ("best_pct", "low95_pct", "high95_pct")
        drawn = {"n": n[shown], **dict(zip(columns, ends, strict=True)), "seeds": len(curves)}
        where = {"study": band.study, "band": band.label, "dataset": dataset}
        tables.append(pd.DataFrame({**where, "networks": SAMPLERS[sampler], **drawn}))
    axis.axhline(
        best, color=REFERENCE_COLOUR, linestyle=":", linewidth=1.2, label="the band's best"
    )
    style.explain_bands(axis)
    style.log_x(axis)
    axis.set_xlim(1, _MOST)
    return pd.concat(tables, ignore_index=True)
