"""Size and switches of a supernet at full scale, without training it."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pdnas.cells import EDGES, CellSpace
from pdnas.config import (
    DenseNetConfig,
    EnasConfig,
    MultiBranchConfig,
    NasBench201Config,
    ResNetConfig,
)
from pdnas.errors import PdnasError
from pdnas.posterior import CELL, Choice
from pdnas.supernets import NAMED, ChannelSupernet, build


def describe(
    name: str, *, width: int | None, cell: str | None, classes: int | None, size: int | None
) -> dict[str, Any]:
    """Parameters, multiply-adds for one image, and every gate with its number of probabilities.

    Args:
        name: a key of :data:`pdnas.supernets.NAMED`; ``d169`` is short for ``supernet-d169``.
        width: channels, filters or growth rate in place of the supernet's own.
        cell: for nasbench201, the network of this one cell.
        classes: None for those of the data set the supernet was made for.
        size: pixels a side of an image; None likewise.

    Raises:
        PdnasError: no such supernet, a cell for one that has none, or images that are too small.
    """
    if f"supernet-{name}" in NAMED:
        name = f"supernet-{name}"
    if name not in NAMED:
        raise PdnasError(f"no supernet {name!r}; choose one of {', '.join(NAMED)}")
    config = NAMED[name]
    if isinstance(config, NasBench201Config):
        config = config.model_copy(update={"channels": width or config.channels})
    elif isinstance(config, MultiBranchConfig):
        config = config.model_copy(update={"width": width or config.width})
    elif isinstance(config, EnasConfig):
        config = config.model_copy(update={"filters": width or config.filters})
    elif isinstance(config, ResNetConfig):
        config = config.model_copy(update={"width": width or config.width})
    elif isinstance(config, DenseNetConfig):
        config = config.model_copy(update={"growth": width or config.growth})
    if cell is not None and not isinstance(config, NasBench201Config):
        raise PdnasError(f"{name} has no cells; leave out --cell")
    imagenet = isinstance(config, (ResNetConfig, DenseNetConfig))
    classes = classes or (1000 if imagenet else 10)
    size = size or (224 if imagenet else 32)
    if isinstance(config, DenseNetConfig) and size < config.smallest_image:
        raise PdnasError(f"{name} needs images of {config.smallest_image} pixels a side or more")
    with torch.device("meta"):
        network = build(config, 3, classes).eval()
        image = torch.empty(1, 3, size, size)
    choice: Choice | None = None
    if isinstance(config, NasBench201Config):
        space = CellSpace(config.operations)
        # As a supernet it has no one network; its largest cell stands for what a step can cost.
        largest = space.from_string(cell) if cell else [space.operations.index("nor_conv_3x3")] * 6
        choice = {CELL: torch.tensor(list(largest), dtype=torch.int8, device="cpu")}
        network.choose(choice)
    with FlopCounterMode(display=False) as counter:
        network(image)
    if isinstance(network, ChannelSupernet):
        gates = [
            {"name": gate, "groups": len(layer.gate.group_sizes), "size": layer.gate.channels}
            for gate, layer in network.gated_layers().items()
        ]
    else:
        options = network.distribution_parameters()[0].shape[1]
        gates = [
            {"name": f"edge {source}>{target}", "groups": 1, "size": options}
            for source, target in EDGES
        ]
    parameters = network.parameter_count()
    if cell is not None and choice is not None:
        parameters, gates = network.candidate_parameters(choice), []
    return {
        "supernet": name,
        "config": config.model_dump(mode="json"),
        "cell": cell,
        "classes": classes,
        "image": [3, size, size],
        "parameters": parameters,
        "multiply_adds": counter.get_total_flops() // 2,
        "gates": gates,
    }
