"""Which images are not here and cannot be had, without reading any: no torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pdnas.data.sources import users_path
from pdnas.spec.data import AnyDataConfig, FoldersConfig


def root_of(config: FoldersConfig, directory: Path | None) -> Path:
    """The folder, whether it exists or not.

    Args:
        directory: in which a relative one lies; default ``PDNAS_DATA``, else the working folder.
    """
    home = directory or os.environ.get("PDNAS_DATA") or "."
    return Path(home).expanduser() / Path(config.root).expanduser()


def absent(config: AnyDataConfig, fetch: bool = True) -> str | None:
    """Why a data set's images cannot be had, in a line with the remedy; None: they can.

    Folders that are there and hold something wrong are not absent: using them says what is wrong.

    Args:
        fetch: get what is to be downloaded, to know whether it can be; else that is believed.
    """
    if isinstance(config, FoldersConfig):
        if root_of(config, None).is_dir():
            return None
        return f"{config.root} (data.root) is no folder in PDNAS_DATA; put the pictures there"
    if config.name == "imagenet":
        folder = users_path("train")
        if folder is not None and folder.is_dir():
            return None
        return "set PDNAS_DATA to a folder that holds ImageNet as train/CLASS/* and val/CLASS/*"
    if config.name == "cifar100" and fetch:
        command = [sys.executable, "-m", "pdnas.cli", "data", "fetch", config.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1].removeprefix("pdnas: error: ")
    return None
