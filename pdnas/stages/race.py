"""Races: the best candidate without judging all of them on all images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pdnas.runs.journal import Journal
from pdnas.space.candidates import Candidates
from pdnas.stages.judge import Judge
from pdnas.support import distributed
from pdnas.support.progress import Progress

FIRST_ROUND, GROWTH, CONFIDENCE = 50, 1.5, 3.0
"""Of a race: images of its first round, growth from round to round, standard errors of a gap that
decides (docs/speed.md)."""


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


class Verdicts:
    """What a judge says of candidates on images in random order; each is asked for once.

    The race is a function of what the verdicts say, so after a kill it is run again from its start,
    and those in the journal cost nothing.

    Attributes:
        images: number of them.
    """

    def __init__(self, candidates: Candidates, judge: Judge, journal: Journal) -> None:
        self._candidates, self._judge, self._journal = candidates, judge, journal
        x, y = (torch.cat(part) for part in zip(*judge.loader.epoch(0), strict=True))
        # Images lie in the order of the data set's file; a race wants them from all over it.
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).to(y.device)
        self._x, self._y = x[order], y[order]
        self.images = len(y)
        self._known = {(row["candidate"], row["start"]): row for row in journal.rows}

    def __call__(self, racing: NDArray[np.int64], start: int, stop: int) -> NDArray[np.bool_]:
        """Which of the images ``start`` to ``stop`` candidates get right, (candidates, images)."""
        unknown = [number for number in racing.tolist() if (number, start) not in self._known]
        step = distributed.chunk(len(unknown), self._judge.together(stop - start))

        def rows(first: int) -> list[dict[str, Any]]:
            return self._rows(unknown[first : first + step], start, stop)

        for new in distributed.spread(rows, range(0, len(unknown), step)):
            for row in new:
                self._journal.append(row)
                self._known[row["candidate"], start] = row
        rights = [self._known[number, start]["right"] for number in racing.tolist()]
        return np.array([[each == "1" for each in right] for right in rights])

    def _rows(self, numbers: list[int], start: int, stop: int) -> list[dict[str, Any]]:
        choices = [self._candidates[number] for number in numbers]
        verdicts = self._judge.each(choices, self._x[start:stop], self._y[start:stop])
        return [
            {
                "candidate": number,
                "start": start,
                "right": "".join("01"[each] for each in right.tolist()),
                "loss": nll.double().sum().item(),
            }
            for number, right, nll in zip(numbers, *verdicts, strict=True)
        ]

    def losses(self) -> NDArray[np.float64]:
        """Cross-entropy of each candidate, summed over the images that it was judged on."""
        total = np.zeros(len(self._candidates))
        for (candidate, _), row in self._known.items():
            total[candidate] += row["loss"]
        return total


def race_all(
    candidates: Candidates, judge: Judge, journal: Journal, description: str
) -> pd.DataFrame:
    """The ranking's table after a race: accuracy and loss of those that saw every image."""
    verdicts = Verdicts(candidates, judge, journal)
    steps, quiet = len(rounds(verdicts.images)), not (description and distributed.is_first())
    with Progress(description, steps, quiet=quiet) as progress:
        result = race(len(candidates), verdicts.images, verdicts, progress.advance)
    finished = result.seen == verdicts.images
    table = pd.DataFrame(
        {
            "candidate": np.arange(len(candidates)),
            "validation_accuracy": np.where(finished, result.right / verdicts.images, np.nan),
            "validation_loss": np.where(finished, verdicts.losses() / verdicts.images, np.nan),
            "images": result.seen,
        }
    )
    sizes = [judge.size(candidates[number]) for number in range(len(candidates))]
    return table.join(pd.DataFrame(sizes))
