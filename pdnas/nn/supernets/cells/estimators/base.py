"""What a gradient estimator is, and the registry of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from pdnas.nn.supernets.cells.draws import CellDraws
from pdnas.nn.supernets.cells.mixture import CellMixture, find_routes
from pdnas.spec.names import Estimator


@dataclass(frozen=True)
class Way:
    """How the images of a batch go through the cells of a network.

    Attributes:
        through: takes a cell and its input to its output.
        cells_per_batch: how many cells the images share, as in :meth:`CellMixture.forward`.
        drawn: the cell of each image, codes of shape (images, 6); None where every operation, or
            its credit, is computed for every image.
    """

    through: Callable[[CellMixture, Tensor], Tensor]
    cells_per_batch: int | None
    drawn: Tensor | None = None


class GradientEstimator:
    """How the logits of one-of-many switches learn.

    This one draws cells and gives the logits no gradient: so it is where the distribution stays as
    it is.
    """

    def way(self, draws: CellDraws, images: int) -> Way:
        """Choose cells for a batch in training; the output may carry a gradient to the logits."""
        drawn = draws.cells(images)
        cells_per_batch = draws.cells_per_batch
        if cells_per_batch == 1:  # nothing to sort: the network of one cell
            names = [draws.operations[code] for code in drawn[0].tolist()]
            return Way(lambda cell, x: cell.nodes(x, names, 1)[-1], cells_per_batch, drawn)
        routes = find_routes(drawn, draws.operations)
        through = partial(CellMixture.forward, routes=routes, cells_per_batch=cells_per_batch)
        return Way(through, cells_per_batch, drawn)

    def surrogate(self, logits: Tensor, drawn: Tensor, nll: Tensor) -> Tensor | None:
        """Zero in value, with a gradient of the logits that the loss itself does not have.

        Args:
            logits: (6, rows, operations); independent edges have one row.
            drawn: codes, (cells, 6).
            nll: of each of these cells, (cells,).

        Returns:
            None: there is no such gradient.
        """
        return None


ESTIMATORS: dict[Estimator, GradientEstimator] = {}
"""By name: what adds itself with :func:`register`."""


def register(name: Estimator) -> Callable[[type[GradientEstimator]], type[GradientEstimator]]:
    """Make a class the estimator of that name."""

    def add(estimator: type[GradientEstimator]) -> type[GradientEstimator]:
        ESTIMATORS[name] = estimator()
        return estimator

    return add
