"""Image files of every colour mode, size and fault, and the compact file made of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from pdnas.data.dataset import ImageFiles
from pdnas.data.decode import CompactImages, Fit, read_picture
from pdnas.support.errors import PdnasError


def saved(folder: Path, image: Image.Image, name: str = "0.png", **options: object) -> str:
    image.save(folder / name, **options)
    return str(folder / name)


@pytest.mark.parametrize(
    ("mode", "colour", "name", "expected"),
    [
        ("L", 70, "0.png", (70, 70, 70)),
        ("LA", (70, 0), "0.png", (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), "0.png", (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), "0.png", (255, 255, 255)),
        ("I;16", 70 * 256 + 9, "0.png", (70, 70, 70)),
        ("1", 1, "0.png", (255, 255, 255)),
        ("CMYK", (0, 0, 0, 255), "0.jpg", (0, 0, 0)),
    ],
)
def test_every_colour_mode_becomes_rgb(
    tmp_path: Path, mode: str, colour: int, name: str, expected: tuple[int, int, int]
) -> None:
    picture = read_picture(saved(tmp_path, Image.new(mode, (4, 4), colour), name))
    assert picture.mode == "RGB"
    assert picture.getpixel((1, 1)) == expected


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_whose_white_nobody_knows_are_refused(tmp_path: Path, kind: type) -> None:
    """From 0 to 1, or to 65535: Pillow would make a picture all black or all white of them."""
    path = saved(tmp_path, Image.fromarray(np.zeros((4, 4), kind)), "0.tif")
    with pytest.raises(PdnasError, match=r"0\.tif has 32 bits a pixel; save it with 8 or 16"):
        read_picture(path)


def test_a_palette_is_looked_up_and_its_transparent_colour_is_white(tmp_path: Path) -> None:
    colours = Image.fromarray(np.array([[[200, 0, 0], [0, 200, 0]]], dtype=np.uint8))
    palette = colours.quantize(2)
    assert read_picture(saved(tmp_path, palette)).getpixel((0, 0)) == (200, 0, 0)
    clear = palette.getpixel((1, 0))
    picture = read_picture(saved(tmp_path, palette, "1.png", transparency=clear))
    assert [picture.getpixel((x, 0)) for x in (0, 1)] == [(200, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (31, 20), (9, 3), (4, 4)])
def test_the_short_side_is_resized_and_the_centre_taken(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    fitted = Fit(4)(image)
    assert fitted.shape == (3, 4, 4)
    assert fitted.dtype == torch.uint8
    standard = v2.Compose([v2.Resize(4), v2.CenterCrop(4), v2.PILToTensor()])(image)
    if (max(size) / min(size)).is_integer():  # else the two round the centre differently
        assert (fitted.int() - standard.int()).abs().max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "RGBA", "I;16"])
def test_pictures_are_turned_upright(tmp_path: Path, mode: str) -> None:
    image = Image.new("L", (8, 8), "black")
    image.paste("white", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) << 8)
    picture = read_picture(saved(tmp_path, image.convert(mode), exif=exif))
    assert Fit(8)(picture)[0, :, 0].tolist() == [0] * 4 + [255] * 4


class TestCompactImages:
    @pytest.fixture
    def images(self, tmp_path: Path) -> CompactImages:
        (tmp_path / "train").mkdir()
        paths = [
            saved(tmp_path / "train", Image.new("L", (5, 5), number), f"{number}.png")
            for number in (1, 2, 3)
        ]
        return CompactImages(tmp_path / "train", ImageFiles(paths, torch.tensor([0, 1, 1])), Fit(4))

    def test_a_part_in_the_order_asked_for(self, images: CompactImages) -> None:
        part = images.subset(torch.tensor([2, 0]))
        assert part.images.shape == (2, 3, 4, 4)
        assert part.images[:, 0, 0, 0].tolist() == [3, 1]
        assert part.labels.tolist() == [1, 0]

    def test_they_are_decoded_once_until_they_change(
        self, images: CompactImages, cache: Path
    ) -> None:
        first = images.images()
        [compact] = cache.iterdir()
        made = compact.stat().st_mtime_ns
        assert torch.equal(images.images(), first)
        assert compact.stat().st_mtime_ns == made
        path = images.files.paths[0]
        size, time = os.path.getsize(path), os.stat(path).st_mtime_ns
        Image.new("L", (5, 5), 9).save(path)
        os.utime(path, ns=(time + 1, time + 1))
        assert os.path.getsize(path) == size, "the time alone tells"
        assert images.images()[:, 0, 0, 0].tolist() == [9, 2, 3]
        assert [compact] == list(cache.iterdir())

    def test_a_damaged_compact_file_is_made_again(self, images: CompactImages, cache: Path) -> None:
        first = images.images()
        [compact] = cache.iterdir()
        compact.write_bytes(compact.read_bytes()[:-5])
        assert torch.equal(images.images(), first)

    def test_an_unreadable_image_leaves_no_compact_file(
        self, images: CompactImages, cache: Path
    ) -> None:
        Path(images.files.paths[1]).write_bytes(b"nothing")
        with pytest.raises(PdnasError, match=r"2\.png is no readable image; replace it"):
            images.images()
        assert not cache.exists()
