"""What is measured of methods and rivals, and what the literature reports of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdnas.report.collect import Collection, Rival, RunEfficiency
from pdnas.report.formats import Cell
from pdnas.report.paper.reported import paper
from pdnas.support.errors import PdnasError
from pdnas.support.statistics import (
    Interval,
    expected_draws_over_seeds,
    geometric_interval,
)
from pdnas.truth.rivals import queries_to_reach
from pdnas.truth.seconds import query_seconds
from pdnas.truth.tables.nasbench201 import NasBench201

PUBLISHED_RIVALS = {"random": "random search", "evolution": "REA", "reinforce": "REINFORCE"}
"""What the literature calls the same search."""

DRAWN = 100
"""Samples among which the one-shot scores choose, and queries of a search of the table."""

TAUS = {"τ": "kendall_tau", "τ of the top tenth": "kendall_tau_top"}

PUBLISHED_NOTE = (
    "Published: test accuracy ± standard deviation over searches as the methods' authors report "
    "it, found on the benchmark's own supernets; sources in "
    "pdnas/report/paper/reported/nasbench201_published.csv."
)


@dataclass(frozen=True)
class Method:
    """A variant that was run: its name and label, whether it is the guided one, and its seeds."""

    variant: str
    label: str
    guided: bool
    seeds: list[RunEfficiency]

    @property
    def study(self) -> str:
        return self.seeds[0].run.study

    @property
    def truth(self) -> str:
        """The data set whose accuracies judge."""
        return self.seeds[0].truth

    @property
    def records(self) -> list[Any]:
        """What is said of the data set ``truth``, a record a seed."""
        return [seed.record for seed in self.seeds]

    @property
    def scored(self) -> bool:
        """Whether the supernets of all seeds scored every cell."""
        return all(record["chosen_of_n"] for record in self.records)

    @property
    def uniform(self) -> bool:
        """Whether the method draws every cell alike, so that it prefers none."""
        return self.seeds[0].run.spec.gates.mode == "fixed"

    def percent(self, key: str) -> list[float]:
        """An accuracy of each seed's record, in percent."""
        return [100 * record[key] for record in self.records]

    def samples(self) -> list[Interval]:
        """Expected samples to each target."""
        by_target = zip(*(record["targets"] for record in self.records), strict=True)
        return [expected_draws_over_seeds(target["mass"] for target in same) for same in by_target]

    def chosen(self, dataset: str) -> list[float]:
        """True accuracy (percent) of the cell that the method ends with, by seed.

        That is the best-scored of DRAWN samples (an expectation), or, unless all seeds have scores,
        the mode: so the authors of DARTS and GDAS choose.
        """
        facts = [seed.everything["datasets"][dataset] for seed in self.seeds]
        if not self.scored:
            return [100 * float(each["mode_accuracy"]) for each in facts]
        curves = [each["chosen_of_n"] for each in facts]
        return [100 * float(curve["expected"][curve["n"].index(DRAWN)]) for curve in curves]

    def search_seconds(self) -> list[float]:
        """What each search cost: processor time, which other work on the machine leaves alone, or
        on a GPU the time by the clock."""
        spent = [seed.run.provenance for seed in self.seeds]
        return [
            float(each["wall_seconds" if each["hardware"]["gpus"] else "cpu_seconds"])
            for each in spent
        ]


def methods(collection: Collection) -> list[Method]:
    """Every method that was run, the guided one first.

    Raises:
        PdnasError: two studies over cells have a variant of the same name.
    """
    found: dict[str, Method] = {}
    for (study, variant), seeds in collection.efficiencies("nasbench").items():
        if variant in found:
            raise PdnasError(
                f"{found[variant].study} and {study} both have a variant {variant!r}, which "
                "one table cannot tell apart; give one another name"
            )
        guided = variant == collection.roles[study].guided
        found[variant] = Method(variant, collection.label(study, variant), guided, seeds)
    labels = [method.label for method in found.values()]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise PdnasError(f"two methods are labelled {twice[0]!r}; give one another label")
    return sorted(found.values(), key=lambda method: not method.guided)


def published(method: str | None, dataset: str) -> Cell:
    """``mean ± deviation`` in percent, or None where nobody reports it."""
    rows = paper("nasbench201_published")
    rows = rows[(rows["method"] == method) & (rows["dataset"] == dataset)]
    if rows.empty:
        return None
    row = rows.iloc[0]
    spread = f" ± {row['std_pct']:.2f}" if row["std_pct"] > 0 else ""
    return f"{row['test_accuracy_pct']:.2f}{spread}"


def retrained(seeds: Sequence[Mapping[str, Any]], quantity: str) -> Interval | None:
    """What the noise of the truth leaves of a positive quantity: geometric means over seeds of both
    ends; None: unknown.

    Args:
        seeds: what is said of one target, by seed.
    """
    ends = [[each["retrained"][quantity][end] for each in seeds] for end in ("low", "high")]
    if any(end is None for both in ends for end in both):
        return None
    centre, low, high = (
        geometric_interval(values).estimate
        for values in ([each[quantity] for each in seeds], *ends)
    )
    return Interval(centre, low, high, len(seeds))


def expected_cost(spent: NDArray[np.float64], reached: NDArray[np.bool_]) -> Interval:
    """Expected cost until a target is reached, if a failed search is begun anew.

    It is Σ spent / (searches that succeed); the interval is a bootstrap over searches.

    Args:
        spent: by each search, until it reached the target or gave up, shape (searches,).
        reached: whether it did, shape (searches,).
    """
    from scipy.stats import bootstrap

    def ratio(
        spent: NDArray[np.float64], reached: NDArray[np.bool_], axis: int = -1
    ) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):
            whole: NDArray[np.float64] = spent.sum(axis=axis) / reached.sum(axis=axis)
        return whole

    value, ends = float(ratio(spent, reached)), (float("nan"), float("nan"))
    if np.isfinite(value) and (np.ptp(spent) > 0 or not reached.all()):
        how: Any = {"method": "percentile", "n_resamples": 2000, "rng": 0, "paired": True}
        drawn = bootstrap((spent, reached), ratio, **how)
        if np.isfinite(drawn.confidence_interval).all():
            ends = drawn.confidence_interval
    return Interval(value, *ends, len(spent))


def rival_queries(rival: Rival, targets: Sequence[float]) -> list[Interval]:
    """:func:`expected_cost` in queries to each target."""
    return _rival_cost(rival, targets)


def rival_hours(rival: Rival, targets: Sequence[float]) -> list[Interval]:
    """:func:`expected_cost` in GPU hours to each target."""
    return _rival_cost(rival, targets, query_seconds(NasBench201.load(), "cifar10") / 3600)


def _rival_cost(
    rival: Rival, targets: Sequence[float], price: NDArray[np.float64] | None = None
) -> list[Interval]:
    """Where a query of each cell has its price, shape (cells,); None: each costs 1."""
    trace = rival.trace().pivot(index="seed", columns="query", values=["accuracy", "cell_id"])
    accuracy = trace["accuracy"].to_numpy()
    cells = trace["cell_id"].to_numpy(dtype=np.int64)
    prices = np.ones(cells.shape) if price is None else price[cells]
    spent: NDArray[np.float64] = prices.cumsum(axis=1)
    costs = []
    for first in queries_to_reach(accuracy, targets).T:
        last = np.minimum(first, spent.shape[1]).astype(np.int64) - 1
        costs.append(expected_cost(spent[np.arange(len(spent)), last], np.isfinite(first)))
    return costs


def data_name(name: str) -> str:
    """A data set as people write it."""
    known = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16_120": "ImageNet16-120"}
    return known.get(name, name)
