"""Searches of the table that train nothing: what sampling from a posterior is compared with.

The protocol is that of NAS-Bench-201's authors (Dong and Yang, ICLR 2020, section 5): a search sees
the *signal* of each cell it asks for, the validation accuracy after 12 epochs; what it is judged by
is the *true accuracy*, on the test set after 200 epochs, of the cell with the best signal so far.
Cost is counted in queries, and in GPU hours (:mod:`pdnas.truth.seconds`; the authors allow 12 000
seconds a search, about 109 queries on CIFAR-10). Other truths of one-of-many switches are searched
alike; what their signal is, :meth:`pdnas.truth.tables.Truth.signal` says.

A method takes the space, the signal of all architectures (the higher, the better), one generator a
seed and a number of queries, and returns those it asks for, in order, shape (seeds, queries). It
looks only at the signals of what it has asked for, a seed's queries depend on nothing but its
generator, and more queries go on where fewer end. A new method is one such function, a line in
:data:`METHODS` and its name in :mod:`pdnas.spec.names`; the tests hold all methods to this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from pdnas.space.categorical import CategoricalSpace, pair_features
from pdnas.space.cells import EDGES, CellSpace
from pdnas.spec.names import RivalMethod
from pdnas.support.errors import PdnasError
from pdnas.support.statistics import confidence_interval, finite_or_none, normal_scores
from pdnas.truth.noise import DRAWS, TWO_SIDED_95, factor_ends, pair_spread, retrained_pairs
from pdnas.truth.sampling import QUANTILES, Floats
from pdnas.truth.seconds import query_seconds, search_hours
from pdnas.truth.tables.base import Truth
from pdnas.truth.tables.nasbench201 import NasBench201

if TYPE_CHECKING:
    import pandas as pd

Ids = NDArray[np.int64]
Method = Callable[[CategoricalSpace, Floats, Sequence[Generator], int], Ids]


def random_search(
    space: CategoricalSpace, signal: Floats, generators: Sequence[Generator], queries: int
) -> Ids:
    """Uniform samples with replacement."""
    return np.stack([rng.integers(len(space), size=queries) for rng in generators])


def regularised_evolution(
    space: CategoricalSpace,
    signal: Floats,
    generators: Sequence[Generator],
    queries: int,
    population: int = 10,
    tournament: int = 3,
) -> Ids:
    """Aging evolution (Real et al., AAAI 2019, algorithm 1), as NAS-Bench-201's authors run it.

    A child changes the option of one switch of the best of a tournament, and the oldest of the
    population dies: the population is always the last architectures asked for.

    Args:
        population: architectures alive; the default is the authors'.
        tournament: of these, those that are drawn to become a parent, with replacement; likewise.
    """
    options = len(space.options)
    start = np.stack([rng.integers(len(space), size=population) for rng in generators])
    uniform = np.stack([rng.random((queries, tournament + 2)) for rng in generators])
    entrants = (uniform[..., :tournament] * population).astype(np.int64)
    switch = np.searchsorted(_changed(space).cumsum()[:-1], uniform[..., -2])
    shift = 1 + (uniform[..., -1] * (options - 1)).astype(np.int64)

    seeds = np.arange(len(generators))
    asked = np.empty((len(generators), queries), dtype=np.int64)
    asked[:, :population] = start[:, :queries]
    for step in range(population, queries):
        alive = asked[:, step - population : step]
        drawn = np.take_along_axis(alive, entrants[:, step], axis=1)
        child = space.codes[drawn[seeds, signal[drawn].argmax(axis=1)]].copy()
        changed = child[seeds, switch[:, step]] + shift[:, step]
        child[seeds, switch[:, step]] = changed % options
        asked[:, step] = space.ids(child)
    return asked


def _changed(space: CategoricalSpace) -> Floats:
    """Probability that a mutation changes a switch, shape (switches,).

    Of a cell NAS-Bench-201's authors choose a node first and then one of the edges into it, so the
    few edges into early nodes change more often. Other switches are all alike.
    """
    if not isinstance(space, CellSpace):
        return np.full(len(space.SWITCHES), 1 / len(space.SWITCHES))
    nodes = np.array([target for _, target in EDGES])
    edges: Floats = 1 / (len(set(nodes)) * np.array([(nodes == node).sum() for node in nodes]))
    return edges


LEARNING_RATE, BASELINE_MOMENTUM = 0.01, 0.9
"""Of REINFORCE, what the benchmark's authors use for NATS-Bench (AutoDL-Projects,
exps/NATS-algos/run-all.sh). The 0.5 in their older list of commands settles on one cell within 30
queries and reaches 93.2 % on CIFAR-10, not the 93.85 % that they report."""


def reinforce(
    space: CategoricalSpace, signal: Floats, generators: Sequence[Generator], queries: int
) -> Ids:
    """Policy gradient, one categorical a switch (Williams 1992), as NAS-Bench-201's authors do it.

    One architecture a step; the reward is the signal in percent less its bias-corrected exponential
    moving average, which already has the step's own reward in it; Adam.
    """
    shape = (len(space.SWITCHES), len(space.options))
    logits = np.stack([1e-3 * rng.standard_normal(shape) for rng in generators])
    uniform = np.stack([rng.random((queries, shape[0], 1)) for rng in generators])
    first, second = np.zeros_like(logits), np.zeros_like(logits)  # Adam's moments
    average = np.zeros(len(generators))
    asked = np.empty((len(generators), queries), dtype=np.int64)
    for step in range(queries):
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        policy = odds / odds.sum(axis=-1, keepdims=True)
        cells = (uniform[:, step] > policy.cumsum(axis=-1)[..., :-1]).sum(axis=-1)
        asked[:, step] = space.ids(cells)
        reward = 100 * signal[asked[:, step]]
        average = BASELINE_MOMENTUM * average + (1 - BASELINE_MOMENTUM) * reward
        advantage = reward - average / (1 - BASELINE_MOMENTUM ** (step + 1))
        chosen = cells[..., None] == np.arange(shape[1])
        gradient = advantage[:, None, None] * (policy - chosen)  # of the loss, so descend
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        mean, spread = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        logits -= LEARNING_RATE * mean / (np.sqrt(spread) + 1e-8)
    return asked


def local_search(
    space: CategoricalSpace, signal: Floats, generators: Sequence[Generator], queries: int
) -> Ids:
    """Steepest ascent with restarts (White, Nolen and Savani, UAI 2021, arXiv 2005.02960).

    Ask for every architecture that differs in one switch, go to the best, stop where none is
    better, and start again from a random one. None is asked for twice.
    """
    around = neighbours(space)
    return np.stack([_climb(around, signal, rng, queries) for rng in generators])


def neighbours(space: CategoricalSpace) -> Ids:
    """What differs in exactly one switch, shape (architectures, switches · (options - 1))."""
    options, one = len(space.options), np.eye(len(space.SWITCHES), dtype=np.int8)
    changed = [
        space.ids((space.codes + shift * switch) % options)
        for switch in one
        for shift in range(1, options)
    ]
    return np.stack(changed, axis=1)


def _climb(neighbours: Ids, signal: Floats, rng: Generator, queries: int) -> Ids:
    starts = iter(rng.permutation(len(neighbours)))
    seen = np.zeros(len(neighbours), dtype=bool)
    asked: list[int] = []

    def ask(cells: Ids) -> None:
        fresh = cells[~seen[cells]]
        seen[fresh] = True
        asked.extend(fresh.tolist())

    while len(asked) < queries:
        here = next(starts)
        if seen[here]:
            continue
        ask(np.array([here]))
        while len(asked) < queries:
            around = rng.permutation(neighbours[here])
            ask(around)
            best = around[signal[around].argmax()]
            if signal[best] <= signal[here]:
                break
            here = best
    return np.array(asked[:queries])


INITIAL, BATCH = 20, 10
"""Of the predictor-based search: random cells to begin with, cells between two fits."""


def predictor_search(
    space: CategoricalSpace, signal: Floats, generators: Sequence[Generator], queries: int
) -> Ids:
    """Bayesian linear regression on pairs of switches, and Thompson sampling over the space.

    The features are the options of each switch and of each pair of switches, one-hot; the target is
    the normal score of a signal's rank, since a few broken cells are far below all others. After
    every fit, ``BATCH`` draws of the weights from their posterior each ask for the architecture
    that they predict to be best among those not asked for (Thompson, Biometrika 1933).
    """
    features = pair_features(space)
    return np.stack([_predict(features, signal, rng, queries) for rng in generators])


def _predict(features: Floats, signal: Floats, rng: Generator, queries: int) -> Ids:
    from sklearn.linear_model import BayesianRidge
    from threadpoolctl import threadpool_limits

    asked = rng.permutation(len(features))[:INITIAL]
    with threadpool_limits(1):  # the matrices are small: threads would only wait for each other
        while len(asked) < queries:
            model = BayesianRidge().fit(features[asked], normal_scores(signal[asked]))
            root = np.linalg.cholesky(model.sigma_)
            noise = rng.standard_normal((BATCH, len(root)))
            for predicted in (model.coef_ + noise @ root.T) @ features.T:
                predicted[asked] = -np.inf
                asked = np.append(asked, predicted.argmax())
    return asked[:queries]


def tpe_search(
    space: CategoricalSpace, signal: Floats, generators: Sequence[Generator], queries: int
) -> Ids:
    """Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), with Optuna's defaults.

    One categorical a switch. The defaults depend on Optuna's version: 4 models each edge alone, 5
    all of them together.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else it announces every study
    options = range(len(space.options))
    asked = np.empty((len(generators), queries), dtype=np.int64)
    for row, rng in zip(asked, generators, strict=True):
        sampler = optuna.samplers.TPESampler(seed=int(rng.integers(2**32)))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for step in range(queries):
            trial = study.ask()
            codes = [trial.suggest_categorical(name, options) for name in space.SWITCHES]
            row[step] = space.ids(np.array(codes))
            study.tell(trial, float(signal[row[step]]))
    return asked


