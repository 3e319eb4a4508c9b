"""NASLib's random search, evolution, local search and BANANAS on our table of NAS-Bench-201.

    python -m contrib.naslib CHECKOUT --out runs/naslib --seeds 0-4 --queries 50

Makes NASLib's environment once (a few packages beside those of pdnas; NASLib's own set-up refuses
Python 3.10 and later), runs its optimisers there, and writes what `pdnas nasbench rival` writes.
"""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from contrib.naslib.optimisers import OPTIMISERS
from pdnas.cli import main
from pdnas.commands.nasbench import print_rival, seed_range
from pdnas.runs import kept
from pdnas.support import files
from pdnas.support.errors import PdnasError
from pdnas.support.provenance import Stopwatch, provenance
from pdnas.truth.rivals import Ids, judge
from pdnas.truth.tables.nasbench201 import NasBench201

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

app = typer.Typer(pretty_exceptions_enable=False)


def version(checkout: Path) -> str:
    """What the checkout is called in tables: its commit, or its version if it has no history.

    Raises:
        PdnasError: it is no checkout of NASLib.
    """
    told = checkout / "naslib" / "__version__.py"
    if not told.is_file():
        raise PdnasError(
            f"{checkout} is no checkout of NASLib: it lacks naslib/__version__.py; "
            "clone automl/NASLib and name its folder"
        )
    if (checkout / ".git").exists():
        command = ["git", "-C", str(checkout), "rev-parse", "--short=8", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return f"NASLib {done.stdout.strip()}"
    return f"NASLib {told.read_text().split()[-1].strip(chr(34))}"


def environment(folder: Path) -> Path:
    """The Python of NASLib's environment, which is made unless it is there.

    It sees all packages of this one, and has those of `requirements.txt` for itself.

    Raises:
        PdnasError: it cannot be made.
    """
    python, stamp = folder / "bin" / "python", folder / REQUIREMENTS.name
    if stamp.is_file() and stamp.read_text() == REQUIREMENTS.read_text():
        return python
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "-r", str(REQUIREMENTS)]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        own = next(folder.glob("lib/python*/site-packages"))
        lines = [f"import site; site.addsitedir({each!r})\n" for each in site.getsitepackages()]
        (own / "pdnas.pth").write_text("".join(lines))
        subprocess.run([str(python), *install], check=True)
    except subprocess.CalledProcessError as error:
        raise PdnasError(
            f"NASLib's environment could not be made in {folder} (see above); is there a network?"
        ) from error
    stamp.write_text(REQUIREMENTS.read_text())
    return python


def cells_asked(python: Path, checkout: Path, method: str, seeds: range, queries: int) -> Ids:
    """Cell ids that NASLib's optimiser asks for, shape (seeds, queries).

    Raises:
        PdnasError: NASLib fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "asked.json"
        task = [str(checkout), method, ",".join(map(str, seeds)), str(queries), str(out)]
        done = subprocess.run(
            [str(python), "-W", "ignore", "-m", "contrib.naslib.optimisers", *task],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            raise PdnasError(
                f"{method} of {checkout} failed with exit code {done.returncode}; its own words, "
                "if any, stand above"
            )
        cells = json.loads(out.read_text())
    rows = NasBench201.load().rows
    return np.array([[rows[cell] for cell in cells[str(seed)]] for seed in seeds])


@app.command()
def run(
    checkout: Annotated[Path, typer.Argument(help="Folder of a clone of automl/NASLib.")],
    out: Annotated[
        Path, typer.Option(help="Folder to write to; runs/SCALE/rivals: for the rivals' table.")
    ] = Path("runs/naslib"),
    method: Annotated[
        list[str] | None, typer.Option(help="Repeatable; by default: all four.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="A seed, or a range like 0-99.")] = "0-4",
    queries: Annotated[int, typer.Option(min=1, help="Cells that each search asks for.")] = 50,
    folder: Annotated[
        Path, typer.Option("--environment", help="Where NASLib's environment is, or is made.")
    ] = Path("runs/naslib/environment"),
    force: Annotated[bool, typer.Option(help="Replace other results.")] = False,
) -> None:
    """Run NASLib's optimisers on CIFAR-10's table."""
    chosen, library = method or list(OPTIMISERS), version(checkout)
    if unknown := set(chosen) - set(OPTIMISERS):
        raise PdnasError(f"no method {min(unknown)!r}; choose {', '.join(OPTIMISERS)}")
    numbers, common = seed_range(seeds), {"library": library, "seeds": seeds, "queries": queries}
    configs = {name: {"method": name, **common} for name in chosen}
    files_of = {name: (out / f"{name}.json", out / f"{name}.parquet") for name in chosen}
    for name, (summary, trace) in files_of.items():
        kept.configured_like(summary, configs[name], None, force, others=[trace])
    python = environment(folder.absolute())
    for name, (summary, trace) in files_of.items():
        stopwatch = Stopwatch()
        asked = cells_asked(python, checkout.absolute(), name, numbers, queries)
        table, record = judge(name, library, NasBench201.load(), "cifar10", numbers, asked)
        written = {**record, "provenance": provenance(configs[name], None, stopwatch)}
        kept.record_like(summary, written, None, force, others=[trace])
        files.write_table(trace, table)
        files.write_json(summary, written)
        print_rival(record)


if __name__ == "__main__":
    main(app)
