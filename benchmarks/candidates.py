"""Ranking, by racing too, and scoring all cells at once."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from benchmarks.measure import Aim, Effort, Measure, quantity, ratio
from benchmarks.training import random_batch
from pdnas.nn.gates import GateSettings
from pdnas.nn.supernets.categorical.scoring import folded
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.cells.scoring import IMAGES_AT_ONCE, blocks, score_block
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.runs.distributions import load_candidates
from pdnas.runs.run import Run
from pdnas.space.candidates import Choice
from pdnas.space.cells import CELL, CellSpace
from pdnas.spec.training import TrainingConfig
from pdnas.stages.judge import EXTRACTED, Judge, make_judge
from pdnas.stages.materials import EVALUATION_BATCH, loader_of, trained_supernet
from pdnas.stages.race import race
from pdnas.support.provenance import Stopwatch, provenance
from pdnas.support.timing import Pairs, paired_times

JUDGED = {
    "guided": "guided candidates of a small 3-branch ResNet",
    "cells": "uniform NAS-Bench-201 cells",
}
"""Real rankings: which of 200 candidates is right on which of 2000 validation images."""
TOLERANCE = 0.0005
REPETITIONS = 200


def racing(effort: Effort) -> list[Measure]:
    """Image evaluations of plain ranking over those of racing, and how often racing is right.

    A simulation on real candidates: each repetition shuffles the images, and draws 100 of the
    candidates.
    """
    measures = []
    for name, words in JUDGED.items():
        correct = load_correct(name)
        found = [simulate(correct, 100, seed) for seed in range(effort.choose(REPETITIONS, 3))]
        right = statistics.mean(lost <= TOLERANCE + 1e-9 for _, lost in found)
        same = statistics.mean(lost == 0 for _, lost in found)
        saved = [factor for factor, _ in found]
        part = f"racing, 100 {words}"
        worst = 100 * max(lost for _, lost in found)
        measures += [
            quantity(
                f"{part}: fewer image evaluations",
                "every candidate on every image",
                saved,
                "x",
                aim=Aim(8, least=True),
                obstacle=OBSTACLE,
            ),
            Measure(
                f"{part}: winner within 0.05 %",
                "plain ranking",
                100 * right,
                (100 * right,) * 2,
                len(found),
                "%",
                Aim(95, least=True),
                f"an equally accurate winner in {same:.1%}, at worst {worst:.2f} points lost",
                "a stricter bound would save less",
            ),
        ]
    return measures


OBSTACLE = (
    "candidates of one posterior are nearly equally good; to tell one that trails by g from the "
    "best takes about 9 s²/g² images, s² the variance of the paired difference (docs/speed.md)"
)


def load_correct(name: str) -> NDArray[np.bool_]:
    """Shape (candidates, images)."""
    with np.load(Path(__file__).with_name(f"judged-{name}.npz")) as file:
        return np.unpackbits(file["correct"], axis=1, count=int(file["images"])).astype(bool)


def simulate(correct: NDArray[np.bool_], count: int, seed: int) -> tuple[float, float]:
    """(factor saved, accuracy lost) of one race among ``count`` of the candidates."""
    rng = np.random.default_rng(seed)
    chosen = correct[rng.permutation(len(correct))[:count]][:, rng.permutation(correct.shape[1])]

    def judge(racing: NDArray[np.int64], start: int, stop: int) -> NDArray[np.bool_]:
        return chosen[racing, start:stop]

    result = race(count, chosen.shape[1], judge)
    accuracy = chosen.mean(axis=1)
    return chosen.size / result.evaluations, float(accuracy.max() - accuracy[result.best])


def record(folder: Path, source: str, out: Path) -> None:
    """Judge a run's candidates on every image and keep each verdict, for :func:`racing`."""
    stopwatch = Stopwatch()
    run = Run.load(folder)
    device = torch.device("cpu")
    candidates, _ = load_candidates(folder / f"candidates-{source}.safetensors")
    judge = make_judge(
        run, trained_supernet(run, device), loader_of(run, "validation", device), device
    )
    x, y = (torch.cat(part) for part in zip(*judge.loader.epoch(0), strict=True))
    right = [
        judge.each([candidates[number]], x, y)[0][0].numpy() for number in range(len(candidates))
    ]
    facts = provenance({"run": run.record["spec"], "source": source}, run.seed, stopwatch)
    np.savez_compressed(
        out, correct=np.packbits(right, axis=1), images=len(y), provenance=json.dumps(facts)
    )


