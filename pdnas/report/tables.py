"""The paper's tables, each with what it reports and what was measured here in separate columns.

A table is a function from a :class:`~pdnas.report.collect.Collection` to a
:class:`~pdnas.report.formats.Table`. Reported numbers come from
``pdnas/paper/*.csv``; measured ones are means over seeds with their 95 % t-interval. A study of the
scale stands for one of the paper's supernets (``stands_for``), so the same code makes the tables of
a laptop and of the paper's own settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from pdnas.report.collect import (
    FULL,
    GUIDED,
    RANDOM,
    Collection,
    describe_supernet,
)
from pdnas.report.formats import NOT_RUN, OURS, PAPER, Cell, Column, Table
from pdnas.runs.records import describe_hardware
from pdnas.runs.run import Run
from pdnas.spec import selection
from pdnas.support.statistics import (
    Interval,
    confidence_interval,
    expected_best_of_subset,
    expected_draws,
    expected_draws_over_seeds,
    geometric_interval,
)

if TYPE_CHECKING:
    import pandas as pd

ERROR = Column("ours_test_error_pct", "test error [%]", OURS, estimate=True)
PARAMETERS = Column("ours_params_m", "parameters [M]", OURS, decimals=3, estimate=True)
MINUTES = Column("ours_minutes", "time [min]", OURS, decimals=1, estimate=True)
SEEDS = Column("ours_seeds", "seeds", OURS)
STUDY = Column("ours_study", "study", OURS, is_text=True)

PAPER_ERROR = Column("paper_test_error_pct", "test error [%]", PAPER)
PAPER_PARAMETERS = Column("paper_params_m", "parameters [M]", PAPER, decimals=1)

NOTHING_RUN = "Nothing of this table was run at this scale."

CHOSEN_BY_TRUTH = (
    "The search's settings were chosen by such true accuracies, of searches with a seed that is in "
    "no result, and one setting with another seed too (docs/nasbench201.md); in a space whose "
    "accuracies nobody knows, they would have to be chosen without."
)

MEAN_NOTE = (
    "Ours: mean ± half-width of the 95 % t-interval over seeds; a single seed has no interval. "
    "Time is the wall time of one seed, all its stages (search, ranking candidates, fine-tuning if "
    "any, test) but the drawing of candidates, which takes a moment."
)


def paper(name: str) -> pd.DataFrame:
    """The numbers the paper reports, from ``pdnas/paper/NAME.csv``."""
    import pandas as pd

    with resources.files("pdnas.paper").joinpath(f"{name}.csv").open("rb") as file:
        return pd.read_csv(file)


# --- measured cells -------------------------------------------------------------------------------


def estimate(values: Iterable[float | None]) -> Interval | str:
    """Mean and 95 % interval of what was measured, or "not run"."""
    known = [value for value in values if value is not None and not np.isnan(value)]
    return confidence_interval(known) if known else NOT_RUN


def measured(
    collection: Collection, study: str | None, variant: str, source: str, mode: str
) -> pd.DataFrame:
    """Rows, one a seed, of a variant's chosen candidate."""
    rows = collection.measurements
    return rows[
        (rows["study"] == study)
        & (rows["variant"] == variant)
        & (rows["source"] == source)
        & (rows["mode"] == mode)
    ]


def total_minutes(rows: pd.DataFrame) -> pd.Series[float]:
    """Wall time of all stages, a value a row of the measurements."""
    stages = [name for name in rows.columns if name.endswith("_seconds")]
    return rows[stages].astype(float).sum(axis="columns") / 60


def _error_size_time(rows: pd.DataFrame) -> tuple[Cell, Cell, Cell, Cell]:
    """Cells of the columns ERROR, PARAMETERS, MINUTES, SEEDS."""
    if rows.empty:
        return (NOT_RUN,) * 4
    return (
        estimate(rows["test_error"]),
        estimate(rows["parameters"] / 1e6),
        estimate(total_minutes(rows)),
        len(rows),
    )


def _swept(
    collection: Collection, field: str, mode: str
) -> Iterator[tuple[str, Any, Sequence[Cell]]]:
    """Of variants that differ in ``field`` and were measured: study, value, (study, *cells)."""
    for study in selection.on_cifar10(collection.scale):
        for variant, value in selection.sweep(collection.scale, study, field).items():
            rows = measured(collection, study, variant, "posterior", mode)
            if not rows.empty:
                yield study, value, (study, *_error_size_time(rows))


