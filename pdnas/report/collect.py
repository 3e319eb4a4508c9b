"""Everything that was measured at a scale: the runs that exist, and one tidy table over them.

Nothing here computes a result. Runs that are missing are absent, never guessed; a run that was made
with another configuration than the scale's is an error, because mixing the two would be silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdnas.runs import layout
from pdnas.runs.left_out import left_out
from pdnas.runs.records import seconds
from pdnas.runs.run import Run, different_images
from pdnas.spec.products import Selector
from pdnas.spec.roles import Roles, roles
from pdnas.spec.scale import Scale, load_scale
from pdnas.spec.selection import flatten, judged_by
from pdnas.spec.spec import SEARCH_PARTS, Spec
from pdnas.spec.supernets import MultiBranchConfig, NasBench201Config
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, read_table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "study",
    "stands_for",
    "variant",
    "seed",
    "source",
    "mode",
    "data",
    "supernet",
    "supernet_parameters",
    "gates_mode",
    "length_scale2",
    "temperature",
    "candidates",
    "validation_error",
    "test_error",
    "parameters",
    "supernet_validation_error",
    "search_seconds",
    "rank_seconds",
    "retrain_seconds",
)
"""The columns of :attr:`Collection.measurements`; errors are in percent, times in seconds."""


def describe_supernet(spec: Spec) -> str:
    """A supernet in words: ``3-branch ResNet, width 8, 2 blocks a stage``."""
    supernet = spec.supernet
    if isinstance(supernet, MultiBranchConfig):
        blocks = "block" if supernet.blocks == 1 else "blocks"
        return f"3-branch ResNet, width {supernet.width}, {supernet.blocks} {blocks} a stage"
    if isinstance(supernet, NasBench201Config):
        operations = len(supernet.operations)
        count = supernet.cells_per_stage
        cells = "1 cell" if count == 1 else f"{count} cells"
        return (
            f"NAS-Bench-201, {supernet.channels} channels, {cells} a stage, {operations} operations"
        )
    settings = supernet.model_dump()
    words = [settings.pop("name")]
    for key, value in settings.items():
        several = isinstance(value, tuple)
        words.append(f"{key} {'/'.join(map(str, value)) if several else value}")
    return ", ".join(words)


def rows_of(run: Run) -> Iterator[dict[str, Any]]:
    """A run's rows of :attr:`Collection.measurements`, one a (source, mode)."""
    common = {
        "study": run.study,
        "variant": run.variant,
        "seed": run.seed,
        "data": run.spec.data.title,
        "supernet": describe_supernet(run.spec),
        "supernet_parameters": run.record.get("supernet_parameters"),
        "gates_mode": run.spec.gates.mode,
        "length_scale2": run.spec.gates.length_scale2,
        "temperature": run.spec.gates.temperature,
        "search_seconds": seconds(run.record),
    }
    keys: list[tuple[Any, Any]] = list(run.results)
    judged = {source for source, _ in keys}
    keys += [(source, None) for source in run.ranking_records if source not in judged]
    for source, mode in keys or [(None, None)]:
        row: dict[str, Any] = {**common, "source": source, "mode": mode}
        if source in run.ranking_records:
            ranking = run.ranking_records[source]
            whole = ranking.get("supernet_validation_accuracy")
            table = run.ranking(source)
            row["candidates"] = None if table is None else len(table)
            row["supernet_validation_error"] = None if whole is None else 100 * (1 - whole)
            row["rank_seconds"] = seconds(ranking)
        if source is not None and mode is not None:
            result = run.results[source, mode]
            # A plain network is not chosen among candidates, so it may have no such accuracy.
            validation = result.get("validation_accuracy")
            row["validation_error"] = None if validation is None else 100 * (1 - validation)
            row["test_error"] = 100 * (1 - result["test_accuracy"])
            row["parameters"] = result["parameters"]
            row["retrain_seconds"] = seconds(result)
        yield row


