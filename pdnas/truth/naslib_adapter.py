"""NASLib's optimisers on our table.

NASLib (github.com/automl/NASLib; it wants old Pythons, so it lives in an environment of its own)
asks its NAS-Bench-201 search space for a result, and that looks it up in a dictionary
``dataset_api["nb201_data"][architecture string][data set][metric][epoch]``, usually the last epoch.
Its own dictionary comes from pickles of gigabytes. This one comes from the table, which has two
points of each learning curve, so there are two dictionaries:

- with ``epochs=12`` curves end in the validation accuracy after 12 epochs: what a search sees;
- with ``epochs=200`` they end in the test accuracy after 200 epochs: what it is judged by.

    optimizer.adapt_search_space(search_space, dataset_api=dataset_api(truth, "cifar10", 12))
    trainer = Trainer(optimizer, config)
    trainer.search()
    trainer.evaluate(dataset_api=dataset_api(truth, "cifar10", 200))

NASLib has one key, ``eval_acc1es``, for validation and test accuracy alike. Curves have no point
between: the benchmark's trainings of 12 epochs end their own schedule of learning rates, so they
are no part of those of 200.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from pdnas.space.cells import CellSpace
from pdnas.spec.names import TruthData
from pdnas.truth import cost
from pdnas.truth.columns import MEASURED
from pdnas.truth.sampling import Floats
from pdnas.truth.seconds import query_seconds
from pdnas.truth.tables.nasbench201 import NasBench201

# What NASLib's search space looks up, classes and image side, for each of our data sets.
_NASLIB: dict[TruthData, tuple[str, int, int]] = {
    "cifar10": ("cifar10-valid", 10, 32),
    "cifar100": ("cifar100", 100, 32),
    "imagenet16_120": ("ImageNet16-120", 120, 16),
}


def dataset_api(
    truth: NasBench201, dataset: TruthData, epochs: Literal[12, 200], device: str = "edgegpu"
) -> dict[str, dict[str, Any]]:
    """The dictionary that NASLib's NAS-Bench-201 search space reads, with a key for every metric.

    Accuracies are in percent, FLOPs and parameters in millions, as in NASLib's own; ``train_time``
    is the seconds of all ``epochs``, latency milliseconds an image. What the table does not know is
    NaN: accuracies after other epochs, training accuracies, losses, seconds of judging, latency on
    other data sets than CIFAR-10.

    Args:
        truth: the table.
        dataset: whose accuracies; NASLib calls them ``cifar10``, ``cifar100``, ``ImageNet16-120``.
        epochs: 12 for searching, 200 for the result.
        device: whose latency.

    Raises:
        PdnasError: no such data set or device.
    """
    columns = _columns(truth, dataset, epochs, device)
    name, unknown = _NASLIB[dataset][0], [float("nan")] * epochs
    data = {}
    for cell, final, size, work, seconds, milliseconds in zip(
        truth.column("cell"), *(column.tolist() for column in columns), strict=True
    ):
        results = {
            "train_acc1es": unknown,
            "train_losses": unknown,
            "eval_acc1es": [*unknown[1:], final],
            "eval_losses": unknown,
            "eval_times": unknown,
            # Asked for by epoch, though they are the same after each.
            "flop": [work] * epochs,
            "params": [size] * epochs,
            "latency": [milliseconds] * epochs,
            "epochs": list(range(1, epochs + 1)),
            "cost_info": {
                "flops": work,
                "params": size,
                "latency": milliseconds,
                "train_time": seconds,
            },
        }
        data[cell] = {name: results}
    return {"nb201_data": data}


def _columns(
    truth: NasBench201, dataset: TruthData, epochs: Literal[12, 200], device: str
) -> list[Floats]:
    """Accuracy, parameters, FLOPs, seconds and latency of every cell, shape (15625,) each."""
    accuracy = truth.accuracy(dataset) if epochs == 200 else truth.validation_12(dataset)
    _, classes, side = _NASLIB[dataset]
    cells = CellSpace().cells
    seconds = latency = np.full(len(truth), np.nan)
    if set(MEASURED) <= set(truth.table):  # not so of a table from the benchmark's own archive
        whole = truth.training_seconds(dataset)
        seconds = whole if epochs == 200 else query_seconds(truth, dataset)
        known = truth.latency(device)
        latency = known if dataset == "cifar10" else latency
    return [
        np.round(100 * accuracy, 6),
        cost.parameters(cells, classes=classes) / 1e6,
        cost.flops(cells, classes=classes, image_size=side) / 1e6,
        seconds,
        latency,
    ]
