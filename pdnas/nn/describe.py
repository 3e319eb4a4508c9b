"""Size and switches of a supernet at full scale, without training it."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import ValidationError

from pdnas.nn.subnet import multiply_adds
from pdnas.nn.supernets import CategoricalSupernet, ChannelSupernet, build
from pdnas.space.candidates import Choice
from pdnas.spec.base import first_problem
from pdnas.spec.spec import CATEGORICAL
from pdnas.spec.supernets import (
    NAMED,
    DenseNetConfig,
    NasBench201Config,
    NatsBenchSizeConfig,
    ResNetConfig,
)
from pdnas.support.errors import PdnasError


def describe(
    name: str, *, width: int | None, cell: str | None, classes: int | None, size: int | None
) -> dict[str, Any]:
    """Parameters, multiply-adds for one image, and every gate with its number of probabilities.

    Args:
        name: a key of :data:`pdnas.spec.supernets.NAMED`; ``d169`` is short for ``supernet-d169``.
        width: channels, filters or growth rate in place of the supernet's own.
        cell: the network of this one cell of nasbench201, or this one of nasbench-macro.
        classes: None for those of the data set the supernet was made for.
        size: pixels a side of an image; None likewise.

    Raises:
        PdnasError: no such supernet, a cell for one that has none, or a width or images that
            do not fit.
    """
    if f"supernet-{name}" in NAMED:
        name = f"supernet-{name}"
    if name not in NAMED:
        raise PdnasError(f"no supernet {name!r}; choose one of {', '.join(NAMED)}")
    config = NAMED[name]
    if width is not None:
        settings = config.model_dump() | {config.WIDTH: width}
        try:
            config = type(config).model_validate(settings)
        except ValidationError as error:
            raise PdnasError(f"{name}: {first_problem(error)}") from error
    if cell is not None and not isinstance(config, CATEGORICAL):
        raise PdnasError(f"{name} has no cells; leave out --cell")
    imagenet = isinstance(config, (ResNetConfig, DenseNetConfig))
    classes = classes or (1000 if imagenet else 10)
    size = size or (224 if imagenet else 32)
    if isinstance(config, DenseNetConfig) and size < config.smallest_image:
        raise PdnasError(f"{name} needs images of {config.smallest_image} pixels a side or more")
    halves = (NasBench201Config, NatsBenchSizeConfig)
    if isinstance(config, halves) and (problem := config.misfit(size)):
        raise PdnasError(f"{name} {problem}")
    with torch.device("meta"):
        network = build(config, 3, classes).eval()
        image = torch.empty(1, 3, size, size)
    choice: Choice | None = None
    if isinstance(network, CategoricalSupernet):
        # As a supernet it has no one network; its largest stands for what a step can cost.
        space = network.space
        heaviest = [space.options.index(space.HEAVIEST)] * len(space.SWITCHES)
        codes = space.from_string(cell) if cell else heaviest
        choice = {space.KEY: torch.tensor(list(codes), dtype=torch.int8, device="cpu")}
        network.choose(choice)
    if isinstance(network, ChannelSupernet):
        gates = [
            {"name": name, "groups": len(gate.group_sizes), "size": gate.channels}
            for name, gate in network.gates().items()
        ]
    else:
        assert isinstance(network, CategoricalSupernet)
        options = len(network.space.options)
        gates = [{"name": name, "groups": 1, "size": options} for name in network.space.gates]
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
        "multiply_adds": multiply_adds(network, image),
        "gates": gates,
    }