def _reported(value: Any) -> Cell:
    """A number of the paper; a gap in its table is None."""
    if isinstance(value, str):
        return value
    return None if value is None or np.isnan(value) else float(value)


def _join(
    reported: Mapping[Any, Sequence[Cell]],
    ours: Mapping[Any, Sequence[Sequence[Cell]]],
    keys: Iterable[Any],
    widths: tuple[int, int],
) -> tuple[tuple[Cell, ...], ...]:
    """Rows key + paper's cells + our study and its cells; several studies give several rows."""
    rows = []
    for key in keys:
        left = tuple(reported.get(key, (None,) * widths[0]))
        for right in ours.get(key) or [(None, *(NOT_RUN,) * (widths[1] - 1))]:
            rows.append((*(key if isinstance(key, tuple) else (key,)), *left, *right))
    return tuple(rows)


def _either(values: Iterable[int | str]) -> str:
    """``8000 or 16000``: what a study's variants may differ in."""
    return " or ".join(map(str, sorted(set(values), key=lambda value: (str(type(value)), value))))


def conditions(collection: Collection, studies: Iterable[str]) -> tuple[str, ...]:
    """Notes that say at which scale, on which supernets and on what hardware was measured."""
    measured_studies = {run.study for run in collection.runs}
    notes = [f"Scale {collection.name}: {collection.scale.description.rstrip('.')}."]
    used = [study for study in studies if study in measured_studies]
    for study in used:
        runs = [run for run in collection.runs if run.study == study]
        guided = next((run for run in runs if run.variant == GUIDED), runs[0])
        spec, stands_for = guided.spec, collection.scale.studies[study].stands_for
        role = f", standing for SupNet-{stands_for}" if stands_for else ""
        train = _either(
            "all other" if run.spec.data.train is None else run.spec.data.train for run in runs
        )
        count = _either(run.spec.candidates.count for run in runs)
        size = guided.record.get("supernet_parameters")
        parameters = f" ({size / 1e6:.3f} M parameters)" if size else ""
        epochs = spec.training.epochs
        notes.append(
            f"Study {study}{role}: {describe_supernet(spec)}{parameters}; {spec.data.name}, "
            f"{train} training and {spec.data.validation} validation images; "
            f"{epochs} epoch{'s' * (epochs > 1)}, batch {spec.training.batch}; "
            f"{count} candidates."
        )
    records = [
        each for run in collection.runs if run.study in used for each in run.records.values()
    ]
    made = [record["provenance"] for record in records]
    for label, values in (
        ("Hardware", {describe_hardware(each["hardware"]) for each in made}),
        ("Code", {str(each["code"]) for each in made}),
    ):
        if values:
            notes.append(f"{label}: {'; '.join(sorted(values))}.")
    if not used:
        notes.append(NOTHING_RUN)
    return tuple(notes)


# --- the paper's tables ---------------------------------------------------------------------------


def _against_published(
    collection: Collection, number: int, data: str, title: str, with_count: bool
) -> Table:
    """Tables 1 and 2: published searches, then our searches on the same data set."""
    studies = selection.stand_ins(collection.scale, (data,))
    ours: dict[str, list[Sequence[Cell]]] = {}
    for study, supernet in studies.items():
        if with_count:
            counts = selection.sweep(collection.scale, study, "candidates.count")
            additions = {variant: f" ({count} candidates)" for variant, count in counts.items()}
        else:
            priors = selection.sweep(collection.scale, study, "gates.prior")
            additions = {
                variant: " + constant L2 term" if prior == "constant" else ""
                for variant, prior in priors.items()
            }
        for variant, addition in additions.items():
            label = f"PGNAS-{supernet}{addition}"
            cells = _error_size_time(measured(collection, study, variant, "posterior", "none"))
            ours.setdefault(label, []).append((study, *cells))
    reported, search, names = {}, {}, {}
    for row in paper(f"table{number}_{data}").to_dict("records"):
        key = row["method"].replace("*", "")  # the paper marks its second PGNAS-MI with a star
        names[key] = row["method"]
        search[key] = row["search_method"]
        reported[key] = [
            _reported(row[name]) for name in ("test_error_pct", "gpu_days", "params_m")
        ]
    rows = _join(reported, ours, dict.fromkeys([*reported, *ours]), (3, 5))
    return Table(
        f"table{number}",
        title,
        (
            Column("method", "method", is_text=True),
            Column("search_method", "search", is_text=True),
            PAPER_ERROR,
            Column("paper_gpu_days", "GPU days", PAPER, decimals=None),
            PAPER_PARAMETERS,
            STUDY,
            ERROR,
            PARAMETERS,
            MINUTES,
            SEEDS,
        ),
        tuple(
            (names.get(str(row[0]), row[0]), search.get(str(row[0]), "guided sampling"), *row[1:])
            for row in rows
        ),
        (MEAN_NOTE, *conditions(collection, studies)),
    )


