"""The training loop shared by supernet search, fine-tuning and training from scratch."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LambdaLR,
    LRScheduler,
    MultiStepLR,
)
from torch.utils.tensorboard import SummaryWriter

from pdnas.data.loader import Loader
from pdnas.nn.noise import as_memory_allows, micro_batches, out_of_memory
from pdnas.nn.objective import Objective
from pdnas.nn.supernets import Supernet
from pdnas.spec.gates import GateConfig
from pdnas.spec.training import CosineSchedule, StepSchedule, TrainingConfig, WarmRestartSchedule
from pdnas.support import distributed
from pdnas.support.errors import PdnasError, Unfinished, first_line
from pdnas.support.progress import Progress
from pdnas.support.provenance import Stopwatch
from pdnas.train.checkpoint import SECONDS_BETWEEN, Checkpoints
from pdnas.train.finite import NotFiniteError, require_finite, require_finite_state

MEASURES = ("loss", "nll", "prior_term", "entropy_term", "auxiliary_term", "train_accuracy")
"""What an epoch's record holds of its batches, as means over images."""

History = list[dict[str, float]]
"""One record for each epoch; the keys are those of history.parquet in docs/files.md."""

SAVING_SHARE = 0.05
"""Of the time, at most, that goes into checkpoints: where an epoch is short and a state large (200
MB for SupNet-M), not every epoch is followed by one."""


@dataclass(frozen=True)
class Fitted:
    """What a training run leaves besides the trained network.

    Attributes:
        history: one record an epoch.
        trajectory: probabilities of the switches, in the order of ``Posterior.marginals()``, at the
            start and after each epoch; shape (epochs + 1, marginals).
        stopwatch: time spent, interrupted calls and a warm-up that was taken over included.
        warm_up_of: description of the run whose warm-up was taken over; None: its own.
    """

    history: History
    trajectory: Tensor
    stopwatch: Stopwatch
    warm_up_of: str | None = None


@dataclass
class _Epoch:
    """How far an epoch has come.

    Attributes:
        learning_rate: that of its first step.
        steps: that have begun; a checkpoint is made when all of them are done.
        images: of the steps that are done.
        sums: of loss, terms and accuracy, each times its images, shape (6,) float64 on the device;
            None before the first step.
        seconds: spent on it by earlier, interrupted calls.
    """

    learning_rate: float
    steps: int = 0
    images: int = 0
    sums: Tensor | None = None
    seconds: float = 0.0


