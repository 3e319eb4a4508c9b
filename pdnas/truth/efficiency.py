"""The sample efficiency of a distribution over cells: what ``efficiency.json`` says.

Records are as in docs/files.md, ready for JSON: what is not finite is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pdnas.runs import kept, layout
from pdnas.space.categorical import CategoricalSpace
from pdnas.space.cells import OPERATIONS, CellSpace
from pdnas.space.macro import MacroSpace
from pdnas.spec.names import TruthData
from pdnas.spec.selection import flatten
from pdnas.spec.spec import SEARCH_PARTS
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.support.provenance import Stopwatch, provenance, run_identity
from pdnas.support.statistics import (
    confidence_interval,
    expected_draws,
    expected_draws_over_seeds,
    finite_or_none,
    geometric_interval,
    kendall_tau,
)
from pdnas.truth.sampling import (
    QUANTILES,
    Floats,
    accuracy_quantiles_of_chosen,
    expected_accuracy_of_chosen,
    mass_at_least,
    mean_accuracy,
    mode_accuracy,
    uniform,
)

Data = TypeVar("Data", bound=str)

ROUND_NUMBERS = (10, 100, 1000)
"""Numbers of samples that the curves have beside those of an even grid, since tables quote them."""


def reaching(q: Floats, accuracy: Floats, targets: Sequence[float]) -> list[dict[str, Any]]:
    """What it takes to reach each target, for q and for uniform sampling."""
    masses = mass_at_least(q, accuracy, targets).tolist()
    uniform_masses = mass_at_least(uniform(q.size), accuracy, targets).tolist()
    return [
        {
            "target": target,
            "mass": mass,
            "expected_samples": finite_or_none(expected_draws(mass)),
            "uniform_mass": base,
            "uniform_expected_samples": finite_or_none(expected_draws(base)),
            "speedup": mass / base if base else None,
        }
        for target, mass, base in zip(targets, masses, uniform_masses, strict=True)
    ]


def _curves(q: Floats, scores: Floats, accuracy: Floats) -> dict[str, list[float]]:
    """The best by score of n samples, for q and for uniform sampling."""
    grid = np.geomspace(1, q.size, 61).round().astype(np.int64)
    draws = np.unique([*grid, *(n for n in ROUND_NUMBERS if n <= q.size)])
    curves: dict[str, list[float]] = {"n": draws.tolist()}
    for prefix, drawn_from in (("", q), ("uniform_", uniform(q.size))):
        expected = expected_accuracy_of_chosen(drawn_from, scores, accuracy, draws)
        quantiles = accuracy_quantiles_of_chosen(drawn_from, scores, accuracy, draws)
        curves[f"{prefix}expected"] = expected.tolist()
        for level, values in zip(QUANTILES, quantiles.T, strict=True):
            curves[f"{prefix}quantile_{round(100 * level):02d}"] = values.tolist()
    return curves


def dataset_efficiency(
    q: Floats, accuracy: Floats, targets: Sequence[float], scores: Floats | None = None
) -> dict[str, Any]:
    """The record of one distribution by any true accuracies; shapes (cells,).

    Args:
        q: probabilities.
        accuracy: true accuracies, fractions.
        targets: accuracies to reach, fractions.
        scores: one-shot scores; without them, what needs them is null.

    Raises:
        PdnasError: a target is no fraction.
    """
    if not all(0 <= target <= 1 for target in targets):  # NaN fails as well
        raise PdnasError(f"targets are accuracies from 0 to 1, not {', '.join(map(str, targets))}")
    best = float(accuracy.max())
    # Forty thresholds, multiples of half a point, up to the last one below the optimum.
    thresholds = (np.floor(best * 200) - np.arange(39, -1, -1)) / 200
    record: dict[str, Any] = {
        "mean_accuracy": mean_accuracy(q, accuracy),
        "uniform_mean_accuracy": float(accuracy.mean()),
        "mode_accuracy": mode_accuracy(q, accuracy),
        "best_accuracy": best,
        "targets": reaching(q, accuracy, targets),
        "mass_by_accuracy": {
            "threshold": thresholds.tolist(),
            "mass": mass_at_least(q, accuracy, thresholds).tolist(),
            "uniform_mass": mass_at_least(uniform(q.size), accuracy, thresholds).tolist(),
        },
        "best_of_n": _curves(q, accuracy, accuracy),
    }
    if scores is None:
        return record | dict.fromkeys(("chosen_of_n", "kendall_tau", "kendall_tau_top"))
    top = accuracy >= np.quantile(accuracy, 0.9)
    return record | {
        "chosen_of_n": _curves(q, scores, accuracy),
        "kendall_tau": finite_or_none(kendall_tau(scores, accuracy)),
        "kendall_tau_top": finite_or_none(kendall_tau(scores[top], accuracy[top])),
    }


def summarise_seeds(records: Sequence[Mapping[str, Any]], level: float = 0.95) -> dict[str, Any]:
    """Several seeds of one search together, ready for JSON.

    Accuracies have Student's t interval; masses, sample counts and speed-ups, which differ by
    factors and are reciprocals of each other, the geometric one (:mod:`pdnas.support.statistics`).
    All records must have the same targets. Intervals end where a quantity does: a target takes one
    sample at least.

    Raises:
        PdnasError: the records are about different cells.
    """
    if len({frozenset(record["operations"]) for record in records}) > 1:
        raise PdnasError("seeds of one search choose from the same operations; these do not")

    def mean(seeds: Sequence[Mapping[str, Any]], quantity: str) -> dict[str, Any]:
        values = [seed[quantity] for seed in seeds]
        return confidence_interval(values, level).within(0, 1).to_json()

    def reach(same: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        masses, base = [seed["mass"] for seed in same], same[0]["uniform_mass"]
        speedup = None
        if base:
            ratios = geometric_interval([mass / base for mass in masses], level)
            speedup = ratios.within(0, expected_draws(base)).to_json()
        return {
            "target": same[0]["target"],
            "mass": geometric_interval(masses, level).within(0, 1).to_json(),
            "expected_samples": expected_draws_over_seeds(masses, level).to_json(),
            "uniform_expected_samples": same[0]["uniform_expected_samples"],
            "speedup": speedup,
        }

    summary: dict[str, Any] = {"seeds": len(records), "datasets": {}}
    for name in records[0]["datasets"]:
        seeds = [record["datasets"][name] for record in records]
        summary["datasets"][name] = {
            "mean_accuracy": mean(seeds, "mean_accuracy"),
            "mode_accuracy": mean(seeds, "mode_accuracy"),
            "uniform_mean_accuracy": seeds[0]["uniform_mean_accuracy"],
            "targets": list(map(reach, zip(*(seed["targets"] for seed in seeds), strict=True))),
        }
    return summary


def write_efficiency(
    path: Path,
    record: Mapping[str, Any],
    run: Path,
    targets: Mapping[TruthData, Sequence[float]],
    stopwatch: Stopwatch,
    force: bool = False,
) -> None:
    """Write ``efficiency.json``, marked as the run's if ``run`` has a record of its search.

    Raises:
        PdnasError: something else is there, and no ``force`` is to replace it.
    """
    made_by = run / layout.RUN
    search = files.read_json(made_by) if made_by.is_file() else {}
    config = {"targets": {name: list(values) for name, values in targets.items()}}
    written = {**record, "provenance": provenance(config, search.get("seed"), stopwatch)}
    owner = run_identity(search) if search else None
    kept.record_like(path, written, owner, force)
    files.write_json(path, written, owner)


def own_truth(runs: Sequence[Path], known: Sequence[Data], truth: str) -> Data:
    """The data set of a truth that runs were all trained on.

    A folder without ``run.json``, which says nothing of data, counts as one of the first data set.

    Args:
        known: the truth's data sets.
        truth: what it is called.

    Raises:
        PdnasError: their data sets differ, or the truth does not know it.
    """
    trained_on = set()
    for run in runs:
        path = run / layout.RUN
        record = files.read_json(path) if path.is_file() else {}
        trained_on.add(record.get("spec", {}).get("data", {}).get("name", known[0]))
    own = [name for name in known if {name} == trained_on]
    if not own:
        raise PdnasError(
            f"trained on {' and '.join(sorted(trained_on))}, and {truth} knows {', '.join(known)}; "
            "name the dataset to be judged by (--dataset)"
        )
    return own[0]


def require_seeds_of_one_search(runs: Sequence[Path]) -> None:
    """Hold runs to differ in their seeds alone: a mean over two searches is that of none.

    Of a folder without ``run.json`` nothing is known but where it is.

    Raises:
        PdnasError: a folder is given twice, or two have one seed, which would narrow every
            interval; or two were searched with different settings.
    """
    found: dict[object, Path] = {}
    records = {
        run: files.read_json(run / layout.RUN) for run in runs if (run / layout.RUN).is_file()
    }
    settings = [(run, _settings(record)) for run, record in records.items()]
    for (one, first), (other, second) in pairwise(settings):
        # An earlier version's record may lack a setting.
        for setting in sorted(first.keys() & second.keys()):
            if first[setting] != second[setting]:
                raise PdnasError(
                    f"{one} and {other} were searched with different settings ({setting}), and are "
                    "no seeds of one search; ask about each of them"
                )
    for run in runs:
        # Runs that differ in their candidates alone may have one supernet.
        key = records[run].get("seed") if run in records else run.resolve()
        if key in found:
            raise PdnasError(
                f"{found[key]} and {run} are the same search; each seed counts once, leave one out"
            )
        found[key] = run


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the search of a ``run.json`` was told, in one level."""
    spec = record.get("spec") or {}
    return flatten({part: spec.get(part) or {} for part in SEARCH_PARTS})


