"""How long commands take to start: importing, help, and Snakemake's dry run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Aim, Effort, Measure, quantity, ratio
from pdnas.support.timing import paired_times

ROOT = Path(__file__).parents[1]
BYTECODE = "; without bytecode it takes more than twice as long (docs/speed.md)"


def commands(effort: Effort) -> list[Measure]:
    """Seconds of each command, and how many times those of an empty Python."""
    with tempfile.TemporaryDirectory() as folder:
        snakefile = str(ROOT / "workflow" / "Snakefile")
        dry_run = ["-m", "snakemake", "-n", "all", "--snakefile", snakefile]
        every = {
            "`import pdnas`": (["-c", "import pdnas"], 0.2, ""),
            "`pdnas --help`": (
                ["-m", "pdnas.cli", "--help"],
                0.5,
                f"nearly all of it is importing Typer and Rich{BYTECODE}",
            ),
            "`snakemake -n all`": (
                [*dry_run, "--directory", folder],
                3.0,
                f"importing Snakemake itself, then a job for each of the scale's runs{BYTECODE}",
            ),
        }
        if effort.tiny:  # the tests run the whole workflow elsewhere
            del every["`snakemake -n all`"]
        measures = []
        for name, (arguments, limit, obstacle) in every.items():
            pairs = 1 if effort.tiny else effort.share(0.25)
            times = paired_times(lambda: _run(arguments), lambda: _run(["-c", ""]), pairs)  # noqa: B023
            taken = [one for one, _ in times]
            aim = Aim(limit, least=False)
            measures += [
                quantity(name, "–", taken, "s", aim=aim, obstacle=obstacle),
                ratio(f"{name}: ratio", "`python -c ''`", times),
            ]
    return measures


def _run(arguments: list[str]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)