@torch.no_grad()
def ranking(effort: Effort) -> list[Measure]:
    """Judging a sample of candidates as it was first done: masked, 500 images at a time."""
    images = effort.choose(2000, EXTRACTED)
    x, y = random_batch(images, effort.choose(32, 8), torch.device("cpu"))
    supernet = MultiBranchSupernet(effort.choose(8, 2), 1, 3, 10).eval()
    supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    judge = Judge(supernet, _OneBatch(x, y), TrainingConfig(epochs=1, batch=1, learning_rate=1))

    def masked(choice: Choice) -> None:
        with supernet.candidate(choice):
            for part in x.split(EVALUATION_BATCH):
                supernet(part)

    measures = []
    for keep in (0.5, 0.75):
        supernet.configure_gates(GateSettings(initial=1 - keep))
        drawn = supernet.posterior().sample(effort.share(0.5), seed=0)
        times: Pairs = []
        for number in range(len(drawn)):
            choice = drawn[number]
            times += paired_times(partial(masked, choice), partial(judge, choice), 1)
        part = f"ranking candidates that keep {keep:.0%} of the channels, {images} images"
        note = f"{len(drawn)} candidates"
        aim = Aim(2, least=True)
        against = "masked, 500 images at a time"
        measures.append(ratio(part, against, times, aim=aim, note=note, obstacle=NARROW))
    return measures


NARROW = (
    "convolutions of 8 channels fill half a vector, and each branch has its own (docs/speed.md)"
)


def many_candidates(effort: Effort) -> list[Measure]:
    """Candidates of the 3-branch ResNet judged in one batch, of few images each."""
    gpu = effort.device.type == "cuda"
    width, blocks = (96, 4) if gpu else (effort.choose(8, 2), effort.choose(2, 1))
    supernet = MultiBranchSupernet(width, blocks, 3, 10)
    supernet.to(effort.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, count = effort.choose(10, 2), effort.choose(20, 2)
    x, y = random_batch(images, effort.choose(32, 8), effort.device)
    drawn = supernet.posterior().sample(count, seed=0)
    choices = [drawn[number] for number in range(count)]
    training = TrainingConfig(epochs=1, batch=images, learning_rate=1)
    judge = Judge(supernet, _OneBatch(x, y), training)
    times = paired_times(
        lambda: [judge(choice) for choice in choices], lambda: judge.judge(choices), effort.pairs
    )
    part = f"{count} candidates of {images} images in one batch, width {width}"
    aim = Aim(5, least=True) if gpu else None
    note = "" if gpu else "without aim here: from 100 images on, a processor gains nothing"
    return [ratio(part, "one after the other", times, aim=aim, note=note)]


@dataclass(frozen=True)
class _OneBatch:
    """A loader of images that are there already."""

    x: torch.Tensor
    y: torch.Tensor

    @property
    def examples(self) -> int:
        return len(self.y)

    def __len__(self) -> int:
        return 1

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield self.x, self.y


@torch.no_grad()
def scoring(effort: Effort) -> list[Measure]:
    """Scores of all cells of the space, from a sample of blocks, against a loop over cells.

    A pair is one block of cells scored together, and some of its cells one by one; either time is
    taken to that of the whole space: the first by the number of distinct cells, the second by the
    number of all cells, since a plain loop does not know which are alike.
    """
    space = CellSpace()
    supernet = NasBench201Supernet(effort.choose(8, 2), 1, space, 3, 10).eval()
    side, images = effort.choose(32, 8), effort.choose(IMAGES_AT_ONCE, 2)
    x = torch.randn(images, 3, side, side).to(memory_format=torch.channels_last)
    batches = [(x, torch.randint(10, (images,)))]
    supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    every = blocks(space)
    distinct = sum(len(block) for block in every)
    rng = np.random.default_rng(0)
    weights = np.array([len(block) for block in every]) / distinct
    times = []
    for number in rng.choice(len(every), effort.share(0.3), p=weights):
        block = every[number][: effort.choose(1000, 3)]
        sample = rng.choice(block, min(len(block), effort.choose(12, 2)), replace=False)
        ((loop, together),) = paired_times(
            partial(_one_by_one, supernet, sample, x),
            partial(score_block, folded(supernet), block, batches),
            1,
        )
        times.append((loop / len(sample) * len(space), together / len(block) * distinct))
    note = (
        f"{len(times)} of {len(every)} blocks, taken to all 15 625 cells; of the factor, "
        f"{len(space) / distinct:.2f} is cells that compute the same"
    )
    part = "scoring all NAS-Bench-201 cells"
    aim = Aim(3, least=True)
    return [ratio(part, "a loop over cells", times, aim=aim, note=note, obstacle=ONE_CELL_SHARED)]


ONE_CELL_SHARED = (
    "of three cells, a stage each and equally expensive, only the first has parts in common; 72 % "
    "of the rest are convolutions of few channels"
)


def _one_by_one(supernet: NasBench201Supernet, cells: Any, x: torch.Tensor) -> None:
    for cell in cells:
        with supernet.candidate({CELL: torch.from_numpy(cell)}):
            supernet(x)


if __name__ == "__main__":  # python -m benchmarks.candidates RUN SOURCE OUT.npz
    typer.run(record)
