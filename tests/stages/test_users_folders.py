"""A search on the user's own folder of images, which is another one afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pdnas.cli import app
from pdnas.support.errors import PdnasError

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
