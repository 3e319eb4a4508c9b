"""Data sets in memory and the seeded, stratified, nested splits of all data sets."""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pdnas.data.dataset import ImageSet
from pdnas.data.sets import INFO
from pdnas.data.splits import load_part, make_splits, part_indices
from pdnas.data.statistics import channel_counts, channel_statistics
from pdnas.data.stratify import shuffled, stratified
from pdnas.spec.data import DataConfig
from pdnas.spec.names import PublishedData
from pdnas.support.errors import PdnasError

from .conftest import Register, Server

DIGITS = DataConfig(name="digits", train=500, validation=200, test=100)


def in_memory(name: str, directory: Path | None = None) -> dict[str, ImageSet]:
    """A data set's files."""
    files = INFO[name].load(directory)
    return {file: images for file, images in files.items() if isinstance(images, ImageSet)}


def rows(splits: pd.DataFrame, part: str) -> pd.DataFrame:
    return splits[splits["part"] == part].reset_index(drop=True)


class TestDigits:
    def test_pixels_are_scikit_learns(self) -> None:
        from sklearn.datasets import load_digits

        files = in_memory("digits")
        assert (len(files["train"]), len(files["test"])) == (1438, 359)
        whole = torch.cat([files["train"].images, files["test"].images])
        assert whole.dtype == torch.uint8
        assert whole.shape == (1797, 1, 8, 8)
        original = load_digits().images.reshape(-1, 64)
        ours = np.rint(whole.flatten(1).numpy() * (16 / 255))
        assert sorted(map(tuple, ours)) == sorted(map(tuple, original))

    def test_every_class_keeps_its_share(self) -> None:
        files = in_memory("digits")
        counts = {file: images.labels.bincount() for file, images in files.items()}
        whole = counts["train"] + counts["test"]
        assert ((counts["test"] - whole * 359 / 1797).abs() < 1).all()

    def test_published_statistics_are_those_of_the_training_images(self) -> None:
        mean, std = channel_statistics(channel_counts(in_memory("digits")["train"].images))
        assert INFO["digits"].mean == pytest.approx(mean.tolist(), abs=5e-5)
        assert INFO["digits"].std == pytest.approx(std.tolist(), abs=5e-5)


def test_info_fits_the_data_sets() -> None:
    assert tuple(INFO) == get_args(PublishedData)
    assert {name: info.classes for name, info in INFO.items()} == {
        "cifar10": 10,
        "cifar100": 100,
        "imagenet": 1000,
        "digits": 10,
    }
    for name, info in INFO.items():
        assert info.name == name
        assert len(info.mean) == len(info.std) == info.channels


def test_subset_is_a_copy_in_the_order_asked_for() -> None:
    whole = ImageSet(torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1), torch.arange(4))
    part = whole.subset(torch.tensor([3, 1]))
    assert len(part) == 2
    assert part.labels.tolist() == part.images.flatten().tolist() == [3, 1]
    part.images.zero_()
    assert whole.images.flatten().tolist() == [0, 1, 2, 3]


