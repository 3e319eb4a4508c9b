"""What all fault tests share: small finished runs, and the ledger behind docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import settings

from pdnas.runs.run import Run
from pdnas.spec.spec import Spec
from pdnas.stages.rank import rank_run
from pdnas.stages.retrain import choose, retrain_run
from pdnas.stages.sample import sample_run
from pdnas.stages.search import search_run
from pdnas.support.provenance import code_version, hardware

CPU = torch.device("cpu")
TABLE = re.compile(r"(?<=<!-- made by make faults -->\n).*\Z", re.DOTALL)

settings.register_profile("thorough", max_examples=1300, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption(
        "--reliability", type=Path, help="repeat faults often, and write the table into this file"
    )
    group.addoption("--kills", type=int, default=50, help="how often the workflow is killed")


@dataclass
class Row:
    """A line of the table: how often a fault was tried, and what came of it."""

    tried: int = 0
    lost: int = 0
    silent: int = 0


@dataclass
class Ledger:
    """What was tried, how often, and what was lost."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)

    def add(self, fault: str, outcome: str, tried: int = 1, lost: int = 0, silent: int = 0) -> None:
        """Count a fault.

        Args:
            outcome: what pdnas did about it.
            lost: finished results that were gone or had to be made again.
            silent: wrong results that nobody was told of.
        """
        row = self.rows.setdefault((fault, outcome), Row())
        row.tried += tried
        row.lost += lost
        row.silent += silent

    def table(self) -> str:
        lines = [
            "| fault | tried | what happens | lost | silently wrong |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {fault} | {row.tried:,} | {outcome} | {row.lost} | {row.silent} |"
            for (fault, outcome), row in sorted(self.rows.items())
        ]
        return "\n".join(lines)


_LEDGER = pytest.StashKey[Ledger]()


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest) -> Ledger:
    return request.config.stash.setdefault(_LEDGER, Ledger())


@pytest.fixture(scope="session")
def often(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How often to try: the first number in the ordinary tests, the second in ``make faults``."""
    thorough = request.config.getoption("--reliability", None) is not None
    return lambda short, thoroughly: thoroughly if thorough else short


def pytest_sessionfinish(session: pytest.Session) -> None:
    path: Path | None = session.config.getoption("--reliability")
    ledger = session.config.stash.get(_LEDGER, None)
    if path is None or ledger is None:
        return
    machine = hardware()
    reports = session.config.pluginmanager.getplugin("terminalreporter").stats
    passed, failed = (len(reports.get(kind, ())) for kind in ("passed", "failed"))
    made = (
        f"Code {code_version()}, {machine['cores']} cores of {machine['cpu']}, "
        f"{pd.Timestamp.now('UTC'):%Y-%m-%d}. "
        f"Of {session.testscollected} tests {passed} passed and {failed} failed."
    )
    text = TABLE.sub(f"\n{made}\n\n{ledger.table()}\n", path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")


SPEC = Spec.model_validate(
    {
        "data": {
            "name": "digits",
            "train": 100,
            "validation": 50,
            "test": 50,
            "augmentation": {"crop": 1, "flip": False, "cutout": 0},
        },
        "supernet": {"name": "multibranch", "width": 2, "blocks": 1},
        "training": {"epochs": 2, "batch": 50, "learning_rate": 0.1},
        "gates": {"length_scale2": 1, "learning_rate": 0.05},
        "candidates": {"count": 4},
        "retrain": {"epochs": 1, "learning_rate": 0.01},
    }
)


def make_run(folder: Path, seed: int, spec: Spec = SPEC) -> Path:
    """A run with everything that follows from it."""
    search_run(spec, scale="tiny", study="a", variant="b", seed=seed, out=folder, device=CPU)
    follow(folder)
    return folder


def follow(folder: Path) -> None:
    """The stages after the search."""
    run = Run.load(folder)
    sample_run(run, "posterior", run.spec.candidates.count, run.seed)
    rank_run(run, "posterior", CPU)
    retrain_run(run, choose(run, "posterior"), "none", CPU)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two finished runs that differ in their seed."""
    folder = tmp_path_factory.mktemp("runs")
    return make_run(folder / "one", 0), make_run(folder / "two", 1)