METHODS: Mapping[RivalMethod, Method] = {
    "random": random_search,
    "evolution": regularised_evolution,
    "evolution-30": partial(regularised_evolution, population=30, tournament=10),
    "reinforce": reinforce,
    "local-search": local_search,
    "predictor": predictor_search,
    "tpe": tpe_search,
}
"""Every method by the name it has on the command line."""

LIBRARIES: Mapping[RivalMethod, str] = {"tpe": "optuna"}
"""Packages that a method is taken from, so that its results depend on their versions."""


def search(
    method: RivalMethod,
    signal: ArrayLike,
    seeds: Sequence[int],
    queries: int,
    space: CategoricalSpace,
) -> Ids:
    """The architectures that a method asks for.

    Args:
        method: a name of :data:`METHODS`.
        signal: what a query shows, shape (len(space),), in the order of ``space``'s ids; the
            higher, the better.
        seeds: one search each; its queries do not depend on the other seeds.
        queries: architectures that each search asks for; a repeated one counts again.
        space: the architectures.

    Returns:
        Ids, shape (len(seeds), queries).

    Raises:
        PdnasError: no seed, a signal of another length, or a number of queries
            outside 1 … len(space).
    """
    values = np.asarray(signal, dtype=np.float64)
    if values.shape != (len(space),):
        raise PdnasError(f"the signal must have one value for each of the {len(space)} cells")
    if not seeds:
        raise PdnasError("give one seed or more")
    if not 1 <= queries <= len(space):
        raise PdnasError(f"the number of queries must lie between 1 and {len(space)}")
    generators = [np.random.default_rng(seed) for seed in seeds]
    return METHODS[method](space, values, generators, queries)