def table1(collection: Collection) -> Table:
    """CIFAR-10 against published searches."""
    title = "Table 1 of the paper: CIFAR-10, our searches beside published ones"
    return _against_published(collection, 1, "cifar10", title, with_count=True)


def table2(collection: Collection) -> Table:
    """CIFAR-100 against published searches, and the constant L2 term."""
    title = "Table 2 of the paper: CIFAR-100, our searches beside published ones"
    return _against_published(collection, 2, "cifar100", title, with_count=False)


TABLE3_METHODS = {
    "full model": (FULL, "full", "none"),
    "random w/o FT": (RANDOM, "random", "none"),
    "random w/ FT": (RANDOM, "random", "finetune"),
    "PGNAS": (GUIDED, "posterior", "none"),
    "PGNAS w/ FT": (GUIDED, "posterior", "finetune"),
}
"""Table 3's methods as (variant, source, mode); the last is ours, shown only where measured."""


def table3(collection: Collection) -> Table:
    """Guided against random sampling, without and with fine-tuning."""
    reported = {
        (row["supernet"], row["method"]): [
            _reported(row["test_error_pct"]),
            _reported(row["params_m"]),
        ]
        for row in paper("table3_guided_vs_random").to_dict("records")
    }
    keys, ours = [], {}
    studies = selection.on_cifar10(collection.scale)
    for supernet in dict.fromkeys(supernet for supernet, _ in reported):
        for method, (variant, source, mode) in TABLE3_METHODS.items():
            entries: list[Sequence[Cell]] = []
            for study in selection.on_cifar10(collection.scale, supernet):
                rows = measured(collection, study, variant, source, mode)
                if not rows.empty:
                    entries.append((study, *_error_size_time(rows)))
            if entries or (supernet, method) in reported:
                keys.append((supernet, method))
                ours[supernet, method] = entries
    return Table(
        "table3",
        "Table 3 of the paper: guided against random sampling, without and with fine-tuning (FT)",
        (
            Column("supernet", "SupNet", is_text=True),
            Column("method", "method", is_text=True),
            PAPER_ERROR,
            PAPER_PARAMETERS,
            STUDY,
            ERROR,
            PARAMETERS,
            MINUTES,
            SEEDS,
        ),
        _join(reported, ours, keys, (2, 5)),
        (
            "The random baseline's drop rate is solved for so that its candidates have about the "
            "guided ones' expected parameter count (scale paper: SupNet-M's is the paper's 0.1).",
            "The full model is trained for as many epochs, with an ordinary weight decay (l²/N on "
            "convolutions, 1e-4 at the scales of this repository). An auxiliary head, which is no "
            "part of a candidate, is in none of our sizes.",
            MEAN_NOTE,
            *conditions(collection, studies),
        ),
    )


