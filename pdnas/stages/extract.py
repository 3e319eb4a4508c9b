"""A candidate of a run as files that need no pdnas: PyTorch source, exported program, or ONNX."""

from __future__ import annotations

import importlib.util
import io
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, fx, nn

from pdnas.nn import subnet
from pdnas.nn.subnet import multiply_adds, parameters, source_code
from pdnas.nn.supernets import Supernet
from pdnas.runs import layout
from pdnas.runs.run import Architecture, Run
from pdnas.spec.names import NetworkFormat
from pdnas.stages.judge import Judge, make_judge
from pdnas.stages.materials import loader_of, trained_supernet
from pdnas.support.errors import PdnasError, first_line
from pdnas.support.files import (
    atomic_path,
    read_json,
    read_tensors,
    write_failure,
    write_json,
    write_tensors,
)
from pdnas.support.progress import Progress
from pdnas.support.provenance import Stopwatch, provenance
from pdnas.support.timing import paired_times

TIMED_IMAGES, TIMED_PAIRS = 64, 20
"""Images in a batch, and runs of either network, with which their speeds are compared."""

FEWEST_PAIRS, TIMED_SECONDS = 3, 20.0
"""Large images: after so many seconds no more than so many runs of either are begun."""

TOLERANCE = 1e-4
"""Difference between the logits of a network and of its files that rounding can make, in units of
the largest logit."""


@dataclass(frozen=True)
class Inputs:
    """What a network of its own is made from.

    Attributes:
        judge: with the supernet and validation images.
    """

    architecture: Architecture
    judge: Judge

    @classmethod
    def open(cls, run: Run, architecture: Architecture) -> Inputs:
        """Read the weights and validation images."""
        device = torch.device("cpu")
        loader = loader_of(run, "validation", device)
        judge = make_judge(run, trained_supernet(run, device), loader, device)
        return cls(architecture, judge)


def extract_run(
    run: Run, chosen: Architecture, out: Path, format: NetworkFormat, multiple: int = 1
) -> dict[str, Any]:
    """Write one of a run's candidates as a physically smaller network, and ``subnet.json``.

    The weights are the inherited ones, and BatchNorm's statistics those with which the candidate
    was ranked. Files beside ``subnet.json``: ``network.py`` and ``weights.safetensors``
    (``torch``), ``network.pt2`` (``export``, a torch.export program) or ``network.onnx``; the last
    two take any number of images.

    Args:
        chosen: see :meth:`pdnas.runs.run.Run.architecture`.
        out: folder to write to.
        format: what to write.
        multiple: see :func:`pdnas.nn.subnet.extract`.

    Returns:
        the record written to ``subnet.json``: ``candidate`` and ``source`` (null for a cell that
        was given), ``cell`` (architecture string, or null), ``candidates_sha256`` (of the file that
        the candidate is from, or null), ``multiple``, ``format``; what
        :func:`write_network` returns; ``masked`` and ``extracted``, each with its ``parameters``
        (masked: of kept slices and of everything ungated) and ``multiply_adds`` for one image
        (masked: what the supernet computes, zeros and all);
        ``supernet_parameters``, without an auxiliary head; ``speedup``, time of the masked network
        by that of the extracted one (see :func:`_speedup`); ``validation_images``;
        ``largest_difference`` between the two networks' logits on these, in float32, and
        ``largest_logit``; ``provenance``.

    Raises:
        PdnasError: a package for the format is missing, or the files compute something else.
    """
    stopwatch = Stopwatch()
    before = _files_before(out)
    if format == "onnx" and not importlib.util.find_spec("onnxscript"):
        raise PdnasError("ONNX needs the package onnxscript; install pdnas with its extra dev")
    inputs = Inputs.open(run, chosen)
    network, measures = extract(inputs, multiple)
    images, _ = next(iter(inputs.judge.loader.epoch(0)))
    identity = {"run": str(run.folder), "source": chosen.source, "candidate": chosen.candidate}
    record = {
        "source": chosen.source,
        "candidate": chosen.candidate,
        "cell": run.cell_string(chosen.choice),
        "candidates_sha256": chosen.source and run.candidates_sha256(chosen.source),
        "multiple": multiple,
        "format": format,
        **write_network(network, images[:TIMED_IMAGES], out, format, identity),
        **measures,
        "provenance": provenance(
            {**identity, "spec": run.spec.model_dump(mode="json")}, run.seed, stopwatch
        ),
    }
    for name in before - {*record["files"]}:
        (out / name).unlink(missing_ok=True)
    write_json(out / layout.SUBNET_RECORD, record, run.identity)
    return record