def owner_of(run: Path) -> str | None:
    """Whose a run's files are; None: its folder has no record of its search."""
    path = run / layout.RUN
    return run_identity(files.read_json(path)) if path.is_file() else None


def load_probabilities(run: Path) -> tuple[CellSpace, Floats]:
    """The cells that a run can choose, and the probabilities that its posterior gives to them.

    Args:
        run: folder with ``posterior.safetensors``.

    Returns:
        The run's space, and an array of shape (cells,) in the order of its cells.

    Raises:
        PdnasError: no such file, or its distribution is none over NAS-Bench-201's cells.
    """
    from pdnas.runs.distributions import load_posterior
    from pdnas.space.posterior import CategoricalPosterior

    path = run / layout.POSTERIOR
    loaded = load_posterior(path)
    space = loaded.space if isinstance(loaded, CategoricalPosterior) else None
    if not isinstance(loaded, CategoricalPosterior) or not isinstance(space, CellSpace):
        raise PdnasError(f"{path} holds no distribution over cells; give a run of nasbench201")
    if unknown := set(space.operations) - set(OPERATIONS):
        raise PdnasError(f"{path} has operations the benchmark lacks: {', '.join(sorted(unknown))}")
    return space, loaded.architecture_probabilities()


def load_size_probabilities(run: Path) -> Floats:
    """The probabilities that a run's posterior gives to the size space's networks, shape (32768,).

    A supernet of fewer channels than 64 stands for that of 64 with the same drop probabilities.

    Args:
        run: folder with ``posterior.safetensors``.

    Raises:
        PdnasError: no such file, or its gates are not the space's widths.
    """
    from pdnas.runs.distributions import load_posterior
    from pdnas.space.posterior import ChannelPosterior
    from pdnas.space.sizes import network_probabilities

    path = run / layout.POSTERIOR
    loaded = load_posterior(path)
    if not isinstance(loaded, ChannelPosterior):
        raise PdnasError(f"{path} is of cells, not of widths; give a run of natsbench-size")
    return network_probabilities(loaded)


