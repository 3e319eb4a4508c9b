"""Judge candidates with the supernet's own weights on validation data, and choose the best.

Every candidate is judged on the same images (paper, section 3.4), or, in a race, on as many of them
as show that it cannot win: no fine-tuning, no test data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdnas.data.batches import Loader
from pdnas.nn.supernets import ChannelSupernet, Supernet
from pdnas.runs.run import EVALUATION_BATCH, Run
from pdnas.space.candidates import Candidates, Choice
from pdnas.spec.training import TrainingConfig
from pdnas.support import distributed
from pdnas.support.files import write_failure, write_json, write_table
from pdnas.support.progress import Progress
from pdnas.support.provenance import Stopwatch, fingerprint, provenance
from pdnas.train.device import autocast
from pdnas.train.evaluate import evaluate, verdicts

FIRST_ROUND, GROWTH, CONFIDENCE = 50, 1.5, 3.0
"""Of a race: images of its first round, growth from round to round, standard errors of a gap that
decides (docs/speed.md)."""

GPU_PAIRS = 1000
"""Of a candidate and an image in one batch, where there is a GPU. A CPU, which gains nothing once a
candidate has 100 images, takes one candidate after the other."""

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
        top: most probable classes among which an image's own has to be.
        pairs: of a candidate and an image, go through the supernet at once, if they are more than a
            batch of images makes with one candidate.
    """

    supernet: Supernet
    loader: Loader
    training: TrainingConfig
    batchnorm: BatchNormStatistics = "running"
    calibration: list[Tensor] | None = None
    top: int = 1
    pairs: int = 1

    def together(self, images: int) -> int:
        """How many candidates go through at once with so many images each."""
        if self.batchnorm == "recalibrated" or not isinstance(self.supernet, ChannelSupernet):
            return 1
        return max(1, self.pairs // min(images, EVALUATION_BATCH))

    def __call__(self, choice: Choice) -> tuple[float, float]:
        """Accuracy and mean cross-entropy of one architecture with inherited weights."""
        return self.judge([choice])[0]

    def judge(self, choices: Sequence[Choice]) -> list[tuple[float, float]]:
        """Accuracy and mean cross-entropy of architectures that go through at once."""
        parts = []
        with self._judging(choices):
            for x, y in self.loader.epoch(0):
                verdicts = self._verdicts(len(choices), x, y)
                parts.append(torch.stack([part.double().sum(dim=1) for part in verdicts], dim=1))
        sums = torch.stack(parts).sum(dim=0) / self.loader.examples
        return [(accuracy, loss) for accuracy, loss in sums.tolist()]

    def each(self, choices: Sequence[Choice], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each architecture is right about each image, and its cross-entropy.

        Both of shape (candidates, images); the candidates go through at once.
        """
        with self._judging(choices):
            parts = zip(x.split(EVALUATION_BATCH), y.split(EVALUATION_BATCH), strict=True)
            verdicts = [self._verdicts(len(choices), images, labels) for images, labels in parts]
        right, nll = (torch.cat(part, dim=1) for part in zip(*verdicts, strict=True))
        return right, nll

    def _verdicts(self, candidates: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return verdicts(self.supernet, x, y, self.training, self.top, candidates)

    @contextmanager
    def _judging(self, choices: Sequence[Choice]) -> Iterator[None]:
        with ExitStack() as stack:
            if len(choices) > 1:
                assert isinstance(self.supernet, ChannelSupernet)
                stack.enter_context(self.supernet.candidates(choices))
            else:
                stack.enter_context(self.supernet.candidate(choices[0]))
            stack.enter_context(self.statistics())
            self.supernet.eval()
            yield

    def statistics(self) -> AbstractContextManager[None]:
        """BatchNorm statistics of the network as it stands, if it is to have its own."""
        if self.batchnorm == "running":
            return nullcontext()
        return recalibrated(self.supernet, self.calibration or [], self.training)


@contextmanager
def recalibrated(
    supernet: Supernet, batches: list[Tensor], training: TrainingConfig
) -> Iterator[None]:
    """Within the block, BatchNorm statistics are those of ``batches`` in the network as it stands.

    They are taken with the precision of ``training``, which networks are judged with too. The
    supernet's own statistics come back afterwards.
    """
    norms = [module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [
        (norm.momentum, {k: v.clone() for k, v in norm.state_dict().items()}) for norm in norms
    ]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over the batches
        supernet.eval()  # drop-path and the like stay off; only the statistics are at work
        for norm in norms:
            norm.train()
        with torch.no_grad():
            for batch in batches:
                with autocast(batch.device, training):
                    supernet(batch)
        supernet.eval()
        yield
    finally:
        for norm, (momentum, state) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.load_state_dict(state)
        supernet.eval()


def rank(candidates: Candidates, judge: Judge, start: int = 0) -> Iterator[dict[str, float]]:
    """Judge candidates from number ``start`` on, as many at a time as is fastest.

    Yields:
        one record a candidate: ``candidate``, ``validation_accuracy``, ``validation_loss``,
        ``parameters``, ``kept_channels``, ``kept_operations`` (docs/files.md).
    """
    left = len(candidates) - start
    step = distributed.chunk(left, judge.together(judge.loader.examples))

    def judged(first: int) -> list[dict[str, float]]:
        numbers = range(first, min(first + step, len(candidates)))
        choices = [candidates[number] for number in numbers]
        return [
            {
                "candidate": number,
                "validation_accuracy": accuracy,
                "validation_loss": loss,
                **_size(judge.supernet, choice),
            }
            for number, choice, (accuracy, loss) in zip(
                numbers, choices, judge.judge(choices), strict=True
            )
        ]

    for rows in distributed.spread(judged, range(start, len(candidates), step)):
        yield from rows


def _size(supernet: Supernet, choice: Choice) -> dict[str, float]:
    channels, operations = supernet.kept(choice)
    return {
        "parameters": supernet.candidate_parameters(choice),
        "kept_channels": channels,
        "kept_operations": operations,
    }


@dataclass(frozen=True)
class Race:
    """How a race ended.

    Attributes:
        best: the winner; of equals, the first.
        seen: images that each candidate was judged on, shape (candidates,).
        right: how many of them it got right, shape (candidates,).
    """

    best: int
    seen: NDArray[np.int64]
    right: NDArray[np.int64]

    @property
    def evaluations(self) -> int:
        """Pairs of a candidate and an image that were computed."""
        return int(self.seen.sum())


def race(
    candidates: int,
    images: int,
    judge: Callable[[NDArray[np.int64], int, int], NDArray[np.bool_]],
    after_round: Callable[[], None] = lambda: None,
) -> Race:
    """Find the most accurate candidate without judging all of them on all images.

    Rounds of growing numbers of images; after each, a candidate is out if it trails the leader by
    more than ``CONFIDENCE`` standard errors. All have seen the same images, so the error is that of
    the mean of paired differences, with the correction for drawing from finitely many images (a
    Hoeffding race, Maron and Moore 1994, with a normal bound). The race ends when one is left or
    the images are used up; who is left then has been judged on all images, as in plain ranking.

    Args:
        images: number of images, in random order.
        judge: of some candidates, which of the images ``start`` to ``stop`` they get right; shape
            (candidates, images).
        after_round: called when a round is over.
    """
    correct = np.zeros((candidates, images), dtype=bool)
    seen = np.zeros(candidates, dtype=np.int64)
    racing = np.arange(candidates)
    start = 0
    for stop in rounds(images):
        if len(racing) == 1:  # the winner is judged on all images, to know its accuracy
            stop = images
        correct[racing, start:stop] = judge(racing, start, stop)
        seen[racing] = start = stop
        after_round()
        if stop == images:
            break
        so_far = correct[racing, :stop].astype(np.float32)
        trail = so_far[so_far.sum(axis=1).argmax()] - so_far
        error = trail.std(axis=1) * math.sqrt((1 - stop / images) / stop)
        racing = racing[trail.mean(axis=1) <= CONFIDENCE * error]
    right = correct.sum(axis=1)
    return Race(int(racing[right[racing].argmax()]), seen, right)


def rounds(images: int) -> list[int]:
    """How many images a candidate has been judged on after each round of a race."""
    stops = [min(FIRST_ROUND, images)]
    while stops[-1] < images:
        stops.append(min(math.ceil(stops[-1] * GROWTH), images))
    return stops


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
    pairs = settings.pairs or (GPU_PAIRS if device.type == "cuda" else 1)
    judge = Judge(supernet, loader, run.spec.training, settings.batchnorm, calibration)
    return replace(judge, pairs=pairs)


def rank_run(run: Run, source: str, device: torch.device) -> dict[str, Any]:
    """Judge a run's candidates and write ``ranking-SOURCE.parquet`` and ``.json``.

    Each judgement goes to a journal at once, so a killed ranking goes on where it was.

    Returns:
        the record written to ``ranking-SOURCE.json``.

    Raises:
        PdnasError: there are no candidates, or they are another supernet's.
    """
    candidates, metadata = run.candidates(source)
    sha256 = run.candidates_sha256(source)
    supernet = run.supernet(device)
    judge = make_judge(run, supernet, run.loader("validation", device), device)
    settings = run.spec.candidates.model_dump(mode="json")
    identity = {
        **settings,
        "candidates": sha256,
        "weights": run.record["provenance"]["finished"],
    }
    name = f"ranking-{source}-{fingerprint(identity)}.jsonl"
    journal = _Journal(run.folder / "checkpoint" / name)
    judge_them = _race_all if run.spec.candidates.ranking == "racing" else _rank_all
    description = f"rank {source} {run.study}/{run.variant} seed {run.seed}"
    table = judge_them(candidates, judge, journal, description)
    table["log_probability"] = metadata["log_probability"]
    table["cell"] = [run.cell_string(candidates[number]) for number in range(len(candidates))]
    everything = None
    if isinstance(supernet, ChannelSupernet):
        with judge.statistics():
            everything, _ = evaluate(supernet, judge.loader, judge.training)
    record = {
        "images": judge.loader.examples,
        "batchnorm": judge.batchnorm,
        "best": int(np.nanargmax(table["validation_accuracy"].to_numpy())),
        "supernet_validation_accuracy": everything,
        "candidates_sha256": sha256,
        "provenance": provenance(
            {**settings, "source": source, "count": len(candidates)},
            metadata["seed"],
            journal.stopwatch,
        ),
    }
    if distributed.is_first():
        write_table(run.folder / f"ranking-{source}.parquet", table, run.identity)
        write_json(run.folder / f"ranking-{source}.json", record, run.identity)
        journal.remove()
    return record


def _rank_all(
    candidates: Candidates, judge: Judge, journal: _Journal, description: str
) -> pd.DataFrame:
    """The ranking's table, every candidate judged on every image."""
    quiet = not distributed.is_first()
    with Progress(description, len(candidates), len(journal.rows), quiet) as progress:
        for row in rank(candidates, judge, len(journal.rows)):
            journal.append(row)
            progress.advance(note=f"accuracy {row['validation_accuracy']:.1%}")
    return pd.DataFrame(journal.rows).drop(columns=["wall_seconds", "cpu_seconds"])


def _race_all(
    candidates: Candidates, judge: Judge, journal: _Journal, description: str
) -> pd.DataFrame:
    """The ranking's table after a race: accuracy and loss of those that saw every image.

    The race is a function of what the judgements say, so it is run again from its start, and those
    in the journal cost nothing.
    """
    x, y = (torch.cat(part) for part in zip(*judge.loader.epoch(0), strict=True))
    # Validation images lie in the order of the data set's file; a race wants them from all over.
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).to(y.device)
    x, y = x[order], y[order]
    known = {(row["candidate"], row["start"]): row for row in journal.rows}
    progress = Progress(description, len(rounds(len(y))), quiet=not distributed.is_first())

    def judged(racing: NDArray[np.int64], start: int, stop: int) -> NDArray[np.bool_]:
        unknown = [number for number in racing.tolist() if (number, start) not in known]
        step = distributed.chunk(len(unknown), judge.together(stop - start))

        def rows(first: int) -> list[dict[str, Any]]:
            numbers = unknown[first : first + step]
            choices = [candidates[number] for number in numbers]
            verdicts = judge.each(choices, x[start:stop], y[start:stop])
            return [
                {
                    "candidate": number,
                    "start": start,
                    "right": "".join("01"[each] for each in right.tolist()),
                    "loss": nll.double().sum().item(),
                }
                for number, right, nll in zip(numbers, *verdicts, strict=True)
            ]

        for new in distributed.spread(rows, range(0, len(unknown), step)):
            for row in new:
                journal.append(row)
                known[row["candidate"], start] = row
        rights = [known[number, start]["right"] for number in racing.tolist()]
        return np.array([[each == "1" for each in right] for right in rights])

    with progress:
        result = race(len(candidates), len(y), judged, progress.advance)
    loss = np.zeros(len(candidates))
    for (candidate, _), row in known.items():
        loss[candidate] += row["loss"]
    finished = result.seen == len(y)
    sizes = [_size(judge.supernet, candidates[number]) for number in range(len(candidates))]
    return pd.DataFrame(
        {
            "candidate": np.arange(len(candidates)),
            "validation_accuracy": np.where(finished, result.right / len(y), np.nan),
            "validation_loss": np.where(finished, loss / len(y), np.nan),
            "images": result.seen,
        }
    ).join(pd.DataFrame(sizes))


class _Journal:
    """Records of finished work, one a line, with the time spent so far; the first rank's file.

    Attributes:
        rows: those of an earlier call that was killed, and those appended since.
        stopwatch: interrupted calls included.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = distributed.from_first(lambda: _read_journal(path))
        self.stopwatch = Stopwatch(self.rows[-1] if self.rows else None)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a record, whole or not at all.

        Raises:
            PdnasError: it could not be written; earlier ones are still there.
        """
        self.rows.append({**row, **self.stopwatch.read()})
        if not distributed.is_first():
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")
        except OSError as error:
            raise write_failure(self._path, error) from error

    def remove(self) -> None:
        """Delete the file: its work is done."""
        self._path.unlink()
        with suppress(OSError):  # another source's journal may still lie there
            self._path.parent.rmdir()


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
