"""A cell as a network of its own: the supernet's candidate, in fewer calls."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pdnas.nn.supernets.cells.alone import AloneNetwork
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.space.cells import CELL, CellSpace

SPACE = CellSpace()
CELLS = {
    "all 3x3": (3, 3, 3, 3, 3, 3),
    "all 1x1": (2, 2, 2, 2, 2, 2),
    "every operation": (0, 1, 2, 3, 4, 2),
    "one of the best": (3, 3, 2, 1, 3, 3),
    "nothing enters node 1": (0, 3, 4, 1, 3, 1),
    "the output sees nothing": (3, 3, 3, 0, 0, 0),
    "skips and pools": (1, 4, 1, 4, 1, 4),
}


def networks(cell: tuple[int, ...]) -> tuple[NasBench201Supernet, AloneNetwork, Tensor]:
    torch.manual_seed(0)
    supernet = NasBench201Supernet(4, 2, SPACE, 3, 10)
    supernet.begin_alone()
    alone = AloneNetwork(supernet, cell)
    return supernet.double(), alone.double(), torch.randn(6, 3, 16, 16, dtype=torch.float64)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_it_is_the_supernets_candidate(cell: tuple[int, ...]) -> None:
    supernet, alone, x = networks(cell)
    with supernet.candidate({CELL: torch.tensor(cell, dtype=torch.int8)}):
        for training in (True, True, False):  # and so are the running statistics
            supernet.train(training)
            alone.train(training)
            assert_close(alone(x), supernet(x))


def test_its_gradients_are_the_candidates() -> None:
    cell = CELLS["every operation"]
    supernet, alone, x = networks(cell)
    for layer in (*supernet.modules(), *alone.modules()):
        layer.train()
    with supernet.candidate({CELL: torch.tensor(cell, dtype=torch.int8)}):
        supernet(x).square().sum().backward()
    alone(x).square().sum().backward()
    assert_close(alone[0][0].weight.grad, supernet.stem[0].weight.grad)
    kept = {id(p) for p in alone.parameters() if p.grad is not None}
    assert len(kept) == len(list(alone.parameters())), "nothing is there that does not learn"


def test_edges_into_an_unseen_node_change_nothing() -> None:
    cell = (3, 2, 3, 1, 3, 0)
    canonical = tuple(SPACE.canonical_codes()[SPACE.ids(cell)].tolist())
    assert canonical != cell
    torch.manual_seed(0)
    supernet = NasBench201Supernet(4, 1, SPACE, 3, 10)
    x = torch.randn(5, 3, 8, 8)
    one, other = (AloneNetwork(supernet, each) for each in (cell, canonical))
    assert_close(one(x), other(x))
    assert len(list(other.parameters())) < len(list(one.parameters()))


def test_the_supernet_stays_as_it_is() -> None:
    supernet, alone, x = networks(CELLS["all 3x3"])
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    alone(x).sum().backward()
    with torch.no_grad():
        for parameter in alone.parameters():
            parameter += 1
    assert_close(supernet.state_dict(), before)
