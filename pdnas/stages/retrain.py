"""The chosen sub-network's end: its test error, with inherited, fine-tuned or fresh weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch

from pdnas.data.batches import Loader
from pdnas.nn.gates import GateSettings
from pdnas.nn.objective import Objective
from pdnas.runs.run import Run, make_supernet
from pdnas.space.candidates import Choice
from pdnas.space.posterior import ChannelPosterior
from pdnas.stages.rank import Judge, make_judge
from pdnas.support import distributed
from pdnas.support.errors import PdnasError
from pdnas.support.files import write_json
from pdnas.support.provenance import Stopwatch, fingerprint, provenance
from pdnas.train.checkpoint import Checkpoints
from pdnas.train.fit import Session, TrainingData, fit

Mode = Literal["none", "finetune", "scratch"]

MANY_CLASSES = 1000
"""From so many on, top-5 accuracy is reported too."""


def retrain(
    run: Run, source: str, mode: Mode, device: torch.device, deadline: float | None = None
) -> dict[str, Any]:
    """Finish the best candidate of a ranking and evaluate it, once, on the test data.

    ``none`` keeps the inherited weights, judged as the ranking judged them; ``finetune`` trains
    them further, and ``scratch`` trains fresh ones, both with the candidate's masks in place.
    Source ``full`` is the whole supernet, everything kept, and has no ranking.

    Args:
        deadline: time of ``time.monotonic`` by which to stop, with a checkpoint to go on from.

    Returns:
        the record written to ``result-SOURCE-MODE.json``.

    Raises:
        PdnasError: there is no ranking, or the specification has no ``retrain`` section.
        Unfinished: the deadline came first.
    """
    stopwatch = Stopwatch()
    checkpoints: Checkpoints | None = None
    supernet = run.supernet(device)
    number: int | None
    choice: Choice
    if source == "full":
        posterior = run.posterior()
        if not isinstance(posterior, ChannelPosterior):
            raise PdnasError("a supernet over cells is judged as one of its cells, not as a whole")
        number, choice = None, ChannelPosterior.constant(posterior, 0).mode()[0]
    else:
        number, choice = run.candidate(source, None)

    spec = run.spec
    held_out = [run.loader(part, device) for part in ("validation", "test")]
    measures = [(part, 1) for part in held_out]
    if run.dataset.classes >= MANY_CLASSES:
        measures.append((held_out[1], 5))
    if mode != "none":
        training = spec.training
        if mode == "finetune":
            if spec.retrain is None:
                raise PdnasError("fine-tuning needs a retrain section; add it to the study's base")
            training = training.model_copy(update=dict(spec.retrain))
        else:
            torch.manual_seed(run.seed)
            supernet = make_supernet(spec, device)
            supernet.begin_alone()
        supernet.configure_gates(GateSettings("none"))
        rows = distributed.rows(training.batch)
        loader = run.loader("train", device, train=True, rows=rows)
        identity = {
            "spec": spec.model_dump(mode="json"),
            "seed": run.seed,
            "mode": mode,
            "weights": run.record["provenance"]["finished"],
            "choice": {name: value.tolist() for name, value in choice.items()},
        }
        checkpoints = Checkpoints(run.folder / f"checkpoint-{source}-{mode}", fingerprint(identity))
        torch.manual_seed(run.seed)
        with supernet.candidate(choice):
            fitted = fit(
                supernet,
                TrainingData(loader, Objective.of(spec.gates, loader.examples)),
                training,
                spec.gates.model_copy(update={"warmup_epochs": 0}),
                Session(
                    description=f"{mode} {run.study}/{run.variant} seed {run.seed}",
                    checkpoints=checkpoints,
                    deadline=deadline,
                ),
            )
        stopwatch = fitted.stopwatch
        judge = Judge(supernet, held_out[0], training)
    else:
        judge = make_judge(run, supernet, held_out[0], device)

    def accuracy(measure: tuple[Loader, int]) -> float:
        part, top = measure
        return replace(judge, loader=part, top=top)(choice)[0]

    accuracies = list(distributed.spread(accuracy, measures))

    record = {
        "candidate": number,
        "mode": mode,
        "validation_accuracy": accuracies[0],
        "test_accuracy": accuracies[1],
        "test_top5_accuracy": accuracies[2] if len(accuracies) > 2 else None,
        "test_images": held_out[1].examples,
        "parameters": supernet.candidate_parameters(choice),
        "cell": run.cell_string(choice),
        "provenance": provenance(spec.model_dump(mode="json"), run.seed, stopwatch),
    }
    if distributed.is_first():
        write_json(run.folder / f"result-{source}-{mode}.json", record, run.identity)
        if checkpoints is not None:
            checkpoints.remove()
    return record
