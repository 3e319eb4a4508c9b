"""Any pictures in class folders: at one side, in memory or streamed, measured, and refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pdnas.commands.data import app
from pdnas.data import memory
from pdnas.data.absence import root_of
from pdnas.data.dataset import ImageSet
from pdnas.data.loaders import build_loader
from pdnas.data.sets import dataset
from pdnas.data.splits import load_part, make_splits
from pdnas.spec.data import Augmentation, FoldersConfig
from pdnas.support.errors import PdnasError

CUT = Augmentation(crop=2, flip=True, cutout=3)
CONFIG = FoldersConfig(name="folders", root="mine", side=8, validation=3, augmentation=CUT)
STREAMED = CONFIG.model_copy(update={"memory_mb": 0})
SUFFIXES = ["png", "jpg", "jpeg", "JPEG", "webp"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Holds ``mine``: three classes, five training and two test pictures each, of many kinds."""
    random = np.random.default_rng(0)
    for part, count in (("train", 5), ("val", 2)):
        for name in ("ant", "bee", "cat"):
            folder = tmp_path / "mine" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (9 + number, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.{SUFFIXES[number]}")
    (tmp_path / "mine/train/ant/notes.txt").write_text("no picture")
    return tmp_path


def batches(
    config: FoldersConfig, home: Path, *, train: bool, start: int = 0, rows: slice = slice(None)
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch of the training part."""
    loader = build_loader(
        config,
        "train",
        make_splits(config, home),
        batch=4,
        device="cpu",
        train=train,
        seed=3,
        rows=rows,
        directory=home,
    )
    assert loader.examples == 12
    return list(loader.epoch(1, start))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_are_those_from_memory(
    home: Path, monkeypatch: pytest.MonkeyPatch, train: bool, workers: int
) -> None:
    monkeypatch.setattr(memory, "default_workers", lambda: workers)
    kept = batches(CONFIG, home, train=train)
    assert [tuple(images.shape) for images, _ in kept] == [(4, 3, 8, 8)] * 3
    for start, rows in ((0, slice(None)), (1, slice(2, 4))):
        streamed = batches(STREAMED, home, train=train, start=start, rows=rows)
        for (images, labels), (own, own_labels) in zip(kept[start:], streamed, strict=True):
            assert torch.equal(images[rows], own)
            assert torch.equal(labels[rows], own_labels)


def test_statistics_are_those_of_the_training_pictures_however_they_are_read(home: Path) -> None:
    whole = dataset(CONFIG).load(home)["train"]
    pixels = whole.subset(torch.arange(15)).images.double() / 255  # type: ignore[union-attr]
    for config in (CONFIG, STREAMED, STREAMED):  # the last reads what was kept
        mean, std = dataset(config).statistics(home)
        assert mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), abs=6e-5)
        assert std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist(), abs=6e-5)
    Image.new("L", (9, 9), 255).save(home / "mine/train/ant/0.png")
    assert dataset(STREAMED).statistics(home) == dataset(CONFIG).statistics(home) != (mean, std)


def test_pictures_that_change_places_are_read_anew(home: Path) -> None:
    """Their names, sizes and times of writing stay, as they do with unpacked archives."""
    dark, bright = (home / "mine/train/ant" / name for name in ("8.bmp", "9.bmp"))
    for path, level in ((dark, 0), (bright, 200)):
        Image.new("L", (8, 8), level).save(path)
        os.utime(path, (0, 0))

    def levels() -> list[int]:
        images = dataset(CONFIG).load(home)["train"].subset(torch.tensor([5, 6]))
        assert isinstance(images, ImageSet)
        return images.images[:, 0, 0, 0].tolist()

    assert levels() == [0, 200]
    dark.rename(home / "dark")
    bright.rename(dark)
    (home / "dark").rename(bright)
    assert levels() == [200, 0]


def test_pictures_of_one_colour_can_be_normalised(tmp_path: Path) -> None:
    for path in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "mine" / path).mkdir(parents=True)
        Image.new("L", (9, 9), 51).save(tmp_path / "mine" / path / "0.png")
    mean, std = dataset(CONFIG).statistics(tmp_path)
    assert mean == (0.2, 0.2, 0.2)
    assert min(std) > 0


def test_the_first_of_test_and_val_is_taken(home: Path) -> None:
    assert len(load_part(CONFIG, "test", make_splits(CONFIG, home), home)) == 6
    for name in ("ant", "bee", "cat"):
        (home / "mine/test" / name).mkdir(parents=True)
        Image.new("L", (9, 9)).save(home / "mine/test" / name / "0.png")
    assert len(load_part(CONFIG, "test", make_splits(CONFIG, home), home)) == 3


def test_where_a_folder_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert root_of(CONFIG, None) == Path("mine")
    monkeypatch.setenv("PDNAS_DATA", str(tmp_path))
    assert root_of(CONFIG, None) == tmp_path / "mine"
    absolute = CONFIG.model_copy(update={"root": "/elsewhere"})
    assert root_of(absolute, None) == Path("/elsewhere")


def remove_folder(root: Path) -> None:
    root.rename(root.with_name("other"))


def remove_tests(root: Path) -> None:
    (root / "val").rename(root / "tests")


def empty_a_class(root: Path) -> None:
    for path in (root / "train/bee").iterdir():
        path.unlink()


def keep_one_class(root: Path) -> None:
    for part in ("train", "val"):
        for name in ("bee", "cat"):
            (root / part / name).rename(root / f"{part}-{name}")


def rename_a_class(root: Path) -> None:
    (root / "val/cat").rename(root / "val/Cat")


def link_out(root: Path) -> None:
    (root.parent / "out.png").write_bytes((root / "train/ant/0.png").read_bytes())
    (root / "train/ant/9.png").symlink_to(root.parent / "out.png")


@pytest.mark.parametrize("config", [CONFIG, STREAMED])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (remove_folder, r"mine \(data\.root\) is no folder; it has to hold pictures as train/"),
        (remove_tests, r"no pictures in .*mine \(.*test.*\); it has to hold pictures as train/"),
        (empty_a_class, "no pictures in .*mine .*bee"),
        (keep_one_class, r"one class only \(train/ant\)"),
        (rename_a_class, r"different classes \(only train/cat, val/Cat\)"),
        (link_out, r"lead out of it \(train/ant/9\.png\); put copies in their place"),
    ],
)
def test_bad_folders_are_one_line(
    home: Path, fault: Callable[[Path], None], words: str, config: FoldersConfig
) -> None:
    fault(home / "mine")
    with pytest.raises(PdnasError, match=words) as raised:
        make_splits(config, home)
    assert "\n" not in str(raised.value)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def write_text(path: Path) -> None:
    path.write_text("no picture")


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("config", [CONFIG, STREAMED])
@pytest.mark.parametrize("fault", [cut_short, write_text, make_empty])
def test_bad_pictures_are_one_line(
    home: Path, fault: Callable[[Path], None], config: FoldersConfig
) -> None:
    path = home / "mine/train/bee/2.jpeg"
    fault(path)
    with pytest.raises(PdnasError) as raised:
        batches(config, home, train=False)
    assert str(raised.value) == f"{path} is no readable image; replace it"


@pytest.mark.parametrize("config", [CONFIG, STREAMED])
def test_a_huge_picture_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, config: FoldersConfig
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = home / "mine/train/bee/2.jpeg"
    Image.new("RGB", (100, 100)).save(path)
    with pytest.raises(PdnasError) as raised:
        batches(config, home, train=False)
    assert str(raised.value) == f"{path} has too many pixels to be decoded; scale it down"


def test_a_bad_picture_that_is_mended_is_all_that_is_read_again(home: Path) -> None:
    path = home / "mine/train/bee/2.jpeg"
    good = path.read_bytes()
    expected = batches(CONFIG, home, train=True)
    path.write_bytes(b"")
    with pytest.raises(PdnasError, match="no readable image"):
        batches(CONFIG, home, train=True)
    path.write_bytes(good)
    for ours, others in zip(batches(CONFIG, home, train=True), expected, strict=True):
        assert all(map(torch.equal, ours, others))


def test_all_bad_pictures_are_named_at_once(home: Path) -> None:
    root = home / "mine"

    def verify() -> str:
        done = CliRunner().invoke(app, ["verify", "--root", str(root)])
        return done.stdout if done.exception is None else str(done.exception)

    whole = "folders: whole: 3 classes, 15 pictures in train, 6 pictures in val"
    assert verify() == f"{whole}; passed over: 1 .txt\n"
    for name in ("train/ant/0.gif", "val/ant/1.gif"):
        (root / name).touch()
    assert verify() == f"{whole}; passed over: 2 .gif, 1 .txt\n"
    shutil.copy(root / "train/ant/0.png", root / "val/cat/x.png")
    assert "images there more than once: 1 (1 both to train and to test on, 1 in more" in verify()
    with pytest.warns(UserWarning, match="such as train/ant/0.png and val/cat/x.png"):
        dataset(CONFIG).own_contents(home)
    (root / "val/cat/x.png").unlink()
    cut_short(root / "train/ant/0.png")
    make_empty(root / "val/cat/1.jpg")
    text = verify()
    assert text.startswith("2 of 21 pictures cannot be used: ")
    assert "train/ant/0.png is no readable image; replace it; " in text
    assert "val/cat/1.jpg is no readable image; replace it" in text
    root.rename(home / "moved")
    assert verify() == f"there is no folder {root}"
