"""Batches: normalisation, order, resumption, and augmentation against torchvision's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torchvision.transforms.v2 import functional as transforms

from pdnas.data.batches import ALL_ROWS, Batch, epoch_seed
from pdnas.data.dataset import DatasetInfo, ImageSet
from pdnas.data.loaders import build_loader
from pdnas.data.memory import DeviceLoader
from pdnas.data.sets import INFO
from pdnas.data.splits import load_part, make_splits
from pdnas.spec.data import Augmentation, DataConfig
from pdnas.support.errors import PdnasError

NOTHING = Augmentation(crop=0, flip=False, cutout=0)


@pytest.fixture
def part() -> ImageSet:
    """Ten random images of 3 x 12 x 12; an image's label is its number."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (10, 3, 12, 12), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(10))


@pytest.fixture
def info() -> DatasetInfo:
    return replace(INFO["cifar10"], size=12, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))


def loader(
    part: ImageSet,
    info: DatasetInfo,
    *,
    batch: int = 4,
    augmentation: Augmentation | None = None,
    shuffle: bool = False,
    seed: int = 0,
    rows: slice = ALL_ROWS,
) -> DeviceLoader:
    return DeviceLoader(
        part, info, batch, "cpu", augmentation=augmentation, shuffle=shuffle, seed=seed, rows=rows
    )


def whole_epoch(batches: Iterable[Batch]) -> Batch:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def normalised(images: torch.Tensor, info: DatasetInfo) -> torch.Tensor:
    floats = transforms.to_dtype(images, torch.float32, scale=True)
    return transforms.normalize(floats, list(info.mean), list(info.std))


def raw(images: torch.Tensor, info: DatasetInfo) -> torch.Tensor:
    """Normalised images back as bytes."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (info.mean, info.std))
    return ((images * std + mean) * 255).round().to(torch.uint8)


def test_rows_of_a_batch_are_those_of_the_whole(part: ImageSet, info: DatasetInfo) -> None:
    settings: Any = {"augmentation": Augmentation(crop=2, cutout=4), "shuffle": True}
    whole = loader(part, info, **settings).epoch(1)
    second = loader(part, info, rows=slice(2, 4), **settings).epoch(1)
    for (images, labels), (own, own_labels) in zip(whole, second, strict=True):
        assert torch.equal(own, images[2:])
        assert torch.equal(own_labels, labels[2:])


def test_evaluation_gives_every_image_in_order(part: ImageSet, info: DatasetInfo) -> None:
    batches = list(loader(part, info).epoch(0))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    for images, _ in batches:
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
    images, labels = whole_epoch(batches)
    assert labels.tolist() == list(range(10))
    torch.testing.assert_close(images, normalised(part.images, info))


def test_one_channel(info: DatasetInfo) -> None:
    grey = replace(info, channels=1, mean=(0.3,), std=(0.5,))
    images = torch.randint(0, 256, (5, 1, 8, 6), dtype=torch.uint8)
    found, _ = next(loader(ImageSet(images, torch.arange(5)), grey, batch=5).epoch(0))
    torch.testing.assert_close(found, normalised(images, grey))


def test_training_shuffles_and_drops_the_incomplete_batch(
    part: ImageSet, info: DatasetInfo
) -> None:
    training = loader(part, info, shuffle=True)
    assert len(training) == 2
    assert len(loader(part, info)) == 3
    assert training.examples == 10
    seen = []
    for number in range(20):
        images, labels = whole_epoch(training.epoch(number))
        assert len(labels.unique()) == len(labels) == 8
        torch.testing.assert_close(images, normalised(part.images[labels], info))
        seen.append(labels)
    assert len(torch.stack(seen).unique(dim=0)) == 20
    assert torch.cat(seen).unique().tolist() == list(range(10))


def test_batch_larger_than_the_part(part: ImageSet, info: DatasetInfo) -> None:
    with pytest.raises(PdnasError, match=r"training\.batch"):
        loader(part, info, batch=11, shuffle=True)
    assert len(loader(part, info, batch=11)) == 1


def test_epoch_depends_on_seed_and_number_only(part: ImageSet, info: DatasetInfo) -> None:
    everything = Augmentation(crop=2, flip=True, cutout=4)
    first = loader(part, info, augmentation=everything, shuffle=True, seed=7)
    straight = [whole_epoch(first.epoch(number)) for number in range(4)]

    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    resumed = loader(part, info, augmentation=everything, shuffle=True, seed=7)
    for number in (3, 1):
        images, labels = whole_epoch(resumed.epoch(number))
        assert torch.equal(images, straight[number][0])
        assert torch.equal(labels, straight[number][1])
    assert torch.equal(torch.random.get_rng_state(), before)

    other = loader(part, info, augmentation=everything, shuffle=True, seed=8)
    assert not torch.equal(whole_epoch(other.epoch(0))[0], straight[0][0])


def test_an_epoch_can_begin_at_any_batch(part: ImageSet, info: DatasetInfo) -> None:
    for shuffle in (True, False):
        training = loader(part, info, augmentation=Augmentation(cutout=4), shuffle=shuffle)
        whole = list(training.epoch(3))
        for start in range(len(whole) + 1):
            rest = list(training.epoch(3, start))
            assert len(rest) == len(whole) - start
            for one, other in zip(whole[start:], rest, strict=True):
                assert all(map(torch.equal, one, other))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("rows", [ALL_ROWS, slice(1, 2)])
def test_batches_augmented_together_are_the_same(
    part: ImageSet, info: DatasetInfo, shuffle: bool, rows: slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU; 2, 3 and more batches at once than there are."""
    settings: Any = {"batch": 2, "augmentation": Augmentation(crop=2, cutout=4)}
    settings |= {"shuffle": shuffle, "rows": rows}
    one_by_one = list(loader(part, info, **settings).epoch(1, 1))
    assert len(one_by_one) > 3
    for at_once in (2, 3, 100):
        together = loader(part, info, **settings)
        monkeypatch.setattr(together, "batches_at_once", at_once)
        for one, other in zip(one_by_one, together.epoch(1, 1), strict=True):
            assert all(map(torch.equal, one, other))
            assert other[0].is_contiguous(memory_format=torch.channels_last)


