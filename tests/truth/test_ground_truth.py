"""Building, loading and looking up the table; damaged and hostile sources."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdnas.space.cells import CellSpace
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.truth.build import difference
from pdnas.truth.columns import DATASETS
from pdnas.truth.public_files import accuracies, read_pickled_frame
from pdnas.truth.tables import base
from pdnas.truth.tables.nasbench201 import NasBench201

TABLE = NasBench201.path()


class TestTable:
    def test_optimum(self, truth: NasBench201) -> None:
        best = [round(100 * truth.accuracy(name).max(), 2) for name in DATASETS]
        assert best == [94.37, 73.51, 47.31]

    def test_uniform_facts(self, truth: NasBench201) -> None:
        accuracy = truth.accuracy("cifar10")
        assert (accuracy >= 0.94).sum() == 42
        assert (accuracy >= 0.935).sum() == 411
        assert round(100 * accuracy.mean(), 1) == 87.1

    @pytest.mark.data
    def test_rows_are_cells_in_id_order(
        self, truth: NasBench201, source_files: tuple[Path, Path]
    ) -> None:
        space = CellSpace()
        assert truth.table["cell"].tolist() == [space.to_string(cell) for cell in space.cells]
        codes = truth.table.filter(like="operation_").to_numpy()
        np.testing.assert_array_equal(codes, space.cells)
        assert sorted(truth.column("benchmark_index")) == list(range(len(space)))
        csv = pd.read_csv(source_files[0]).iloc[truth.column("benchmark_index")]
        assert csv["ArchitectureString"].tolist() == truth.table["cell"].tolist()
        np.testing.assert_allclose(
            truth.accuracy("cifar100") * 100, csv["CIFAR100TestAccuracy200Epochs"], atol=1e-6
        )

    def test_twelve_epochs(self, truth: NasBench201) -> None:
        """The file's own first row and maximum, and the rows match the 200-epoch ones."""
        tests = truth.column("test_12_cifar10")
        first = truth.cell_id("0", benchmark_index=True)
        assert (truth.validation_12()[first], tests[first]) == (0.63364, 0.6955)
        assert tests.max() == 0.8916
        for name in DATASETS:
            correlation = np.corrcoef(truth.validation_12(name), truth.accuracy(name))
            assert correlation[0, 1] > 0.85

    def test_million_lookups_a_second(self, truth: NasBench201) -> None:
        ids = np.random.default_rng(0).integers(0, 15_625, 1_000_000)
        accuracy = truth.accuracy()
        start = time.perf_counter()
        _ = accuracy[ids]
        assert time.perf_counter() - start < 1  # takes about 0.003 s

    def test_lookup(self, truth: NasBench201) -> None:
        found = truth.lookup([3, 15_624, 3])
        assert found["cell"].tolist() == [truth.table["cell"][i] for i in (3, 15_624, 3)]
        cells = CellSpace().cells[[3, 15_624]]
        assert truth.lookup(cells).equals(truth.lookup(np.array([3, 15_624], dtype=np.uint16)))
        assert len(truth.lookup([])) == 0

    @pytest.mark.parametrize(
        "cells", [[3.9], [-1], [15_625], 3, ["3"], [True], [[0, 0, 0, 0, 0, 5]], [[1, 2]], [[[1]]]]
    )
    def test_lookup_of_what_is_no_cell(self, truth: NasBench201, cells: Any) -> None:
        with pytest.raises(PdnasError, match="whole"):
            truth.lookup(cells)

    def test_unknown_data_set_and_cell(self, truth: NasBench201) -> None:
        with pytest.raises(PdnasError, match="choose cifar10, cifar100, imagenet16_120"):
            truth.accuracy("mnist")
        with pytest.raises(PdnasError, match="choose cifar10, cifar100, imagenet16_120"):
            truth.validation_12("mnist")
        with pytest.raises(PdnasError, match="they go from 0 to 15624"):
            truth.cell_id("15625")
        with pytest.raises(PdnasError, match="is no cell"):
            truth.cell_id("-1")


def test_difference_names_columns_and_cells(truth: NasBench201) -> None:
    changed = truth.table.copy()
    changed.loc[[3, 5], "test_12_cifar100"] += 0.01
    assert difference(NasBench201(changed), truth) == (
        "differs from the table of the package in test_12_cifar100 (2 rows)"
    )


