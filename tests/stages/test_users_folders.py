"""A search on the user's own folder of images, which is another one afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pdnas.commands.app import app
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json

SCALE = """
description: One study on a folder of images
studies:
  mine:
    seeds: [0]
    base:
      data: {name: imagenet, validation: 4}
      supernet: {name: multibranch, width: 4, blocks: 1}
      training: {epochs: 1, batch: 4, learning_rate: 0.1}
      gates: {length_scale2: 1}
      candidates: {count: 2}
    variants:
      guided: {}
"""


def test_later_stages_refuse_other_images_than_the_search_saw(
    tmp_path: Path, make_imagenet: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pdnas(*words: str | Path) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    root = make_imagenet(tmp_path / "data", train=4, val=2)
    monkeypatch.setenv("PDNAS_DATA", str(root))
    (tmp_path / "mine.yaml").write_text(SCALE)
    run = tmp_path / "run"
    search = ("search", "mine", "guided", "--scale", tmp_path / "mine.yaml", "--out", run)
    for done in (pdnas(*search), pdnas("sample", run), pdnas("rank", run)):
        assert done.exit_code == 0, done.exception
    assert pdnas(*search).stdout.startswith("finished already")

    first = sorted(root.rglob("train/*/*.JPEG"))[0]
    content = first.read_bytes()
    first.write_bytes(content[:-1] + b"!")
    error = pdnas("rank", run, "--force").exception
    assert "images of train/n01440764 are other ones of the same names" in str(error)
    first.write_bytes(content)

    for part in ("train", "val"):  # which numbers both classes anew
        (root / part / "n01440764").rename(root / part / "n09999999")
    for words in (["rank", run, "--force"], ["retrain", run], ["extract", run, "--out", run / "s"]):
        error = pdnas(*words).exception
        assert isinstance(error, PdnasError)
        assert "searched with other images than there are now (train/n01440764 is gone" in str(
            error
        )
    assert "images are others since (train/n01440764 is gone" in str(pdnas(*search).exception)
    for part in ("train", "val"):
        (root / part / "n09999999").rename(root / part / "n01440764")
    assert pdnas("rank", run, "--force").exit_code == 0
    monkeypatch.delenv("PDNAS_DATA")
    assert pdnas(*search).stdout.startswith("finished already"), "that needs no images"


def test_the_page_on_pictures_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scale file and commands as they stand there, with fewer epochs, candidates and pixels."""
    page = (Path(__file__).parents[2] / "docs/pictures.md").read_text()
    scale = page.split("```yaml\n")[1].split("```")[0]
    scale = scale.replace("epochs: 20", "epochs: 1").replace("count: 20", "count: 2")
    scale = scale.replace("side: 64", "side: 16").replace("crop: 8", "crop: 2")
    commands = [line.split()[1:] for line in page.splitlines() if line.startswith("pdnas ")]
    random = np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 2)):
        for name in ("ant", "bee", "cat", "dog", "eel", "fox", "gnu"):
            folder = tmp_path / "pictures" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (16, 20), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PDNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PDNAS_DATA", raising=False)
    Path("mine.yaml").write_text(scale)
    for words in commands:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (words, done.exception)
    assert [words[0] for words in commands[1:3]] == ["search", "sample"]

    record = read_json(Path("run/run.json"))
    assert record["classes"] == 7
    assert record["folders"]["train"]["ant"].startswith("20 ")
    assert record["normalisation"]["mean"] == pytest.approx([0.5] * 3, abs=0.01)
    result = read_json(Path("run/result-posterior-none.json"))
    assert result["test_images"] == 14
    assert result["test_top5_accuracy"] >= result["test_accuracy"]

    for name in ("ant", "bee"):
        black = np.zeros((64, 64), dtype=np.uint8)
        Image.fromarray(black).save(f"pictures/train/{name}/0.jpg")
    error = CliRunner().invoke(app, ["rank", "run", "--force"]).exception
    assert "images of train/ant have other names or sizes" in str(error)
    Path("mine.yaml").write_text(scale.replace("root: pictures", "root: pitcures"))
    error = (
        CliRunner()
        .invoke(app, ["search", "mine", "guided", "--scale", "mine.yaml", "--out", "other"])
        .exception
    )
    assert "pitcures (data.root) is no folder; it has to hold pictures as train/" in str(error)
