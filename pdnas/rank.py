"""Judge candidates with the supernet's own weights on validation data, and choose the best.

Every candidate is judged on the same images (paper, section 3.4): no fine-tuning, no test data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn

from pdnas.artefacts import write_failure, write_json, write_table
from pdnas.config import TrainingConfig
from pdnas.data.loader import Loader
from pdnas.posterior import Candidates, Choice
from pdnas.progress import Progress
from pdnas.provenance import Stopwatch, provenance
from pdnas.run import Run
from pdnas.supernets import ChannelSupernet, Supernet
from pdnas.train.checkpoint import fingerprint
from pdnas.train.fit import evaluate

BatchNormStatistics = Literal["running", "recalibrated"]


@dataclass(frozen=True)
class Judge:
    """How a candidate is evaluated.

    Attributes:
        supernet: the trained supernet.
        loader: the images to judge on.
        training: for its precision.
        batchnorm: ``running`` takes the supernet's BatchNorm statistics as they are;
            ``recalibrated`` gives each candidate its own, from ``calibration`` (training images).
        calibration: images of shape (images, channels, height, width) for ``recalibrated``.
    """

    supernet: Supernet
    loader: Loader
    training: TrainingConfig
    batchnorm: BatchNormStatistics = "running"
    calibration: list[Tensor] | None = None

    def __call__(self, choice: Choice) -> tuple[float, float]:
        """Accuracy and mean cross-entropy of one architecture with inherited weights."""
        with self.supernet.candidate(choice):
            if self.batchnorm == "running":
                return evaluate(self.supernet, self.loader, self.training)
            with recalibrated(self.supernet, self.calibration or []):
                return evaluate(self.supernet, self.loader, self.training)


@contextmanager
def recalibrated(supernet: Supernet, batches: list[Tensor]) -> Iterator[None]:
    """Within the block, BatchNorm statistics are those of ``batches`` in the network as it stands.

    The supernet's own statistics come back afterwards.
    """
    norms = [module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [
        (norm.momentum, {k: v.clone() for k, v in norm.state_dict().items()}) for norm in norms
    ]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over the batches
        supernet.train()
        with torch.no_grad():
            for batch in batches:
                supernet(batch)
        supernet.eval()
        yield
    finally:
        for norm, (momentum, state) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.load_state_dict(state)
        supernet.eval()


def rank(candidates: Candidates, judge: Judge, start: int = 0) -> Iterator[dict[str, float]]:
    """Judge candidates one after the other, from number ``start`` on.

    Yields:
        one record a candidate: ``candidate``, ``validation_accuracy``, ``validation_loss``,
        ``parameters``, ``kept_channels``, ``kept_operations`` (docs/files.md).
    """
    for number in range(start, len(candidates)):
        choice = candidates[number]
        accuracy, loss = judge(choice)
        channels, operations = judge.supernet.kept(choice)
        yield {
            "candidate": number,
            "validation_accuracy": accuracy,
            "validation_loss": loss,
            "parameters": judge.supernet.candidate_parameters(choice),
            "kept_channels": channels,
            "kept_operations": operations,
        }


def make_judge(run: Run, supernet: Supernet, loader: Loader, device: torch.device) -> Judge:
    """The judge a run's specification asks for, on the images of ``loader``."""
    settings = run.spec.candidates
    calibration = None
    if settings.batchnorm == "recalibrated":
        calibration, images = [], 0
        for batch, _ in run.loader("train", device, train=True).epoch(0):
            calibration.append(batch)
            images += len(batch)
            if images >= settings.recalibration_images:
                break
    return Judge(supernet, loader, run.spec.training, settings.batchnorm, calibration)


def rank_run(run: Run, source: str, device: torch.device) -> dict[str, Any]:
    """Judge a run's candidates and write ``ranking-SOURCE.parquet`` and ``.json``.

    Each candidate's record goes to a journal at once, so a killed ranking goes on where it was.

    Returns:
        the record written to ``ranking-SOURCE.json``.

    Raises:
        PdnasError: there are no candidates, or they are another supernet's.
    """
    path = run.folder / f"candidates-{source}.safetensors"
    candidates, metadata = Candidates.load(path)
    supernet = run.supernet(device)
    judge = make_judge(run, supernet, run.loader("validation", device), device)
    settings = run.spec.candidates.model_dump(mode="json")
    identity = {
        **settings,
        "candidates": hashlib.sha256(path.read_bytes()).hexdigest(),
        "weights": run.record["provenance"]["finished"],
    }
    journal = run.folder / "checkpoint" / f"ranking-{source}-{fingerprint(identity)}.jsonl"
    rows = _read_journal(journal)
    stopwatch = Stopwatch(rows[-1] if rows else None)
    description = f"rank {source} {run.study}/{run.variant} seed {run.seed}"
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        with (
            journal.open("a", encoding="utf-8") as file,
            Progress(description, len(candidates), len(rows)) as progress,
        ):
            for row in rank(candidates, judge, len(rows)):
                rows.append({**row, **stopwatch.read()})
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
                progress.advance(note=f"accuracy {row['validation_accuracy']:.1%}")
    except OSError as error:
        raise write_failure(journal, error) from error
    table = pd.DataFrame(rows).drop(columns=["wall_seconds", "cpu_seconds"])
    table["log_probability"] = metadata["log_probability"]
    table["cell"] = [run.cell_string(candidates[number]) for number in range(len(candidates))]
    everything = None
    if isinstance(supernet, ChannelSupernet):
        everything, _ = evaluate(supernet, judge.loader, judge.training)
    record = {
        "images": judge.loader.examples,
        "batchnorm": judge.batchnorm,
        "best": int(table["validation_accuracy"].to_numpy().argmax()),
        "supernet_validation_accuracy": everything,
        "provenance": provenance(
            {"source": source, "count": len(candidates), **settings}, metadata["seed"], stopwatch
        ),
    }
    write_table(run.folder / f"ranking-{source}.parquet", table)
    write_json(run.folder / f"ranking-{source}.json", record)
    journal.unlink()
    with suppress(OSError):  # another source's journal may still lie there
        journal.parent.rmdir()
    return record


def _read_journal(path: Path) -> list[dict[str, Any]]:
    """The whole records of a journal; what a kill left half-written is cut off the file."""
    if not path.is_file():
        return []
    rows, whole = [], 0
    content = path.read_bytes()
    for line in content.splitlines(keepends=True):
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
        if not line.endswith(b"\n"):
            rows.pop()
            break
        whole += len(line)
    if whole < len(content):
        with path.open("rb+") as file:
            file.truncate(whole)
    return rows