def table4(collection: Collection) -> Table:
    """Weight of the prior."""
    reported = {
        float(row["l2"]): [_reported(row["test_error_pct"]), _reported(row["params_m"])]
        for row in paper("table4_weight_prior").to_dict("records")
    }
    ours: dict[float, list[Sequence[Cell]]] = {}
    for _, value, cells in _swept(collection, "gates.length_scale2", "none"):
        ours.setdefault(float(value), []).append(cells)
    return Table(
        "table4",
        "Table 4 of the paper: the prior's length scale sets error and size",
        (
            Column("length_scale2", "l²", decimals=None),
            PAPER_ERROR,
            PAPER_PARAMETERS,
            STUDY,
            ERROR,
            PARAMETERS,
            MINUTES,
            SEEDS,
        ),
        _join(reported, ours, sorted({*reported, *ours}), (2, 5)),
        (
            "The paper's caption says SupNet-EI; its numbers at l² = 150 are SupNet-MI's "
            "(Tables 1 and 3).",
            "One l² means the same only for the same supernet and N: its term is l²/(2N) times the "
            "kept weights' squared norm. Compare trends across the two column groups, not rows.",
            MEAN_NOTE,
            *conditions(collection, selection.on_cifar10(collection.scale)),
        ),
    )


def table5(collection: Collection) -> Table:
    """Temperature of the relaxation."""
    reported = {}
    for row in paper("table5_temperature").to_dict("records"):
        key = (row["supernet"], str(Fraction(row["tau"])), "yes" if row["finetuned"] else "no")
        reported[key] = [_reported(row["test_error_pct"])]
    ours: dict[tuple[str, str, str], list[Sequence[Cell]]] = {}
    studies = selection.on_cifar10(collection.scale)
    for mode, finetuned in (("none", "no"), ("finetune", "yes")):
        for study, value, cells in _swept(collection, "gates.temperature", mode):
            shown = str(Fraction(value).limit_denominator(100))
            ours.setdefault((studies[study], shown, finetuned), []).append(cells)
    keys = sorted({*reported, *ours}, key=lambda key: (key[0], key[2], -Fraction(key[1])))
    return Table(
        "table5",
        "Table 5 of the paper: temperature of the relaxation",
        (
            Column("supernet", "SupNet", is_text=True),
            Column("temperature", "τ", is_text=True),
            Column("finetuned", "fine-tuned", is_text=True),
            PAPER_ERROR,
            STUDY,
            ERROR,
            PARAMETERS,
            MINUTES,
            SEEDS,
        ),
        _join(reported, ours, keys, (1, 5)),
        (MEAN_NOTE, *conditions(collection, studies)),
    )


def by_candidates(collection: Collection, study: str) -> dict[int, str]:
    """``guided`` and the variants that differ in the number of candidates, by it; fewest first."""
    counts = selection.sweep(collection.scale, study, "candidates.count")
    found = {count: variant for variant, count in counts.items() if collection.find(study, variant)}
    return dict(sorted(found.items()))


def most_candidates(collection: Collection, study: str) -> str:
    """The variant of :func:`by_candidates` that drew most; ``guided`` where none was run."""
    return next(reversed(by_candidates(collection, study).values()), GUIDED)


def table6(collection: Collection) -> Table:
    """Number of candidates."""
    reported = {
        int(row["candidates"]): [_reported(row["test_error_pct"]), _reported(row["extra_gpu_days"])]
        for row in paper("table6_num_candidates").to_dict("records")
    }
    ours: dict[int, list[Sequence[Cell]]] = {}
    limits = []
    studies = selection.on_cifar10(collection.scale)
    for study in studies:
        tested = {
            count: measured(collection, study, variant, "posterior", "none")["test_error"]
            for count, variant in by_candidates(collection, study).items()
        }
        rankings = []
        for run in collection.find(study, most_candidates(collection, study)):
            ranking = run.ranking("posterior")
            if ranking is not None:
                seconds = run.ranking_records["posterior"]["provenance"]["wall_seconds"]
                rankings.append((ranking["validation_accuracy"].to_numpy(), seconds))
        if not rankings:
            continue
        total = min(len(accuracies) for accuracies, _ in rankings)
        if total < max(reported):
            each = float(np.mean([seconds / len(values) for values, seconds in rankings]))
            hours = max(reported) * each / 3600
            limits.append(
                f"{study}: more than {total} candidates were not run. Judging one takes {each:.2g} "
                f"s on this hardware, so {max(reported)} would take {hours:.1f} hours a seed."
            )
        for count in sorted({1, 10, total, *tested, *reported}):
            if count > total:
                continue
            cells: Sequence[Cell] = (
                study,
                estimate(
                    100 * (1 - expected_best_of_subset(values, count)) for values, _ in rankings
                ),
                estimate(tested.get(count, ())),
                estimate(count * seconds / len(values) / 60 for values, seconds in rankings),
                len(rankings),
            )
            ours.setdefault(count, []).append(cells)
    return Table(
        "table6",
        "Table 6 of the paper: number of candidates",
        (
            Column("candidates", "candidates"),
            PAPER_ERROR,
            Column("paper_extra_gpu_days", "extra GPU days", PAPER),
            STUDY,
            Column(
                "ours_expected_validation_error_pct",
                "expected validation error of the best [%]",
                OURS,
                estimate=True,
            ),
            ERROR,
            Column("ours_minutes", "extra time [min]", OURS, decimals=2, estimate=True),
            SEEDS,
        ),
        _join(reported, ours, sorted({*reported, *ours}), (2, 5)),
        (
            "The paper's numbers are SupNet-MI's, on the test set.",
            "Ours is the VALIDATION error of the best of n candidates, its expectation over which "
            "n of a seed's ranked candidates are drawn (without replacement, exact by order "
            "statistics). It is the quantity that is selected, so it is optimistic; the test error "
            "is known where a variant drew just so many, for the one that it chose.",
            "Extra time is n times the measured wall time of judging one candidate.",
            *limits,
            "Ours: mean ± half-width of the 95 % t-interval over seeds.",
            *conditions(collection, studies),
        ),
    )


