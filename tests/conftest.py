"""One processor thread for every library: sizes are tiny, and test workers share the cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy and torch are imported, and by commands

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pdnas.support import forkserver, hand_over

ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
"""For commands that tests start: what is installed beside this Python comes first."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cluster", action="store_true", help="also install SLURM, and test on it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--cluster"):
        for item in items:
            if item.get_closest_marker("cluster"):
                item.add_marker(pytest.mark.skip(reason="installs SLURM; only with --cluster"))
    # Slow files first: begun last, one of them would keep a single process busy.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """What was imported is no garbage: looking at it took a twentieth of all time."""
    gc.freeze()


@pytest.fixture(scope="session")
def served() -> Iterator[dict[str, str]]:
    """The environment of commands that are forked from one process, so that none imports torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(hand_over.VARIABLE, "")
        server = forkserver.start(forkserver.COMPUTING, threads=1)
        handed = ENVIRONMENT | {hand_over.VARIABLE: os.environ[hand_over.VARIABLE]}
    yield handed  # commands within the tests' own process are not handed over
    if server is not None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str, int], list[Any]]:
    """``kill_at(where, name, call)``: that call of a function ends like Ctrl-C, others as ever.

    The list that it returns grows by the arguments of every call.
    """

    def patch(where: Any, name: str, call: int) -> list[Any]:
        real, calls = getattr(where, name), []

        def killed(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == call:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(where, name, killed)
        return calls

    return patch


@pytest.fixture(scope="session")
def make_imagenet() -> Callable[..., Path]:
    """Fills a folder like ImageNet's: two classes, JPEG files of many sizes and colour modes."""

    def make(root: Path, train: int, val: int) -> Path:
        random = np.random.default_rng(0)
        modes = ["RGB", "L", "CMYK"]
        for folder, count in (("train", train), ("val", val)):
            for name in ("n01440764", "n01443537"):
                (root / folder / name).mkdir(parents=True)
                for number in range(count):
                    height, width = random.integers(40, 90, 2) * (1 + 4 * (number == 0))
                    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
                    image = Image.fromarray(pixels).convert(modes[number % 3])
                    image.save(root / folder / name / f"{name}_{number}.JPEG")
        return root

    return make
