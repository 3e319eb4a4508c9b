"""The stages: ``search``, ``sample``, ``rank``, ``retrain``, ``extract``; and ``describe``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pdnas.commands import complete
from pdnas.commands.console import print_table
from pdnas.runs import layout
from pdnas.spec import limits
from pdnas.spec.names import JudgedSource, NetworkFormat, RetrainMode, Source

if TYPE_CHECKING:
    import torch

    from pdnas.runs.run import Run

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished search.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[
    int, typer.Option(min=1, max=limits.THREADS, help="Processor threads; results depend on them.")
]
StopAfter = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="MINUTES",
        envvar="PDNAS_STOP_AFTER",
        help="Stop, with a checkpoint and exit code 75, before the epoch that would take longer.",
    ),
]
ScaleNow = Annotated[
    str | None,
    typer.Option(
        "--scale",
        autocompletion=complete.scales,
        help="Scale whose `candidates` and `retrain` hold now; those of the search if none.",
    ),
]
CandidateNumber = Annotated[
    int | None, typer.Option(min=0, help="Its number; the best of the ranking by default.")
]
CellString = Annotated[
    str | None, typer.Option(help="nasbench201: this cell, by its architecture string.")
]

Scale = Annotated[
    str,
    typer.Option(help="Name of a scale, or path of its YAML file.", autocompletion=complete.scales),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a finished result by another one.")]


def search(
    study: Annotated[
        str, typer.Argument(help="A study of the scale.", autocompletion=complete.studies)
    ],
    variant: Annotated[
        str, typer.Argument(help="One of its variants.", autocompletion=complete.variants)
    ],
    seed: Annotated[
        int,
        typer.Option(min=0, max=limits.SEED, help="Seed of weights, data order and noise."),
    ] = 0,
    scale: Scale = "laptop",
    out: Annotated[
        Path | None, typer.Option(help="Run folder; runs/SCALE/STUDY/VARIANT/seedSEED by default.")
    ] = None,
    match: Annotated[
        Path | None,
        typer.Option(help="Run whose parameter count decides the drop rate (gates.match)."),
    ] = None,
    supernet: Annotated[
        Path | None,
        typer.Option(help="Run with the same search, whose supernet is taken; nothing is trained."),
    ] = None,
    warm_ups: Annotated[
        Path | None,
        typer.Option(help="Folder of warm-ups, left for and taken from searches with the same."),
    ] = None,
    stop_after: StopAfter = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a supernet and learn its posterior; a killed search goes on where it was.

    Example: pdnas search multibranch guided --scale smoke --seed 1
    """
    from pdnas.runs import kept
    from pdnas.runs.run import Run, share_supernet
    from pdnas.spec.scale import load_scale
    from pdnas.stages.search import match_drop, search_run
    from pdnas.support import distributed

    deadline = _deadline(stop_after)
    settings = load_scale(scale)
    spec = settings.spec(study, variant)
    names = {"scale": Path(scale).stem, "study": study, "variant": variant}
    folder = out or kept.claim_runs_folder(scale) / layout.run_folder(study, variant, seed)
    set_threads(settings.threads)
    with at_work(folder, "search", settings.device) as device:
        drop = match_drop(spec, match, {**names, "seed": seed})
        record = None if force else kept.search(folder, spec, {**names, "seed": seed}, drop)
        text = f"searched {study}/{variant} seed {seed}: {folder}"
        if record is not None:
            _print(record, as_json, f"finished already: {folder}")
            return
        if supernet is not None:
            record = share_supernet(Run.load(supernet), spec, {**names, "seed": seed}, folder)
            text = f"took the supernet of {supernet}: {folder}"
        else:
            record = search_run(
                spec,
                **names,
                seed=seed,
                out=folder,
                device=device,
                drop=drop,
                warm_ups=warm_ups,
                deadline=deadline,
            )
        if distributed.is_first():
            kept.remove_what_followed(folder, everything=force)
        _print(record, as_json, text)