def table7(collection: Collection) -> Table:
    """Share dropped at channel and operation level."""
    wide = paper("table7_dropped_proportions").set_index("level")
    supernets = {name: str(name).replace("*", "") for name in wide.columns}
    levels = {"channel": "kept_channels", "operation": "kept_operations"}
    rows: list[tuple[Cell, ...]] = []
    studies = selection.on_cifar10(collection.scale)
    for printed, supernet in supernets.items():
        for level, column in levels.items():
            left = 100 * float(wide[printed][level])
            entries: list[tuple[Cell, ...]] = []
            for study in selection.on_cifar10(collection.scale, supernet):
                variant = GUIDED
                if printed != supernet:
                    variant = by_candidates(collection, study).get(10_000, GUIDED)
                dropped = [
                    100 * (1 - float(chosen[column]))
                    for run in collection.find(study, variant)
                    if (chosen := run.chosen("posterior")) is not None
                ]
                if dropped:
                    entries.append((study, estimate(dropped), len(dropped)))
            for entry in entries or [(None, NOT_RUN, NOT_RUN)]:
                rows.append((str(printed), level, left, *entry))
    return Table(
        "table7",
        "Table 7 of the paper: proportion dropped by the chosen candidate",
        (
            Column("supernet", "SupNet", is_text=True),
            Column("level", "level", is_text=True),
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
            "Ours: mean ± half-width of the 95 % t-interval over seeds.",
            *conditions(collection, studies),
        ),
    )


def table8(collection: Collection) -> Table:
    """ImageNet against published searches."""
    numbers = ("top1_error_pct", "top5_error_pct", "gpu_days", "params_m")
    published = paper("table8_imagenet").to_dict("records")
    reported = {
        (row["method"], row["search_method"]): [_reported(row[name]) for name in numbers]
        for row in published
    }
    studies = selection.stand_ins(collection.scale, supernet="D-121")
    ours = {
        key: _imagenet_cells(collection, studies, (GUIDED, "posterior", "none"))
        for key in reported
        if key[0] == "PGNAS-D-121"
    }
    return Table(
        "table8",
        "Table 8 of the paper: ImageNet, mobile-sized architectures",
        (
            Column("method", "method", is_text=True),
            Column("search_method", "search", is_text=True),
            Column("paper_top1_error_pct", "top-1 error [%]", PAPER, decimals=1),
            Column("paper_top5_error_pct", "top-5 error [%]", PAPER, decimals=1),
            Column("paper_gpu_days", "GPU days", PAPER, decimals=None),
            PAPER_PARAMETERS,
            *IMAGENET_COLUMNS,
        ),
        _join(reported, ours, reported, (4, 6)),
        (MEAN_NOTE, *conditions(collection, studies)),
    )


TABLE9_MODELS = {
    "ResNet-50": ("plain", "full", "none"),
    "Inflated ResNet-50": (FULL, "full", "none"),
    "PGNAS-R-50": (GUIDED, "posterior", "none"),
}
"""Table 9's models as (variant, source, mode)."""


