"""The training loop shared by supernet search, fine-tuning and training from scratch."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pdnas.data.batches import Batch, Loader
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import Supernet
from pdnas.spec.gates import GateConfig
from pdnas.spec.training import TrainingConfig
from pdnas.support import distributed
from pdnas.support.errors import Unfinished
from pdnas.support.progress import Progress
from pdnas.train.board import Board
from pdnas.train.checkpoint import Checkpoints, Saver
from pdnas.train.failures import explained, require_finite_state
from pdnas.train.optimizers import held_still, parameters_of
from pdnas.train.state import TrainingState
from pdnas.train.step import Step


@dataclass(frozen=True)
class TrainingData:
    """What is trained on, and by which objective.

    Attributes:
        heldout: what the switches are trained on; None: they learn together with the weights.
    """

    loader: Loader
    objective: Objective
    heldout: TrainingData | None = None


@dataclass(frozen=True)
class Session:
    """Where one call of a training leaves what it did, and when it stops.

    Attributes:
        description: what is being done, for people.
        checkpoints: None for a training so short that it would rather start anew.
        warm_up: where the state at the end of the warm-up is left for other runs, or taken from if
            one has left it; the result is the same.
        tensorboard: folder for TensorBoard's logs.
        deadline: time of ``time.monotonic`` that no epoch but the first is to pass; the
            ``checkpoints`` then have what is needed to go on.
    """

    description: str = ""
    checkpoints: Checkpoints | None = None
    warm_up: Checkpoints | None = None
    tensorboard: Path | None = None
    deadline: float | None = None

    def ends_within(self, seconds: float) -> bool:
        """Whether the deadline is less than so many seconds away; the same on all ranks."""
        late = self.deadline is not None and time.monotonic() + seconds > self.deadline
        return distributed.from_first(lambda: late)


SHORT = Session()
"""A training that leaves nothing but its result."""


def fit(
    supernet: Supernet,
    data: TrainingData,
    training: TrainingConfig,
    gates: GateConfig,
    session: Session = SHORT,
) -> TrainingState:
    """Train ``supernet`` in place, from the last checkpoint on where there is one.

    Weights and switches are trained together in one pass (paper, section 3.3), or, with images
    held out for the switches, in alternating steps (as DARTS and GDAS do). The order of the
    data is a function of the epoch alone and the random state is part of a checkpoint, so a run
    that was killed ends with the same bits as one that was not (on a CPU).

    Args:
        supernet: on its device; a chosen candidate is trained as that candidate.

    Raises:
        PdnasError: the loss is no longer finite, or a checkpoint cannot be read or written.
        Unfinished: the deadline came first.
    """
    state = TrainingState(supernet, training, gates, len(data.loader))
    taken_over = _resume(state, session)
    epochs, done, first = training.epochs, len(state.history), distributed.is_first()
    step = Step(supernet, training)
    saver = Saver(session.checkpoints if first else None)
    with (
        Progress(session.description, epochs, done, quiet=not first) as progress,
        closing(Board(session.tensorboard if first else None, done)) as board,
    ):
        for epoch in range(1, taken_over + 1):
            board.log(state, epoch)
        for epoch in range(done + 1, epochs + 1):
            with explained(state, session.checkpoints), state.schedule.applied(supernet, epoch):
                _train_epoch(step, data, state, saver)
                require_finite_state(supernet)
            record = state.end_epoch()
            if session.warm_up and epoch == gates.warmup_epochs and first:
                left = state.state_dict() | {"warm_up_of": session.description}
                session.warm_up.save(epoch, 0, left)
            # As if the next epoch took as long as this one (all of it, in however many calls), with
            # a checkpoint after each.
            stops = epoch < epochs and session.ends_within(record["seconds"] + saver.seconds)
            if stops or epoch == epochs or saver.is_cheap():
                saver.save(state)
            board.log(state, epoch)
            progress.advance(
                note=f"nll {record['nll']:.3f} accuracy {record['train_accuracy']:.1%} "
                f"{record['images_per_second']:.0f} images/s"
            )
            if stops:
                raise Unfinished(f"{session.description}: stopped after epoch {epoch}/{epochs}")
    supernet.set_drop_path(0)
    supernet.set_warm_up(False)
    supernet.eval()
    return state


def _resume(state: TrainingState, session: Session) -> int:
    """Go on from the last checkpoint, or else from another run's warm-up, if there is one.

    Returns:
        epochs of the other run's warm-up.
    """
    if session.checkpoints and (found := distributed.from_first(session.checkpoints.latest)):
        state.load_state_dict(found)
    elif session.warm_up and (found := distributed.from_first(session.warm_up.latest)):
        state.take_over(found)
        return len(state.history)
    return 0


def _train_epoch(step: Step, data: TrainingData, state: TrainingState, saver: Saver) -> None:
    """One pass over the data, or what is left of it; ``state`` is kept up to date.

    A GPU is waited for once a step, when the loss is looked at.
    """
    number, epoch = len(state.history) + 1, state.epoch
    started = time.monotonic() - epoch.seconds
    heldout = None if state.schedule.warms_up(number) else data.heldout
    heldout_batches = _endless(heldout.loader, number, epoch.steps) if heldout else iter(())
    for batch in data.loader.epoch(number, epoch.steps):
        epoch.steps += 1
        objective = state.priced(data.objective)
        if heldout is None:
            measures = step(batch, objective, state.optimizers)
        else:
            weights, switches = state.optimizers
            with held_still(parameters_of(switches)):
                measures = step(batch, objective, [weights])
            with held_still(parameters_of(weights)):
                step(next(heldout_batches), state.priced(heldout.objective), [switches])
        state.schedule.rates.step()
        if not state.schedule.warms_up(number):
            state.adapt_size_price()
        epoch.add(measures, len(batch[1]) * distributed.ranks())
        epoch.seconds = time.monotonic() - started
        if saver.is_due():
            require_finite_state(state.supernet)
            saver.save(state)
    epoch.seconds = time.monotonic() - started


def _endless(loader: Loader, epoch: int, start: int) -> Iterator[Batch]:
    """Batches without end, from batch ``start`` on: a pure function of the epoch."""
    turns, rest = divmod(start, len(loader))
    for turn in itertools.count(turns):
        # Turn and epoch together number a shuffle; no run has a million epochs.
        yield from loader.epoch(epoch + turn * 1_000_000, rest if turn == turns else 0)
