"""What one run says about itself, as a record and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pdnas.report.collect import describe_supernet
from pdnas.runs.records import describe_hardware, makers
from pdnas.runs.run import Run


def summarise_run(run: Run) -> dict[str, Any]:
    """The main facts of a run; a stage that was not run is absent. Ready for JSON.

    ``outdated`` of a ranking or result says why it is not of the candidates that are there now;
    null: it is.
    """
    provenance = run.provenance
    made = makers(provenance)
    summary: dict[str, Any] = {
        "run": str(run.folder),
        "scale": run.record["scale"],
        "study": run.study,
        "variant": run.variant,
        "seed": run.seed,
        "supernet": describe_supernet(run.spec),
        "supernet_parameters": run.record.get("supernet_parameters"),
        "data": run.spec.data.title,
        "gates": run.spec.gates.model_dump(mode="json"),
        "fixed_drop_probability": run.record.get("fixed_drop_probability"),
        "hardware": _all(describe_hardware(each["hardware"]) for each in made),
        "code": _all(each["code"] for each in made),
        "finished": provenance.get("finished"),
        "search_seconds": provenance.get("wall_seconds"),
    }
    history = run.history()
    if run.spec.alone:
        summary["cells_trained"] = run.record["cells_trained"]
    elif history is not None and len(history):
        summary["training"] = {
            name: history[name].iloc[-1].item()
            for name in ("epoch", "loss", "nll", "train_accuracy", "images_per_second")
        }
    trajectory = run.trajectory()
    if trajectory is not None and len(trajectory):
        last_epoch = trajectory[trajectory["epoch"] == trajectory["epoch"].max()]
        drop = last_epoch[last_epoch["option"] == "drop"]
        if len(drop):
            sizes, probability = drop["size"], drop["probability"]
            summary["drop_probability"] = {
                "minimum": float(probability.min()),
                "mean": float((probability * sizes).sum() / sizes.sum()),
                "maximum": float(probability.max()),
                "gates": int(drop["gate"].nunique()),
            }
        else:
            likeliest = last_epoch.loc[
                last_epoch.groupby("gate", sort=False)["probability"].idxmax()
            ]
            summary["likeliest_operations"] = {
                str(row.gate): {"operation": row.option, "probability": float(row.probability)}
                for row in likeliest.itertuples()
            }
    rankings = {}
    for source, record in run.ranking_records.items():
        table = run.ranking(source)
        if table is not None:
            accuracy = table["validation_accuracy"]
            rankings[source] = {
                "candidates": len(table),
                "mean_validation_accuracy": float(accuracy.mean()),
                "best_validation_accuracy": float(accuracy.max()),
                "supernet_validation_accuracy": record.get("supernet_validation_accuracy"),
                "seconds": record["provenance"]["wall_seconds"],
                "outdated": run.outdated(source),
            }
    if rankings:
        summary["rankings"] = rankings
    if run.results:
        summary["results"] = [
            {
                "source": source,
                "mode": mode,
                **{
                    name: record.get(name)
                    for name in ("validation_accuracy", "test_accuracy", "parameters", "cell")
                },
                "outdated": run.outdated_result(source, mode),
            }
            for (source, mode), record in run.results.items()
        ]
    efficiency = run.efficiency_record()
    if efficiency is not None:
        summary["efficiency"] = {
            name: {
                "mean_accuracy": record["mean_accuracy"],
                "uniform_mean_accuracy": record["uniform_mean_accuracy"],
                "targets": record["targets"],
            }
            for name, record in efficiency["datasets"].items()
        }
    return summary


def lines(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """A summary as (label, text) pairs for people: percent, millions and minutes."""
    found = [
        ("run", f"{summary['study']} / {summary['variant']} / seed {summary['seed']}"),
        ("scale", str(summary["scale"])),
        ("supernet", f"{summary['supernet']}{_size(summary['supernet_parameters'])}"),
        ("data", str(summary["data"])),
        (
            ("posterior", f"fitted to {cells} cells trained alone")
            if (cells := summary.get("cells_trained"))
            else ("gates", _gates(summary))
        ),
    ]
    if seconds := summary["search_seconds"]:
        found.append(("search", f"{seconds / 60:.1f} min on {summary['hardware']}"))
    finished = str(summary["finished"])[:16].replace("T", " ")
    found.append(("finished", f"{finished} UTC, code {summary['code']}"))
    if training := summary.get("training"):
        accuracy = _percent(training.get("train_accuracy"))
        found.append(
            (
                f"epoch {training['epoch']}",
                f"cross-entropy {training['nll']:.3f} (whole objective {training['loss']:.3f}), "
                f"training accuracy {accuracy}",
            )
        )
    drop = summary.get("drop_probability")
    if drop and summary["gates"]["mode"] == "learned":
        shown = (_percent(drop[name]) for name in ("minimum", "mean", "maximum"))
        found.append(
            (
                "drop probability",
                " / ".join(shown) + f" (least / mean / most, {drop['gates']} gates)",
            )
        )
    for edge, likeliest in summary.get("likeliest_operations", {}).items():
        found.append((edge, f"{likeliest['operation']} {_percent(likeliest['probability'])}"))
    for source, ranking in summary.get("rankings", {}).items():
        whole = ranking["supernet_validation_accuracy"]
        text = (
            f"{ranking['candidates']} from {source}, validation error "
            f"{_percent(1 - ranking['mean_validation_accuracy'])} on average, "
            f"{_percent(1 - ranking['best_validation_accuracy'])} at best"
        )
        if whole is not None:
            text += f" (whole supernet {_percent(1 - whole)})"
        text += _outdated(ranking)
        found.append(("candidates", text))
    for result in sorted(summary.get("results", []), key=lambda result: _MODES[result["mode"]][0]):
        found.append(
            (
                _MODES[result["mode"]][1],
                f"test error {_percent(1 - result['test_accuracy'])}{_size(result['parameters'])}"
                + (f" {result['cell']}" if result["cell"] else "")
                + _outdated(result),
            )
        )
    for name, record in summary.get("efficiency", {}).items():
        for target in record["targets"]:
            samples, uniform = target["expected_samples"], target["uniform_expected_samples"]
            found.append(
                (
                    f"samples to {100 * target['target']:.1f} % {name}",
                    f"{_count(samples)} (uniform sampling {_count(uniform)})",
                )
            )
    return found


_MODES = {
    "none": (0, "inherited weights"),
    "finetune": (1, "fine-tuned"),
    "scratch": (2, "from scratch"),
}
"""What became of the chosen candidate, in the order in which people ask."""


def _all(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(values))


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def _outdated(part: dict[str, Any]) -> str:
    return f"; {part['outdated']}" if part["outdated"] else ""


def _count(number: float | None) -> str:
    return "∞" if number is None else f"{number:.1f}"


def _size(parameters: int | None) -> str:
    return "" if parameters is None else f", {parameters / 1e6:.3f} M parameters"


def _gates(summary: dict[str, Any]) -> str:
    gates = summary["gates"]
    if gates["mode"] == "none":
        return "none (plain network)"
    if gates["mode"] == "fixed":
        rate = summary["fixed_drop_probability"]
        return "fixed" if rate is None else f"fixed, drop probability {_percent(rate)}"
    size = f", λ = {gates['size_prior']:g}" if gates.get("size_prior") else ""
    if target := gates.get("size_target"):
        size = f", λ adapted towards {target} expected parameters"
    return f"learned, l² = {gates['length_scale2']:g}, τ = {gates['temperature']:g}{size}"
