"""Checkpoints of a training run: whole or absent, tied to what they belong to, never executed."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pdnas.artefacts import atomic_path
from pdnas.errors import PdnasError

_KEPT = 2
"""The last checkpoint, and the one before it in case the last is damaged."""


def fingerprint(description: Mapping[str, Any]) -> str:
    """A short name for everything that decides a run's outcome."""
    text = json.dumps(description, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Checkpoints:
    """The checkpoints of one training run.

    Args:
        folder: where they lie; a subfolder named after ``belongs_to`` is used, so that a changed
            configuration starts anew and never resumes from another one's state.
        belongs_to: :func:`fingerprint` of the run.
    """

    def __init__(self, folder: Path, belongs_to: str) -> None:
        self.folder = folder / belongs_to
        self._belongs_to = belongs_to

    def save(self, epoch: int, state: Mapping[str, Any]) -> None:
        """Keep ``state`` as that after ``epoch``.

        Raises:
            PdnasError: it could not be written; earlier checkpoints are still there.
        """
        path = self._path(epoch)
        content = {"belongs_to": self._belongs_to, "epoch": epoch, **state}
        buffer = io.BytesIO()  # torch.save would hide the reason why a file cannot be written
        torch.save(content, buffer)
        with atomic_path(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())
        for old in self._existing()[:-_KEPT]:
            old.unlink()

    def latest(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, or None where there is none.

        Raises:
            PdnasError: every checkpoint is damaged, or one belongs to another run.
        """
        existing = self._existing()
        for path in reversed(existing):
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:
                # Damage shows as almost any exception (zip, pickle, index, EOF ...).
                warnings.warn(
                    f"checkpoint {path} is damaged ({type(error).__name__}); trying the one before",
                    stacklevel=2,
                )
                continue
            if not isinstance(state, dict) or state.get("belongs_to") != self._belongs_to:
                raise PdnasError(f"checkpoint {path} belongs to another run; delete {self.folder}")
            return state
        if existing:
            raise PdnasError(
                f"no checkpoint in {self.folder} can be read; delete this folder to start anew"
            )
        return None

    def remove(self) -> None:
        """Delete them all, when the run has finished and its results are on disk."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:05d}.pt"

    def _existing(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*.pt"))