def test_epoch_seed_is_pinned() -> None:
    """New seeds would be new data for every published run."""
    assert epoch_seed(0, 0) == 15793235383387715774
    assert len({epoch_seed(seed, number) for seed in range(30) for number in range(30)}) == 900


@pytest.mark.parametrize("pad", [1, 4])
def test_crop_and_flip_are_torchvisions(part: ImageSet, info: DatasetInfo, pad: int) -> None:
    """Every image found is exactly one of torchvision's, and all of them occur."""
    training = loader(
        part, info, batch=10, augmentation=Augmentation(crop=pad, flip=True, cutout=0), shuffle=True
    )
    padded = transforms.pad(part.images, [pad])
    shifts = range(2 * pad + 1)
    possible = {}
    for top in shifts:
        for left in shifts:
            window = transforms.crop(padded, top, left, 12, 12)
            for flip, view in enumerate((window, transforms.horizontal_flip(window))):
                for number, image in enumerate(view):
                    possible[number, image.numpy().tobytes()] = (top, left, flip)
    counts: dict[tuple[int, int, int], int] = {}
    epochs = 40 * len(shifts) ** 2 // 10
    for number in range(epochs):
        images, labels = whole_epoch(training.epoch(number))
        for image, label in zip(raw(images, info), labels.tolist(), strict=True):
            key = possible[label, image.numpy().tobytes()]
            counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 2 * len(shifts) ** 2
    assert min(counts.values()) >= 3  # 20 expected
    assert max(counts.values()) <= 45