def table9(collection: Collection) -> Table:
    """ImageNet, ResNet-50, inflated and searched."""
    reported = {
        row["model"]: [_reported(row["top1_error_pct"]), _reported(row["params_m"])]
        for row in paper("table9_imagenet_resnet50").to_dict("records")
    }
    studies = selection.stand_ins(collection.scale, supernet="R-50")
    ours = {model: _imagenet_cells(collection, studies, TABLE9_MODELS[model]) for model in reported}
    return Table(
        "table9",
        "Table 9 of the paper: ImageNet, ResNet-50, inflated and searched",
        (
            Column("model", "model", is_text=True),
            Column("paper_top1_error_pct", "top-1 error [%]", PAPER),
            PAPER_PARAMETERS,
            *IMAGENET_COLUMNS,
        ),
        _join(reported, ours, reported, (2, 6)),
        (MEAN_NOTE, *conditions(collection, studies)),
    )


IMAGENET_COLUMNS = (
    STUDY,
    Column("ours_top1_error_pct", "top-1 error [%]", OURS, estimate=True),
    Column("ours_top5_error_pct", "top-5 error [%]", OURS, estimate=True),
    PARAMETERS,
    MINUTES,
    SEEDS,
)


def _imagenet_cells(
    collection: Collection, studies: Iterable[str], method: tuple[str, str, str]
) -> list[Sequence[Cell]]:
    """Cells of IMAGENET_COLUMNS, for each study."""
    found: list[Sequence[Cell]] = []
    for study in studies:
        rows = measured(collection, study, *method)
        if not rows.empty:
            variant, source, mode = method
            results = [run.results.get((source, mode)) for run in collection.find(study, variant)]
            top5 = [result["test_top5_accuracy"] for result in results if result is not None]
            error, *others = _error_size_time(rows)
            found.append((study, error, estimate(100 * (1 - value) for value in top5), *others))
    return found


# --- beyond the paper -----------------------------------------------------------------------------


