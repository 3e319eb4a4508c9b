"""The suite for Python: what ``import pdnas`` offers (docs/python.md).

Every function does what the command of the same name does, and says no in the same words. A run is
given as a :class:`pdnas.runs.run.Run` or as its folder; records are those of docs/files.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

from pydantic import Field, SkipValidation, ValidationError, validate_call

from pdnas.commands.pipeline import at_work
from pdnas.commands.pipeline import load_run as open_run
from pdnas.runs import kept, layout
from pdnas.runs.run import Run
from pdnas.spec.base import Count, Natural, Seed, first_problem
from pdnas.spec.names import Device, JudgedSource, NetworkFormat, RetrainMode, Source
from pdnas.support.errors import PdnasError

if TYPE_CHECKING:
    from pdnas.space.candidates import Candidates

P = ParamSpec("P")
R = TypeVar("R")

AnyRun = Annotated[Run | str | Path, SkipValidation]
"""A finished search, or its folder."""
Unchecked = Annotated[Any, SkipValidation]
"""What the function itself looks at."""
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, whose arguments are held to their types: a wrong one is a PdnasError."""
    form = signature(function)
    returned = function.__annotations__.pop("return")  # pydantic would import it, and torch
    checked = validate_call(config={"arbitrary_types_allowed": True})(function)
    function.__annotations__["return"] = returned

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = form.bind(*args, **kwargs).arguments  # a missing one is Python's own TypeError
        try:
            return checked(**given)  # type: ignore[call-arg]
        except ValidationError as error:
            if error.title != function.__name__:
                raise
            raise PdnasError(f"{function.__name__}: {first_problem(error)}") from error

    return call


@_checked
def search(
    scale: str | Path,
    study: str,
    variant: str,
    *,
    seed: Seed = 0,
    out: str | Path | None = None,
    match: AnyRun | None = None,
    device: Device | None = None,
    threads: Count | None = None,
    force: bool = False,
) -> Run:
    """Train a supernet and learn its posterior; a killed search goes on where it was.

    A search that has finished in the folder is not trained again.

    Example:
        >>> run = pdnas.search("smoke", "multibranch", "guided", seed=0, out="run")

    Args:
        scale: name of a scale, or path of its YAML file.
        out: the run's folder; by default ``runs/SCALE/STUDY/VARIANT/seedSEED``.
        match: run whose parameter count decides the drop rate (``gates.match``).
        device, threads: where to compute; by default as the scale says.
        force: replace another finished search in the folder, and all that was made of it.

    Raises:
        PdnasError: there is no such variant, its data are missing, or the folder holds another
            finished search.
    """
    from pdnas.spec.scale import load_scale
    from pdnas.stages.search import match_drop, search_run
    from pdnas.support import distributed

    settings = load_scale(str(scale))
    spec = settings.spec(study, variant)
    names = {"scale": Path(scale).stem, "study": study, "variant": variant}
    if out is None:
        out = kept.claim_runs_folder(str(scale)) / layout.run_folder(study, variant, seed)
    folder = Path(out).expanduser()
    matched = None if match is None else load_run(match).folder
    with (
        _threads(threads or settings.threads),
        at_work(folder, "search", device or settings.device) as chosen,
    ):
        drop = match_drop(spec, matched, {**names, "seed": seed})
        if force or kept.search(folder, spec, {**names, "seed": seed}, drop) is None:
            search_run(
                spec,
                scale=names["scale"],
                study=study,
                variant=variant,
                seed=seed,
                out=folder,
                device=chosen,
                drop=drop,
            )
            if distributed.is_first():
                kept.remove_what_followed(folder, everything=force)
    return Run.load(folder)


@_checked
def load_run(run: AnyRun, scale: str | Path | None = None) -> Run:
    """Open a finished search: ``.posterior()``, ``.history()``, ``.ranking(source)`` and more.

    Example:
        >>> pdnas.load_run("runs/smoke/multibranch/guided/seed0").history()

    Args:
        run: its folder.
        scale: whose ``candidates`` and ``retrain`` hold now; those of the search if None.

    Raises:
        PdnasError: the folder holds no finished search, or another one than the scale's.
    """
    if not isinstance(run, Run | str | Path):
        raise PdnasError(f"a run is given as a Run or its folder, not {type(run).__name__}")
    folder = run.folder if isinstance(run, Run) else Path(run).expanduser()
    if isinstance(run, Run) and scale is None:  # read anew, in case there is more by now
        return Run(run.folder, run.record, run.spec)
    return open_run(folder, None if scale is None else str(scale))


