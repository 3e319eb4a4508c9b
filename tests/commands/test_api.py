"""``import pdnas``: its names, what they cost, and what they refuse."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pdnas
from pdnas.commands import api
from pdnas.space.cells import CellSpace
from pdnas.truth import load as load_truth

from ..processes import forked

NAMES = {"search", "sample", "rank", "retrain", "extract", "load_run", "truth", "efficiency"}
PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_names_are_there_documented_with_an_example() -> None:
    assert set(pdnas.__all__) == NAMES | {"PdnasError"}
    assert set(dir(pdnas)) >= NAMES
    for name in NAMES:
        function = load_truth if name == "truth" else getattr(api, name)
        assert name == "truth" or getattr(pdnas, name) is function
        assert ">>> " in (function.__doc__ or ""), name
        assert f"pdnas.{name}(" in (function.__doc__ or ""), name
    with pytest.raises(AttributeError, match="searches"):
        pdnas.searches  # noqa: B018


def test_the_import_loads_nothing() -> None:
    code = "import sys; old = {*sys.modules}; import pdnas; dir(pdnas); print({*sys.modules} - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = re.findall(r"'(\w+)", done.stdout)
    assert "pdnas" in loaded
    assert not {"numpy", "pydantic", "torch", "typer"} & {*loaded}
    assert not re.findall(r"'pdnas\.", done.stdout)


@pytest.mark.parametrize(
    "first", ["import pdnas.truth.tables.nasbench201", "import pdnas.commands.api", ""]
)
def test_truth_is_a_function_whatever_was_imported_before(first: str) -> None:
    code = f"import pdnas\n{first}\nprint(len(pdnas.truth().table))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "15625"


def test_the_page_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    code = "\n".join(blocks)
    assert all(f"pdnas.{name}(" in code for name in NAMES)
    done = forked(lambda: exec(code, {"__name__": "__main__"}), tmp_path)
    assert done.returncode == 0, done.stderr
    (said,) = re.findall(r"print\(error\)  # (.*)", code)
    assert done.stdout.strip().endswith(said)


def test_efficiency_is_of_the_operations_that_can_be_drawn() -> None:
    uniform = np.full(15625, 1 / 15625)
    found = pdnas.efficiency(uniform, targets=[0.94])
    accuracy = pdnas.truth().accuracy("cifar10")
    assert found["mean_accuracy"] == pytest.approx(accuracy.mean())
    assert found["targets"][0]["mass"] == pytest.approx((accuracy >= 0.94).mean())
    from pdnas.space.posterior import CategoricalPosterior

    few = CellSpace(("nor_conv_3x3", "skip_connect"))
    strings = [few.to_string(cell) for cell in few.cells]
    space = CellSpace()
    ids = [int(space.ids(space.from_string(text))) for text in strings]
    found = pdnas.efficiency(CategoricalPosterior.uniform(few), targets=[0.94])
    assert found["mean_accuracy"] == pytest.approx(accuracy[ids].mean())
    assert found["targets"][0]["speedup"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pdnas.search("smoke", "multibranch", "guided", seed=-1), "seed"),
        (lambda: pdnas.search("smoke", "multibranch", "nope"), "no variant 'nope'"),
        (lambda: pdnas.search("smoke", "multibranch", "guided", device="tpu"), "device"),
        (lambda: pdnas.sample("nowhere", count=0), "count"),
        (lambda: pdnas.sample("nowhere", "posteriors"), "source"),
        (lambda: pdnas.sample(7), "not int"),
        (lambda: pdnas.rank("nowhere"), "no finished search"),
        (lambda: pdnas.load_run("nowhere"), "no finished search"),
        (lambda: pdnas.retrain("nowhere", mode="again"), "mode"),
        (lambda: pdnas.extract("nowhere", format="pickle"), "format"),
        (lambda: pdnas.efficiency([0.5, 0.5]), "give the probabilities of all 15625"),
        (lambda: pdnas.efficiency(np.full(15625, 0.5)), "sum to 1"),
        (lambda: pdnas.efficiency("nowhere"), "no finished search"),
        (lambda: pdnas.efficiency({}), "need a ground truth"),
        (lambda: pdnas.efficiency(object()), "all 15625"),
        (lambda: pdnas.efficiency(np.full(15625, 1 / 15625), targets=[93.5]), "targets"),
        (lambda: pdnas.efficiency(np.full(15625, 1 / 15625), dataset="mnist"), "dataset"),
    ],
)
def test_bad_input_is_one_line(
    call: Callable[[], Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pdnas.PdnasError, match=words):
        call()
    assert not list(tmp_path.iterdir())


def test_a_missing_argument_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="variant"):
        api.search("smoke", "multibranch")  # type: ignore[call-arg]


def test_the_users_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python leaves a tilde as it is, and a folder of that name would be made here."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    run = pdnas.search("smoke", "nasbench201", "guided", out="~/run")
    assert run.folder == tmp_path / "home" / "run"
    assert pdnas.load_run("~/run").seed == 0
    cell = run.posterior().space.to_string([3] * 6)
    assert pdnas.extract("~/run", "~/small", cell=cell)["cell"] == cell
    assert (tmp_path / "home" / "small" / "subnet.json").is_file()
    assert not (tmp_path / "~").exists()