def choose_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu`` or ``cuda``.

    Raises:
        PdnasError: no such name, or ``cuda`` was asked for and there is no GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise PdnasError(f"no device {name!r}; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise PdnasError("no CUDA device is available; set device: auto or cpu in the scale file")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return distributed.own_gpu() if name == "cuda" else torch.device(name)


@contextmanager
def autocast(device: torch.device, training: TrainingConfig) -> Iterator[None]:
    """Mixed precision where the configuration asks for it."""
    enabled = training.precision == "bfloat16"
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
        yield


def fit(
    supernet: Supernet,
    loader: Loader,
    training: TrainingConfig,
    gates: GateConfig,
    objective: Objective,
    checkpoints: Checkpoints | None,
    *,
    device: torch.device,
    description: str,
    heldout: tuple[Loader, Objective] | None = None,
    warm_up: Checkpoints | None = None,
    tensorboard: Path | None = None,
    deadline: float | None = None,
) -> Fitted:
    """Train ``supernet`` in place, from the last checkpoint on where there is one.

    Weights and switches are trained together in one pass (paper, section 3.3), or, with images
    held out for the switches, in alternating steps (as DARTS and GDAS do). The order of the
    data is a function of the epoch alone and the random state is part of a checkpoint, so a run
    that was killed ends with the same bits as one that was not (on a CPU). Checkpoints are made
    after each epoch, unless that takes too much of the time, and every few minutes within one.

    Args:
        supernet: on ``device``; a chosen candidate is trained as that candidate.
        checkpoints: None for a training so short that it would rather start anew.
        heldout: images that move the switches, and their objective.
        warm_up: where the state at the end of the warm-up is left for other runs, or taken from if
            one has left it; the result is the same.
        tensorboard: folder for TensorBoard's logs.
        deadline: time of ``time.monotonic`` that no epoch but the first is to pass; the
            ``checkpoints`` then have what is needed to go on.

    Raises:
        PdnasError: the loss is no longer finite, or a checkpoint cannot be read or written.
        Unfinished: the deadline came first.
    """
    optimizers, schedule = _optimizers(supernet, training, gates, len(loader))
    history: History = []
    trajectory = [_probabilities(supernet)]
    stopwatch = Stopwatch()
    now = _Epoch(float(schedule.get_last_lr()[0]))
    warm_up_of: str | None = None
    taken_over = 0

    def resume(state: Mapping[str, Any]) -> None:
        nonlocal now, history, trajectory, stopwatch, warm_up_of
        now = _restore(state, supernet, optimizers, schedule, device)
        history = state["history"]
        trajectory = list(state["trajectory"])
        stopwatch = Stopwatch(state["stopwatch"])
        warm_up_of = state["warm_up_of"]

    if checkpoints is not None and (found := distributed.from_first(checkpoints.latest)):
        resume(found)
    elif warm_up is not None and (found := distributed.from_first(warm_up.latest)):
        resume(_without_distribution(found, supernet, optimizers))
        taken_over = len(history)
    saved, saving = -math.inf, 0.0
    started = time.monotonic()

    def state_after(seconds: float) -> dict[str, Any]:
        """All there is to know after ``seconds`` of the present epoch."""
        return {
            "supernet": supernet.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "schedule": schedule.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "history": history,
            "trajectory": torch.stack(trajectory),
            "stopwatch": stopwatch.read(),
            "epoch": asdict(now) | {"seconds": seconds},
            "warm_up_of": warm_up_of,
        }

    def save(seconds: float) -> None:
        """Make a checkpoint after ``seconds`` of the present epoch."""
        nonlocal saved, saving
        if checkpoints is None or not distributed.is_first():
            return
        begun = time.monotonic()
        checkpoints.save(len(history), now.steps, state_after(seconds))
        saved = time.monotonic()
        saving = saved - begun

    def after_step(seconds: float) -> None:
        if time.monotonic() - max(saved, started) >= SECONDS_BETWEEN:
            require_finite_state(supernet)
            save(seconds)

    loss = distributed.parallel(_Loss(supernet, training))
    logits = supernet.distribution_parameters()
    learned = [parameter for parameter in logits if parameter.requires_grad]

    with (
        Progress(
            description, training.epochs, len(history), quiet=not distributed.is_first()
        ) as progress,
        _board(tensorboard if distributed.is_first() else None, len(history)) as board,
    ):

        def log(number: int) -> None:
            """Show the epoch of that number in TensorBoard."""
            if board is not None:
                for key, value in history[number - 1].items():
                    board.add_scalar(f"train/{key}", value, number)
                board.add_histogram("switches/probability", trajectory[number], number)

        for number in range(1, taken_over + 1):
            log(number)
        for epoch in range(len(history) + 1, training.epochs + 1):
            learns = epoch > gates.warmup_epochs
            for parameter in learned:  # weights first learn under the broad initial distribution
                parameter.requires_grad_(learns)
            if training.compile and epoch == gates.warmup_epochs + 1:
                torch.compiler.reset()  # what was compiled gives these parameters no gradient
            if gates.temperature_end is not None:
                share = (epoch - 1) / max(training.epochs - 1, 1)
                change = gates.temperature_end - gates.temperature
                supernet.set_temperature(gates.temperature + share * change)
            # As in ENAS, from 0 to its full value over the training; ENAS counts steps, not epochs.
            supernet.set_drop_path(training.drop_path * epoch / training.epochs)
            supernet.set_warm_up(not learns)
            supernet.train()
            try:
                record = _train_epoch(
                    loss,
                    supernet,
                    loader.epoch(epoch, now.steps),
                    training,
                    objective,
                    optimizers,
                    schedule,
                    _Alternation(*heldout, epoch, now.steps) if heldout and learns else None,
                    now,
                    after_step,
                )
                require_finite_state(supernet)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                images = (training.micro_batch or training.batch // distributed.ranks()) // 2
                raise PdnasError(
                    f"out of memory in epoch {epoch}, step {now.steps}; set training.micro_batch "
                    f"to {images} images or fewer (and begin anew), or free memory and go on"
                ) from error
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise PdnasError(
                    "an image went through the network alone and was a single pixel in the end, "
                    "of which BatchNorm has no statistics; set training.batch and "
                    "training.micro_batch such that each part has two images or more"
                ) from error
            except NotFiniteError as error:
                kept = f" (the last good state is in {checkpoints.folder})" if checkpoints else ""
                raise PdnasError(
                    f"epoch {epoch}, step {now.steps}: {error}; lower training.learning_rate or "
                    f"gates.length_scale2{kept}"
                ) from error
            history.append({"epoch": epoch, "learning_rate": now.learning_rate, **record})
            trajectory.append(_probabilities(supernet))
            now, last = _Epoch(float(schedule.get_last_lr()[0])), epoch == training.epochs
            if warm_up is not None and epoch == gates.warmup_epochs and distributed.is_first():
                warm_up.save(epoch, 0, state_after(0.0) | {"warm_up_of": description})
            ended = time.monotonic()
            # As if the next epoch took as long as this one (all of it, in however many calls), with
            # a checkpoint after each.
            takes = record["seconds"] + saving
            late = deadline is not None and not last and ended + takes > deadline
            stops = distributed.from_first(partial(bool, late))
            if stops or last or ended - saved >= saving / SAVING_SHARE:
                save(0.0)
            log(epoch)
            progress.advance(
                note=f"loss {record['loss']:.3f} accuracy {record['train_accuracy']:.1%} "
                f"{record['images_per_second']:.0f} images/s"
            )
            if stops:
                raise Unfinished(f"{description}: stopped after epoch {epoch}/{training.epochs}")
    for parameter in learned:
        parameter.requires_grad_(True)
    supernet.set_drop_path(0)
    supernet.set_warm_up(False)
    supernet.eval()
    return Fitted(history, torch.stack(trajectory), stopwatch, warm_up_of)


def _without_distribution(
    state: Mapping[str, Any], supernet: Supernet, optimizers: list[torch.optim.Optimizer]
) -> dict[str, Any]:
    """The state at the end of another run's warm-up, with a distribution that is as it began.

    Args:
        supernet, optimizers: that have just begun. The first optimizer moves weights alone.
    """
    distribution = {id(parameter) for parameter in supernet.distribution_parameters()}
    began = {name: p.data for name, p in supernet.named_parameters() if id(p) in distribution}
    return {
        **state,
        "supernet": {**state["supernet"], **began},
        "optimizers": [state["optimizers"][0], *(each.state_dict() for each in optimizers[1:])],
        "trajectory": [_probabilities(supernet)] * (1 + len(state["history"])),
    }


def _restore(
    state: Mapping[str, Any],
    supernet: Supernet,
    optimizers: list[torch.optim.Optimizer],
    schedule: LRScheduler,
    device: torch.device,
) -> _Epoch:
    """Put a checkpoint's state back into everything that has one; returns the epoch it is from.

    Raises:
        PdnasError: it does not fit, so it is that of another version of the code.
    """
    try:
        supernet.load_state_dict(state["supernet"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], device)
        epoch = _Epoch(**state["epoch"])
        if epoch.sums is not None:
            epoch.sums = epoch.sums.to(device)
        return epoch
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PdnasError(
            f"the checkpoint does not fit this version of pdnas ({first_line(error)}); delete its "
            "folder to start anew"
        ) from error


class _Loss(nn.Module):
    """All that a training step differentiates, in one call that DistributedDataParallel can follow.

    An auxiliary head that has no weight does not run.
    """

    def __init__(self, supernet: Supernet, training: TrainingConfig) -> None:
        super().__init__()
        self.supernet = supernet
        self._training = training

        def plain(x: Tensor) -> tuple[Tensor, Tensor | None]:
            return supernet(x), None

        network = supernet.forward_training if training.auxiliary_weight else plain
        self._network = torch.compile(network) if training.compile else network

    def forward(self, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
        """The loss of images (images, channels, height, width), a scalar, and all MEASURES.

        Raises:
            NotFiniteError: the loss is no finite number.
        """
        with autocast(x.device, self._training):
            output, auxiliary = self._network(x)
        nll = cross_entropy(output.float(), y, reduction="none")
        if auxiliary is not None:
            auxiliary = self._training.auxiliary_weight * cross_entropy(auxiliary.float(), y)
        terms = objective(nll, self.supernet, auxiliary)
        require_finite(terms, self.supernet, x)  # before the update, which would spread it
        loss = terms.loss
        correct = (output.argmax(dim=1) == y).float().mean()
        parts = [loss, terms.nll, terms.prior, terms.entropy, terms.auxiliary, correct]
        return loss, torch.stack(parts).detach().double()


def _probabilities(supernet: Supernet) -> Tensor:
    return torch.from_numpy(supernet.posterior().marginals()["probability"].to_numpy(copy=True))


@contextmanager
def _board(folder: Path | None, done: int) -> Iterator[SummaryWriter | None]:
    """A TensorBoard writer that forgets what a killed run logged after its last checkpoint."""
    if folder is None:
        yield None
        return
    with SummaryWriter(str(folder), purge_step=done + 1) as board:
        yield board


class _Alternation:
    """Held-out batches without end, a pure function of the epoch, and the objective on them.

    Args:
        start: how many of them an earlier call has used.
    """

    def __init__(self, loader: Loader, objective: Objective, epoch: int, start: int) -> None:
        self.objective = objective
        turns, rest = divmod(start, len(loader))
        # Turn and epoch together number a shuffle; no run has a million epochs.
        self._batches = itertools.chain.from_iterable(
            loader.epoch(epoch + turn * 1_000_000, rest if turn == turns else 0)
            for turn in itertools.count(turns)
        )

    def batch(self) -> tuple[Tensor, Tensor]:
        return next(self._batches)


@contextmanager
def _held_still(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Take no gradients of what ``optimizer`` moves."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def _step(
    loss: nn.Module,
    supernet: Supernet,
    batch: tuple[Tensor, Tensor],
    training: TrainingConfig,
    objective: Objective,
    optimizers: list[torch.optim.Optimizer],
) -> Tensor:
    """One step of ``optimizers``, with the gradients of one micro-batch after the other summed up.

    Returns:
        the :data:`MEASURES` of the batch, all ranks' rows of it; shape (measures,).
    """
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    measures = torch.zeros(len(MEASURES), dtype=torch.float64, device=batch[0].device)
    images = len(batch[1])
    done = 0
    for x, y in micro_batches(supernet, *batch, training.micro_batch):
        done += len(y)
        # Weighted like this, means over images become that of the batch, and the rest counts once.
        share = len(y) / images
        with _gradients_stay_here(loss) if done < images else nullcontext():
            value, of_part = loss(x, y, objective)
            (share * value).backward()
        measures += share * of_part
    distributed.average([measures])
    for optimizer in optimizers:
        optimizer.step()
    return measures


def _gradients_stay_here(loss: nn.Module) -> AbstractContextManager[None]:
    """Let backward passes add to the gradients without exchanging them between ranks."""
    return loss.no_sync() if isinstance(loss, DistributedDataParallel) else nullcontext()


def _train_epoch(
    loss: nn.Module,
    supernet: Supernet,
    batches: Iterator[tuple[Tensor, Tensor]],
    training: TrainingConfig,
    objective: Objective,
    optimizers: list[torch.optim.Optimizer],
    schedule: LRScheduler,
    alternation: _Alternation | None,
    now: _Epoch,
    after_step: Callable[[float], None],
) -> dict[str, float]:
    """One pass over the data, or what is left of it; ``now`` is kept up to date.

    ``after_step`` is told the seconds spent on the epoch. A GPU is waited for once a step, when
    the loss is looked at.

    Raises:
        NotFiniteError: the loss of the last step that began is no finite number.
    """
    started = time.monotonic() - now.seconds
    for x, y in batches:
        now.steps += 1
        if alternation is None:
            measures = _step(loss, supernet, (x, y), training, objective, optimizers)
        else:
            weights, switches = optimizers
            with _held_still(switches):
                measures = _step(loss, supernet, (x, y), training, objective, [weights])
            with _held_still(weights):
                held_out = alternation.batch()
                _step(loss, supernet, held_out, training, alternation.objective, [switches])
        schedule.step()
        images = len(y) * distributed.ranks()
        weighted = measures * images
        now.sums = weighted if now.sums is None else now.sums + weighted
        now.images += images
        after_step(time.monotonic() - started)
    assert now.sums is not None  # a loader has at least one batch
    seconds = time.monotonic() - started
    return {
        **dict(zip(MEASURES, (now.sums / now.images).tolist(), strict=True)),
        "seconds": seconds,
        "images_per_second": now.images / seconds,
    }


def _optimizers(
    supernet: Supernet, training: TrainingConfig, gates: GateConfig, batches: int
) -> tuple[list[torch.optim.Optimizer], LRScheduler]:
    """SGD with Nesterov momentum for the weights; for the switches the same, or their own Adam.

    Weight decay acts on ungated weights only: gated ones have their Gaussian prior instead.
    """
    logits = [p for p in supernet.distribution_parameters() if p.requires_grad]
    special = {id(p) for p in (*supernet.distribution_parameters(), *supernet.gated_weights())}
    ungated = [p for p in supernet.parameters() if id(p) not in special]
    groups: list[dict[str, Any]] = [
        {"params": ungated, "weight_decay": training.weight_decay},
        {"params": supernet.gated_weights()},
    ]
    if logits and gates.learning_rate is None:
        groups.append({"params": logits})
    weights = torch.optim.SGD(
        groups,
        lr=training.learning_rate,
        momentum=training.momentum,
        nesterov=training.momentum > 0,
    )
    optimizers: list[torch.optim.Optimizer] = [weights]
    if logits and gates.learning_rate is not None:
        optimizers.append(torch.optim.Adam(logits, lr=gates.learning_rate))
    return optimizers, _schedule(weights, training, batches)


def _schedule(
    weights: torch.optim.Optimizer, training: TrainingConfig, batches: int
) -> LRScheduler:
    """The learning rate of each step; ``batches`` of them are an epoch."""
    settings = training.schedule
    if isinstance(settings, CosineSchedule):
        return CosineAnnealingLR(weights, T_max=training.epochs * batches)
    if isinstance(settings, WarmRestartSchedule):
        return CosineAnnealingWarmRestarts(
            weights, settings.period * batches, settings.growth, settings.minimum
        )
    if isinstance(settings, StepSchedule):
        milestones = [epoch * batches for epoch in settings.milestones]
        return MultiStepLR(weights, milestones, settings.factor)
    return LambdaLR(weights, lambda step: 1.0)


@torch.no_grad()
def evaluate(
    supernet: Supernet, loader: Loader, training: TrainingConfig, top: int = 1
) -> tuple[float, float]:
    """Accuracy and mean cross-entropy of the network as it stands, in evaluation mode.

    Args:
        top: an image counts as right if its class is among the ``top`` most probable ones.
    """
    supernet.eval()
    parts = []
    for x, y in loader.epoch(0):
        right, nll = verdicts(supernet, x, y, training, top)
        parts.append(torch.stack([right.double().sum(), nll.double().sum()]))
    correct, loss = torch.stack(parts).sum(dim=0).tolist()
    return correct / loader.examples, loss / loader.examples


@torch.no_grad()
def verdicts(
    supernet: Supernet,
    x: Tensor,
    y: Tensor,
    training: TrainingConfig,
    top: int = 1,
    candidates: int = 1,
) -> tuple[Tensor, Tensor]:
    """Whether the network as it stands is right, and its cross-entropy, for each image.

    Args:
        candidates: that the network stands for at once (``ChannelSupernet.candidates``).

    Returns:
        two tensors of shape (candidates, images).
    """

    def judge(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        labels = y.repeat(candidates)
        with autocast(x.device, training):
            output = supernet(torch.cat([x] * candidates) if candidates > 1 else x)
        if top == 1:
            right = output.argmax(dim=1) == labels
        else:
            right = (output.topk(top, dim=1).indices == labels[:, None]).any(dim=1)
        nll = cross_entropy(output.float(), labels, reduction="none")
        return right.view(candidates, -1), nll.view(candidates, -1)

    right, nll = as_memory_allows(judge, x, y)
    return right, nll