def trace(asked: Ids, seeds: Sequence[int], signal: Floats, accuracy: Floats) -> pd.DataFrame:
    """What each search knew after each query, one row a seed and query.

    Columns: ``seed``, ``query`` (from 1), ``cell_id``, ``signal`` and ``accuracy`` (the true one)
    of what was asked for; ``best_cell_id``, ``best_signal`` and ``best_accuracy`` of what has the
    best signal so far (the first of equals). A ``cell_id`` is a row of the truth.

    Args:
        asked: cell ids, shape (seeds, queries).
        seeds: their names, shape (seeds,).
        signal: of every cell, shape (cells,).
        accuracy: true accuracy of every cell, shape (cells,).
    """
    import pandas as pd

    shown = signal[asked]
    record = np.maximum.accumulate(shown, axis=1)
    # Where a record is broken, its position; between records the last one's.
    broken = np.diff(record, axis=1, prepend=-np.inf) > 0
    leader = np.maximum.accumulate(np.where(broken, np.arange(asked.shape[1]), 0), axis=1)
    best = np.take_along_axis(asked, leader, axis=1)
    columns = {
        "seed": np.repeat(np.asarray(seeds, dtype=np.int64), asked.shape[1]),
        "query": np.tile(np.arange(1, asked.shape[1] + 1), asked.shape[0]),
        "cell_id": asked.ravel(),
        "signal": shown.ravel(),
        "accuracy": accuracy[asked].ravel(),
        "best_cell_id": best.ravel(),
        "best_signal": record.ravel(),
        "best_accuracy": accuracy[best].ravel(),
    }
    return pd.DataFrame(columns)


