"""Finished work is kept: the same again is done already, another result needs ``--force``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pdnas.runs import layout
from pdnas.runs.run import Architecture, Run
from pdnas.spec.names import RetrainMode, Source
from pdnas.spec.scale import SCALES, load_scale, scale_path
from pdnas.spec.selection import flatten
from pdnas.spec.spec import SEARCH_PARTS, Spec
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json

HOW_MANY = ("count", "pairs")
"""Settings of candidates that a ranking does not depend on, or knows from its candidates."""

Record = Mapping[str, Any]


def runs_folder(scale: str) -> Path:
    """The folder of a scale's runs: ``runs/NAME``.

    Raises:
        PdnasError: the scale is a file that is called like a scale of the package and differs.
    """
    name = scale_path(scale).stem
    known = (SCALES / f"{name}.yaml").is_file()
    if known and scale != name and load_scale(scale) != load_scale(name):
        raise PdnasError(
            f"{scale} is called like the package's scale {name}, whose runs lie in "
            f"{layout.RUNS}/{name}; give the file another name"
        )
    return Path(layout.RUNS) / name


def search(out: Path, spec: Spec, names: Mapping[str, Any], drop: float | None) -> Record | None:
    """The record of a finished search in ``out``, if that is what is asked for now.

    Args:
        names: ``scale``, ``study``, ``variant`` and ``seed``.
        drop: the fixed drop probability, where another run decides it.

    Raises:
        PdnasError: another search has finished there.
    """
    run = _readable(lambda: Run.load(out)) if (out / layout.RUN).is_file() else None
    if run is None:
        return None
    asked = {**names, **_of_search(spec)}
    made = {key: run.record.get(key) for key in names} | _of_search(run.spec)
    if drop is not None:
        asked["fixed_drop_probability"] = drop
        made["fixed_drop_probability"] = run.record.get("fixed_drop_probability")
    _same(out, made, asked)
    return run.record if all((out / name).is_file() for name in layout.SEARCHED) else None


def _of_search(spec: Spec) -> dict[str, Any]:
    """The settings that decide a search, in one level."""
    return flatten(spec.model_dump(mode="json", include=set(SEARCH_PARTS)))


def remove_what_followed(out: Path) -> None:
    """Remove what was made of a search that another one has replaced."""
    for pattern in (*layout.PUBLISHED, layout.result("*", "*")):
        for path in out.glob(pattern):
            if path.name not in layout.SEARCHED:
                path.unlink(missing_ok=True)


def candidates(run: Run, source: Source, count: int, seed: int) -> bool:
    """Whether so many candidates were drawn already with this seed.

    Raises:
        PdnasError: others were drawn.
    """
    path = run.folder / layout.candidates(source)
    found = _readable(lambda: run.candidates(source)) if path.is_file() else None
    if found is None:
        return False
    drawn, metadata = found
    _same(path, {"count": len(drawn), "seed": metadata["seed"]}, {"count": count, "seed": seed})
    return True


def ranking(run: Run, source: Source) -> Record | None:
    """The record of a ranking of the candidates that are there now, judged as the run says now.

    Raises:
        PdnasError: they were judged in another way.
    """
    record = _readable(lambda: run.ranking_records.get(source))
    if record is None or _older(record, run.record):
        return None
    if not (run.folder / layout.ranking(source)).is_file():
        return None
    if record.get("candidates_sha256") != _readable(lambda: run.candidates_sha256(source)):
        return None  # of candidates that are no more
    asked = run.spec.candidates.model_dump(mode="json", exclude=set(HOW_MANY))
    _same(run.folder / layout.ranking_record(source), record["provenance"]["config"], asked)
    return record


def result(run: Run, chosen: Architecture, mode: RetrainMode) -> Record | None:
    """The record of a finished candidate, if the run and its ranking still say the same.

    Raises:
        PdnasError: it was finished in another way.
    """
    path = run.folder / layout.result(chosen.label, mode)
    record = _readable(lambda: read_json(path, run.identity)) if path.is_file() else None
    if record is None or _older(record, run.record):
        return None
    source = str(chosen.source)  # a cell has none, and its record no candidates
    if chosen.given:
        drawn = record.get("candidates_sha256")
        if drawn is not None and drawn != _readable(lambda: run.candidates_sha256(source)):
            return None  # the number stands for another candidate now
    elif source != "full":
        ranked = _readable(lambda: run.ranking_records.get(source))
        if ranked is None or _older(record, ranked):
            return None
    _same(path, flatten(record["provenance"]["config"]), flatten(run.spec.decides(mode)))
    return record


def _readable(read: Callable[[], Any]) -> Any:
    """What is read; None where it is damaged or another run's, so has to be made again."""
    try:
        return read()
    except (PdnasError, OSError, KeyError):
        return None


def _older(record: Record, source: Record) -> bool:
    """Whether a record is older than what it was made from: it says nothing any more."""
    made, since = (each["provenance"]["finished"] for each in (record, source))
    return bool(made < since)


def _same(path: Path, made: Record, asked: Record) -> None:
    """Raise if what was made differs from what is asked for."""
    for key, value in asked.items():
        if key in made and made[key] != value:
            raise PdnasError(
                f"{path} is finished, with {key} {made[key]!r} and not {value!r}; "
                "leave it and choose another folder, or replace it with --force"
            )