def test_opens_fast_and_without_torch() -> None:
    """In a process of its own: processor time of the best of five, and no torch anywhere."""
    program = (
        "import sys, time, pandas, pyarrow.parquet\n"
        "from pdnas.truth import efficiency\n"
        "from pdnas.truth.tables.nasbench201 import NasBench201\n"
        "def load():\n"
        "    start = time.process_time(); NasBench201.load(); return time.process_time() - start\n"
        "assert min(load() for _ in range(5)) < 0.05\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.usefixtures("alone")
def test_needs_no_cache_no_mirror_and_no_network() -> None:
    assert NasBench201.load().accuracy().max() == 0.94373333


def test_damaged(truth: NasBench201, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "FOLDER", tmp_path)
    path = tmp_path / TABLE.name
    path.write_bytes(TABLE.read_bytes()[:1000])
    with pytest.raises(PdnasError, match="delete it and make it again"):
        NasBench201.load()
    files.write_table(path, pd.DataFrame({"cell": ["a"]}))
    with pytest.raises(PdnasError, match="has 1 rows instead of 15625"):
        NasBench201.load()
    with pytest.raises(PdnasError, match="no column 'latency'"):
        truth.column("latency")


@pytest.mark.data
class TestDamagedCsv:
    def damaged(self, source: Path, folder: Path, old: str, new: str) -> Path:
        text = source.read_text()
        assert old in text
        path = folder / "nats_bench.csv"
        path.write_text(text.replace(old, new, 1))
        return path

    @pytest.mark.parametrize(
        ("old", "new", "complaint"),
        [
            ("CIFAR10Test", "Other", "lacks the column CIFAR10TestAccuracy200Epochs"),
            ("85.86333333333334", "858.6333333333334", "accuracy outside 0 to 100"),
            ("85.86333333333334", "", "accuracy outside 0 to 100"),
            ("85.86333333333334", "high", "accuracy that is no number"),
            ("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|", "|oops|", "lacks the cell"),
        ],
    )
    def test_is_named(
        self, source_files: tuple[Path, Path], tmp_path: Path, old: str, new: str, complaint: str
    ) -> None:
        path = self.damaged(source_files[0], tmp_path, old, new)
        with pytest.raises(PdnasError, match=complaint):
            accuracies(path, source_files[1])

    def test_truncated(self, source_files: tuple[Path, Path], tmp_path: Path) -> None:
        path = tmp_path / "nats_bench.csv"
        path.write_bytes(source_files[0].read_bytes()[:2_000_000])
        with pytest.raises(PdnasError, match=r"nats_bench\.csv"):
            accuracies(path, source_files[1])

    def test_empty(self, source_files: tuple[Path, Path], tmp_path: Path) -> None:
        path = tmp_path / "nats_bench.csv"
        path.touch()
        with pytest.raises(PdnasError, match="not a readable CSV"):
            accuracies(path, source_files[1])


class Malicious:
    """Unpickled by the ordinary way, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


class TestPickle:
    def test_malicious_one_is_refused(self, tmp_path: Path) -> None:
        path, proof = tmp_path / "frame.pd", tmp_path / "proof"
        path.write_bytes(pickle.dumps(Malicious(proof)))
        with pytest.raises(PdnasError, match="refused"):
            read_pickled_frame(path)
        assert not proof.exists()

    @pytest.mark.parametrize("payload", [b"cos\nsystem\n(S'true'\ntR.", b"cbuiltins\neval\n."])
    def test_dangerous_names_are_refused(self, tmp_path: Path, payload: bytes) -> None:
        path = tmp_path / "frame.pd"
        path.write_bytes(payload)
        with pytest.raises(PdnasError, match="it asks for"):
            read_pickled_frame(path)

    @pytest.mark.parametrize(
        "content", [b"", b"no pickle", pickle.dumps({"a": 1}), pickle.dumps([1, 2])]
    )
    def test_anything_else_is_a_clear_error(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "frame.pd"
        path.write_bytes(content)
        with pytest.raises(PdnasError, match="fetch it again"):
            read_pickled_frame(path)

    @pytest.mark.data
    def test_truncated(self, source_files: tuple[Path, Path], tmp_path: Path) -> None:
        path = tmp_path / "frame.pd"
        path.write_bytes(source_files[1].read_bytes()[:-100])
        with pytest.raises(PdnasError, match="fetch it again"):
            read_pickled_frame(path)
