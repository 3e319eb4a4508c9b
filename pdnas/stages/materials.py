"""What every stage begins with: a specification's or a run's network, images and objective."""

from __future__ import annotations

from functools import cache

import pandas as pd
import torch

from pdnas.data.batches import ALL_ROWS, ChannelsFirst, Loader
from pdnas.data.dataset import Statistics
from pdnas.data.loaders import build_loader
from pdnas.data.sets import dataset
from pdnas.nn.gates import GateSettings
from pdnas.nn.layout import memory_format
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import ChannelSupernet, Supernet, build
from pdnas.runs import layout
from pdnas.runs.run import Run
from pdnas.space.posterior import ChannelPosterior, Posterior
from pdnas.spec.gates import GateConfig
from pdnas.spec.names import Part
from pdnas.spec.spec import Spec
from pdnas.spec.supernets import SupernetConfig
from pdnas.support.errors import PdnasError
from pdnas.train.fit import TrainingData

EVALUATION_BATCH = 500


def make_supernet(spec: Spec, device: torch.device, classes: int | None = None) -> Supernet:
    """A freshly initialised supernet of a specification, as it is to lie in memory.

    Args:
        classes: how many there are; default: as in the data set as published.
    """
    info = dataset(spec.data)
    network = build(spec.supernet, info.channels, classes or info.classes)
    # What its distribution can represent decides the shape of its logits, so of a file of weights.
    network.configure_gates(GateSettings(dependence=spec.gates.dependence))
    layout = memory_format(network, device)
    return network.to(device, memory_format=layout)  # type: ignore[call-overload]


@cache
def _image_format(config: SupernetConfig, device: torch.device) -> torch.memory_format:
    """The layout of images for a supernet: its own."""
    with torch.device("meta"):  # no storage, and no random numbers are drawn
        return memory_format(build(config, 1, 2), device)


def trained_supernet(run: Run, device: torch.device) -> Supernet:
    """A run's supernet with the weights that the search ended with, in evaluation mode.

    Raises:
        PdnasError: the weights are missing, damaged, or another supernet's; or cells were trained
            alone.
    """
    if run.spec.alone is not None:
        raise PdnasError(
            f"{run.folder} trained cells alone: there is no supernet whose weights others inherit; "
            "`pdnas retrain --cell` trains a cell from scratch"
        )
    network = make_supernet(run.spec, device, run.classes)
    try:
        network.load_state_dict(run.weights())
    except RuntimeError as error:
        path = run.folder / layout.WEIGHTS
        raise PdnasError(f"{path} holds another supernet's weights; search again") from error
    return network.eval()


def make_loader(
    spec: Spec,
    splits: pd.DataFrame,
    part: Part,
    device: torch.device,
    *,
    seed: int,
    train: bool = False,
    rows: slice = ALL_ROWS,
    statistics: Statistics | None = None,
) -> Loader:
    """Batches of one part of a specification's images, or the given rows of each batch.

    They lie in memory as the supernet does.

    Args:
        train: in the batches of training, shuffled and augmented; else large and as they are.
        statistics: that they are normalised with; default: the data set's.
    """
    loader = build_loader(
        spec.data,
        part,
        splits,
        batch=spec.training.batch if train else EVALUATION_BATCH,
        device=device,
        train=train,
        seed=seed,
        rows=rows,
        statistics=statistics,
    )
    last = _image_format(spec.supernet, device) == torch.channels_last
    return loader if last else ChannelsFirst(loader)


def loader_of(
    run: Run, part: Part, device: torch.device, *, train: bool = False, rows: slice = ALL_ROWS
) -> Loader:
    """Batches of one part of a run's images: see :func:`make_loader`.

    Raises:
        PdnasError: the images are missing, or other ones than at the search.
    """
    if changed := run.changed_images:
        raise PdnasError(
            f"{run.folder} was searched with other images than there are now ({changed}); put its "
            "data back (PDNAS_DATA) or search again"
        )
    classes = dataset(run.spec.data).count_classes()
    if classes != run.classes:
        raise PdnasError(
            f"{run.folder} was searched with {run.classes} classes, and now there are {classes}; "
            "put its data back (PDNAS_DATA) or search again"
        )
    return make_loader(
        run.spec,
        run.splits(),
        part,
        device,
        seed=run.seed,
        train=train,
        rows=rows,
        statistics=run.statistics,
    )


def training_data(gates: GateConfig, images: Loader, heldout: Loader | None = None) -> TrainingData:
    """Images, and those held out for the switches, with the objective that gates ask for."""
    switches = None if heldout is None else training_data(gates, heldout)
    return TrainingData(images, Objective.of(gates, images.examples), switches)


def matching_drop_probability(
    spec: Spec, posterior: Posterior, classes: int | None = None
) -> float:
    """The one drop probability with which a supernet's expected size is that under ``posterior``.

    Raises:
        PdnasError: they are of cells, which have no such probability.
    """
    supernet = make_supernet(spec, torch.device("cpu"), classes)
    if not isinstance(posterior, ChannelPosterior) or not isinstance(supernet, ChannelSupernet):
        raise PdnasError("gates.match needs a supernet with channel gates; leave it out here")
    return supernet.matching_drop_probability(posterior)
