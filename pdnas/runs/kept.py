"""Finished work is kept: the same again is done already, another result needs ``--force``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pdnas.runs import layout
from pdnas.runs.records import older
from pdnas.runs.run import Architecture, Run
from pdnas.spec.names import NetworkFormat, RetrainMode, Source
from pdnas.spec.scale import is_own, load_scale, scale_path
from pdnas.spec.selection import flatten
from pdnas.spec.spec import SEARCH_PARTS, Spec
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_json

HOW_MANY = ("count", "pairs")
"""Settings of candidates that a ranking does not depend on, or knows from its candidates."""

Record = Mapping[str, Any]


def runs_folder(scale: str) -> Path:
    """The folder of a scale's runs: ``runs/NAME``.

    Raises:
        PdnasError: the scale is a file that is called like a scale of the package, or like the file
            whose runs lie there, and differs from it.
    """
    name = scale_path(scale).stem
    known = is_own(name)
    if known and scale != name and load_scale(scale) != load_scale(name):
        raise PdnasError(
            f"{scale} is called like the package's scale {name}, whose runs lie in "
            f"{layout.RUNS}/{name}; give the file another name"
        )
    folder = Path(layout.RUNS) / name
    if not known and (other := _other_file(folder, scale)):
        raise PdnasError(
            f"{folder} holds the runs of {other}, another scale than {scale} of the same name; "
            "give one of the files another name"
        )
    return folder


def claim_runs_folder(scale: str) -> Path:
    """The folder of a scale's runs, which another file of the same name is refused from now on.

    A file may be edited, moved and copied: only one that differs from another that is still there
    is another scale.

    Raises:
        PdnasError: as :func:`runs_folder`.
    """
    folder, path = runs_folder(scale), scale_path(scale)
    if not is_own(path.stem) and _claimed_by(folder) is None:
        write_json(folder / layout.SCALE_FILE, {"file": os.path.relpath(path)})
    return folder


def _claimed_by(folder: Path) -> Path | None:
    """The scale file whose runs a folder holds; None: none that is still there."""
    record = _readable(lambda: read_json(folder / layout.SCALE_FILE))
    path = Path(str(record["file"])) if record and "file" in record else None
    return path if path is not None and path.is_file() else None


def _other_file(folder: Path, scale: str) -> Path | None:
    """The scale file whose runs a folder holds, if that is another one than ``scale``."""
    path = _claimed_by(folder)
    if path is None or path.samefile(scale_path(scale)):
        return None
    return None if _readable(lambda: load_scale(str(path))) == load_scale(scale) else path


def search(out: Path, spec: Spec, names: Mapping[str, Any], drop: float | None) -> Record | None:
    """The record of a finished search in ``out``, if that is what is asked for now.

    Args:
        names: ``scale``, ``study``, ``variant`` and ``seed``.
        drop: the fixed drop probability, where another run decides it.

    Raises:
        PdnasError: another search has finished there, or one of other images.
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
    if changed := _readable(lambda: run.changed_images):
        raise _another(f"{out} is finished, and the images are others since ({changed})")
    left = layout.SEARCHED_ALONE if spec.alone else layout.SEARCHED
    return run.record if all((out / name).is_file() for name in left) else None


def _of_search(spec: Spec) -> dict[str, Any]:
    """The settings that decide a search, in one level."""
    return flatten(spec.model_dump(mode="json", include=set(SEARCH_PARTS)))


def remove_what_followed(out: Path, everything: bool) -> None:
    """Remove what was made of a search that another one has replaced.

    Args:
        everything: else only records of another search than the new one, which all that reads the
            run would stumble over.
    """
    identity = Run.load(out).identity
    for pattern in (*layout.PUBLISHED, layout.result("*", "*")):
        for path in out.glob(pattern):
            if path.name not in layout.SEARCHED and (everything or _is_of_other(path, identity)):
                path.unlink(missing_ok=True)


