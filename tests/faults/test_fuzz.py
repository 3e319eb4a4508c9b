"""Whatever a configuration, mask, checkpoint or table holds, there is a result or a clear error."""

from __future__ import annotations

import copy
import random
import string
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdnas.data.splits import part_indices
from pdnas.nn.supernets import build
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.runs.distributions import load_candidates, load_posterior
from pdnas.runs.run import Run
from pdnas.space.candidates import Candidates
from pdnas.spec.scale import SCALES, load_scale
from pdnas.spec.supernets import NasBench201Config
from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, read_table, read_tensors, write_json, write_tensors
from pdnas.train.checkpoint import Checkpoints

from .conftest import Ledger

fuzz = settings(deadline=None, suppress_health_check=list(HealthCheck))
CLEAR = "a result, or one clear line"

# Values that YAML and JSON can hold, with a taste for what hurts.
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["$(touch x)", "; rm -rf x", "../..", "-x", "{seed}", "a b", "\n", "1/0", "1e999", "é", ""]
    ),
    st.sampled_from([-1, 0, 2**31, 2**63, 10**400, 1e308, -0.0]),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | scalars, inner, max_size=3)
    ),
    max_leaves=6,
)


@contextmanager
def one_clear_line() -> Iterator[None]:
    error = None
    try:
        yield
    except PdnasError as raised:
        error = str(raised)
    assert error is None or (error and "\n" not in error)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in nested mappings and lists."""
    found = [path] if path else []
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in items:
        found += places(value, (*path, key))
    return found


def put(tree: Any, path: tuple[Any, ...], value: Any, rename: bool) -> Any:
    """A copy of ``tree`` with another value, or another key, at ``path``."""
    changed = copy.deepcopy(tree)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if rename and isinstance(inner, dict) and isinstance(value, (str, int, float)):
        inner[value] = inner.pop(path[-1])
    else:
        inner[path[-1]] = value
    return changed


SMOKE = yaml.safe_load((SCALES / "smoke.yaml").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@fuzz
@given(st.sampled_from(places(SMOKE)), values, st.booleans())
def test_any_value_or_key_in_a_scale_file(
    folder: Path, ledger: Ledger, path: tuple[Any, ...], value: Any, rename: bool
) -> None:
    """What is accepted can be put into a command line and a folder's name as it is."""
    file = folder / "scale.yaml"
    file.write_text(yaml.safe_dump(put(SMOKE, path, value, rename)), encoding="utf-8")
    ledger.add("fuzzed configuration", CLEAR)
    with one_clear_line():
        scale = load_scale(str(file))
        harmless = set(string.ascii_letters + string.digits + "._-")
        for study, content in scale.studies.items():
            for variant in content.variants:
                scale.spec(study, variant).model_dump_json()
                assert set(study + variant) <= harmless
                assert study[0] not in "-."
                assert variant[0] not in "-."
            assert all(0 <= seed < 2**63 for seed in content.seeds)


@fuzz
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_as_a_scale_file(folder: Path, ledger: Ledger, content: bytes) -> None:
    file = folder / "bytes.yaml"
    file.write_bytes(content)
    ledger.add("fuzzed configuration", CLEAR)
    with one_clear_line():
        load_scale(str(file))


@given(st.text(max_size=30))
def test_any_name_of_a_scale(name: str) -> None:
    with one_clear_line():
        load_scale(name)


CELLS = NasBench201Config(name="nasbench201", channels=2, cells=1, stages=1)
NETS = {
    "channels": MultiBranchSupernet(2, 1, 1, 10).eval(),
    "cells": build(CELLS, 1, 10).eval(),
}
DTYPES = (torch.bool, torch.int8, torch.int64, torch.float32)


@st.composite
def choices(draw: st.DrawFn) -> tuple[str, dict[str, torch.Tensor]]:
    """A choice that was right before a switch of it got another name, type, length or content."""
    kind = draw(st.sampled_from(list(NETS)))
    net = NETS[kind]
    choice = dict(net.posterior().sample(1, draw(st.integers(0, 99)))[0])
    name = draw(st.sampled_from(list(choice)))
    what = draw(st.sampled_from(["nothing", "name", "missing", "type", "shape", "content"]))
    if what in ("name", "missing"):
        mask = choice.pop(name)
        if what == "name":
            choice[draw(st.text(max_size=10))] = mask
    elif what == "type":
        choice[name] = choice[name].to(draw(st.sampled_from(DTYPES)))
    elif what == "shape":
        shape = draw(st.lists(st.integers(0, 7), max_size=3))
        choice[name] = torch.zeros(shape, dtype=choice[name].dtype)
    elif what == "content":
        size = len(choice[name])
        numbers = draw(st.lists(st.integers(-128, 127), min_size=size, max_size=size))
        choice[name] = torch.tensor(numbers).to(choice[name].dtype)
    return kind, choice