def queries_to_reach(reached: Floats, targets: ArrayLike) -> Floats:
    """Queries until a cell of true accuracy ≥ target was asked for, inf where none was.

    Args:
        reached: true accuracies of the cells asked for, shape (seeds, queries).
        targets: shape (targets,).

    Returns:
        Shape (seeds, targets).
    """
    hit = reached[:, None, :] >= np.asarray(targets, dtype=np.float64)[:, None]
    first: Floats = np.where(hit.any(axis=-1), hit.argmax(axis=-1) + 1.0, np.inf)
    return first


def expected_queries(first: Floats, queries: int) -> float:
    """Expected queries until a target is reached, if a failed search is begun anew.

    It is Σ min(first, queries) / (searches that succeed), the counterpart of a distribution's
    expected number of samples; inf where none succeeds.

    Args:
        first: queries that each search needed, inf where it failed, shape (searches,).
        queries: after which a search gives up.
    """
    hits = int(np.isfinite(first).sum())
    return float(np.minimum(first, queries).sum() / hits) if hits else float("inf")


def noise_of_searches(
    asked: Ids, chosen: Ids, accuracy: Floats, pairs: Floats, targets: Sequence[float]
) -> dict[str, Any]:
    """What the noise of the truth leaves of searches, whose signal stays: 95 % intervals.

    Args:
        asked: cell ids, shape (seeds, queries).
        chosen: by each search in the end, shape (seeds,).
        accuracy: of every cell, shape (cells,).
        pairs: accuracies of new trainings, shape (draws, 2, cells); see :mod:`pdnas.truth.noise`.
        targets: accuracies to reach, fractions.

    Returns:
        ``chosen_accuracy``: ``low`` and ``high`` of its mean; ``targets``: of each
        ``expected_queries`` with ``low`` and ``high``, null where a target is not reached in some
        of the tables.
    """
    tables = pairs.reshape(-1, pairs.shape[-1])
    shift = TWO_SIDED_95 * pair_spread(pairs[..., chosen].mean(axis=-1))
    mean = float(accuracy[chosen].mean())
    logs = np.empty((len(tables), len(targets)))
    for row, table in zip(logs, tables, strict=True):
        row[:] = np.log(_expected_by_target(table[asked], targets))
    intervals = []
    for value, column in zip(_expected_by_target(accuracy[asked], targets), logs.T, strict=True):
        with np.errstate(invalid="ignore"):
            spread = pair_spread(column.reshape(-1, 2))
        ends = factor_ends(value, spread, least=1.0)
        numbers = zip(("expected_queries", "low", "high"), (value, *ends), strict=True)
        intervals.append({name: finite_or_none(number) for name, number in numbers})
    return {"chosen_accuracy": {"low": mean - shift, "high": mean + shift}, "targets": intervals}


