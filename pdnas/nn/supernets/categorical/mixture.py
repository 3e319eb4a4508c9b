"""Parts of a network that hold every option of some switches, and the ways of images through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

Routes = list[dict[str, Tensor]]
"""For each switch: option -> numbers of the rows that take it."""

NOTHING = "none"
"""The option that adds nothing, so that no image goes through it."""


def as_rows(x: Tensor, per_batch: int | None = None) -> Tensor:
    """What takes one way: an image, or all images of an architecture that they share.

    Rows lie one after the other in memory, channels last, as convolutions like best.

    Args:
        x: (images, channels, height, width).
        per_batch: as in :class:`Mixture`.

    Returns:
        (images, height, width, channels), or with another dimension before: architectures.
    """
    images = x.permute(0, 2, 3, 1)
    return images if per_batch is None else images.unflatten(0, (per_batch, -1))


def as_images(rows: Tensor) -> Tensor:
    """Rows as (images, channels, height, width)."""
    return rows.flatten(0, -4).permute(0, 3, 1, 2)


def find_routes(codes: Tensor, options: Sequence[str]) -> Routes:
    """Which rows take which option, if row i has the codes ``codes[i]``; (rows, switches)."""
    # Switch by switch, the rows of one option after those of another.
    images = codes.argsort(dim=0, stable=True).T.contiguous()
    taken = F.one_hot(codes.long(), len(options)).sum(dim=0)
    routes: Routes = []
    for switch, sizes in enumerate(taken.tolist()):  # the one time that a GPU is waited for
        parts = zip(options, images[switch].split(sizes), strict=True)
        routes.append({name: part for name, part in parts if name != NOTHING and len(part)})
    return routes


class Mixture(nn.Module, ABC):
    """A part that holds every option.

    ``per_batch`` is how many architectures the images share, if each has not its own. The images of
    one then follow one another, are one row, and BatchNorm takes them by themselves. None: each
    image is a row, and BatchNorm takes all images that come to it.
    """

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        routes: Routes,
        soft: Tensor | None = None,
        per_batch: int | None = None,
    ) -> Tensor:
        """Send every row through the options that it chose.

        Args:
            x: (images, channels, height, width).
            routes: which rows take what, by switch.
            soft: (rows, switches, options); relaxed choices that are to get the straight-through
                gradient. They change no output.
        """

    @abstractmethod
    def weighted(self, x: Tensor, weights: Tensor, per_batch: int | None = None) -> Tensor:
        """Every option on every image; ``weights``: (rows, switches, options)."""

    @abstractmethod
    def alone(self, x: Tensor, names: Sequence[str], per_batch: int | None = None) -> Tensor:
        """All images by the options ``names``, one for each switch."""