def _is_of_other(path: Path, identity: str) -> bool:
    """Whether this is a record of another run, or a damaged one."""
    return path.suffix == ".json" and _readable(lambda: read_json(path, identity)) is None


def candidates(run: Run, source: Source, count: int, seed: int) -> bool:
    """Whether so many candidates were drawn already with this seed, in the run's band.

    Raises:
        PdnasError: others were drawn.
    """
    path = run.folder / layout.candidates(source)
    found = _readable(lambda: run.candidates(source)) if path.is_file() else None
    if found is None:
        return False
    drawn, metadata = found
    made = {"count": len(drawn), "seed": metadata["seed"], "band": metadata.get("band")}
    _same(path, made, {"count": count, "seed": seed, "band": run.spec.candidates.band})
    return True


def ranking(run: Run, source: Source) -> Record | None:
    """The record of a ranking of the candidates that are there now, judged as the run says now.

    Raises:
        PdnasError: they were judged in another way.
    """
    record = _readable(lambda: run.ranking_records.get(source))
    if record is None or older(record, run.record):
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
    if record is None or older(record, run.record):
        return None
    source = str(chosen.source)  # a cell has none, and its record no candidates
    if chosen.given:
        drawn = record.get("candidates_sha256")
        if drawn is not None and drawn != _readable(lambda: run.candidates_sha256(source)):
            return None  # the number stands for another candidate now
    elif source != "full":
        ranked = _readable(lambda: run.ranking_records.get(source))
        if ranked is None or older(record, ranked):
            return None
    _same(path, flatten(record["provenance"]["config"]), flatten(run.spec.decides(mode)))
    return record


def scores(run: Run, images: int | None) -> Record | None:
    """The record of finished scores of all cells, if so many images would give them again.

    Args:
        images: for validation; None: all of the run's.

    Raises:
        PdnasError: the cells were scored in another way.
    """
    record = _readable(lambda: run.scores_record)
    if record is None or older(record, run.record) or not (run.folder / layout.SCORES).is_file():
        return None
    if images is None:
        images = int((run.splits()["part"] == "validation").sum())
    asked = {"images": images, "batchnorm": run.spec.candidates.batchnorm}
    _same(run.folder / layout.SCORES_RECORD, record["provenance"]["config"], asked)
    return record


def subnet(
    run: Run, chosen: Architecture, out: Path, format: NetworkFormat, multiple: int, force: bool
) -> Record | None:
    """The record of a finished extraction in ``out``, if that is what is asked for now.

    Args:
        force: another extraction may be replaced; a run never.

    Raises:
        PdnasError: another network, files of somebody else, or a run lie there.
    """
    if (out / layout.RUN).is_file():
        raise PdnasError(f"{out} holds a run, whose weights would be lost; choose another folder")
    if force:
        return None
    path = out / layout.SUBNET_RECORD
    record = _readable(lambda: read_json(path))
    if record is None:
        left = [out / name for name in layout.NETWORK_FILES if (out / name).exists()]
        if left and not _own_subnet(run, out):  # there, they are of one that was killed
            raise _another(f"{left[0]} is there already, and {path.name} does not say of what")
        return None
    if _readable(lambda: read_json(path, run.identity)) is None:
        raise _another(f"{path} is of another run")
    asked = {
        "source": chosen.source,
        "candidate": chosen.candidate,
        "cell": run.cell_string(chosen.choice),
        "format": format,
        "multiple": multiple,
    }
    _same(path, record, asked)
    _same(path, flatten(record["provenance"]["config"]["spec"]), flatten(run.spec.decides("none")))
    if chosen.source is not None:
        drawn = record.get("candidates_sha256")
        if drawn is not None and drawn != run.candidates_sha256(chosen.source):
            raise _another(f"{path} is of other candidates than there are now")
    whole = all((out / name).is_file() for name in record["files"])
    return record if whole and not older(record, run.record) else None


def _own_subnet(run: Run, out: Path) -> bool:
    """Whether ``out`` is a folder that the run itself has for an extraction."""
    inside = out.resolve().parent == run.folder.resolve()
    return inside and out.name.startswith(layout.SUBNET_FOLDER)