def _files_before(out: Path) -> set[str]:
    """The files of an earlier extraction into the folder, as its record has them."""
    try:
        named = read_json(out / layout.SUBNET_RECORD).get("files", ())
    except PdnasError:  # there is none, or it is damaged
        return set()
    return {*named} & {*layout.NETWORK_FILES}


def extract(inputs: Inputs, multiple: int = 1) -> tuple[fx.GraphModule, dict[str, Any]]:
    """A candidate as a network of its own, and how it compares with the masked supernet."""
    choice, judge, supernet = inputs.architecture.choice, inputs.judge, inputs.judge.supernet
    with ExitStack() as stack:
        supernet.choose(choice)
        stack.enter_context(judge.statistics())
        batches = [batch for batch, _ in judge.loader.epoch(0)]
        steps = 2 * len(batches) + TIMED_PAIRS
        name = f"extract {inputs.architecture.label}"
        progress = stack.enter_context(Progress(name, steps))
        image = batches[0][:1]
        arithmetic = multiply_adds(supernet, image)
        expected = _logits(supernet, batches, progress)
        network = subnet.extract(supernet, choice, image, multiple)
        found = _logits(network, batches, progress)
        with supernet.candidate(choice):  # `extract` has given the supernet back
            first = torch.cat([each[:TIMED_IMAGES] for each in batches[:TIMED_IMAGES]])
            speedup = _speedup(supernet, network, first[:TIMED_IMAGES], progress)
    measures = {
        "supernet_parameters": supernet.parameter_count() - supernet.auxiliary_parameters(),
        "masked": {
            "parameters": supernet.candidate_parameters(choice),
            "multiply_adds": arithmetic,
        },
        "extracted": {
            "parameters": parameters(network),
            "multiply_adds": multiply_adds(network, image),
        },
        "speedup": speedup,
        "validation_images": len(expected),
        "largest_difference": float((found - expected).abs().max()),
        "largest_logit": float(expected.abs().max()),
    }
    return network, measures


@torch.no_grad()
def _logits(network: nn.Module, batches: Sequence[Tensor], progress: Progress) -> Tensor:
    found = []
    for batch in batches:
        found.append(network(batch))
        progress.advance()
    return torch.cat(found)


@torch.no_grad()
def _speedup(
    masked: Supernet, extracted: fx.GraphModule, images: Tensor, progress: Progress
) -> dict[str, float]:
    """How many times faster the extracted network is than the masked one, both in evaluation.

    Args:
        masked: as the candidate.
        images: a batch.
        progress: counts the pairs.

    Returns:
        ``median`` (ratio of medians of interleaved runs), ``quartile_25`` and ``quartile_75`` of
        the pairs' own ratios, ``pairs`` and ``images``.
    """
    times = paired_times(
        lambda: masked(images),
        lambda: extracted(images),
        TIMED_PAIRS,
        fewest=FEWEST_PAIRS,
        within=TIMED_SECONDS,
        after_each=progress.advance,
    )
    if left_out := TIMED_PAIRS - len(times):
        progress.advance(left_out)
    low, _, high = quantiles([slow / fast for slow, fast in times], n=4, method="inclusive")
    slow, fast = (median(side) for side in zip(*times, strict=True))
    return {
        "median": slow / fast,
        "quartile_25": low,
        "quartile_75": high,
        "pairs": len(times),
        "images": len(images),
    }