def _expected_by_target(reached: Floats, targets: Sequence[float]) -> list[float]:
    needed = queries_to_reach(reached, targets)
    return [expected_queries(column, reached.shape[1]) for column in needed.T]


def summarise_searches(table: pd.DataFrame, targets: Sequence[float]) -> dict[str, Any]:
    """What ``rival.json`` says about a :func:`trace`; see docs/files.md.

    A seed that does not reach a target is not left out: it counts as infinitely many queries, so
    the mean is null then, and a quantile is null where it falls among such seeds.
    """
    by_seed = table.pivot(index="seed", columns="query", values=["accuracy", "best_accuracy"])
    needed = queries_to_reach(by_seed["accuracy"].to_numpy(), targets)
    chosen, budget = by_seed["best_accuracy"].to_numpy()[:, -1], int(table["query"].max())
    return {
        "seeds": len(by_seed),
        "queries": budget,
        "chosen_accuracy": {
            **confidence_interval(chosen).within(0, 1).to_json(),
            "standard_deviation": finite_or_none(chosen.std(ddof=1)) if chosen.size > 1 else None,
        },
        "targets": [
            {
                "target": float(target),
                "reached": float(np.isfinite(values).mean()),
                "queries": confidence_interval(values).within(1, budget).to_json(),
                **{
                    f"quantile_{round(100 * level):02d}": finite_or_none(
                        np.quantile(values, level, method="inverted_cdf")
                    )
                    for level in QUANTILES
                },
            }
            for target, values in zip(targets, needed.T, strict=True)
        ],
    }


def compete(
    method: RivalMethod, truth: Truth, dataset: str, seeds: Sequence[int], queries: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Search a truth's table: the :func:`trace`, and what ``rival.json`` says about it.

    Raises:
        PdnasError: as :func:`search`, or the truth has no space of one-of-many switches.
    """
    if truth.space is None:
        raise PdnasError(f"{truth.name} has no one-of-many switches, which these methods search")
    asked = search(method, truth.signal(dataset), seeds, queries, truth.space)
    package = LIBRARIES.get(method)
    library = f"{package} {version(package)}" if package else None
    return judge(method, library, truth, dataset, seeds, asked)


def judge(
    method: str, library: str | None, truth: Truth, dataset: str, seeds: Sequence[int], asked: Ids
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The :func:`trace` of searches of a truth's table, and what ``rival.json`` says.

    Args:
        method: its name.
        library: name and version of what the method is taken from, if it is not ours.
        asked: rows, shape (seeds, queries).
    """
    accuracy, targets = truth.accuracy(dataset), truth.targets[dataset]
    table = trace(asked, seeds, truth.signal(dataset), accuracy)
    summary = summarise_searches(table, targets)
    chosen = table["best_cell_id"].to_numpy()[asked.shape[1] - 1 :: asked.shape[1]]
    pairs = retrained_pairs(truth, dataset, DRAWS)
    noise = noise_of_searches(asked, chosen, accuracy, pairs, targets)
    summary["chosen_accuracy"]["retrained"] = noise["chosen_accuracy"]
    hours: dict[str, Any] = {"whole": None, "targets": [None] * len(targets)}
    if isinstance(truth, NasBench201):  # of the others nobody knows what a query takes
        hours = search_hours(asked, query_seconds(truth, dataset), accuracy, targets)
    for each, until, new in zip(
        summary["targets"], hours["targets"], noise["targets"], strict=True
    ):
        each["gpu_hours"] = until
        each["retrained"] = new
    return table, {
        "method": method,
        "library": library,
        "dataset": dataset,
        **summary,
        "gpu_hours": hours["whole"],
    }
