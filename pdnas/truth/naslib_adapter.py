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

(NASLib has one key, ``eval_acc1es``, for validation and test accuracy alike.)
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from pdnas.space.cells import CellSpace
from pdnas.spec.names import TruthData
from pdnas.truth import cost
from pdnas.truth.tables.nasbench201 import NasBench201

# What NASLib's search space looks up, classes and image side, for each of our data sets.
_NASLIB: dict[TruthData, tuple[str, int, int]] = {
    "cifar10": ("cifar10-valid", 10, 32),
    "cifar100": ("cifar100", 100, 32),
    "imagenet16_120": ("ImageNet16-120", 120, 16),
}


def dataset_api(
    truth: NasBench201, dataset: TruthData, epochs: Literal[12, 200]
) -> dict[str, dict[str, Any]]:
    """The dictionary that NASLib's NAS-Bench-201 search space reads.

    Accuracies are in percent, ``flops`` and ``params`` of ``cost_info`` in millions, as in
    NASLib's own. What the table does not know is NaN: other epochs, training accuracies, losses,
    seconds.

    Args:
        truth: the table.
        dataset: whose accuracies; NASLib calls them ``cifar10``, ``cifar100``, ``ImageNet16-120``.
        epochs: 12 for searching, 200 for the result.

    Raises:
        PdnasError: no such data set.
    """
    accuracy = truth.accuracy(dataset)
    if epochs == 12:
        accuracy = truth.validation_12(dataset)
    name, classes, side = _NASLIB[dataset]
    space = CellSpace()
    parameters = cost.parameters(space.cells, classes=classes) / 1e6
    flops = cost.flops(space.cells, classes=classes, image_size=side) / 1e6
    unknown = [float("nan")] * epochs
    data = {}
    for cell, final, size, work in zip(
        truth.column("cell"),
        np.round(100 * accuracy, 6).tolist(),
        parameters.tolist(),
        flops.tolist(),
        strict=True,
    ):
        results = {
            "train_acc1es": unknown,
            "train_losses": unknown,
            "eval_acc1es": [*unknown[1:], final],
            "eval_losses": unknown,
            "cost_info": {
                "flops": work,
                "params": size,
                "latency": unknown[0],
                "train_time": unknown[0],
            },
        }
        data[cell] = {name: results}
    return {"nb201_data": data}
