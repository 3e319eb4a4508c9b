"""How much faster is an extracted network than its masked supernet? One command, one table:

    python benchmarks/extraction.py --out extraction.json

Candidates of the 3-branch ResNet (32 channels, two blocks a stage, CIFAR's image size) that keep
each input channel with probability 1/2, so about half of the parameters. The two networks run in
turn, in changing order, on the same images; a pair's ratio is masked time / extracted time.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from pdnas.artefacts import write_json
from pdnas.gates import GateSettings
from pdnas.provenance import Stopwatch, provenance
from pdnas.subnet import extract, multiply_adds, parameters
from pdnas.supernets.multibranch import MultiBranchSupernet

WIDTH, BLOCKS, KEEP, SIZE = 32, 2, 0.5, 32
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def seconds(network: nn.Module, images: Tensor) -> float:
    start = time.perf_counter()
    network(images)
    return time.perf_counter() - start


def paired_times(
    masked: nn.Module, extracted: nn.Module, images: Tensor, pairs: int
) -> list[tuple[float, float]]:
    """(masked, extracted) seconds of ``pairs`` interleaved runs, after one that does not count."""
    times = []
    for pair in range(pairs + 1):
        if pair % 2:
            slow, fast = seconds(masked, images), seconds(extracted, images)
        else:
            fast, slow = seconds(extracted, images), seconds(masked, images)
        times.append((slow, fast))
    return times[1:]


@torch.no_grad()
def compare(candidates: int, batch: int, layout: str, pairs: int) -> dict[str, Any]:
    """One row of the table: ratios of all pairs of all candidates, and sizes of the networks."""
    torch.manual_seed(0)
    supernet = MultiBranchSupernet(WIDTH, BLOCKS, 3, 10).eval()
    supernet.configure_gates(GateSettings(initial=1 - KEEP))
    drawn = supernet.posterior().sample(candidates, seed=0)
    supernet.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
    images = torch.randn(batch, 3, SIZE, SIZE).to(memory_format=LAYOUTS[layout])
    whole = supernet.parameter_count(), multiply_adds(supernet, images[:1])
    times: list[tuple[float, float]] = []
    kept, left, arithmetic = [], [], []
    for number in range(candidates):
        choice = drawn[number]
        small = extract(supernet, choice, images[:1])
        small.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
        with supernet.candidate(choice):
            torch.testing.assert_close(small(images[:2]), supernet(images[:2]))
            times += paired_times(supernet, small, images, pairs)
        kept.append(supernet.candidate_parameters(choice) / whole[0])
        left.append(parameters(small) / whole[0])
        arithmetic.append(multiply_adds(small, images[:1]) / whole[1])
    ratios = [masked / extracted for masked, extracted in times]
    low, median, high = statistics.quantiles(ratios, n=4)
    return {
        "images": batch,
        "layout": layout,
        "pairs": len(ratios),
        "masked_seconds": statistics.median(masked for masked, _ in times),
        "extracted_seconds": statistics.median(extracted for _, extracted in times),
        "speedup_median": median,
        "speedup_quartiles": [low, high],
        "kept_parameters": statistics.mean(kept),
        "extracted_parameters": statistics.mean(left),
        "extracted_multiply_adds": statistics.mean(arithmetic),
    }


def main(
    candidates: Annotated[int, typer.Option(min=1)] = 5,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs a candidate.")] = 20,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    torch.set_num_threads(1)
    stopwatch = Stopwatch()
    rows = [
        compare(candidates, batch, layout, pairs) for batch in (1, 16, 64) for layout in LAYOUTS
    ]
    typer.echo("images  layout          masked s  extracted s  speed-up (quartiles)")
    for row in rows:
        low, high = row["speedup_quartiles"]
        typer.echo(
            f"{row['images']:6}  {row['layout']:14}  {row['masked_seconds']:8.4f}  "
            f"{row['extracted_seconds']:11.4f}  "
            f"{row['speedup_median']:8.2f} ({low:.2f} – {high:.2f})"
        )
    first = rows[0]
    typer.echo(
        f"of the supernet: {first['kept_parameters']:.1%} of the parameters kept by the masks, "
        f"{first['extracted_parameters']:.1%} extracted, "
        f"{first['extracted_multiply_adds']:.1%} of the multiply-adds"
    )
    if out is not None:
        config = {"width": WIDTH, "blocks": BLOCKS, "keep": KEEP, "size": SIZE, "threads": 1}
        record = {"rows": rows, "provenance": provenance(config, 0, stopwatch)}
        write_json(out, record)


if __name__ == "__main__":
    typer.run(main)
