"""A run: the folder of one supernet search and all that follows from it (docs/files.md).

Everything is read when it is asked for, and torch imported with the first tensors, so that a report
of many runs is light.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from pdnas.runs import layout
from pdnas.runs.records import older
from pdnas.space.cells import CellSpace
from pdnas.spec.names import JudgedSource, RetrainMode
from pdnas.spec.scale import Scale
from pdnas.spec.selection import flatten
from pdnas.spec.spec import Spec
from pdnas.support.errors import PdnasError
from pdnas.support.files import (
    read_json,
    read_table,
    read_tensors,
    write_json,
    write_table,
    write_tensors,
)
from pdnas.support.provenance import run_identity

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from pdnas.data.dataset import Statistics
    from pdnas.space.candidates import Candidates, Choice
    from pdnas.space.posterior import Posterior

_NAMES = ("scale", "study", "variant", "seed")
_ABOUT_ALL_CELLS = (layout.SCORES_RECORD, layout.EFFICIENCY, layout.EFFICIENCY_SCORED)


@dataclass(frozen=True)
class Architecture:
    """One architecture of a run's supernet.

    Attributes:
        label: its name in file names: ``posterior`` (the best drawn from there), ``posterior-3``
            (that candidate), ``cell-12344`` (a cell by the benchmark's id).
        source: what it was drawn from; None: it was given.
        candidate: its number; None: it is none of the candidates.
    """

    label: str
    source: str | None
    candidate: int | None
    choice: Choice

    @property
    def given(self) -> bool:
        """Whether somebody named it; else it is what its source stands for."""
        return self.label != self.source


@dataclass(frozen=True)
class Run:
    """A finished search and what was made of it, read from its folder on demand.

    Attributes:
        record: ``run.json``.
        spec: what the run was asked for; :meth:`under` takes what follows a search from a scale.
    """

    folder: Path
    record: Mapping[str, Any]
    spec: Spec

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Open a run's folder.

        Raises:
            PdnasError: the folder holds no finished search, or one of another version of pdnas.
        """
        path = folder / layout.RUN
        if not path.is_file():
            raise PdnasError(
                f"{folder} is no run (there is no finished search: it has no {path.name}); run "
                "`pdnas search` with --out there"
            )
        record = read_json(path)
        try:
            if missing := [name for name in _NAMES if name not in record]:
                raise PdnasError(f"{path} says nothing of the {missing[0]}; search again")
            return cls(folder, record, Spec.model_validate(record.get("spec")))
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors()[0]["loc"]) or "spec"
            raise PdnasError(
                f"{path}: {place} does not fit this version of pdnas; "
                "search again, or use the version named in its provenance"
            ) from error

    @property
    def scale(self) -> str:
        return str(self.record["scale"])

    @property
    def study(self) -> str:
        return str(self.record["study"])

    @property
    def variant(self) -> str:
        return str(self.record["variant"])

    @property
    def seed(self) -> int:
        return int(self.record["seed"])

    @property
    def place(self) -> str:
        """Where it belongs under the folder of its scale's runs."""
        return layout.run_folder(self.study, self.variant, self.seed)

    @property
    def provenance(self) -> Mapping[str, Any]:
        return dict(self.record.get("provenance") or {})

    @cached_property
    def identity(self) -> str:
        """The owner of this run's files; one of another run's is refused."""
        return run_identity(self.record)

    def under(self, scale: Scale) -> Run:
        """The same run with what follows the search as ``scale`` has it now.

        Raises:
            PdnasError: the scale has no such variant, or another search for it.
        """
        spec = scale.spec(self.study, self.variant)
        if not self.spec.searches_like(spec):
            raise PdnasError(f"{self.folder} is another search than this scale's; search again")
        return replace(self, spec=spec)

    @cached_property
    def records(self) -> dict[Path, dict[str, Any]]:
        """Every record of this run by its path, the search's first."""
        paths = [path for pattern in layout.RECORDS for path in sorted(self.folder.glob(pattern))]
        return {path: read_json(path, self.identity) for path in paths}

    @cached_property
    def results(self) -> dict[tuple[JudgedSource, RetrainMode], dict[str, Any]]:
        """Records of the chosen candidates by (source, mode)."""
        found = {
            (source, mode): self._record(layout.result(source, mode))
            for source, mode in product(_sorted(JudgedSource), _sorted(RetrainMode))
        }
        return {key: record for key, record in found.items() if record is not None}

    @cached_property
    def ranking_records(self) -> dict[str, dict[str, Any]]:
        """Records of the rankings by source."""
        found = {
            source: self._record(layout.ranking_record(source)) for source in _sorted(JudgedSource)
        }
        return {source: record for source, record in found.items() if record is not None}

    @cached_property
    def scores_record(self) -> dict[str, Any] | None:
        """How every cell was scored; None if they were not."""
        return self._record(layout.SCORES_RECORD)

    def efficiency_record(self, scored: bool = False) -> dict[str, Any] | None:
        """Exact sample efficiency against the ground truth, or that with all cells scored."""
        return self._record(layout.EFFICIENCY_SCORED if scored else layout.EFFICIENCY)

    def sizes_record(self) -> dict[str, Any] | None:
        """What its posterior over the size space's widths is worth in its band."""
        return self._record(layout.SIZES)

    def macro_record(self) -> dict[str, Any] | None:
        """What its distribution over NAS-Bench-Macro's networks is worth."""
        return self._record(layout.MACRO)

    def subnet(self) -> dict[str, Any] | None:
        """Sizes and speed of the chosen candidate as a network of its own.

        Raises:
            PdnasError: other candidates are there now.
        """
        record = self._record(layout.SUBNET)
        if record and self._drawn_anew(str(record.get("source")), record):
            path = self.folder / layout.SUBNET
            raise PdnasError(f"{path} is of other candidates than there are now; extract again")
        return record

    @property
    def settings(self) -> dict[str, Any]:
        """The specification in one level, with what ranking and fine-tuning were told instead."""
        flat = flatten(self.spec.model_dump(mode="json"))
        for record in self.ranking_records.values():
            told = flatten(record["provenance"]["config"], "candidates.")
            flat |= {key: value for key, value in told.items() if key in flat}
        for (_, mode), record in self.results.items():
            if mode == "finetune":
                told = record["provenance"]["config"].get("retrain") or {}
                flat |= flatten(told, "retrain.")
        return flat

    def trajectory(self) -> pd.DataFrame | None:
        """A row an epoch, gate, group and option; None if the file is missing."""
        return self._table(layout.TRAJECTORY)

    def history(self) -> pd.DataFrame | None:
        """A row an epoch; None if the file is missing."""
        return self._table(layout.HISTORY)

    def scores(self) -> pd.DataFrame | None:
        """A row a cell: its one-shot accuracy and loss; None if they were not scored."""
        return self._table(layout.SCORES)

    def ranking(self, source: str) -> pd.DataFrame | None:
        """A row a candidate drawn from ``source``; None after a race, which leaves few of them
        with an accuracy: their mean, histogram or best of n would be those of survivors."""
        table = self._table(layout.ranking(source))
        return None if table is None or table["validation_accuracy"].isna().any() else table

    def chosen(self, source: str) -> dict[str, Any] | None:
        """The ranking's row of the best candidate drawn from ``source``."""
        ranking = self._table(layout.ranking(source))
        if ranking is None or source not in self.ranking_records:
            return None
        best = self.ranking_records[source]["best"]
        return dict(ranking[ranking["candidate"] == best].iloc[0])

    def splits(self) -> pd.DataFrame:
        """Which image is in which part of the data set."""
        return read_table(self.folder / layout.SPLITS, self.identity)

    def weights(self) -> dict[str, Tensor]:
        """The supernet's weights and BatchNorm statistics, by name."""
        return read_tensors(self.folder / layout.WEIGHTS, self.identity)[0]

    def posterior(self) -> Posterior:
        """The distribution over architectures that the search ended with."""
        from pdnas.runs.distributions import load_posterior

        return load_posterior(self.folder / layout.POSTERIOR, self.identity)

    def candidates(self, source: str) -> tuple[Candidates, dict[str, Any]]:
        """All candidates drawn from ``source``, and the metadata saved with them."""
        from pdnas.runs.distributions import load_candidates

        return load_candidates(self.folder / layout.candidates(source), self.identity)

    def candidate(self, source: str, number: int | None) -> tuple[int, Choice]:
        """One of the candidates drawn from ``source``: its number and what it chooses.

        Args:
            number: from 0; None: the best of the ranking.

        Raises:
            PdnasError: there is no such candidate, or the ranking is of other candidates.
        """
        candidates, _ = self.candidates(source)
        if number is None:
            number = self._best(source)
        if not 0 <= number < len(candidates):
            raise PdnasError(
                f"no candidate {number} in {layout.candidates(source)}; choose 0 to "
                f"{len(candidates) - 1}"
            )
        return number, candidates[number]

    def architecture(
        self, source: str, candidate: int | None = None, cell: str | None = None
    ) -> Architecture:
        """A cell, or one of the candidates drawn from ``source``.

        Args:
            candidate: its number, from 0; None: the best of the ranking.
            cell: an architecture string, which needs no candidates.

        Raises:
            PdnasError: there is no such candidate, or no such cell in the run's space.
        """
        if cell is not None:
            if candidate is not None:
                raise PdnasError("a cell and a candidate's number name two architectures; give one")
            return self._cell(cell)
        number, choice = self.candidate(source, candidate)
        label = source if candidate is None else layout.candidate_label(source, number)
        return Architecture(label, source, number, choice)

    def candidates_sha256(self, source: str) -> str:
        """The SHA-256 of the file of candidates, which a ranking keeps as its own subject."""
        path = self.folder / layout.candidates(source)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def outdated(self, source: str) -> str | None:
        """Why the ranking of a source says nothing of what is there now; None: it does."""
        anew = self._drawn_anew(source, self.ranking_records.get(source, {}))
        return "of other candidates than there are now" if anew else None

    def outdated_result(self, source: JudgedSource, mode: RetrainMode) -> str | None:
        """The same of what became of its best candidate, which falls with the ranking."""
        ranking = self.ranking_records.get(source)
        if ranking is not None and older(self.results[source, mode], ranking):
            return "of an earlier ranking than there is now"
        return self.outdated(source)

    def require_current(self) -> None:
        """Hold rankings, and what was made of them, to the candidates that are there now.

        Raises:
            PdnasError: one is of other candidates, or of an earlier ranking.
        """
        for ranked in self.ranking_records:
            if why := self.outdated(ranked):
                path = self.folder / layout.ranking_record(ranked)
                raise PdnasError(f"{path} is {why}; rank them again")
        for source, mode in self.results:
            if why := self.outdated_result(source, mode):
                path = self.folder / layout.result(source, mode)
                raise PdnasError(f"{path} is {why}; retrain again")
        sizes = self.sizes_record()
        if sizes and any(older(sizes, each) for each in self.ranking_records.values()):
            path = self.folder / layout.SIZES
            raise PdnasError(f"{path} is older than a ranking that it is made of; make it again")
        macro, scored = self.macro_record(), self.scores_record
        if macro and scored and older(macro, scored):
            path = self.folder / layout.MACRO
            raise PdnasError(f"{path} is older than the scores that it is made of; make it again")

    def _drawn_anew(self, source: str, record: Mapping[str, Any]) -> bool:
        """Whether other candidates are there now than those that a record is about."""
        drawn = record.get("candidates_sha256")
        there = (self.folder / layout.candidates(source)).is_file()
        return drawn is not None and there and drawn != self.candidates_sha256(source)

    def cell_string(self, choice: Choice) -> str | None:
        """How a candidate is written; None where candidates are masks of channels."""
        space = self.spec.space
        return None if space is None else space.to_string(choice[space.KEY].numpy())

    def write(self, name: str, content: Mapping[str, Any] | pd.DataFrame) -> None:
        """Write a record or a table of this run; of several processes, the first does.

        Raises:
            PdnasError: it could not be written.
        """
        from pdnas.support import distributed

        if not distributed.is_first():
            return
        if isinstance(content, Mapping):
            write_json(self.folder / name, content, self.identity)
        else:
            write_table(self.folder / name, content, self.identity)

    def _cell(self, text: str) -> Architecture:
        import torch

        space = self.spec.space
        if space is None:
            raise PdnasError(
                f"{self.folder} has no cells (supernet {self.spec.supernet.name}); give a "
                "candidate's number"
            )
        codes = space.from_string(text)
        cell_id = int(space.benchmark_ids()[space.ids(codes)])
        choice = {space.KEY: torch.from_numpy(codes)}
        return Architecture(layout.cell_label(cell_id), None, None, choice)

    def _best(self, source: str) -> int:
        path = self.folder / layout.ranking_record(source)
        ranking = read_json(path, self.identity)
        if self._drawn_anew(source, ranking):
            raise PdnasError(f"{path} is of other candidates than there are now; rank them again")
        best = ranking.get("best")
        if not isinstance(best, int):
            raise PdnasError(f"{path} names no best candidate; rank them again")
        return best

    def _record(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        record = read_json(path, self.identity) if path.is_file() else None
        space = self.spec.space
        if record is not None and name in _ABOUT_ALL_CELLS and isinstance(space, CellSpace):
            space.require_benchmark_ids(record, path)
        return record

    def _table(self, name: str) -> pd.DataFrame | None:
        path = self.folder / name
        return read_table(path, self.identity) if path.is_file() else None

    @property
    def classes(self) -> int:
        """Outputs of its networks: classes of the data that it was searched with."""
        from pdnas.data.sets import dataset

        classes: int = self.record.get("classes", dataset(self.spec.data).classes)
        return classes

    @property
    def statistics(self) -> Statistics | None:
        """What the search normalised its images with, where it measured that."""
        from pdnas.data.dataset import Statistics

        kept = self.record.get("normalisation")
        return Statistics(tuple(kept["mean"]), tuple(kept["std"])) if kept else None

    @cached_property
    def changed_images(self) -> str | None:
        """What is other in the user's folder of images since the search; None: nothing, or no such.

        It is looked up once for this object, and a command or a call from Python has its own.

        Raises:
            PdnasError: the folder that it was searched with is missing.
        """
        from pdnas.data.folders import difference
        from pdnas.data.sets import dataset

        then = self.record.get("folders")
        now = dataset(self.spec.data).own_contents()
        if then and not now:
            raise PdnasError(
                f"{self.folder} was searched with class folders that are not here; set PDNAS_DATA "
                "to the folder that holds them"
            )
        if now and not then:
            return "class folders, and the search read the published files"
        return difference(then, now) if then and now else None


def different_images(one: Run, other: Run) -> str | None:
    """What the second search saw other than the first in a folder of the user's; None: nothing."""
    first, second = (run.record.get("folders") for run in (one, other))
    if bool(first) != bool(second):
        return "class folders in place of published files, or the other way round"
    if not (first and second):
        return None
    from pdnas.data.folders import difference

    return difference(first, second)


def _sorted(vocabulary: Any) -> list[Any]:
    return sorted(get_args(vocabulary))


def require_like(run: Run, name: str, asked: Mapping[str, Any]) -> None:
    """Raise if a run is of another study, variant or seed (``name``) than asked for."""
    if run.record[name] != asked[name]:
        raise PdnasError(
            f"{run.folder} is of {name} {run.record[name]}, not {asked[name]}; give the run of "
            f"that {name}"
        )


def share_supernet(run: Run, spec: Spec, names: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Make ``out`` a run of another variant with the supernet of ``run``: no second search.

    Args:
        names: ``scale``, ``study``, ``variant`` and ``seed`` of what is asked for.

    Returns:
        the record written to ``run.json``: that of ``run``, whose provenance the supernet keeps.

    Raises:
        PdnasError: the variant's search is another one, or of another study or seed; or the files
            could not be copied.
    """
    require_like(run, "study", names)
    require_like(run, "seed", names)
    if not run.spec.searches_like(spec):
        raise PdnasError(
            f"{run.folder} holds another search than {names['variant']}'s; only variants that "
            "differ in candidates or retrain alone share a supernet"
        )
    record = {
        **run.record,
        **names,
        "spec": spec.model_dump(mode="json"),
        "searched_by": run.variant,
    }
    owner = run_identity(record)
    for name in (layout.SPLITS, layout.HISTORY, layout.TRAJECTORY):
        write_table(out / name, read_table(run.folder / name, run.identity), owner)
    for name in (layout.WEIGHTS, layout.POSTERIOR):
        write_tensors(out / name, *read_tensors(run.folder / name, run.identity), owner)
    write_json(out / layout.RUN, record)
    return record