class TestCifar100:
    @pytest.fixture
    def directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A tiny data set in torchvision's format; its list of checksums is changed to fit."""
        folder = tmp_path / "data" / "cifar-100-python"
        folder.mkdir(parents=True)
        random = np.random.default_rng(0)
        contents = {}
        for file, count in (("train", 6), ("test", 3)):
            contents[file] = {
                "data": random.integers(0, 256, (count, 3072), dtype=np.uint8),
                "fine_labels": list(range(count)),
            }
        sums = {}
        for file, content in contents.items():
            (folder / file).write_bytes(pickle.dumps(content, protocol=4))
            sums[file] = hashlib.md5((folder / file).read_bytes()).hexdigest()
        official = torchvision.datasets.CIFAR100
        monkeypatch.setattr(official, "train_list", [["train", sums["train"]]])
        monkeypatch.setattr(official, "test_list", [["test", sums["test"]]])
        return folder.parent

    def test_loads_from_argument_and_environment(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = in_memory("cifar100", directory)
        raw = pickle.loads((directory / "cifar-100-python" / "test").read_bytes())
        np.testing.assert_array_equal(files["test"].images, raw["data"].reshape(-1, 3, 32, 32))
        assert files["test"].labels.tolist() == [0, 1, 2]
        assert files["train"].images.is_contiguous()
        monkeypatch.setenv("PDNAS_DATA", str(directory))
        assert torch.equal(in_memory("cifar100")["train"].images, files["train"].images)

    def test_changed_file_is_refused_before_it_is_unpickled(self, directory: Path) -> None:
        (directory / "cifar-100-python" / "train").write_bytes(b"cposix\nsystem\n.")
        with pytest.raises(PdnasError, match="no complete CIFAR-100"):
            in_memory("cifar100", directory)

    def test_a_file_with_the_right_checksum_cannot_run_code(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As if two files could have one MD5, which they can."""
        hostile, proof = directory / "cifar-100-python" / "train", directory / "proof"
        hostile.write_bytes(b"cpathlib\nPath.touch\n(cpathlib\nPath\n(V%b\ntRtR." % bytes(proof))
        sums = [["train", hashlib.md5(hostile.read_bytes()).hexdigest()]]
        monkeypatch.setattr(torchvision.datasets.CIFAR100, "train_list", sums)
        with pytest.raises(PdnasError, match="no complete CIFAR-100"):
            in_memory("cifar100", directory)
        assert not proof.exists()

    def test_missing_says_which_files_go_where(self, tmp_path: Path, register: Register) -> None:
        register(b"", "http://127.0.0.1:9/x", "cifar100-archive", "cifar-100-python.tar.gz")
        for directory in (None, tmp_path / "no", tmp_path):
            with pytest.raises(PdnasError, match="cifar-100-python") as error:
                in_memory("cifar100", directory)
            assert "train, test and meta" in str(error.value)
            assert "cifar100/train/CLASS" in str(error.value)

    def test_the_archive_is_decoded_once(
        self, directory: Path, register: Register, server: Server
    ) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            tar.add(directory / "cifar-100-python", "cifar-100-python")
        server.content = packed.getvalue()
        register(server.content, server.address, "cifar100-archive", "cifar-100-python.tar.gz")
        assert INFO["cifar100"].fetch(progress=False) == INFO["cifar100"].find()
        server.content = None
        first, unpacked = in_memory("cifar100"), in_memory("cifar100", directory)
        for file, images in unpacked.items():
            assert torch.equal(first[file].images, images.images)
            assert torch.equal(first[file].labels, images.labels)
        assert server.requests == 1
        assert INFO["cifar100"].own_contents() is None


class TestCifar100Folders:
    """Class folders of 100 classes, of which the last has a second training image."""

    @pytest.fixture(params=["cifar100/test", "cifar100/val", "test"])
    def directory(self, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
        """The folder of data; its images lie in ``cifar100`` or in itself."""
        test = tmp_path / "data" / request.param
        for number in range(100):
            for folder in (test.parent / "train", test):
                (folder / f"c{number:02d}").mkdir(parents=True)
                Image.new("RGB", (32, 32), (number, 0, 9)).save(folder / f"c{number:02d}/0.png")
        Image.new("L", (32, 32), 50).save(test.parent / "train/c99/1.png")
        return tmp_path / "data"

    def test_any_number_of_images(self, directory: Path) -> None:
        files = INFO["cifar100"].load(directory)
        assert {file: len(images) for file, images in files.items()} == {"train": 101, "test": 100}
        config = DataConfig(name="cifar100", validation=1)
        splits = make_splits(config, directory)
        assert counts_of(splits) == {"train": 100, "validation": 1, "test": 100}
        test = load_part(config, "test", splits, directory)
        assert isinstance(test, ImageSet)
        assert test.labels.tolist() == test.images[:, 0, 5, 5].tolist() == list(range(100))
        contents = INFO["cifar100"].own_contents(directory)
        assert contents is not None
        assert contents["train"]["c99"].startswith("2 ")

    def test_images_of_another_size_or_classes_are_named(self, directory: Path) -> None:
        [picture] = directory.rglob("train/c99/1.png")
        Image.new("L", (64, 32)).save(picture)
        whole = torch.arange(101)
        with pytest.raises(PdnasError, match=r"c99/1\.png has 64x32 pixels, not 32x32; replace"):
            INFO["cifar100"].load(directory)["train"].subset(whole)
        shutil.rmtree(picture.parent)
        words = "train has 99 classes; CIFAR-100 has 100"
        if picture.is_relative_to(directory / "train"):  # which may be of ImageNet
            return
        with pytest.raises(PdnasError, match=words):
            INFO["cifar100"].load(directory)


class TestSplits:
    def test_counts_sources_and_order(self) -> None:
        splits = make_splits(DIGITS)
        assert list(splits.columns) == ["source", "index", "part"]
        assert splits["index"].dtype == np.int64
        counts = splits.groupby(["part", "source"]).size().to_dict()
        assert counts == {
            ("train", "train"): 500,
            ("validation", "train"): 200,
            ("test", "test"): 100,
        }
        assert splits["part"].unique().tolist() == ["train", "validation", "test"]
        assert all(
            rows(splits, part)["index"].is_monotonic_increasing for part in counts_of(splits)
        )

    def test_disjoint(self) -> None:
        assert not make_splits(DIGITS).duplicated(["source", "index"]).any()

    def test_pinned(self) -> None:
        """A library's new version must not silently change a published split."""
        splits = make_splits(DIGITS)
        assert {part: rows(splits, part)["index"][:6].tolist() for part in counts_of(splits)} == {
            "train": [1, 8, 15, 18, 19, 25],
            "validation": [2, 3, 11, 13, 20, 21],
            "test": [4, 5, 7, 10, 11, 12],
        }

    def test_held_out_images(self) -> None:
        """They come out of the training images; what judges does not change with their number."""
        splits = make_splits(DIGITS.model_copy(update={"heldout": 300}))
        counts = {"train": 500, "heldout": 300, "validation": 200, "test": 100}
        assert counts_of(splits) == counts
        assert not splits.duplicated(["source", "index"]).any()
        assert rows(splits, "heldout")["index"][:6].tolist() == [1, 15, 18, 25, 35, 41]
        for part in ("validation", "test"):
            pd.testing.assert_frame_equal(rows(splits, part), rows(make_splits(DIGITS), part))
        labels = load_part(DIGITS, "heldout", splits).labels
        shares = in_memory("digits")["train"].labels.bincount() / 1438
        assert ((labels.bincount() - 300 * shares).abs() < 1.5).all()

    def test_null_takes_the_rest(self) -> None:
        splits = make_splits(DataConfig(name="digits", validation=438))
        assert counts_of(splits) == {"train": 1000, "validation": 438, "test": 359}

    def test_nothing_held_out(self) -> None:
        splits = make_splits(DataConfig(name="digits", validation=0))
        assert counts_of(splits) == {"train": 1438, "test": 359}

    @pytest.mark.parametrize("train", [10, 499, 1238, None])
    def test_other_parts_do_not_change_with_train(self, train: int | None) -> None:
        other = make_splits(DIGITS.model_copy(update={"train": train}))
        for part in ("validation", "test"):
            pd.testing.assert_frame_equal(rows(other, part), rows(make_splits(DIGITS), part))

    def test_seed_changes_every_part(self) -> None:
        other = make_splits(DIGITS.model_copy(update={"split_seed": 1}))
        for part in ("train", "validation", "test"):
            assert not rows(other, part).equals(rows(make_splits(DIGITS), part))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"train": 1239}, r"data.train asks for 1239 images, but digits has 1238 left"),
            ({"validation": 1439}, "data.validation"),
            ({"heldout": 1239}, "data.heldout asks for 1239 images, but digits has 1238 left"),
            ({"test": 360}, "data.test"),
        ],
    )
    def test_impossible_wishes(self, change: dict[str, int], words: str) -> None:
        with pytest.raises(PdnasError, match=words):
            make_splits(DIGITS.model_copy(update=change))

    def test_load_part(self) -> None:
        splits = make_splits(DIGITS)
        files = in_memory("digits")
        for part in ("train", "validation", "test"):
            loaded = load_part(DIGITS, part, splits)
            assert isinstance(loaded, ImageSet)
            indices = torch.from_numpy(rows(splits, part)["index"].to_numpy(copy=True))
            expected = files["test" if part == "test" else "train"].subset(indices)
            assert torch.equal(loaded.images, expected.images)
            assert torch.equal(loaded.labels, expected.labels)


