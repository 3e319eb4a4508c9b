"""What searches of NAS-Bench-201's table would cost: seconds of the benchmark's own GPU.

A query stands for a training of 12 epochs, whose validation accuracy is the signal. The benchmark's
files say how long 200 epochs on the whole training set take (:mod:`pdnas.truth.columns`); an epoch
of the signal's training takes as long, but half as long on CIFAR-10, where it sees half of the
images. A cell that is asked for again counts again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdnas.support.statistics import confidence_interval
from pdnas.truth.sampling import Floats
from pdnas.truth.tables.nasbench201 import NasBench201

EPOCHS, SIGNAL_EPOCHS = 200, 12
_SHARE_OF_IMAGES: dict[str, float] = {"cifar10": 0.5}
_HOUR = 3600


def query_seconds(truth: NasBench201, dataset: str) -> Floats:
    """Seconds that a query of each cell stands for, shape (15625,).

    Raises:
        PdnasError: no such data set, or the table lacks seconds.
    """
    share = _SHARE_OF_IMAGES.get(dataset, 1.0)
    return truth.training_seconds(dataset) * SIGNAL_EPOCHS / EPOCHS * share


def search_hours(
    asked: NDArray[np.integer], seconds: Floats, accuracy: Floats, targets: Sequence[float]
) -> dict[str, Any]:
    """GPU hours of searches, ready for JSON.

    Args:
        asked: cell ids, shape (seeds, queries).
        seconds: of a query of each cell, shape (cells,).
        accuracy: true accuracy of each cell, shape (cells,).
        targets: accuracies to reach, fractions.

    Returns:
        ``whole``: of all queries; ``targets``: of the queries until a cell of that accuracy was
        asked for, that one included. Means over seeds with intervals; null unless every seed got
        there.
    """
    spent = np.cumsum(seconds[asked], axis=1) / _HOUR
    reached = accuracy[asked]
    until = []
    for target in targets:
        hit = reached >= target
        first = np.take_along_axis(spent, hit.argmax(axis=1)[:, None], axis=1)[:, 0]
        until.append(np.where(hit.any(axis=1), first, np.inf))
    return {
        "whole": confidence_interval(spent[:, -1]).within(0).to_json(),
        "targets": [confidence_interval(each).within(0).to_json() for each in until],
    }
