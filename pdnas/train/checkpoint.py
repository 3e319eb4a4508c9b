"""Checkpoints of a training run: whole or absent, tied to what they belong to, never executed.

A checkpoint is one safetensors file with its own checksum (:mod:`pdnas.support.files`): tensors as
they are, everything else as JSON in the header. Reading one runs no code that it brings along.
"""

from __future__ import annotations

import math
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pdnas.support.errors import PdnasError
from pdnas.support.files import read_tensors, write_tensors
from pdnas.train.state import TrainingState

VERSION = 3
"""Of the format; 1 was a file of ``torch.save``, 2 did not know of warm-ups."""

SECONDS_BETWEEN = 300.0
"""A longer epoch is saved in between, so that a kill costs minutes and not the epoch."""

SAVING_SHARE = 0.05
"""Of the time, at most, that goes into checkpoints: where an epoch is short and a state large (200
MB for SupNet-M), not every epoch is followed by one."""

_KEPT = 2
"""The last checkpoint, and the one before it in case the last is damaged."""


class Checkpoints:
    """The checkpoints of one training run.

    Args:
        folder: where they lie; a subfolder named after ``belongs_to`` is used, so that a changed
            configuration starts anew and never resumes from another one's state.
        belongs_to: :func:`pdnas.support.provenance.fingerprint` of the run.
    """

    def __init__(self, folder: Path, belongs_to: str) -> None:
        self.folder = folder / belongs_to
        self._belongs_to = belongs_to

    def save(self, epoch: int, step: int, state: Mapping[str, Any]) -> None:
        """Keep ``state`` as that after ``epoch`` whole epochs and ``step`` steps of the next.

        Args:
            state: tensors and what JSON knows, in mappings and lists of any depth.

        Raises:
            PdnasError: it could not be written; earlier checkpoints are still there.
        """
        tensors: dict[str, Tensor] = {}
        record = {
            "version": VERSION,
            "epoch": epoch,
            "step": step,
            "state": _take_tensors(state, "state", tensors),
        }
        write_tensors(self._path(epoch, step), tensors, record, owner=self._belongs_to)
        for old in self._existing()[:-_KEPT]:
            old.unlink()

    def latest(self) -> dict[str, Any] | None:
        """The state of the newest good checkpoint, or None where there is none.

        One that is damaged, of another version or of another run is named in a warning, and the
        one before it is used.

        Raises:
            PdnasError: there are checkpoints, but none is good.
        """
        existing = self._existing()
        for path in reversed(existing):
            try:
                return self._read(path)
            except PdnasError as error:
                warnings.warn(f"trying the checkpoint before: {error}", stacklevel=2)
        if existing:
            raise PdnasError(
                f"no checkpoint in {self.folder} can be used; delete this folder to start anew"
            )
        return None

    def _read(self, path: Path) -> dict[str, Any]:
        tensors, record = read_tensors(path, owner=self._belongs_to)
        if record.get("version") != VERSION:
            raise PdnasError(f"{path} is no checkpoint of version {VERSION}; delete it")
        try:
            if path != self._path(record["epoch"], record["step"]):
                raise PdnasError(f"{path} is another checkpoint than its name says; delete it")
            state: dict[str, Any] = _put_tensors(record["state"], tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise PdnasError(f"{path} is no whole checkpoint; delete it") from error
        return state

    def remove(self) -> None:
        """Delete them all, when the run has finished and its results are on disk."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _path(self, epoch: int, step: int) -> Path:
        return self.folder / f"epoch-{epoch:05d}-step-{step:07d}.safetensors"

    def _existing(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*-step-*.safetensors"))


class Saver:
    """Saves a training's state, and says when that is worth its time.

    Attributes:
        seconds: that the last save took.

    Args:
        checkpoints: None saves nothing.
    """

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self.seconds = 0.0
        self._checkpoints = checkpoints
        self._started = time.monotonic()
        self._saved = -math.inf

    def is_cheap(self) -> bool:
        """Whether it is worth it to save after an epoch."""
        return time.monotonic() - self._saved >= self.seconds / SAVING_SHARE

    def is_due(self) -> bool:
        """Whether it is time to save within an epoch."""
        last = max(self._saved, self._started)
        return self._checkpoints is not None and time.monotonic() - last >= SECONDS_BETWEEN

    def save(self, state: TrainingState) -> None:
        if self._checkpoints is None:
            return
        begun = time.monotonic()
        self._checkpoints.save(len(state.history), state.epoch.steps, state.state_dict())
        self._saved = time.monotonic()
        self.seconds = self._saved - begun


def _take_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` as JSON can hold it; its tensors go to ``tensors``, named by where they were.

    A mapping becomes a list of pairs, because an optimizer's keys are numbers.
    """
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        items = [
            [key, _take_tensors(each, f"{name}.{key}", tensors)] for key, each in value.items()
        ]
        return {"mapping": items}
    if isinstance(value, (list, tuple)):
        return [_take_tensors(each, f"{name}.{i}", tensors) for i, each in enumerate(value)]
    return value


def _put_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The opposite of :func:`_take_tensors`; tuples have become lists."""
    if isinstance(value, list):
        return [_put_tensors(each, tensors) for each in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _put_tensors(each, tensors) for key, each in value["mapping"]}
    return value