@_checked
def sample(
    run: AnyRun,
    source: Source = "posterior",
    *,
    count: Count | None = None,
    seed: Seed | None = None,
    force: bool = False,
) -> Candidates:
    """Draw candidates from a run's posterior, at a fixed drop rate, or uniformly.

    Example:
        >>> candidates = pdnas.sample(run, count=100)

    Args:
        count, seed: by default those of the run.
        force: replace other candidates from this source.

    Raises:
        PdnasError: other candidates were drawn before, or the source is unknown to the run.
    """
    from pdnas.stages.sample import sample_run

    found = load_run(run)
    number = found.spec.candidates.count if count is None else count
    seed = found.seed if seed is None else seed
    if not force and kept.candidates(found, source, number, seed):
        return found.candidates(source)[0]
    return sample_run(found, source, number, seed)


@_checked
def rank(
    run: AnyRun,
    source: Source = "posterior",
    *,
    device: Device = "auto",
    threads: Count = 1,
    force: bool = False,
) -> dict[str, Any]:
    """Judge a run's candidates on validation data with inherited weights.

    Example:
        >>> best = pdnas.rank(run)["best"]

    Returns:
        the record of ``ranking-SOURCE.json``; ``run.ranking(source)`` is the table.

    Raises:
        PdnasError: there are no candidates, or they were judged in another way before.
    """
    from pdnas.stages.rank import rank_run

    found = load_run(run)
    with _threads(threads), at_work(found.folder, f"rank-{source}", device) as chosen:
        done = None if force else kept.ranking(found, source)
        return dict(done or rank_run(found, source, chosen))


@_checked
def retrain(
    run: AnyRun,
    source: JudgedSource = "posterior",
    *,
    mode: RetrainMode = "none",
    candidate: Natural | None = None,
    cell: str | None = None,
    device: Device = "auto",
    threads: Count = 1,
    force: bool = False,
) -> dict[str, Any]:
    """Finish the best candidate, or a given one, and evaluate it on the test data.

    Example:
        >>> error = 1 - pdnas.retrain(run, mode="finetune")["test_accuracy"]

    Args:
        source: whose best candidate; ``full``: the whole supernet.
        mode: weights as inherited (``none``), fine-tuned, or trained from scratch.
        candidate: number of another candidate than the best.
        cell: architecture string of a cell in place of a candidate.

    Returns:
        the record of ``result-SOURCE-MODE.json``.

    Raises:
        PdnasError: there is no ranking, no such candidate or cell, or no ``retrain`` section.
    """
    from pdnas.stages.retrain import choose, retrain_run

    found = load_run(run)
    architecture = choose(found, source, candidate, cell)
    work = f"retrain-{architecture.label}-{mode}"
    with _threads(threads), at_work(found.folder, work, device) as chosen:
        done = None if force else kept.result(found, architecture, mode)
        return dict(done or retrain_run(found, architecture, mode, chosen))


@_checked
def extract(
    run: AnyRun,
    out: str | Path | None = None,
    *,
    source: Source = "posterior",
    candidate: Natural | None = None,
    cell: str | None = None,
    format: NetworkFormat = "torch",
    multiple: Count = 1,
    threads: Count = 1,
    force: bool = False,
) -> dict[str, Any]:
    """Write a candidate as a physically smaller network with the same outputs.

    Example:
        >>> pdnas.extract(run, "small", format="export")["speedup"]["median"]

    Args:
        out: folder to write to; by default ``subnet`` in the run's folder, ``subnet-posterior-3``
            or ``subnet-cell-12344`` for a given candidate or cell.
        multiple: of which the channels shall be one; not as small, but faster.
        force: replace another extraction in the folder.

    Returns:
        the record of ``subnet.json``.

    Raises:
        PdnasError: there is no such candidate or cell, a package for the format is missing, or
            another extraction lies in the folder.
    """
    from pdnas.stages.extract import extract_run

    found = load_run(run)
    architecture = found.architecture(source, candidate, cell)
    if out is None:
        own = "" if architecture.label == "posterior" else f"-{architecture.label}"
        out = found.folder / f"{layout.SUBNET_FOLDER}{own}"
    folder = Path(out).expanduser()
    done = kept.subnet(found, architecture, folder, format, multiple, force)
    with _threads(threads):
        return dict(done or extract_run(found, architecture, folder, format, multiple))


