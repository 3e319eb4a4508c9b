"""Where networks compute, and in which precision."""

from __future__ import annotations

from typing import get_args

import torch

from pdnas.spec.names import Device
from pdnas.spec.training import TrainingConfig
from pdnas.support import distributed
from pdnas.support.errors import PdnasError


def choose_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu`` or ``cuda``.

    Raises:
        PdnasError: no such name, or ``cuda`` was asked for and there is no GPU.
    """
    if name not in get_args(Device):
        raise PdnasError(f"no device {name!r}; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise PdnasError("no CUDA device is available; set device: auto or cpu in the scale file")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return distributed.own_gpu() if name == "cuda" else torch.device(name)


def autocast(device: torch.device, training: TrainingConfig) -> torch.autocast:
    """A context of mixed precision, where the configuration asks for it."""
    enabled = training.precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