def counts_of(splits: pd.DataFrame) -> dict[str, int]:
    return {str(part): count for part, count in splits["part"].value_counts(sort=False).items()}


@given(
    labels=st.lists(st.integers(0, 4), max_size=60),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_stratified(labels: list[int], share: float, seed: int) -> None:
    classes = np.array(labels, dtype=np.int64)
    count = int(share * len(classes))
    chosen, rest = stratified(classes, shuffled(len(classes), seed, 0), count)
    assert len(chosen) == count
    assert sorted([*chosen, *rest]) == list(range(len(classes)))
    for label in set(labels):
        fair = count * labels.count(label) / len(labels)
        assert abs((classes[chosen] == label).sum() - fair) < 1


def test_shuffled_is_uniform_enough() -> None:
    first = np.array([shuffled(10, seed, 0)[0] for seed in range(2000)])
    counts = np.bincount(first, minlength=10)
    assert abs(counts - 200).max() < 70  # five standard deviations


class TestSplitsThatDoNotFit:
    SIZES: ClassVar = {"train": 4, "test": 2}
    FITTING = pd.DataFrame(
        {
            "source": ["train", "train", "test"],
            "index": [3, 0, 1],
            "part": ["train", "validation", "test"],
        }
    )

    def test_fitting(self) -> None:
        assert part_indices("x", "train", self.FITTING, self.SIZES).tolist() == [3]

    @pytest.mark.parametrize(
        ("row", "column", "value", "words"),
        [
            (0, "index", 4, "beyond the 4 images of the train file"),
            (2, "index", 2, "beyond the 2 images of the test file"),
            (0, "index", -1, "beyond"),
            (1, "index", 3, "twice"),
            (0, "source", "test", "wrong file"),
            (2, "source", "train", "wrong file"),
            (0, "part", "training", "unknown part"),
        ],
    )
    def test_misfits(self, row: int, column: str, value: int | str, words: str) -> None:
        spoilt = self.FITTING.copy()
        spoilt.loc[row, column] = value
        with pytest.raises(PdnasError, match=words):
            part_indices("x", "train", spoilt, self.SIZES)

    def test_missing_column(self) -> None:
        with pytest.raises(PdnasError, match="column"):
            part_indices("x", "train", self.FITTING.drop(columns="source"), self.SIZES)

    def test_empty_part(self) -> None:
        with pytest.raises(PdnasError, match=r"set data\.validation"):
            part_indices("x", "validation", self.FITTING.drop(index=1), self.SIZES)

    def test_unknown_part(self) -> None:
        with pytest.raises(PdnasError, match="choose one of train"):
            part_indices("x", "eval", self.FITTING, self.SIZES)
