"""A candidate of the size space's supernet as a network of the space, whose widths are rounded."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from pdnas.nn.subnet import extract
from pdnas.nn.supernets.sizes import SizeSupernet
from pdnas.space.candidates import Choice
from pdnas.space.sizes import NAMES, kept_channels, rounded


def rounded_choice(supernet: SizeSupernet, choice: Choice) -> dict[str, Tensor]:
    """The masks of a candidate with as many channels kept as the space has widths.

    Of too many, the last are dropped; too few are filled up with the first dropped ones.

    Raises:
        PdnasError: the supernet is too narrow to tell the space's widths apart.
    """
    found = {}
    for name in NAMES:
        mask = choice[name]
        wanted = int(kept_channels(rounded(int(mask.sum()), len(mask)), len(mask)))
        kept_first = torch.argsort(~mask, stable=True)
        found[name] = torch.zeros_like(mask)
        found[name][kept_first[:wanted]] = True
    return found


def space_network(supernet: SizeSupernet, choice: Choice, image: Tensor) -> fx.GraphModule:
    """The space's network with the rounded widths of a candidate and the weights it inherits.

    It has the space's parameters: where two widths are equal, a cell skips its input unchanged, and
    the supernet's projection is left out.

    Args:
        supernet: with the weights to inherit, in evaluation mode.
        choice: one candidate.
        image: any image, shape (1, channels, height, width).

    Raises:
        PdnasError: the supernet is too narrow to tell the space's widths apart.
    """
    choice = rounded_choice(supernet, choice)
    inherited = dict(extract(supernet, choice, image).named_children())
    widths = [int(choice[name].sum()) for name in NAMES]
    network = SizeSupernet(widths, supernet.in_channels, supernet.classes, project=False)
    network.to(image)
    for name, module in network.named_modules():
        if (layer := inherited.get(name.replace(".", "_"))) is not None:
            module.load_state_dict(layer.state_dict())
    every = {name: torch.ones(gate.channels).bool() for name, gate in network.gates().items()}
    return extract(network.eval(), every, image)