@_checked
def efficiency(
    of: Unchecked,
    probabilities: Unchecked = None,
    *,
    dataset: str | None = None,
    targets: Sequence[Fraction] | None = None,
    parameters: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """How many samples a distribution saves against uniform ones, exactly.

    Example:
        >>> pdnas.efficiency(run, dataset="cifar10", targets=[0.935])["targets"][0]["speedup"]
        >>> pdnas.efficiency("natsbench-size", "mine.csv", parameters=(180_000, 220_000))["top"]

    Args:
        of: a run of nasbench201 or its folder; its posterior; or the probabilities of all 15 625
            cells in the order of their ids, shape (15625,). With ``probabilities``: a ground truth
            or its name.
        probabilities: over that truth: of all its rows, shape (n,); by name, in a dictionary or a
            series; names of samples; a data frame; a file, as `pdnas efficiency` takes it; or a run
            or its folder.
        dataset: to be judged by. By default the truth's first; for a run, the data set it was
            trained on.
        targets: accuracies to reach, as fractions; by default those of the tables.
        parameters: fewest and most of the architectures that count, of a ground truth.

    Returns:
        the data set's part of ``efficiency.json``. Uniform samples are of the same operations. For
        a ground truth with ``near_best`` and ``top``, and of what it is about ``parameters``,
        ``mass_in_band`` and ``cells``; see :func:`pdnas.truth.measure.measure`.

    Raises:
        PdnasError: this is no distribution, or the benchmark does not know the data.
    """
    if probabilities is not None:
        return _efficiency_over(of, probabilities, dataset, targets, parameters)
    import numpy as np
    import pandas as pd

    from pdnas.space.cells import CellSpace
    from pdnas.space.posterior import CategoricalPosterior, ChannelPosterior
    from pdnas.truth import load as truth
    from pdnas.truth.columns import DATASETS, TARGETS
    from pdnas.truth.efficiency import dataset_efficiency
    from pdnas.truth.samplers import is_names, of_array

    if parameters is not None:
        raise PdnasError("a band of parameters needs a ground truth: efficiency(truth, ...)")
    tables = (Mapping, pd.DataFrame)
    own, ids = "cifar10", np.arange(len(CellSpace()))
    if isinstance(of, Run | str | Path):
        run = load_run(of)
        of, own = run.posterior(), run.spec.data.name
    if isinstance(of, ChannelPosterior):
        raise PdnasError("this is a distribution over channels; give a run of nasbench201")
    if isinstance(of, CategoricalPosterior):
        if not isinstance(of.space, CellSpace):
            raise PdnasError(
                "this is a distribution over no cells; name its truth: efficiency(truth, run)"
            )
        ids, q = of.space.benchmark_ids(), of.architecture_probabilities()
    elif is_names(of) or is_names(getattr(of, "index", None)) or isinstance(of, tables):
        raise PdnasError(
            "names need a ground truth that knows them: efficiency(truth, names), where truth is "
            "such as 'nasbench201'"
        )
    else:
        q = of_array(of, truth())
    asked = dataset or own
    known = next((name for name in DATASETS if name == asked), None)
    if known is None:
        said = f"no dataset {asked!r}" if dataset else f"trained on {own}; name the dataset"
        raise PdnasError(f"{said} to be judged by: choose {', '.join(DATASETS)}")
    wanted = TARGETS[known] if targets is None else targets
    return dataset_efficiency(q, truth().accuracy(known)[ids], wanted)


def _efficiency_over(
    of: Any,
    probabilities: Any,
    dataset: str | None,
    targets: Sequence[float] | None,
    parameters: tuple[float, float] | None,
) -> dict[str, Any]:
    from pdnas.truth import load
    from pdnas.truth.measure import measure
    from pdnas.truth.samplers import Sampler
    from pdnas.truth.tables import Truth

    truth = load(of) if isinstance(of, str) else of
    if not isinstance(truth, Truth):
        raise PdnasError(f"give a ground truth or its name, not {type(of).__name__}")
    sampler = Sampler.of(probabilities, truth)
    known = sampler.dataset(dataset, truth)
    wanted = None if targets is None else {known: targets}
    record = measure(
        truth,
        sampler.q,
        parameters=parameters,
        only=sampler.rows,
        targets=wanted,
        datasets=[known],
    )
    about = {name: record[name] for name in ("parameters", "mass_in_band", "cells")}
    return about | record["datasets"][known]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many processor threads within the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