def write_network(
    network: fx.GraphModule,
    images: Tensor,
    out: Path,
    format: NetworkFormat,
    metadata: dict[str, Any],
) -> dict[str, Any]:
    """Write an extracted network into the folder ``out``, once its files compute the same.

    Args:
        network: from :func:`pdnas.nn.subnet.extract`.
        images: three or more, to trace with and to compare on; their number stays free.
        out: the folder.
        format: ``torch``, ``export`` or ``onnx``.
        metadata: what stands in the header of the weights.

    Returns:
        ``files``: their names; ``files_run_with``: package and version, None where ``onnxruntime``
        is not installed; ``files_difference``: the largest of the logits, None likewise.

    Raises:
        PdnasError: the files cannot be made or run, or compute something else. They are gone then.
    """
    with _folder_beside(out) as folder:
        files = _write(network, images[:2], folder, format, metadata)
        try:
            compute, runner = _written(folder, format)
            with torch.no_grad():
                found = None if compute is None else compute(images.contiguous())
        except Exception as error:  # of several packages, which have no kind in common
            raise _unlike(files, f"cannot be run: {first_line(error)}") from error
        difference = None
        if found is not None:
            with torch.no_grad():
                expected = network(images)
            same = found.shape == expected.shape
            difference = float((found - expected).abs().max()) if same else math.inf
            largest = float(expected.abs().max())
            if not difference <= TOLERANCE * largest:
                raise _unlike(
                    files,
                    f"computes another network in {runner}: its logits, of up to {largest:.3g}, "
                    f"differ by up to {difference:.3g}",
                )
        for name in files:
            (folder / name).replace(out / name)
    return {"files": files, "files_run_with": runner, "files_difference": difference}


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """A folder on the disk of ``out`` for the time of a ``with`` block."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".network-", dir=out) as folder:
            yield Path(folder)
    except OSError as error:
        raise write_failure(out, error) from error


def _unlike(files: list[str], what: str) -> PdnasError:
    return PdnasError(f"{files[0]} {what}; choose another --format (nothing was written)")


def _write(
    network: fx.GraphModule,
    images: Tensor,
    folder: Path,
    format: NetworkFormat,
    metadata: dict[str, Any],
) -> list[str]:
    """Write a network's files; returns their names."""
    if format == "torch":
        write_tensors(folder / "weights.safetensors", network.state_dict(), metadata)
        with atomic_path(folder / "network.py") as temporary:
            temporary.write_text(source_code(network), encoding="utf-8")
        return ["network.py", "weights.safetensors"]
    shapes = ({0: torch.export.Dim("images")},)
    program = torch.export.export(network, (images.contiguous(),), dynamic_shapes=shapes)
    if format == "export":
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        with atomic_path(folder / "network.pt2") as temporary:
            temporary.write_bytes(buffer.getvalue())
        return ["network.pt2"]
    try:
        onnx = torch.onnx.export(
            program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
        )
    except torch.onnx.OnnxExporterError as error:
        raise _unlike(["network.onnx"], f"cannot be made: {first_line(error)}") from error
    assert onnx is not None
    with atomic_path(folder / "network.onnx") as temporary:
        onnx.save(temporary)
    return ["network.onnx"]


def _written(
    folder: Path, format: NetworkFormat
) -> tuple[Callable[[Tensor], Tensor] | None, str | None]:
    """What the files of a network compute, and the package that runs them, where there is one."""
    if format == "torch":
        namespace: dict[str, Any] = {}
        exec((folder / "network.py").read_text(encoding="utf-8"), namespace)
        module = namespace["Subnet"]().eval()
        module.load_state_dict(read_tensors(folder / "weights.safetensors")[0])
        return module, f"torch {torch.__version__}"
    if format == "export":
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of torch itself
            program = torch.export.load(folder / "network.pt2").module()
        return program, f"torch {torch.__version__}"
    if not importlib.util.find_spec("onnxruntime"):
        return None, None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", options, providers=["CPUExecutionProvider"]
    )

    def compute(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"images": x.numpy()})[0])

    return compute, f"onnxruntime {onnxruntime.__version__}"
