"""Parts of a network that hold every option of some switches, and the ways of images through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

Routes = list[dict[str, Tensor]]
"""For each switch: option -> indices of the images that take it."""

NOTHING = "none"
"""The option that adds nothing, so that no image goes through it."""


class Layout(NamedTuple):
    """How features are kept: as rows, each one image, contiguous in memory."""

    to_rows: tuple[int, ...]
    """Order of dimensions that makes rows of (images, channels, height, width)."""
    to_images: tuple[int, ...]
    """That which takes it back."""


CHANNELS_LAST = Layout((0, 2, 3, 1), (0, 3, 1, 2))
CHANNELS_FIRST = Layout((0, 1, 2, 3), (0, 1, 2, 3))


def find_routes(codes: Tensor, options: Sequence[str]) -> Routes:
    """Which images take which option, if image i has the codes ``codes[i]``; (images, switches)."""
    # Switch by switch, the images of one option after those of another.
    images = codes.argsort(dim=0, stable=True).T.contiguous()
    taken = F.one_hot(codes.long(), len(options)).sum(dim=0)
    routes: Routes = []
    for switch, sizes in enumerate(taken.tolist()):  # the one time that a GPU is waited for
        parts = zip(options, images[switch].split(sizes), strict=True)
        routes.append({name: part for name, part in parts if name != NOTHING and len(part)})
    return routes


class Mixture(nn.Module, ABC):
    """A part that holds every option.

    ``per_batch`` is how many architectures the images share, if each has not its own; image i has
    number i modulo this, and BatchNorm takes the images of each architecture by themselves. None:
    BatchNorm takes all images that come to it.
    """

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        routes: Routes,
        soft: Tensor | None = None,
        per_batch: int | None = None,
    ) -> Tensor:
        """Send every image through the options that it chose.

        Args:
            x: (images, channels, height, width).
            routes: which images take what, by switch.
            soft: (images, switches, options); relaxed choices that are to get the straight-through
                gradient. They change no output.
        """

    @abstractmethod
    def weighted(self, x: Tensor, weights: Tensor, per_batch: int | None = None) -> Tensor:
        """Every option on every image; ``weights``: (images, switches, options)."""

    @abstractmethod
    def alone(self, x: Tensor, names: Sequence[str], per_batch: int | None = None) -> Tensor:
        """All images by the options ``names``, one for each switch."""
