"""What a gradient estimator is, and the registry of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from pdnas.nn.supernets.categorical.draws import Draws
from pdnas.nn.supernets.categorical.mixture import Mixture, find_routes
from pdnas.spec.names import Estimator


@dataclass(frozen=True)
class Way:
    """How the images of a batch go through the mixtures of a network.

    Attributes:
        through: takes a mixture and its input to its output.
        per_batch: how many architectures the images share, as in :class:`Mixture`.
        drawn: the architecture of each row, codes of shape (rows, switches); None where every
            option, or its credit, is computed for every image.
    """

    through: Callable[[Mixture, Tensor], Tensor]
    per_batch: int | None
    drawn: Tensor | None = None


class GradientEstimator:
    """How the logits of one-of-many switches learn.

    This one draws architectures and gives the logits no gradient: so it is where the distribution
    stays as it is.
    """

    def way(self, draws: Draws, images: int) -> Way:
        """Choose architectures for a batch in training; the output may carry a gradient to the
        logits."""
        drawn = draws.codes(images)
        options, per_batch = draws.space.options, draws.per_batch
        if per_batch == 1:  # nothing to sort: the network of one architecture
            names = [options[code] for code in drawn[0].tolist()]
            return Way(lambda mixture, x: mixture.alone(x, names, 1), per_batch, drawn)
        routes = find_routes(drawn, options)
        return Way(lambda mixture, x: mixture(x, routes, None, per_batch), per_batch, drawn)

    def surrogate(
        self, logits: Tensor, drawn: Tensor, nll: Tensor, order: Sequence[int]
    ) -> Tensor | None:
        """Zero in value, with a gradient of the logits that the loss itself does not have.

        Args:
            logits: (switches, rows, options); independent switches have one row.
            drawn: codes, (architectures, switches).
            nll: of each of these architectures, (architectures,).
            order: of the switches.

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
