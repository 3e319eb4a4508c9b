"""Studies of gates on channels: the variants, and differences paired by seed."""

from __future__ import annotations

import collections.abc
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

from contrib.numbers.published import STAND_INS, part, published
from pdnas.report import catalogue
from pdnas.report.collect import Collection
from pdnas.report.columns import words
from pdnas.report.formats import Cell, Column, Table, text
from pdnas.report.measures import by_seed, estimate, mean_validation_error, minus
from pdnas.runs.run import Run
from pdnas.spec import selection
from pdnas.spec.roles import source_of

SEEDS = Column("seeds", "seeds")
THOUSANDS = 1e-3
POINTS = Column("", "", decimals=1)


def networks(folder: str) -> Table:
    """The variants of study ``multibranch``."""
    collection = published()[folder]
    rows = _network_rows(collection, "multibranch")
    return Table("networks", "", (words("variant"), *NETWORK), tuple(rows))


def stand_ins() -> Table:
    """The variants of every study of scale ``stand-ins``."""
    collection = published()[STAND_INS]
    rows = [
        (study, *row)
        for study in collection.scale.studies
        for row in _network_rows(collection, study)
    ]
    columns = (words("study"), words("variant"), *NETWORK)
    return Table("stand-ins", "", columns, tuple(rows))


def stand_ins_together() -> str:
    """Guided against random candidates over all supernets: each study's mean counts once."""
    collection = published()[STAND_INS]
    gaps = [
        fmean(minus(*(by_seed(collection, study, v) for v in ("guided", "random"))).values())
        for study in collection.scale.studies
    ]
    better = sum(gap < 0 for gap in gaps)
    return (
        f"Over the {len(gaps)} studies, test error of guided minus random candidates of equal size "
        f"is {text(estimate(gaps), POINTS)} points, the mean of the studies' means. In {better} of "
        "them guided ones are better."
    )


def _network_rows(collection: Collection, study: str) -> list[tuple[Cell, ...]]:
    """Cells of :data:`NETWORK` for each variant of a study, after its name."""
    rows: list[tuple[Cell, ...]] = []
    for variant in dict.fromkeys(run.variant for run in collection.runs if run.study == study):
        of = partial(by_seed, collection, study, variant)
        runs = collection.find(study, variant)
        source = source_of(collection.scale.spec(study, variant))
        sizes = [THOUSANDS * size for size in of(column="parameters").values()]
        rows.append(
            (
                variant,
                *map(
                    _estimate,
                    (
                        of().values(),
                        of("finetune").values(),
                        mean_validation_error(runs, source).values(),
                        of(column="supernet_validation_error").values(),
                        sizes,
                    ),
                ),
                *_drop_probabilities(runs),
                len(runs),
            )
        )
    return rows


def _estimates(**headings: str) -> list[Column]:
    """Columns of estimates with one decimal, by their keys."""
    return [Column(key, each, decimals=1, estimate=True) for key, each in headings.items()]


def _estimate(values: collections.abc.Collection[float]) -> Cell:
    return estimate(values) if values else None


NETWORK = (
    *_estimates(
        error="test error [%]",
        finetuned="fine-tuned [%]",
        all="all candidates, validation error [%]",
        kept="everything kept, validation error [%]",
        size="parameters [thousands]",
    ),
    Column("drop", "drop probability: mean of gates"),
    Column("least", "least", digits=2),
    Column("most", "greatest", digits=2),
    SEEDS,
)
"""What is said of a variant."""


def _drop_probabilities(runs: Sequence[Run]) -> tuple[Cell, Cell, Cell]:
    """Of the gates in the end: their mean with its interval; the least and the greatest."""
    learned = [run for run in runs if run.spec.gates.mode != "none"]
    found = [table for run in learned if (table := run.trajectory()) is not None]
    ends = [
        table.loc[(table["epoch"] == table["epoch"].max()) & (table["option"] == "drop")]
        for table in found
    ]
    seeds = [end["probability"] for end in ends if len(end)]
    if not seeds:
        return None, None, None
    return (
        estimate(each.mean() for each in seeds),
        min(each.min() for each in seeds),
        max(each.max() for each in seeds),
    )


def differences() -> Table:
    """Comparisons of scale ``laptop`` that are no claim of the paper's."""
    collection, study = published()["laptop"], "multibranch"

    def of(variant: str, **what: str) -> dict[int, float]:
        return by_seed(collection, study, variant, **what)  # type: ignore[arg-type]

    def all_of(variant: str, source: str) -> dict[int, float]:
        return mean_validation_error(collection.find(study, variant), source)

    def kept(variant: str) -> dict[int, float]:
        return of(variant, column="supernet_validation_error")

    guided, random = all_of("guided", "posterior"), all_of("random", "random")
    compared: dict[str, tuple[Mapping[int, float], Mapping[int, float]]] = {
        "guided minus random, both fine-tuned: test error": (
            of("guided", mode="finetune"),
            of("random", mode="finetune"),
        ),
        "guided minus random: mean validation error of all candidates": (guided, random),
        "guided at l² = 50 minus the whole network: test error": (of("guided-l2-50"), of("full")),
        "guided at temperature 2/3 minus 1/5: test error": (of("guided-tau-2-3"), of("guided")),
        "100 candidates minus 30: test error": (of("guided-100-candidates"), of("guided")),
        "guided, everything kept minus the mean candidate: validation error": (
            kept("guided"),
            guided,
        ),
        "random, everything kept minus the mean candidate: validation error": (
            kept("random"),
            random,
        ),
    }
    rows = []
    for question, (first, second) in compared.items():
        gap = minus(first, second)
        rows.append((question, estimate(gap.values()), len(gap)))
    columns = (words("question"), Column("points", "points", estimate=True), SEEDS)
    return Table("differences", "", columns, tuple(rows))


def ablations() -> Table:
    """Study ``ablations``: each variant beside the guided one."""
    collection, study = published()["laptop"], "ablations"
    guided = collection.roles[study].guided
    changed = {guided: ("", "")} | selection.ablations(collection.scale, study)
    rows: list[tuple[Cell, ...]] = []
    for variant, (field, value) in changed.items():
        cells: list[Cell] = []
        for column, factor in {"test_error": 1.0, "parameters": THOUSANDS}.items():
            own, other = (
                {
                    seed: factor * number
                    for seed, number in by_seed(collection, study, name, column=column).items()
                }
                for name in (variant, guided)
            )
            gap = None if variant == guided else estimate(minus(own, other).values())
            cells += [estimate(own.values()), gap]
        setting = f"`{field}: {value}`" if field else "–"
        rows.append((variant, setting, *cells, len(collection.find(study, variant))))
    columns = (
        words("variant"),
        words("changed"),
        *_estimates(
            error="test error [%]",
            more="minus guided [points]",
            size="parameters [thousands]",
            larger="minus guided [thousands]",
        ),
        SEEDS,
    )
    return Table("ablations", "", columns, tuple(rows))


def extraction(folder: str) -> Table:
    """Chosen candidates as networks of their own."""
    return part(
        catalogue.table("extraction", published()[folder]),
        {
            "study": "study",
            "variant": "variant",
            "ours_masked_share_pct": "parameters kept by the masks [%]",
            "ours_arithmetic_pct": "multiply-adds left [%]",
            "ours_speedup": "times as fast as masked",
            "ours_seeds": "seeds",
        },
    )
