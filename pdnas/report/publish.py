"""From ``runs/`` to ``results/``: what people need to check a number, and nothing large."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pdnas.report.catalogue import table
from pdnas.report.collect import Collection, collect
from pdnas.report.formats import to_csv
from pdnas.runs import kept, layout
from pdnas.runs.records import describe_hardware, makers
from pdnas.spec.products import OFFICIAL_FIGURES
from pdnas.spec.scale import scale_path
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_failure, write_json
from pdnas.support.provenance import is_committed

_LOGS = shutil.ignore_patterns("log")
_OFFICIAL = shutil.ignore_patterns(*(f"{name}.*" for name in OFFICIAL_FIGURES))


def publish(scale: str, runs: Path, out: Path, force: bool = False) -> dict[str, Any]:
    """Copy a scale's report, records, posteriors and rankings to ``out``, which is replaced.

    Of another scale, or with runs that are not to be copied, it is replaced with ``force`` alone.

    The copies lie as the runs do, with the scale file beside them, so tables and figures can be
    made from them again. Weights, logs, splits (a function of the seed) and the figures of
    released logs, which are of no run, stay behind.

    Returns:
        the summary written to ``published.json``: commits, machines, seconds by stage.

    Raises:
        PdnasError: a run does not fit the scale, no report was made or a table of it is not of
            these runs, code without a commit made a run, ``out`` holds something else, or the
            copies could not be written.
    """
    report = runs / layout.REPORT
    if not report.is_dir():
        raise PdnasError(f"{report} is missing; run the workflow first")
    if out.exists() and not (out / layout.PUBLICATION).is_file():
        raise PdnasError(f"{out} exists and is no published result; name another folder")
    collection = collect(scale, runs)
    folders = [run.folder for run in collection.runs]
    records = records_of(collection)
    for path, record in records.items():
        for each in makers(record["provenance"]):
            if not is_committed(each["code"]):
                raise PdnasError(
                    f"{path} was made by code {each['code']}, which nobody else has; commit and "
                    "run again"
                )
    if out.exists() and not force:
        _require_all_again(out, collection, runs)
    _require_current_tables(report, collection)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    summary = summarise_provenance(collection)
    try:
        for name in ("tables", "figures"):
            shutil.copytree(report / name, partial / layout.REPORT / name, ignore=_OFFICIAL)
        for folder in folders:
            target = partial / folder.relative_to(runs)
            target.mkdir(parents=True)
            for path in _matching(folder, layout.PUBLISHED):
                copy = target / path.relative_to(folder)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, copy)
        if (runs / layout.RIVALS).is_dir():
            shutil.copytree(runs / layout.RIVALS, partial / layout.RIVALS, ignore=_LOGS)
        if collection.left_out:
            write_json(partial / layout.LEFT_OUT, collection.left_out)
        shutil.copyfile(scale_path(scale), partial / f"{collection.name}.yaml")
        write_json(partial / layout.PUBLICATION, summary)
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise write_failure(out, error) from error
    return summary


def published(folder: Path) -> Collection:
    """What a folder was published from, read from its copies.

    Raises:
        PdnasError: nothing was published there, or it does not fit its scale file.
    """
    scale = next(folder.glob("*.yaml"), None)
    if scale is None or not (folder / layout.PUBLICATION).is_file():
        raise PdnasError(f"{folder} is no published result; `pdnas publish` makes one")
    return collect(str(scale), folder)


def _require_all_again(out: Path, collection: Collection, runs: Path) -> None:
    """Raise if what was published before is of another scale, or has runs that would be gone."""
    made = [out / layout.PUBLICATION]
    kept.product(made, read_json(made[0])["scale"], collection.name, force=False)
    copied = {run.folder.relative_to(runs) for run in collection.runs}
    for path in sorted(out.rglob(layout.RUN)):
        place = path.parent.relative_to(out)
        if place not in copied:
            raise PdnasError(
                f"{out} has the run {place}, which {runs} lacks; name another folder, or replace "
                "all that is there with --force"
            )


def _require_current_tables(report: Path, collection: Collection) -> None:
    """Raise if a table has other numbers than the runs: one was added, made again or taken away."""
    for path in sorted((report / "tables").glob("*.csv")):
        if path.read_text(encoding="utf-8") != to_csv(table(path.stem, collection)):
            raise PdnasError(
                f"{path} is not what the runs say now; make it again: pdnas table {path.stem} "
                f"--scale {collection.asked} --runs {collection.folder} --out {path.parent}, and "
                "the figures and the page likewise"
            )


def records_of(collection: Collection) -> dict[Path, dict[str, Any]]:
    """Every record of a collection's runs by its path."""
    return {path: record for run in collection.runs for path, record in run.records.items()}


def _matching(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(folder.glob(pattern))


def summarise_provenance(collection: Collection) -> dict[str, Any]:
    """What made a collection's numbers: commits, machines, seconds by stage summed over jobs."""
    records = records_of(collection)
    seconds: dict[str, float] = {}
    for path, record in records.items():
        if "searched_by" in record:
            continue  # a variant with another one's supernet: that search has its own record
        kind = path.stem.split("-")[0]
        stage = {"run": "search", "ranking": "rank", "result": "retrain"}.get(kind, kind)
        wall = record["provenance"]["wall_seconds"]
        seconds[stage] = round(seconds.get(stage, 0.0) + wall, 1)
    provenances = [record["provenance"] for record in records.values()]
    made = [each for provenance in provenances for each in makers(provenance)]
    return {
        "scale": collection.name,
        "description": collection.scale.description,
        "searches": sum(
            path.name == layout.RUN and "searched_by" not in record
            for path, record in records.items()
        ),
        "code": sorted({each["code"] for each in made}),
        "hardware": sorted({describe_hardware(each["hardware"]) for each in made}),
        "finished": max(each["finished"] for each in provenances),
        "wall_seconds": seconds,
    }