def sample(
    run: RunFolder,
    source: Annotated[Source, typer.Option(help="What to draw from.")] = "posterior",
    count: Annotated[
        int | None,
        typer.Option(
            min=1, max=limits.CANDIDATES, help="Candidates; the run's specification by default."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=limits.SEED, help="Seed of the draw; the run's by default."),
    ] = None,
    scale: ScaleNow = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw candidates from a run's posterior, at a fixed drop rate, or uniformly.

    Example:

        pdnas sample runs/laptop/multibranch/guided/seed6 --count 100
    """
    from pdnas.runs import kept
    from pdnas.stages.sample import sample_run

    found = load_run(run, scale)
    number = found.spec.candidates.count if count is None else count
    seed = found.seed if seed is None else seed
    path, text = run / layout.candidates(source), f"drew {number} candidates from {source}"
    if not force and kept.candidates(found, source, number, seed):
        text = "finished already"
    else:
        sample_run(found, source, number, seed)
    record = {"source": source, "count": number, "file": str(path)}
    _print(record, as_json, f"{text}: {path}")


def rank(
    run: RunFolder,
    source: Annotated[Source, typer.Option(help="Which candidates.")] = "posterior",
    device: Device = "auto",
    threads: Threads = 1,
    scale: ScaleNow = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Judge a run's candidates on validation data with inherited weights.

    Example:

        pdnas rank runs/laptop/multibranch/guided/seed6
    """
    from pdnas.runs import kept
    from pdnas.stages.rank import rank_run

    set_threads(threads)
    found = load_run(run, scale)
    with at_work(run, f"rank-{source}", device) as chosen:
        done = None if force else kept.ranking(found, source)
        record = done or rank_run(found, source, chosen)
        best = f"best of {source}: candidate {record['best']}"
        _print(record, as_json, f"finished already: {best}" if done else best)


def retrain(
    run: RunFolder,
    source: Annotated[
        JudgedSource, typer.Option(help="Whose best candidate; full: the whole supernet.")
    ] = "posterior",
    mode: Annotated[
        RetrainMode, typer.Option(help="Inherited weights, fine-tuned, or from scratch.")
    ] = "none",
    candidate: CandidateNumber = None,
    cell: CellString = None,
    device: Device = "auto",
    threads: Threads = 1,
    scale: ScaleNow = None,
    stop_after: StopAfter = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Finish the best candidate, or a given one, and evaluate it once on the test data.

    Example:

        pdnas retrain runs/laptop/multibranch/guided/seed6 --mode finetune
    """
    from pdnas.runs import kept
    from pdnas.stages.retrain import choose, retrain_run

    deadline = _deadline(stop_after)
    set_threads(threads)
    found = load_run(run, scale)
    architecture = choose(found, source, candidate, cell)
    with at_work(run, f"retrain-{architecture.label}-{mode}", device) as chosen:
        done = None if force else kept.result(found, architecture, mode)
        record = done or retrain_run(found, architecture, mode, chosen, deadline)
        error = 1 - record["test_accuracy"]
        text = f"test error {error:.2%}, {record['parameters']:,} parameters"
        _print(record, as_json, f"finished already: {text}" if done else text)


def extract(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    source: Annotated[Source, typer.Option(help="Which candidates.")] = "posterior",
    candidate: CandidateNumber = None,
    cell: CellString = None,
    format: Annotated[
        NetworkFormat,
        typer.Option(
            help="torch: Python source and safetensors; export: torch.export program; onnx."
        ),
    ] = "torch",
    multiple: Annotated[
        int,
        typer.Option(
            min=1,
            max=limits.WIDTH,
            help="Fill up channels to a multiple: not as small, but faster where vectors hold it.",
        ),
    ] = 1,
    threads: Threads = 1,
    scale: ScaleNow = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a candidate as a physically smaller network with the same outputs.

    Example: pdnas extract runs/laptop/multibranch/guided/seed6 --out small --format onnx
    """
    from pdnas.runs import kept
    from pdnas.stages.extract import extract_run

    set_threads(threads)
    found = load_run(run, scale)
    architecture = found.architecture(source, candidate, cell)
    done = kept.subnet(found, architecture, out, format, multiple, force)
    record = done or extract_run(found, architecture, out, format, multiple)
    masked, small, speed = record["masked"], record["extracted"], record["speedup"]
    what = record["cell"] if cell else f"candidate {record['candidate']} of {source}"
    _print(
        record,
        as_json,
        "finished already: " * bool(done) + f"{what}: {small['parameters']:,} parameters "
        f"(masked {masked['parameters']:,}), {small['multiply_adds']:,} multiply-adds (masked "
        f"{masked['multiply_adds']:,}), {speed['median']:.2f} times as fast (quartiles of "
        f"{speed['pairs']} pairs of runs: {speed['quartile_25']:.2f}, {speed['quartile_75']:.2f}): "
        f"{out}" + ("" if record["files_run_with"] else " (not run: onnxruntime is not installed)"),
    )


def describe(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=complete.supernets,
            help="supernet-m, -mi, -e, -ei, -r50, -d121, -d169, -d201, nasbench201, "
            "natsbench-size, nasbench-macro.",
        ),
    ],
    width: Annotated[
        int | None,
        typer.Option(
            min=1, max=limits.WIDTH, help="Another width: channels, filters or growth rate."
        ),
    ] = None,
    cell: Annotated[
        str | None, typer.Option(help="nasbench201: the network of this one cell.")
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            min=2, max=limits.CLASSES, help="10 if not given; ImageNet's supernets: 1000."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=4, max=limits.SIDE, help="Side of an image in pixels, 32 or ImageNet's 224."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Parameters, multiply-adds and gates of a supernet.

    Example: pdnas describe nasbench201 --cell
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|'
    """
    from pdnas.nn.describe import describe as examine

    record = examine(name, width=width, cell=cell, classes=classes, size=size)
    if as_json:
        _print(record, True, "")
        return
    print_table(
        f"{name}: {record['parameters']:,} parameters, {record['multiply_adds']:,} multiply-adds",
        ("gate", "groups", "input channels or options"),
        ((gate["name"], str(gate["groups"]), str(gate["size"])) for gate in record["gates"]),
    )


def set_threads(count: int) -> None:
    """Compute with so many processor threads."""
    import torch

    torch.set_num_threads(count)


@contextmanager
def at_work(folder: Path, work: str, device: str) -> Iterator[torch.device]:
    """Do ``work`` in ``folder``, nobody else meanwhile but the other processes of torchrun.

    Yields:
        the device called ``device`` (auto, cpu or cuda) that is this process's.
    """
    from pdnas.support import distributed
    from pdnas.support.files import claim
    from pdnas.train.device import choose_device

    chosen = choose_device(device)
    with (
        distributed.process_group(chosen),
        claim(folder, work) if distributed.is_first() else nullcontext(),
    ):
        yield chosen


def _deadline(minutes: float | None) -> float | None:
    """The time of ``time.monotonic`` so many minutes from now."""
    return None if minutes is None else time.monotonic() + 60 * minutes


def load_run(folder: Path, scale: str | None) -> Run:
    """A finished search, with what follows it as ``scale`` has it now, if one is named."""
    from pdnas.runs.run import Run
    from pdnas.spec.scale import load_scale

    run = Run.load(folder)
    return run if scale is None else run.under(load_scale(scale))


def _print(record: Mapping[str, Any], as_json: bool, text: str) -> None:
    from pdnas.support import distributed

    if distributed.is_first():
        typer.echo(json.dumps(record, indent=2) if as_json else text)
