"""The chosen sub-network's end: its test error, with inherited, fine-tuned or fresh weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from pdnas.data.batches import Loader
from pdnas.data.sets import dataset
from pdnas.nn.gates import GateSettings
from pdnas.runs import layout
from pdnas.runs.run import Architecture, Run
from pdnas.space.candidates import Choice
from pdnas.space.posterior import ChannelPosterior
from pdnas.spec.names import JudgedSource, RetrainMode
from pdnas.spec.training import TrainingConfig
from pdnas.stages.judge import Judge, make_judge
from pdnas.stages.materials import loader_of, make_supernet, trained_supernet, training_data
from pdnas.support import distributed
from pdnas.support.errors import PdnasError
from pdnas.support.provenance import Stopwatch, fingerprint, provenance
from pdnas.train.checkpoint import Checkpoints
from pdnas.train.fit import SHORT, Session, fit


@dataclass(frozen=True)
class Inputs:
    """What the end of a candidate is made from.

    Attributes:
        judge: with the supernet, whose weights are those to begin with, and validation images.
        images: to train on; None: weights stay as they are.
        training: how.
    """

    run: Run
    mode: RetrainMode
    architecture: Architecture
    judge: Judge
    test: Loader
    images: Loader | None
    training: TrainingConfig

    @classmethod
    def open(
        cls, run: Run, architecture: Architecture, mode: RetrainMode, device: torch.device
    ) -> Inputs:
        """Read the weights and images that the end of an architecture takes.

        Raises:
            PdnasError: the specification has no ``retrain`` section.
        """
        validation, test = (loader_of(run, part, device) for part in ("validation", "test"))
        training = run.spec.training
        if mode == "none":
            judge = make_judge(run, trained_supernet(run, device), validation, device)
            return cls(run, mode, architecture, judge, test, None, training)
        if mode == "finetune":
            if run.spec.retrain is None:
                raise PdnasError("fine-tuning needs a retrain section; add it to the study's base")
            training = training.model_copy(update=dict(run.spec.retrain))
            supernet = trained_supernet(run, device)
        else:
            torch.manual_seed(run.seed)
            supernet = make_supernet(run.spec, device, run.classes)
            supernet.begin_alone()
        supernet.configure_gates(GateSettings("none"))
        rows = distributed.rows(training.batch)
        images = loader_of(run, "train", device, train=True, rows=rows)
        judge = Judge(supernet, validation, training)
        return cls(run, mode, architecture, judge, test, images, training)

    @property
    def choice(self) -> Choice:
        """What the architecture keeps, or its operations."""
        return self.architecture.choice

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result."""
        return {
            "spec": self.run.spec.model_dump(mode="json"),
            "seed": self.run.seed,
            "mode": self.mode,
            "weights": self.run.provenance["finished"],
            "choice": {name: value.tolist() for name, value in self.choice.items()},
        }


def retrain_run(
    run: Run,
    chosen: Architecture,
    mode: RetrainMode,
    device: torch.device,
    deadline: float | None = None,
) -> dict[str, Any]:
    """Finish an architecture and evaluate it on the test data.

    ``none`` keeps the inherited weights, judged as the ranking judged them; ``finetune`` trains
    them further, and ``scratch`` trains fresh ones, both with the candidate's masks in place.

    Args:
        chosen: see :func:`choose`.
        deadline: time of ``time.monotonic`` by which to stop, with a checkpoint to go on from.

    Returns:
        the record written to ``result-SOURCE-MODE.json``, or to ``result-SOURCE-NUMBER-MODE.json``
        or ``result-cell-ID-MODE.json`` where a candidate or cell was given.

    Raises:
        PdnasError: the specification has no ``retrain`` section.
        Unfinished: the deadline came first.
    """
    inputs = Inputs.open(run, chosen, mode, device)
    folder = run.folder / layout.retrain_checkpoint(chosen.label, mode)
    checkpoints = Checkpoints(folder, fingerprint(inputs.identity))
    description = f"{mode} {run.study}/{run.variant} seed {run.seed}"
    session = Session(description, checkpoints, deadline=deadline)
    accuracies, stopwatch = retrain(inputs, session)
    record = {
        "candidate": chosen.candidate,
        "mode": mode,
        **accuracies,
        "test_images": inputs.test.examples,
        "parameters": inputs.judge.supernet.candidate_parameters(inputs.choice),
        "cell": run.cell_string(inputs.choice),
        "provenance": provenance(run.spec.model_dump(mode="json"), run.seed, stopwatch),
    }
    if chosen.given and chosen.source:  # its number means nothing without the file
        record["candidates_sha256"] = run.candidates_sha256(chosen.source)
    run.write(layout.result(chosen.label, mode), record)
    if distributed.is_first():
        checkpoints.remove()
    return record


def retrain(inputs: Inputs, session: Session = SHORT) -> tuple[dict[str, float | None], Stopwatch]:
    """Train a candidate, if that is asked for, and evaluate it on validation and test images.

    Args:
        session: where to leave checkpoints, and when to stop.

    Returns:
        ``validation_accuracy``, ``test_accuracy`` and ``test_top5_accuracy`` (None where there are
        few classes), as fractions; and the time that it took.

    Raises:
        Unfinished: the session's deadline came first.
    """
    stopwatch, spec = Stopwatch(), inputs.run.spec
    supernet, choice = inputs.judge.supernet, inputs.choice
    if inputs.images is not None:
        torch.manual_seed(inputs.run.seed)
        gates = spec.gates.model_copy(update={"warmup_epochs": 0})
        with supernet.candidate(choice):
            data = training_data(gates, inputs.images)
            stopwatch = fit(supernet, data, inputs.training, gates, session).stopwatch
    judges = {
        "validation_accuracy": inputs.judge,
        "test_accuracy": replace(inputs.judge, loader=inputs.test),
    }
    if dataset(spec.data).top5:
        top = min(5, inputs.run.classes)  # of few folders there may be fewer
        judges["test_top5_accuracy"] = replace(judges["test_accuracy"], top=top)
    found = distributed.spread(lambda judge: judge(choice)[0], list(judges.values()))
    accuracies: dict[str, float | None] = dict(zip(judges, found, strict=True))
    accuracies.setdefault("test_top5_accuracy", None)
    return accuracies, stopwatch


def choose(
    run: Run, source: JudgedSource, candidate: int | None = None, cell: str | None = None
) -> Architecture:
    """What :func:`retrain_run` finishes: by default the best of a ranking.

    Source ``full`` is the whole supernet, everything kept, and has no ranking.

    Args:
        candidate: number of another candidate than the best, from 0.
        cell: architecture string of a cell in place of a candidate.

    Raises:
        PdnasError: there is no ranking, or no such candidate or cell.
    """
    if source != "full":
        return run.architecture(source, candidate, cell)
    if candidate is not None or cell is not None:
        raise PdnasError("the full supernet is no candidate; leave out its number, or the source")
    posterior = run.posterior()
    if not isinstance(posterior, ChannelPosterior):
        raise PdnasError("a supernet over cells is judged as one of its cells, not as a whole")
    everything = ChannelPosterior.constant(posterior, 0).mode()[0]
    return Architecture(source, source, None, everything)