def load_macro_probabilities(run: Path) -> Floats:
    """The probabilities that a run's posterior gives to NAS-Bench-Macro's networks, shape (6561,).

    Args:
        run: folder with ``posterior.safetensors``.

    Raises:
        PdnasError: no such file, or its distribution is over other architectures.
    """
    from pdnas.runs.distributions import load_posterior
    from pdnas.space.posterior import CategoricalPosterior

    path = run / layout.POSTERIOR
    loaded = load_posterior(path)
    if not isinstance(loaded, CategoricalPosterior) or not isinstance(loaded.space, MacroSpace):
        raise PdnasError(f"{path} is of other architectures; give a run of nasbench-macro")
    return loaded.architecture_probabilities()


def load_scores(
    path: Path, space: CategoricalSpace = CellSpace(), owner: str | None = None
) -> Floats:
    """One-shot scores of a whole space, shape (len(space),), in the order of its architectures.

    Args:
        path: Parquet table with the columns ``cell_id`` (the benchmark's) and ``score``, a row an
            architecture in any order.
        space: the architectures that must be there.
        owner: the run whose supernet is to have scored them; None: whichever.

    Raises:
        PdnasError: no such table, another run's, a cell without a finite score, one with two or
            none of the space's, or ids of an earlier version, which were the run's own.
    """
    made_by = path.with_suffix(".json")
    if made_by.is_file() and isinstance(space, CellSpace):
        space.require_benchmark_ids(files.read_json(made_by), made_by)
    table, ids = files.read_table(path, owner), space.benchmark_ids()
    if {"cell_id", "score"} <= set(table):
        scores = table.set_index("cell_id")["score"]
        if np.array_equal(np.sort(scores.index), np.sort(ids)) and np.isfinite(scores).all():
            in_order: Floats = scores.reindex(ids).to_numpy(np.float64)
            return in_order
    raise PdnasError(
        f"{path} must have the columns cell_id and score, and a finite score of each of the "
        f"{ids.size} {space.ARCHITECTURE}s of the run's space once ({space.OPTION}s: "
        f"{', '.join(space.options)}); score the {space.ARCHITECTURE}s again"
    )
