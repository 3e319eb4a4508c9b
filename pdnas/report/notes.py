"""Notes under tables: how and on what their numbers were measured."""

from __future__ import annotations

from collections.abc import Iterable

from pdnas.report.collect import Collection, describe_supernet
from pdnas.runs.records import describe_hardware, makers
from pdnas.spec.scale import is_own

NOTHING_RUN = "Nothing of this table was run at this scale."

CHOSEN_BY_TRUTH = (
    "The settings of searches with a supernet were chosen by such true accuracies, of searches "
    "with a seed that is in no result, and one setting with another seed too. Validation images "
    "choose the same images, epochs and rate (docs/nasbench201.md). The settings of cells trained "
    "alone were chosen without, after true accuracies had shown that a first design fails."
)

MEAN = "Ours: mean ± half-width of the 95 % t-interval over seeds"

MEAN_NOTE = (
    f"{MEAN}; a single seed has no interval. "
    "Time is the wall time of one seed, all its stages (search, ranking candidates, fine-tuning if "
    "any, test) but the drawing of candidates, which takes a moment."
)


def chosen_by_truth(collection: Collection) -> tuple[str, ...]:
    """How the settings of this package's own scales were chosen; of others nothing is known."""
    return (CHOSEN_BY_TRUTH,) if is_own(collection.name) else ()


def conditions(collection: Collection, studies: Iterable[str]) -> tuple[str, ...]:
    """Notes that say at which scale, on which supernets and on what hardware was measured."""
    by_study = {study: [run for run in collection.runs if run.study == study] for study in studies}
    used = {study: runs for study, runs in by_study.items() if runs}
    notes = [f"Scale {collection.name}: {collection.scale.description.rstrip('.')}."]
    notes += [_study(collection, study) for study in used]
    made = [
        each
        for run in collection.runs
        if run.study in used
        for record in run.records.values()
        for each in makers(record["provenance"])
    ]
    for label, values in (
        ("Hardware", {describe_hardware(each["hardware"]) for each in made}),
        ("Code", {str(each["code"]) for each in made}),
    ):
        if values:
            notes.append(f"{label}: {'; '.join(sorted(values))}.")
    return (*notes, *(() if used else (NOTHING_RUN,)))


def either(values: Iterable[int | str]) -> str:
    """``8000 or 16000``: what a study's variants may differ in."""
    return " or ".join(map(str, sorted(set(values), key=lambda value: (str(type(value)), value))))


def _study(collection: Collection, study: str) -> str:
    """Supernet, data, training and candidates of a study's guided runs, or of its first."""
    runs = [run for run in collection.runs if run.study == study]
    guided = next((run for run in runs if run.variant == collection.roles[study].guided), runs[0])
    spec, stands_for = guided.spec, collection.scale.studies[study].stands_for
    role = f", standing for SupNet-{stands_for}" if stands_for else ""
    train = either("all other" if (n := run.spec.data.train) is None else n for run in runs)
    size = guided.record.get("supernet_parameters")
    parameters = f" ({size / 1e6:.3f} M parameters)" if size else ""
    epochs = spec.training.epochs
    if spec.alone:
        often = "once" if epochs == 1 else f"{epochs} times"
        return (
            f"Study {study}: {describe_supernet(spec)}; {sum(spec.alone.rounds)} cells trained "
            f"alone, each on {train} images of {spec.data.title} {often}, in "
            f"{len(spec.alone.rounds)} rounds."
        )
    return (
        f"Study {study}{role}: {describe_supernet(spec)}{parameters}; {spec.data.title}, "
        f"{train} training and {spec.data.validation} validation images; "
        f"{epochs} epoch{'s' * (epochs > 1)}, batch {spec.training.batch}; "
        f"{either(run.spec.candidates.count for run in runs)} candidates."
    )