def ablations(collection: Collection) -> Table:
    """Every variant that differs from ``guided`` in one setting."""
    rows: list[tuple[Cell, ...]] = []
    for study in selection.ablated(collection.scale):
        ablations = selection.ablations(collection.scale, study).values()
        for field in dict.fromkeys(field for field, _ in ablations):
            for variant, value in selection.sweep(collection.scale, study, field).items():
                found = measured(collection, study, variant, "posterior", "none")
                validation = estimate(found["validation_error"])
                error, *others = _error_size_time(found)
                shown = f"{value:g}" if isinstance(value, float) else str(value)
                rows.append((study, field, shown, variant, error, validation, *others))
    return Table(
        "ablations",
        "Ablations: variants that differ from guided in one setting",
        (
            Column("study", "study", is_text=True),
            Column("setting", "setting", is_text=True),
            Column("value", "value", is_text=True),
            Column("variant", "variant", is_text=True),
            ERROR,
            Column("ours_validation_error_pct", "validation error [%]", OURS, estimate=True),
            PARAMETERS,
            MINUTES,
            SEEDS,
        ),
        tuple(rows),
        (MEAN_NOTE, *conditions(collection, dict.fromkeys(str(row[0]) for row in rows))),
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
            arithmetic = [
                each["extracted"]["multiply_adds"] / each["masked"]["multiply_adds"]
                for each in records
            ]
            rows.append(
                (
                    study,
                    variant,
                    whole / 1e6,
                    estimate(100 * each["masked"]["parameters"] / whole for each in records),
                    estimate(100 * each["extracted"]["parameters"] / whole for each in records),
                    estimate(100 * share for share in arithmetic),
                    estimate(each["speedup"]["median"] for each in records),
                    len(records),
                )
            )
    studies = dict.fromkeys(str(row[0]) for row in rows)
    return Table(
        "extraction",
        "Chosen candidates as networks of their own",
        (
            Column("study", "study", is_text=True),
            Column("variant", "variant", is_text=True),
            Column("ours_supernet_params_m", "supernet, parameters [M]", OURS, decimals=3),
            Column("ours_masked_share_pct", "kept by the masks [%]", OURS, 1, estimate=True),
            Column("ours_extracted_share_pct", "extracted network [%]", OURS, 1, estimate=True),
            Column("ours_arithmetic_pct", "its multiply-adds [%]", OURS, 1, estimate=True),
            Column("ours_speedup", "faster than masked by", OURS, estimate=True),
            SEEDS,
        ),
        tuple(rows) or ((None, GUIDED, *(NOT_RUN,) * 6),),
        (
            "Shares are of the supernet's parameters and multiply-adds. An extracted network has "
            "the outputs of the masked supernet (differences are rounding) without the channels "
            "that nothing reads. Faster: ratio of medians of interleaved evaluations of one batch; "
            "mean ± half-width of the 95 % t-interval over seeds.",
            *conditions(collection, studies),
        ),
    )


def sample_efficiency(collection: Collection) -> Table:
    """NAS-Bench-201: how many samples the learned posterior saves."""
    rows: list[tuple[Cell, ...]] = []
    found = collection.efficiencies()
    for (study, variant), seeds in found.items():
        records, truth = [seed.record for seed in seeds], seeds[0].truth
        quantities: list[tuple[str, Cell, Cell, Cell]] = []
        for same in zip(*(record["targets"] for record in records), strict=True):
            uniform_mass, masses = same[0]["uniform_mass"], [target["mass"] for target in same]
            ratios = [mass / uniform_mass for mass in masses] if uniform_mass else []
            most = expected_draws(uniform_mass)
            quantities.append(
                (
                    f"expected samples to {100 * same[0]['target']:.1f} % on {truth}",
                    most,
                    expected_draws_over_seeds(masses),
                    geometric_interval(ratios).within(most=most) if ratios else None,
                )
            )
        quantities += [
            (
                "true accuracy of a sample, mean [%]",
                100 * records[0]["uniform_mean_accuracy"],
                estimate(100 * record["mean_accuracy"] for record in records),
                None,
            ),
            (
                "true accuracy of the mode [%]",
                None,
                estimate(100 * record["mode_accuracy"] for record in records),
                None,
            ),
            (
                "true accuracy of the chosen cell [%]",
                None,
                estimate(_chosen_accuracies((seed.run for seed in seeds), truth)),
                None,
            ),
            (
                "true accuracy of the best of all cells [%]",
                *(100 * records[0]["best_accuracy"],) * 2,
                None,
            ),
        ]
        rows += [(study, variant, *quantity, len(seeds)) for quantity in quantities]
    if not rows:
        rows.append((None, None, "expected samples", *(NOT_RUN,) * 4))
    return Table(
        "efficiency",
        "Sample efficiency on NAS-Bench-201",
        (
            Column("study", "study", is_text=True),
            Column("variant", "variant", is_text=True),
            Column("quantity", "quantity", is_text=True),
            Column("uniform", "uniform sampling", OURS, estimate=True),
            Column("learned", "learned posterior", OURS, estimate=True),
            Column("ratio", "uniform / learned", OURS, estimate=True),
            SEEDS,
        ),
        tuple(rows),
        (
            "The paper has no such table. Sample counts are exact, by enumeration of all 15 625 "
            "cells: 1 / the probability of drawing a cell whose true test accuracy (NAS-Bench-201, "
            "200 epochs) reaches the target. The posterior never saw these accuracies.",
            CHOSEN_BY_TRUTH,
            "Sample counts and their ratio: geometric mean over seeds with the 95 % t-interval of "
            "the logarithms in brackets; accuracies: mean ± half-width of the 95 % t-interval. "
            "What is said of uniform sampling is exact.",
            "The chosen cell has the highest one-shot validation accuracy of the candidates that "
            "were drawn and judged.",
            *conditions(collection, dict.fromkeys(study for study, _ in found)),
        ),
    )


def _chosen_accuracies(runs: Iterable[Run], truth: str) -> list[float]:
    """True accuracies (percent) of the best-ranked candidates of the posterior, a run each."""
    from pdnas.truth.table import GroundTruth

    cells = [str(chosen["cell"]) for run in runs if (chosen := run.chosen("posterior")) is not None]
    if not cells:
        return []
    table = GroundTruth.load()
    accuracy = table.accuracy(truth)
    return [100 * float(accuracy[table.cell_id(cell)]) for cell in cells]
