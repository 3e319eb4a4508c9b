"""Where the time of the main loops goes: ``python -m benchmarks.profiles``.

Writes ``results/bench/profiles.csv``, for each loop torch's operators with the largest share of
the processor (or GPU) time spent in themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from torch.profiler import profile

from benchmarks.__main__ import RESULTS
from benchmarks.measure import Effort
from benchmarks.scaling import cell_step, gated_step, ranking
from benchmarks.training import random_batch, training_step
from pdnas.nn.gates import GateSettings
from pdnas.nn.supernets.categorical.scoring import folded
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.cells.scoring import IMAGES_AT_ONCE, blocks, score_block
from pdnas.space.cells import CellSpace
from pdnas.support.files import atomic_path, write_json
from pdnas.support.provenance import Stopwatch, provenance
from pdnas.support.timing import Work

OPERATORS = 12


def warm_up_step(effort: Effort) -> Work:
    """A training step of NAS-Bench-201 while its distribution stays uniform."""
    supernet = NasBench201Supernet(effort.choose(8, 2), 1, CellSpace(), 3, 10)
    supernet.configure_gates(GateSettings(mode="fixed"))
    batch = random_batch(effort.choose(64, 4), effort.choose(32, 8), effort.device)
    return training_step(supernet, *batch)


def score(effort: Effort) -> Work:
    """Score one block of cells of NAS-Bench-201."""
    space = CellSpace()
    supernet = NasBench201Supernet(effort.choose(8, 2), 1, space, 3, 10).eval()
    supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, y = random_batch(effort.choose(IMAGES_AT_ONCE, 2), effort.choose(32, 8), effort.device)
    cells = max(blocks(space), key=len)[: effort.choose(125, 3)]
    network = folded(supernet)
    return lambda: score_block(network, np.asarray(cells), [(x, y)])


LOOPS: dict[str, Callable[[Effort], Work]] = {
    "gated step, 3-branch": lambda effort: gated_step(
        effort.choose(8, 2), effort.choose(128, 4), effort
    ),
    "NAS-Bench-201 step, warm-up": warm_up_step,
    "NAS-Bench-201 step, afterwards": lambda effort: cell_step(1, effort),
    "ranking": lambda effort: ranking(effort.choose(8, 2), effort),
    "scoring": score,
}


def operators(work: Work, runs: int, effort: Effort) -> pd.DataFrame:
    """Operators by their own time: ``operator``, ``calls`` a run, ``milliseconds``, ``share``."""
    work()
    with profile(acc_events=True) as found:
        for _ in range(runs):
            work()
    own = f"self_{'device' if effort.device.type == 'cuda' else 'cpu'}_time_total"
    rows = [
        (each.key, each.count / runs, getattr(each, own) / 1000 / runs)
        for each in found.key_averages()
    ]
    table = pd.DataFrame(rows, columns=["operator", "calls", "milliseconds"])
    table["share"] = table["milliseconds"] / table["milliseconds"].sum()
    return table.sort_values("milliseconds", ascending=False).head(OPERATORS)


def main(
    runs: Annotated[int, typer.Option(min=1, help="Runs of each loop.")] = 5,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    conditions: Annotated[str, typer.Option(help="What else the machine did.")] = "",
) -> None:
    """Profile the main loops."""
    torch.set_num_threads(1)
    stopwatch = Stopwatch()
    effort = Effort(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    tables = {name: operators(make(effort), runs, effort) for name, make in LOOPS.items()}
    whole = pd.concat(tables, names=["loop"]).reset_index("loop")
    with atomic_path(out / "profiles.csv") as temporary:
        whole.round(4).to_csv(temporary, index=False)
    facts = provenance({"runs": runs, "conditions": conditions}, None, stopwatch)
    write_json(out / "profiles.json", {"provenance": facts})
    typer.echo(whole.round(3).to_string(index=False))


if __name__ == "__main__":
    typer.run(main)
