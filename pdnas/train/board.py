"""A training in TensorBoard."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from pdnas.train.state import TrainingState


class Board:
    """TensorBoard's logs of a training; what a killed run logged after its state is forgotten.

    Args:
        folder: None logs nothing.
        done: epochs that are over.
    """

    def __init__(self, folder: Path | None, done: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=done + 1) if folder else None

    def log(self, state: TrainingState, epoch: int) -> None:
        """Show an epoch, by its number from 1."""
        if self._writer is None:
            return
        for key, value in state.history[epoch - 1].items():
            self._writer.add_scalar(f"train/{key}", value, epoch)
        self._writer.add_histogram("switches/probability", state.trajectory[epoch], epoch)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