@fuzz
@given(choices())
def test_any_mask(ledger: Ledger, made: tuple[str, dict[str, torch.Tensor]]) -> None:
    kind, choice = made
    net = NETS[kind]
    ledger.add("fuzzed mask", CLEAR)
    with one_clear_line(), net.candidate(choice), torch.no_grad():
        assert net(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
        assert net.candidate_parameters(choice) >= 0
    with one_clear_line():
        stacked = Candidates({name: mask[None] for name, mask in choice.items()})
        net.posterior().log_probability(stacked)


@fuzz
@given(st.integers(0, 2**32), st.integers(1, 20), st.booleans())
def test_any_damage_of_a_checkpoint(
    folder: Path, ledger: Ledger, seed: int, edits: int, unsealed: bool
) -> None:
    """Also of one without checksum, whose damage reaches the parser."""
    points = Checkpoints(folder / "points", "run")
    points.remove()
    points.save(1, 0, {"w": torch.arange(9.0), "schedule": {"last": [1, None, "x"]}, 3: {0: 1.5}})
    (file,) = points.folder.iterdir()
    content = bytearray(file.read_bytes())
    if unsealed:
        content = bytearray(bytes(content).replace(b"self-sha256", b"SELF-SHA256"))
    edit(content, random.Random(seed), edits)
    file.write_bytes(content)
    ledger.add("fuzzed checkpoint", CLEAR)
    with warnings.catch_warnings(), one_clear_line():
        warnings.simplefilter("ignore")
        points.latest()


def edit(content: bytearray, dice: random.Random, edits: int) -> None:
    """Change, delete or insert a few bytes."""
    for _ in range(edits):
        where = dice.randrange(len(content) + 1)
        match dice.randrange(3):
            case 0:
                content[where : where + 1] = dice.randbytes(1)
            case 1:
                del content[where : where + dice.randrange(9)]
            case _:
                content[where:where] = dice.randbytes(dice.randrange(9))


@fuzz
@given(
    st.sampled_from(["json", "parquet", "safetensors"]), st.integers(0, 2**32), st.integers(1, 20)
)
def test_any_damage_of_a_file_without_checksum(
    folder: Path, ledger: Ledger, kind: str, seed: int, edits: int
) -> None:
    file = folder / f"file.{kind}"
    if kind == "json":
        file.write_text('{"a": [1, 2.5, null], "b": {"c": "text"}}')
    elif kind == "parquet":
        pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_parquet(file)
    else:
        write_tensors(file, {"t": torch.arange(4)}, {"kind": "x"})
    content = bytearray(file.read_bytes().replace(b"self-sha256", b"SELF-SHA256"))
    edit(content, random.Random(seed), edits)
    file.write_bytes(content)
    ledger.add(f"fuzzed {'table' if kind == 'parquet' else kind}", CLEAR)
    with one_clear_line():
        {"json": read_json, "parquet": read_table, "safetensors": read_tensors}[kind](file)


columns = st.lists(scalars | st.integers(0, 9), min_size=3, max_size=3)


@fuzz
@given(st.fixed_dictionaries({}, optional={"source": columns, "index": columns, "part": columns}))
def test_any_table_of_splits(ledger: Ledger, content: dict[str, list[Any]]) -> None:
    whole = {"source": ["train", "train", "test"], "index": [0, 1, 0]}
    whole["part"] = ["train", "validation", "test"]
    ledger.add("fuzzed table", CLEAR)
    with one_clear_line():
        table = pd.DataFrame({**whole, **content}, dtype=object).infer_objects()
        indices = part_indices("digits", "validation", table, {"train": 5, "test": 5})
        assert indices.dtype == np.int64
        assert (indices < 5).all()


@fuzz
@given(st.data())
def test_any_record_of_a_run(
    runs: tuple[Path, Path], folder: Path, ledger: Ledger, data: st.DataObject
) -> None:
    record = read_json(runs[0] / "run.json")
    path = data.draw(st.sampled_from(places(record)))
    json_values = values.filter(lambda value: as_json(value))
    write_json(folder / "run.json", put(record, path, data.draw(json_values), rename=False))
    ledger.add("fuzzed record", CLEAR)
    with one_clear_line():
        Run.load(folder)


def as_json(value: Any) -> bool:
    import json

    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


@fuzz
@given(
    st.sampled_from(["channels", "cells", "candidates", "x"]),
    st.dictionaries(st.sampled_from(["gates", "operations", "bits", "y"]), values.filter(as_json)),
    st.dictionaries(
        st.sampled_from(["a.drop", "a.sizes", "probabilities", "cell", "a"]),
        st.lists(st.floats(-1, 2), max_size=4).map(torch.tensor)
        | st.lists(st.integers(-3, 5), max_size=4).map(
            lambda each: torch.tensor(each).to(torch.uint8)
        ),
    ),
)
def test_any_posterior_and_candidates(
    folder: Path,
    ledger: Ledger,
    kind: str,
    metadata: dict[str, Any],
    tensors: dict[str, torch.Tensor],
) -> None:
    file = folder / "posterior.safetensors"
    write_tensors(file, tensors, {**metadata, "kind": kind})
    ledger.add("fuzzed distribution", CLEAR)
    with one_clear_line():
        load_posterior(file)
    with one_clear_line():
        load_candidates(file)
