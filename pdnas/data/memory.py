"""Batches of small images, from memory or decoded on the way, augmented on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pdnas.data.batches import ALL_ROWS, Batch, count_batches, epoch_seed
from pdnas.data.dataset import DatasetInfo, ImageFiles, ImageSet
from pdnas.data.decode import Fit, Pictures, decode, default_workers
from pdnas.spec.data import Augmentation

GPU_IMAGES_AT_ONCE = 8192
"""Augmented together on a GPU, whose time goes into starting kernels: 100 MB of 32x32 pixels in
float32. A CPU takes one batch at a time, which stays in its caches."""


class DeviceLoader:
    """A whole part on the device as uint8, or decoded on the way, augmented batch by batch.

    Crop, flip and cutout follow torchvision's ``RandomCrop`` (padding with black) and
    ``RandomHorizontalFlip``, and DeVries and Taylor's cutout (arXiv:1708.04552): the centre is
    uniform over the image, so the square may reach over the border; it is filled with the mean.
    The random numbers of an epoch come from a generator of its own on the CPU, so they are the
    same on every device and a resumed run sees the data it would have seen.

    Args:
        part: of files, workers decode each batch anew, to ``info.size``; batches are the same.
        augmentation: None switches all of it off.
        shuffle: a new order every epoch, without the last incomplete batch; else the part's order,
            and all of it.
        rows: those of each batch that are wanted; the others cost nothing.

    Raises:
        PdnasError: shuffled, and there are fewer images than one batch.
    """

    def __init__(
        self,
        part: ImageSet | ImageFiles,
        info: DatasetInfo,
        batch: int,
        device: torch.device | str,
        *,
        augmentation: Augmentation | None,
        shuffle: bool,
        seed: int,
        rows: slice = ALL_ROWS,
    ) -> None:
        self.examples = len(part)
        self._batches = count_batches(self.examples, batch, train=shuffle)
        self._batch = batch
        self._device = torch.device(device)
        self._augmentation = augmentation or Augmentation(crop=0, flip=False, cutout=0)
        self._shuffle = shuffle
        self._seed = seed
        self._rows = rows
        on_gpu = self._device.type == "cuda" and isinstance(part, ImageSet)
        self.batches_at_once = max(1, GPU_IMAGES_AT_ONCE // batch) if on_gpu else 1

        self._files = part if isinstance(part, ImageFiles) else None
        self._height = self._width = info.size
        if isinstance(part, ImageSet):
            self._height, self._width = part.images.shape[2:]
            self._pixels = self._padded(part.images)
        self._labels = part.labels.to(self._device)
        mean = torch.tensor(info.mean, device=self._device)
        std = torch.tensor(info.std, device=self._device)
        # Repeated to a whole row of pixels, which adds and multiplies much faster than by channel.
        self._scale = (1 / (255 * std)).repeat(self._width)
        self._shift = (-mean / std).repeat(self._width)

    def __len__(self) -> int:
        return self._batches

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch ``number`` (0 or more), from batch ``start`` on."""
        generator = torch.Generator().manual_seed(epoch_seed(self._seed, number))
        count, cut, at_once = self.examples, self._augmentation, self.batches_at_once

        def integers(high: int) -> Tensor:
            return torch.randint(high, (count,), generator=generator).to(self._device)

        order = torch.arange(count)
        if self._shuffle:
            order = torch.randperm(count, generator=generator)
        order = order.to(self._device)
        top, left = integers(2 * cut.crop + 1), integers(2 * cut.crop + 1)
        flipped = integers(2).bool() if cut.flip else torch.zeros_like(order, dtype=torch.bool)
        centre_y, centre_x = integers(self._height), integers(self._width)
        groups = [
            [self._places(number) for number in range(first, min(first + at_once, len(self)))]
            for first in range(start, len(self), at_once)
        ]
        places = [torch.cat(batches).to(self._device) for batches in groups]
        stored = self._stored([order[now] for now in places])
        for batches, now, (pixels, rows) in zip(groups, places, stored, strict=True):
            windows = self._crop(pixels, rows, top[now], left[now], flipped[now])
            images = self._normalise(windows)
            if cut.cutout:
                self._cut_out(images, centre_y[now], centre_x[now], cut.cutout)
            images = images.view(len(images), self._height, self._width, -1).permute(0, 3, 1, 2)
            sizes = [len(batch) for batch in batches]
            labels = self._labels[order[now]]
            yield from zip(images.split(sizes), labels.split(sizes), strict=True)

    def _places(self, number: int) -> Tensor:
        """Where the images of a batch stand in the epoch's order, shape (B,)."""
        first = number * self._batch
        return torch.arange(first, min(first + self._batch, self.examples))[self._rows]

    def _padded(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) as (pixels, C) on the device, pixel by pixel, borders included.

        A crop or flip is then nothing but a choice of rows.
        """
        pad = self._augmentation.crop
        images = images.to(self._device).permute(0, 2, 3, 1)
        images = functional.pad(images, (0, 0, pad, pad, pad, pad))
        return images.reshape(-1, images.shape[3])

    def _stored(self, groups: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """For each group of images (B,), padded pixels, and where among these its images are."""
        if self._files is None:
            yield from ((self._pixels, chosen) for chosen in groups)
            return
        pictures = Pictures(self._files, Fit(self._width))
        pin, indices = self._device.type == "cuda", [chosen.tolist() for chosen in groups]
        workers = default_workers()
        for images, _ in decode(pictures, indices, workers=workers, pin_memory=pin):
            yield self._padded(images), torch.arange(len(images), device=self._device)

    def _crop(
        self, stored: Tensor, chosen: Tensor, top: Tensor, left: Tensor, flipped: Tensor
    ) -> Tensor:
        """Pixels of the windows at ``top`` and ``left`` of the padded images, (B, H, W, C) uint8.

        All other arguments have shape (B,); with ``flipped`` a window's columns run backwards.
        """
        pad = self._augmentation.crop
        rows = top[:, None] + torch.arange(self._height, device=self._device)
        forwards = torch.arange(self._width, device=self._device)
        columns = left[:, None] + torch.where(flipped[:, None], forwards.flip(0), forwards)
        lines = chosen[:, None] * (self._height + 2 * pad) + rows
        pixels = lines[:, :, None] * (self._width + 2 * pad) + columns[:, None, :]
        taken = stored.index_select(0, pixels.flatten())
        return taken.view(len(chosen), self._height, self._width, -1)

    def _normalise(self, images: Tensor) -> Tensor:
        """(B, H, W, C) uint8 to (B, H, W * C) float32 of mean 0 and deviation 1."""
        return torch.addcmul(self._shift, images.flatten(2).float(), self._scale)

    def _cut_out(self, images: Tensor, centre_y: Tensor, centre_x: Tensor, side: int) -> None:
        """Set a square of each of the normalised ``images`` (B, H, W * C) to the mean, in place."""
        channels = images.shape[2] // self._width
        rows = torch.arange(self._height, device=self._device) - centre_y[:, None] + side // 2
        columns = torch.arange(self._width, device=self._device).repeat_interleave(channels)
        columns = columns - centre_x[:, None] + side // 2
        outside_rows = ((rows < 0) | (rows >= side)).float()
        outside_columns = ((columns < 0) | (columns >= side)).float()
        images *= torch.maximum(outside_rows[:, :, None], outside_columns[:, None, :])
