"""The benchmark's own archives: small ones in their format, read by their authors' packages.

A trial is written with every key that a real one has (seen in NATS-Bench's own three test cells),
and with fewer epochs. The packages are optional: without them only the errors are tested.
"""

from __future__ import annotations

import bz2
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from pdnas.commands.nasbench import app
from pdnas.space.cells import CellSpace
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.truth import official
from pdnas.truth.tables.nasbench201 import NasBench201

SMALL = CellSpace(("nor_conv_3x3", "skip_connect"))
SETS = {  # training set -> the sets it is evaluated on
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
SEEDS = {"12": (111, 777), "200": (777, 888, 999)}
COLUMNS = {  # what each column must be the mean of
    "test_200_cifar10": ("200", "cifar10", "ori-test"),
    "test_200_cifar100": ("200", "cifar100", "x-test"),
    "test_200_imagenet16_120": ("200", "ImageNet16-120", "x-test"),
    "validation_12_cifar10": ("12", "cifar10-valid", "x-valid"),
    "validation_12_cifar100": ("12", "cifar100", "x-valid"),
    "validation_12_imagenet16_120": ("12", "ImageNet16-120", "x-valid"),
    "test_12_cifar10": ("12", "cifar10", "ori-test"),
    "test_12_cifar100": ("12", "cifar100", "x-test"),
    "test_12_imagenet16_120": ("12", "ImageNet16-120", "x-test"),
}

Cell = dict[str, dict[str, Any]]


def trial(dataset: str, seed: int, epochs: int, final: dict[str, float]) -> dict[str, Any]:
    """One training run; every epoch before the last is worse by a point."""
    epoch = range(epochs)
    keys = [(name, each) for name in SETS[dataset] for each in epoch]
    return {
        "name": dataset,
        "net_state_dict": None,
        "train_acc1es": {each: 99.0 - each for each in epoch},
        "train_acc5es": dict.fromkeys(epoch, 99.9),
        "train_losses": dict.fromkeys(epoch, 1.0),
        "train_times": OrderedDict((each, 7.2) for each in epoch),
        "arch_config": {"channel": 16, "num_cells": 5, "class_num": 10},
        "params": np.float64(0.129306),
        "flop": 15.64737,
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [np.float64(0.0139)],
        "eval_names": list(SETS[dataset]),
        "eval_acc1es": {f"{name}@{e}": final[name] - (epochs - 1 - e) for name, e in keys},
        "eval_losses": {f"{name}@{e}": 1.0 for name, e in keys},
        "eval_times": {f"{name}@{e}": 2.5 for name, e in keys},
    }


def results(index: int, text: str, epochs: str, rng: np.random.Generator) -> dict[str, Any]:
    """All training runs of one cell with one schedule."""
    runs = {
        (dataset, seed): trial(
            dataset, seed, 3, dict(zip(sets, rng.uniform(20, 90, 3), strict=False))
        )
        for dataset, sets in SETS.items()
        for seed in SEEDS[epochs]
    }
    return {
        "arch_index": index,
        "arch_str": text,
        "all_results": runs,
        "dataset_seed": {dataset: list(SEEDS[epochs]) for dataset in SETS},
        "clear_net_done": True,
    }


def benchmark(space: CellSpace, distinct: int) -> tuple[list[str], list[Cell], list[int]]:
    """Architecture strings in shuffled order, their results (``distinct`` different ones), ids."""
    rng = np.random.default_rng(0)
    ids = rng.permutation(len(space)).tolist()
    names = [space.to_string(space.cells[cell]) for cell in ids]
    made = [{e: results(i, names[i], e, rng) for e in ("12", "200")} for i in range(distinct)]
    return names, [made[i % distinct] for i in range(len(names))], ids


def write_file(path: Path, names: list[str], cells: list[Cell]) -> Path:
    """NAS-Bench-201's single file, written as torch and numpy wrote it in March 2020."""
    infos = {i: {"less": cell["12"], "full": cell["200"]} for i, cell in enumerate(cells)}
    content = {"meta_archs": names, "arch2infos": infos, "evaluated_indexes": list(infos)}
    target = path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save(content, target, _use_new_zipfile_serialization=False)
    target.write_bytes(target.read_bytes().replace(b"numpy._core", b"numpy.core"))
    return target


def write_folder(path: Path, names: list[str], cells: list[Cell]) -> Path:
    """NATS-Bench's simple archive."""
    folder = path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    meta = {
        "meta_archs": names,
        "total_archs": len(names),
        "arch2infos": None,
        "evaluated_indexes": set(range(len(names))),
    }
    numbered = {f"{index:06d}": cell for index, cell in enumerate(cells)}
    for name, content in ({"meta": meta} | numbered).items():
        with bz2.open(folder / f"{name}.pickle.pbz2", "wb") as file:
            pickle.dump(content, file, protocol=4)
    return folder


def expected(cells: list[Cell], ids: list[int], column: str) -> NDArray[np.float64]:
    """The column by cell id, straight from the dictionaries."""
    epochs, dataset, name = COLUMNS[column]
    values = np.empty(len(cells))
    for cell, found in zip(ids, cells, strict=True):
        runs = [found[epochs]["all_results"][dataset, seed] for seed in SEEDS[epochs]]
        values[cell] = np.mean([run["eval_acc1es"][f"{name}@2"] for run in runs]) / 100
    return values


@pytest.mark.parametrize(
    ("package", "write"), [("nas_201_api", write_file), ("nats_bench", write_folder)]
)
class TestRead:
    Write = Callable[[Path, list[str], list[Cell]], Path]

    def test_every_column(self, package: str, write: Write, tmp_path: Path) -> None:
        pytest.importorskip(package)
        names, cells, ids = benchmark(SMALL, len(SMALL))
        rows, columns = official.read(write(tmp_path, names, cells), SMALL)
        assert [ids[row] for row in rows] == list(range(len(SMALL)))
        assert set(columns) == set(COLUMNS)
        for column in COLUMNS:
            np.testing.assert_allclose(columns[column], expected(cells, ids, column), atol=1e-8)

    def test_missing_cell(self, package: str, write: Write, tmp_path: Path) -> None:
        pytest.importorskip(package)
        names, cells, _ = benchmark(SMALL, 1)
        with pytest.raises(PdnasError, match="lacks the cell"):
            official.read(write(tmp_path, names[1:], cells[1:]), SMALL)

    def test_missing_trials(self, package: str, write: Write, tmp_path: Path) -> None:
        pytest.importorskip(package)
        names, cells, _ = benchmark(SMALL, 1)
        del cells[0]["12"]["dataset_seed"]["cifar100"]
        with pytest.raises(PdnasError, match=r"damaged .* get it again"):
            official.read(write(tmp_path, names, cells), SMALL)

    def test_package_not_installed(
        self, package: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        names, cells, _ = benchmark(SMALL, 1)
        with pytest.raises(PdnasError, match="run `pip install na") as caught:
            official.read(write(tmp_path, names, cells), SMALL)
        assert "\n" not in str(caught.value)


class Malicious:
    """Unpickled by the ordinary way, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_the_file_cannot_run_code(tmp_path: Path) -> None:
    pytest.importorskip("nas_201_api")
    path, proof = tmp_path / "archive.pth", tmp_path / "proof"
    torch.save({"meta_archs": Malicious(proof)}, path)
    with pytest.raises(PdnasError, match="damaged or not the benchmark's archive"):
        official.read(path, SMALL)
    assert not proof.exists()


@pytest.mark.parametrize("name", ["meta", "000003"])
def test_the_folder_cannot_run_code(tmp_path: Path, name: str) -> None:
    pytest.importorskip("nats_bench")
    names, cells, _ = benchmark(SMALL, 1)
    folder, proof = write_folder(tmp_path, names, cells), tmp_path / "proof"
    with bz2.open(folder / f"{name}.pickle.pbz2", "wb") as file:
        pickle.dump(Malicious(proof), file)
    with pytest.raises(PdnasError, match="damaged or not the benchmark's archive"):
        official.read(folder, SMALL)
    assert not proof.exists()


def test_truncated_folder(tmp_path: Path) -> None:
    pytest.importorskip("nats_bench")
    names, cells, _ = benchmark(SMALL, 1)
    folder = write_folder(tmp_path, names, cells)
    (folder / "000003.pickle.pbz2").write_bytes(b"BZh9")
    with pytest.raises(PdnasError, match="damaged"):
        official.read(folder, SMALL)


@pytest.mark.parametrize("name", ["archive.zip", "nowhere.pth", "nowhere"])
def test_another_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "archive.zip").touch()
    with pytest.raises(PdnasError, match="is neither NAS-Bench-201's file"):
        official.assemble(tmp_path / name)


def test_build_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One column of all 15 625 cells, with fifty different sets of results among them."""
    pytest.importorskip("nas_201_api")
    monkeypatch.chdir(tmp_path)
    one = {"test_200_cifar10": official._queries()["test_200_cifar10"]}
    monkeypatch.setattr(official, "_queries", lambda: one)
    names, cells, ids = benchmark(CellSpace(), 50)
    archive = write_file(tmp_path, names, cells)
    result = CliRunner().invoke(app, ["build", "--from", str(archive)], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.startswith("nasbench201.parquet: differs")
    assert files.read_json(Path("nasbench201.json"))["sources"] == [{"file": archive.name}]
    truth = NasBench201(files.read_table(Path("nasbench201.parquet")))
    np.testing.assert_allclose(
        truth.accuracy(), expected(cells, ids, "test_200_cifar10"), atol=1e-8
    )
    assert truth.table["cell"][truth.column("benchmark_index").argmin()] == names[0]
    assert truth.column("parameters").max() == 1_531_546