@pytest.mark.parametrize("side", [3, 4, 30])
def test_cutout(info: DatasetInfo, side: int) -> None:
    """The hole is a clipped square of the right side, of the mean, and centred uniformly."""
    bright = ImageSet(torch.full((500, 3, 12, 12), 255, dtype=torch.uint8), torch.arange(500))
    cut = loader(
        bright, info, batch=500, augmentation=Augmentation(crop=0, flip=False, cutout=side)
    )
    images, _ = next(cut.epoch(0))
    holes = images == 0
    assert torch.equal(holes.all(dim=1), holes.any(dim=1))  # the same in every channel
    corners = set()
    for hole in holes[:, 0]:
        rows, columns = hole.any(dim=1).nonzero()[:, 0], hole.any(dim=0).nonzero()[:, 0]
        assert hole.sum() == len(rows) * len(columns)  # a filled rectangle
        corners.add((rows[0].item(), rows[-1].item(), columns[0].item(), columns[-1].item()))
    extents = {
        (max(centre - side // 2, 0), min(centre - side // 2 + side, 12) - 1) for centre in range(12)
    }
    assert {corner[:2] for corner in corners} == extents
    assert {corner[2:] for corner in corners} == extents
    one_dimension = [
        min(centre - side // 2 + side, 12) - max(centre - side // 2, 0) for centre in range(12)
    ]
    expected = (sum(one_dimension) / 12) ** 2
    assert holes[:, 0].sum(dim=(1, 2)).double().mean().item() == pytest.approx(expected, rel=0.1)


def test_augmentation_switches_are_independent(part: ImageSet, info: DatasetInfo) -> None:
    """Cutout on or off leaves order, crop and flip as they were."""
    plain = loader(part, info, augmentation=Augmentation(cutout=0), shuffle=True)
    cut = loader(part, info, augmentation=Augmentation(cutout=4), shuffle=True)
    (without, first), (with_hole, second) = whole_epoch(plain.epoch(5)), whole_epoch(cut.epoch(5))
    assert torch.equal(first, second)
    outside = with_hole != 0
    assert torch.equal(without[outside], with_hole[outside])
    nothing = loader(part, info, augmentation=NOTHING, shuffle=True)
    assert torch.equal(whole_epoch(nothing.epoch(5))[1], first)


def test_build_loader(info: DatasetInfo) -> None:
    config = DataConfig(name="digits", train=200, validation=100, augmentation=Augmentation(crop=1))
    splits = make_splits(config)
    training = build_loader(config, "train", splits, batch=64, device="cpu", train=True, seed=3)
    judging = build_loader(
        config, "validation", splits, batch=64, device="cpu", train=False, seed=3
    )
    assert (len(training), training.examples) == (3, 200)
    assert (len(judging), judging.examples) == (2, 100)
    validation = load_part(config, "validation", splits)
    training_images = load_part(config, "train", splits)
    assert isinstance(validation, ImageSet)
    assert isinstance(training_images, ImageSet)
    images, labels = whole_epoch(judging.epoch(0))
    torch.testing.assert_close(images, normalised(validation.images, INFO["digits"]))
    assert torch.equal(labels, validation.labels)
    by_hand = DeviceLoader(
        training_images,
        INFO["digits"],
        64,
        "cpu",
        augmentation=config.augmentation,
        shuffle=True,
        seed=3,
    )
    assert torch.equal(whole_epoch(by_hand.epoch(2))[0], whole_epoch(training.epoch(2))[0])


def test_held_out_images_have_an_order_of_their_own(info: DatasetInfo) -> None:
    """The same images twice, as either part, with the same seed."""
    config = DataConfig(name="digits", train=256, validation=100)
    training = make_splits(config)
    heldout = training.replace({"part": {"train": "heldout"}})
    orders = []
    for part, splits in (("train", training), ("heldout", heldout), ("heldout", heldout)):
        loader = build_loader(config, part, splits, batch=64, device="cpu", train=True, seed=3)
        orders.append(torch.cat([y for _, y in loader.epoch(1)]))
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0].sort().values, orders[1].sort().values)
    assert torch.equal(orders[1], orders[2])