@dataclass(frozen=True)
class RunEfficiency:
    """A run's sample efficiency, as in efficiency.json, and the data set it is held against."""

    run: Run
    truth: str
    everything: Mapping[str, Any]

    @property
    def record(self) -> Mapping[str, Any]:
        """What is said of the data set ``truth``."""
        facts: Mapping[str, Any] = self.everything["datasets"][self.truth]
        return facts


@dataclass(frozen=True)
class Rival:
    """Many searches of the ground truth with one method: their summary and where every query is."""

    record: Mapping[str, Any]
    path: Path

    @property
    def label(self) -> str:
        """The method's name, with the version of the library that it is taken from."""
        library = self.record.get("library")
        return f"{self.path.stem}, {library}" if library else self.path.stem

    def trace(self) -> pd.DataFrame:
        """A row a seed and query."""
        return read_table(self.path)


@dataclass(frozen=True)
class Collection:
    """A scale and the runs of it that exist under a folder.

    Attributes:
        name: the scale's.
        asked: how it was asked for: by its name, or by its file's path.
    """

    name: str
    asked: str
    scale: Scale
    runs: tuple[Run, ...]
    folder: Path

    @cached_property
    def left_out(self) -> Mapping[str, str]:
        """Why studies were left out that had no images, by study."""
        return left_out(self.folder)

    @cached_property
    def measurements(self) -> pd.DataFrame:
        """A row a (study, variant, seed, source, mode); source and mode are null where unmade."""
        import pandas as pd

        rows = [
            {**row, "stands_for": self.scale.studies[run.study].stands_for}
            for run in self.runs
            for row in rows_of(run)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @cached_property
    def roles(self) -> dict[str, Roles]:
        """The parts that variants play, by study."""
        return {study: roles(self.scale, study) for study in self.scale.studies}

    def label(self, study: str, variant: str) -> str:
        """What tables and figures call a variant."""
        return self.scale.studies[study].labels.get(variant, variant)

    def describe(self, study: str) -> str:
        """A study's name, and the supernet that it stands for."""
        supernet = self.scale.studies[study].stands_for
        return f"{study} (for SupNet-{supernet})" if supernet else study

    def find(self, study: str, variant: str | None) -> list[Run]:
        """The runs of one variant (of None: none), in the order of the scale's seeds."""
        return [run for run in self.runs if (run.study, run.variant) == (study, variant)]

    def efficiencies(self, target: str = "all") -> dict[tuple[str, str], list[RunEfficiency]]:
        """Sample efficiencies of distributions over cells, by (study, variant).

        Args:
            target: ``all``: the learned posteriors that this target runs; ``nasbench``: every
                distribution, with what all cells' scores add where they were scored.
        """
        found: dict[tuple[str, str], list[RunEfficiency]] = {}
        for run in self.runs:
            if target == "all":
                here = self.scale.studies[run.study].target == "all"
                record = (
                    run.efficiency_record() if here and run.spec.gates.mode == "learned" else None
                )
            else:
                record = run.efficiency_record(scored=True) or run.efficiency_record()
            if record is not None:
                truth = judged_by(run.spec.data.name)
                efficiency = RunEfficiency(run, truth, record)
                found.setdefault((run.study, run.variant), []).append(efficiency)
        return found

    @cached_property
    def rivals(self) -> dict[str, Rival]:
        """Searches of NAS-Bench-201's table; see :meth:`rivals_of`."""
        return self.rivals_of("nasbench201")

    def rivals_of(self, truth: str) -> dict[str, Rival]:
        """Searches of a truth's table, by the method's name.

        Raises:
            PdnasError: one of them is about another data set than the study.
        """
        found = {}
        for path in sorted(self.folder.glob(layout.rival_record("*", truth))):
            record = read_json(path)
            if record["dataset"] != "cifar10":
                raise PdnasError(
                    f"{path} is about {record['dataset']}, the study about cifar10; "
                    "write it to another folder"
                )
            found[path.stem] = Rival(record, path.with_suffix(".parquet"))
        return found


def collect(scale: str, folder: Path, select: Selector | None = None) -> Collection:
    """Gather the runs of ``scale`` (a name or a YAML path) that exist under ``folder``.

    Args:
        select: the studies to gather; by default all.

    Raises:
        PdnasError: no such scale; a damaged run; a run made with another configuration, or in the
            folder of another; a ranking of other candidates than there are.
    """
    content = load_scale(scale)
    runs: list[Run] = []
    for study in content.studies if select is None else select(content):
        description = content.studies[study]
        for variant in description.variants:
            spec = content.spec(study, variant)
            for seed in description.seeds_of(variant):
                path = folder / layout.run_folder(study, variant, seed)
                if (path / layout.RUN).is_file():
                    run = Run.load(path)
                    _require_place(run, layout.run_folder(study, variant, seed))
                    run.require_current()
                    _require_same(run, spec, description.score_images)
                    _require_same_images(run, runs)
                    runs.append(replace(run, spec=spec))
    return Collection(Path(scale).stem, scale, content, tuple(runs), folder)


def _require_place(run: Run, place: str) -> None:
    """A copy of a run in another one's folder would count as that one."""
    if run.place != place:
        raise PdnasError(
            f"{run.folder} holds the run {run.place}, so its name is wrong; move it away, and "
            "search what belongs there"
        )


def _require_same(run: Run, spec: Spec, score_images: int | None) -> None:
    """The folder's name is a promise about the configuration; hold every record to its part."""
    made, expected = run.spec.model_dump(include=set(SEARCH_PARTS)), spec.model_dump()
    _hold(run.folder, "", made, expected)
    for source, record in run.ranking_records.items():
        path = run.folder / layout.ranking_record(source)
        _hold(path, "candidates", record["provenance"]["config"], expected["candidates"])
    for (source, mode), record in run.results.items():
        path, made = run.folder / layout.result(source, mode), record["provenance"]["config"]
        for part, wanted in spec.decides(mode).items():
            _hold(path, part, made.get(part) or {}, wanted or {})
    if run.scores_record is not None:
        path, made = run.folder / layout.SCORES_RECORD, run.scores_record["provenance"]["config"]
        _hold(path, "candidates", made, expected["candidates"])
        if score_images is not None and made["images"] != score_images:
            raise _other(path, "score_images", made["images"], score_images)
    if (sizes := run.sizes_record()) is not None:
        path, made = run.folder / layout.SIZES, sizes["provenance"]["config"]
        _hold(path, "candidates", made, expected["candidates"])


def _require_same_images(run: Run, earlier: Sequence[Run]) -> None:
    """Means over runs of a study are of one set of images, also where its folder has changed."""

    def place(each: Run) -> tuple[str, str]:
        return each.study, getattr(each.spec.data, "root", each.spec.data.name)

    other = next((each for each in earlier if place(each) == place(run)), run)
    if found := different_images(other, run):
        raise PdnasError(
            f"{other.folder} and {run.folder} were searched with different images ({found}); "
            "search again what was searched with others than there are now"
        )


def _hold(path: Path, part: str, made: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """One part of a specification, or all that has no name, against what a record says; what it
    does not say is no matter."""
    shared, prefix = [key for key in expected if key in made], f"{part}." if part else ""
    recorded = flatten({key: made[key] for key in shared}, prefix)
    wanted = flatten({key: expected[key] for key in shared}, prefix)
    for field in {**wanted, **recorded}:
        if recorded.get(field) != wanted.get(field):
            raise _other(path, field, recorded.get(field), wanted.get(field))


def _other(path: Path, field: str, recorded: Any, wanted: Any) -> PdnasError:
    return PdnasError(
        f"{path} was made with {field} = {recorded}, but the scale says {wanted}; make it again, "
        "or name the scale file it was made with"
    )