def configured_like(
    path: Path, config: Record, owner: str | None, force: bool, others: Iterable[Path] = ()
) -> Record | None:
    """Hold what is at ``path`` already to the configuration of what is to be made.

    Args:
        owner: of the run that the record is about, if it is about one.
        others: files that go with it, of which only that record says what they are.

    Returns:
        the record that is there; None where there is none, or it is to be replaced.

    Raises:
        PdnasError: something else is there, and it is not to be replaced.
    """
    present = [each for each in (path, *others) if each.exists()]
    if force or not present:
        return None
    there = _readable(lambda: read_json(path))
    made = _config(there or {})
    if there is None or (config and not made):
        raise _another(f"{present[0]} is there already, and is something else")
    if _readable(lambda: read_json(path, owner)) is None:
        raise _another(f"{path} is of another run")
    _same(path, flatten(made), flatten(json.loads(json.dumps(config))))  # tuples become lists
    return there


def record_like(
    path: Path, record: Record, owner: str | None, force: bool, others: Iterable[Path] = ()
) -> None:
    """The same with the record that was made, which is to be written there.

    Args:
        record: of its ``provenance`` only the configuration counts.

    Raises:
        PdnasError: something else is there, and it is not to be replaced.
    """
    there = configured_like(path, _config(record), owner, force, others)
    if there is None:
        return
    before, after = _content(there), json.loads(json.dumps(_content(record)))
    if before.keys() != after.keys():
        raise _another(f"{path} is there already, and is something else")
    if before != after:
        raise _another(f"{path} holds other numbers, which were made from something else")


def _config(record: Record) -> Record:
    config: Record = record.get("provenance", {}).get("config", {})
    return config


def study_of_cells(summary: Path, table: Path, config: Record, force: bool) -> Record | None:
    """The record of a study of cells that is finished already, with the trainings beside it.

    Args:
        config: what is asked for, ready for JSON.

    Raises:
        PdnasError: something else is there, and it is not to be replaced.
    """
    present = [each for each in (summary, table) if each.exists()]
    if force or not present:
        return None
    there = _readable(lambda: read_json(summary))
    if there is None or "evidence" not in there:
        raise _another(f"{present[0]} is there already, and is something else")
    made, asked = (flatten(each) for each in (there["provenance"]["config"], config))
    _same(summary, dict.fromkeys(asked) | made, dict.fromkeys(made) | asked)
    return there if table.is_file() else None


def _content(record: Record) -> Record:
    """A record without when and where it was made."""
    return {key: value for key, value in record.items() if key != "provenance"}


def product(files: Iterable[Path], made_of: str | None, asked: str, force: bool) -> None:
    """Hold a table, figure or page that is there already to what is to take its place.

    Args:
        files: all that are to be written.
        made_of: what those that are there say they were made of; None: nothing.
        asked: the same of those to be written: words, and at the end maybe ``#`` and a fingerprint.

    Raises:
        PdnasError: it is of something else, and not to be replaced.
    """
    there = [path for path in files if path.exists()]
    if not there or force or made_of == asked:
        return
    before, now = (text.partition(" #")[0] for text in (made_of or "something else", asked))
    if before == now:
        raise _another(f"{there[0]} is of {now} too, but shows other numbers")
    raise _another(f"{there[0]} is of {before} and not of {now}")


def _readable(read: Callable[[], Any]) -> Any:
    """What is read; None where it is damaged or another run's, so has to be made again."""
    try:
        return read()
    except (PdnasError, OSError, KeyError):
        return None


def _same(path: Path, made: Record, asked: Record) -> None:
    """Raise if what was made differs from what is asked for."""
    for key, value in asked.items():
        if key in made and made[key] != value:
            raise _another(f"{path} is finished, with {key} {made[key]!r} and not {value!r}")


def _another(what: str) -> PdnasError:
    return PdnasError(f"{what}; leave it and choose another folder, or replace it with --force")
