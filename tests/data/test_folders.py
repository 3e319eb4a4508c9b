"""ImageNet's folders with a few JPEG files of every colour mode and many sizes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from pdnas.data.batches import ALL_ROWS
from pdnas.data.dataset import ImageFiles
from pdnas.data.folders import FolderLoader, difference
from pdnas.data.loaders import build_loader
from pdnas.data.sets import INFO
from pdnas.data.splits import load_part, make_splits
from pdnas.spec.data import DataConfig
from pdnas.support.errors import PdnasError

CONFIG = DataConfig(name="imagenet", validation=4)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, make_imagenet: Callable[..., Path]) -> Path:
    """Two classes; 12 training and 6 test images."""
    return make_imagenet(tmp_path_factory.mktemp("imagenet"), train=6, val=3)


def loader(
    directory: Path,
    part: str,
    *,
    train: bool,
    batch: int = 3,
    workers: int = 0,
    seed: int = 0,
    rows: slice = ALL_ROWS,
) -> FolderLoader:
    files = load_part(CONFIG, part, make_splits(CONFIG, directory), directory)
    assert isinstance(files, ImageFiles)
    info = INFO["imagenet"]
    return FolderLoader(
        files, info, batch, "cpu", train=train, seed=seed, rows=rows, workers=workers
    )


def test_splits_are_stratified(directory: Path) -> None:
    splits = make_splits(CONFIG, directory)
    assert splits["part"].value_counts().to_dict() == {"train": 8, "validation": 4, "test": 6}
    held_out = splits.loc[splits["part"] == "validation", "index"]
    assert (held_out < 6).sum() == 2  # of the first class


def test_evaluation_is_torchvisions_central_crop(directory: Path) -> None:
    judging = loader(directory, "test", train=False)
    assert (len(judging), judging.examples) == (2, 6)
    batches = list(judging.epoch(0))
    images = torch.cat([images for images, _ in batches])
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _ in batches)
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 0, 0, 1, 1, 1]
    info = INFO["imagenet"]
    standard = v2.Compose(
        [
            v2.Resize(256),
            v2.CenterCrop(224),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(info.mean), list(info.std)),
        ]
    )
    files = sorted((directory / "val").rglob("*.JPEG"))
    expected = torch.stack([standard(Image.open(path).convert("RGB")) for path in files])
    torch.testing.assert_close(images, expected)


def test_epochs_repeat_whatever_the_workers(directory: Path) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    alone = loader(directory, "train", train=True)
    assert len(alone) == 2  # of 8 images; the last two are dropped
    first = list(alone.epoch(3))
    helped = list(loader(directory, "train", train=True, workers=2).epoch(3))
    for (images, labels), (again, labels_again) in zip(first, helped, strict=True):
        assert images.shape == (3, 3, 224, 224)
        assert torch.equal(images, again)
        assert torch.equal(labels, labels_again)
    assert not torch.equal(next(alone.epoch(4))[0], first[0][0])
    other = loader(directory, "train", train=True, seed=1)
    assert not torch.equal(next(other.epoch(3))[0], first[0][0])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("train", [True, False])
def test_an_epoch_can_begin_at_any_batch_with_other_workers(directory: Path, train: bool) -> None:
    whole = list(loader(directory, "train", train=train).epoch(3))
    rest = list(loader(directory, "train", train=train, workers=1).epoch(3, 1))
    assert len(rest) == len(whole) - 1 > 0
    for one, other in zip(whole[1:], rest, strict=True):
        assert all(map(torch.equal, one, other))


def test_rows_of_a_batch_are_those_of_the_whole(directory: Path) -> None:
    whole = loader(directory, "train", train=True, batch=4)
    second = loader(directory, "train", train=True, batch=4, rows=slice(2, 4))
    assert len(second) == len(whole) == 2
    for (images, labels), (own, own_labels) in zip(
        whole.epoch(1, 1), second.epoch(1, 1), strict=True
    ):
        assert torch.equal(own, images[2:])
        assert torch.equal(own_labels, labels[2:])


def test_build_loader_reads_the_environment(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDNAS_DATA", str(directory))
    splits = make_splits(CONFIG)
    judging = build_loader(CONFIG, "validation", splits, batch=3, device="cpu", train=False, seed=0)
    assert isinstance(judging, FolderLoader)
    assert (len(judging), judging.examples) == (2, 4)


def test_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(PdnasError, match="PDNAS_DATA"):
        make_splits(CONFIG)
    with pytest.raises(PdnasError, match=r"train/CLASS/\*\.JPEG"):
        make_splits(CONFIG, tmp_path)


def class_folders(root: Path, **parts: list[str]) -> Path:
    """One image a class; ``parts`` are ``train`` and ``val`` with the names of their classes."""
    for part, names in parts.items():
        for name in names:
            (root / part / name).mkdir(parents=True)
            Image.new("RGB", (2, 2)).save(root / part / name / "0.JPEG")
    return root


NAMES = ["apple", "bird", "cat", "dog"]


@pytest.mark.parametrize(
    ("train", "val", "words"),
    [
        (NAMES, ["apple", "cat", "dog"], "only train/bird"),
        (NAMES, [*NAMES, "bee"], "only val/bee"),
        (NAMES, ["apple", "Bird", "cat", "dog"], "only train/bird, val/Bird"),
        ([*NAMES, ".thumbs"], NAMES, r"hidden folders among its classes \(train/\.thumbs\)"),
        ([*NAMES, ".a"], [*NAMES, ".a"], r"train/\.a, val/\.a"),
        ([f"n{number}" for number in range(9)], ["n0"], "n4, train/n5 and 3 more"),
    ],
)
def test_classes_that_would_be_numbered_differently_are_named(
    tmp_path: Path, train: list[str], val: list[str], words: str
) -> None:
    root = class_folders(tmp_path, train=train, val=val)
    for ask in (INFO["imagenet"].load, INFO["imagenet"].count_classes):
        with pytest.raises(PdnasError, match=words):
            ask(root)


def test_a_hidden_folder_in_a_class_is_named(tmp_path: Path) -> None:
    """Of thumbnails, say, which would count as images of the class."""
    root = class_folders(tmp_path, train=NAMES, val=NAMES)
    thumbs = root / "train/cat/album/.thumbs"
    thumbs.mkdir(parents=True)
    (thumbs / "0.JPEG").write_bytes((root / "train/cat/0.JPEG").read_bytes())
    with pytest.raises(PdnasError, match=r"hidden folders .* \(train/cat/album/\.thumbs\); delete"):
        INFO["imagenet"].load(root)


@pytest.mark.parametrize("classes", [3, 1003])
def test_the_number_of_classes_is_that_of_the_folders(tmp_path: Path, classes: int) -> None:
    names = [f"n{number:04d}" for number in range(classes)]
    root = class_folders(tmp_path, train=names, val=names)
    assert INFO["imagenet"].count_classes(root) == classes
    assert INFO["imagenet"].load(root)["test"].labels.tolist() == list(range(classes))


def test_one_class_and_an_empty_class_are_named(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "one", train=["cat"], val=["cat"])
    with pytest.raises(PdnasError, match=r"one class only \(train/cat\)"):
        INFO["imagenet"].count_classes(root)
    root = class_folders(tmp_path / "empty", train=NAMES, val=NAMES)
    (root / "train/bird/0.JPEG").unlink()
    with pytest.raises(PdnasError, match="bird"):
        INFO["imagenet"].load(root)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("huge", "0.JPEG has too many pixels to be decoded; scale it down"),
        ("truncated", "0.JPEG is no readable image; replace it"),
        ("broken link", "0.JPEG is no readable image; replace it"),
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_decoded_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, words: str, workers: int
) -> None:
    root = class_folders(tmp_path, train=NAMES, val=NAMES)
    path = root / "val/cat/0.JPEG"
    if fault == "huge":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 70_000)
        Image.new("RGB", (400, 400)).save(path)
    elif fault == "truncated":
        path.write_bytes(path.read_bytes()[:300])
    else:
        path.unlink()
        path.symlink_to(tmp_path / "gone.JPEG")
    files = INFO["imagenet"].load(root)["test"]
    batches = FolderLoader(files, INFO["imagenet"], 4, "cpu", train=False, seed=0, workers=workers)
    with pytest.raises(PdnasError) as raised:
        list(batches.epoch(0))
    assert str(raised.value) == f"{root}/val/cat/{words}"


def test_batch_larger_than_the_part(directory: Path) -> None:
    with pytest.raises(PdnasError, match=r"training\.batch"):
        loader(directory, "train", train=True, batch=9)


@pytest.mark.parametrize(
    ("link", "target", "named"),
    [
        ("train/cat/1.JPEG", "outside/1.JPEG", "train/cat/1.JPEG"),
        ("val/dog/more", "outside", "val/dog/more"),
        ("train/cat/1.JPEG", "data-other/1.JPEG", "train/cat/1.JPEG"),
        ("train/cat/1.JPEG", "data/val/cat/0.JPEG", None),
        ("train/cat/more", "data/train/dog", None),
    ],
)
def test_links_out_of_the_folder_are_named(
    tmp_path: Path, link: str, target: str, named: str | None
) -> None:
    root = class_folders(tmp_path / "data", train=NAMES, val=NAMES)
    for folder in ("outside", "data-other"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / folder / "1.JPEG")
    (root / link).symlink_to(tmp_path / target)
    if named is None:
        assert len(INFO["imagenet"].load(root)["train"]) == 5
        return
    with pytest.raises(PdnasError, match=rf"lead out of it \({named}\); put copies"):
        INFO["imagenet"].load(root)


def test_all_of_train_may_be_a_link(tmp_path: Path) -> None:
    elsewhere = class_folders(tmp_path / "disk", train=NAMES)
    (elsewhere / "train/cat/1.JPEG").symlink_to(elsewhere / "train/cat/0.JPEG")
    root = class_folders(tmp_path / "data", val=NAMES)
    (root / "train").symlink_to(elsewhere / "train")
    assert len(INFO["imagenet"].load(root)["train"]) == 5
    (tmp_path / "link").symlink_to(root)
    assert INFO["imagenet"].own_contents(tmp_path / "link") == INFO["imagenet"].own_contents(root)


def rename_a_class(root: Path) -> None:
    for part in ("train", "val"):
        (root / part / "cat").rename(root / part / "zebra")


def add_an_image(root: Path) -> None:
    (root / "train/cat/new.JPEG").write_bytes((root / "train/cat/0.JPEG").read_bytes())


def remove_an_image(root: Path) -> None:
    (root / "val/dog/0.JPEG").unlink()


def replace_an_image(root: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(root / "train/cat/0.JPEG")


def move_an_image(root: Path) -> None:
    add_an_image(root)
    (root / "train/cat/0.JPEG").unlink()


def repaint_an_image(root: Path) -> None:
    """Another picture of the same name, size and time."""
    path = root / "train/cat/0.JPEG"
    times, size = path.stat(), path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == size


def swap_two_images(root: Path) -> None:
    cat, dog, other = (root / f"train/{name}" for name in ("cat/0.JPEG", "dog/0.JPEG", "other"))
    cat.rename(other)
    dog.rename(cat)
    other.rename(dog)


def touch_an_image(root: Path) -> None:
    (root / "train/cat/0.JPEG").touch()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rename_a_class, "train/cat is gone, train/zebra is new, val/cat is gone, val/zebra is"),
        (add_an_image, "train/cat has 3 images and had 2"),
        (remove_an_image, "val/dog has 1 images and had 2"),
        (replace_an_image, "images of train/cat have other names or sizes"),
        (move_an_image, "images of train/cat have other names or sizes"),
        (repaint_an_image, "images of train/cat are other ones of the same names"),
        (swap_two_images, "images of train/cat are other ones of the same names, images of train/"),
        (touch_an_image, None),
    ],
)
def test_changed_images_are_named(
    tmp_path: Path, change: Callable[[Path], None], words: str | None
) -> None:
    root = class_folders(tmp_path, train=NAMES, val=NAMES)
    for number, image in enumerate(sorted(root.glob("*/*/0.JPEG"))):
        Image.new("RGB", (2, 2), (20 * number,) * 3).save(image, "BMP")
        os.utime(image, (0, 0))
        image.with_name("1.JPEG").write_bytes(image.read_bytes())
    then = INFO["imagenet"].own_contents(root)
    change(root)
    now = INFO["imagenet"].own_contents(root)
    assert then is not None
    assert now is not None
    found = difference(then, now)
    assert (found is None) if words is None else found is not None and words in found
    earlier = {
        part: {name: " ".join(said.split()[:2]) for name, said in classes.items()}
        for part, classes in then.items()
    }
    same_names = change in (repaint_an_image, swap_two_images)
    assert difference(earlier, now) == (None if same_names else found)


def test_images_are_read_once_for_their_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path, train=NAMES, val=NAMES)
    read: list[Path] = []
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or whole(path))
    first = INFO["imagenet"].own_contents(root)
    assert sorted(path for path in read if path.suffix == ".JPEG") == sorted(root.rglob("*.JPEG"))
    read.clear()
    assert INFO["imagenet"].own_contents(root) == first
    assert not [path for path in read if path.suffix == ".JPEG"]


def test_a_folder_is_listed_once_until_it_changes(tmp_path: Path) -> None:
    root = class_folders(tmp_path, train=NAMES, val=NAMES)
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        os.utime(folder, (0, 0))  # long ago
    info = INFO["imagenet"]
    first = info.load(root)["train"]
    assert info.load(root)["train"] is first
    (root / "train/cat/1.JPEG").write_bytes((root / "train/cat/0.JPEG").read_bytes())
    assert len(info.load(root)["train"]) == 5
    (root / "train/cat/1.JPEG").unlink()  # soon after: the folder's time need not tell
    assert len(info.load(root)["train"]) == 4
