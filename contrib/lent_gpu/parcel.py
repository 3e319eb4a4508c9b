"""CIFAR-10 in a few small files, for a machine without internet.

``pack`` recodes the images as lossless WebP (100 MB; the authors' archive has 170), puts everything
into one archive and cuts it into parts; ``unpack`` joins them again in the cache. The manifest
beside the parts, ``pdnas-data.json``, holds their checksums and that of the pixels and labels.

    python -m contrib.lent_gpu.parcel pack|unpack FOLDER
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from pdnas.cli import main
from pdnas.data import cifar10
from pdnas.support.errors import PdnasError
from pdnas.support.files import atomic_path, read_json, read_tensors, write_json, write_tensors
from pdnas.support.progress import Progress

_NAME = "pdnas-data"
_STRIP = 500
"""Images below one another in one picture; 32 times as many rows must be at most WebP's 16 383."""
_LABELS, _METADATA = "{}_labels", "cifar10.json"


def pack(folder: Path, limit: int) -> list[Path]:
    """Write the manifest and parts of at most ``limit`` bytes, made from the cache.

    CIFAR-10 is fetched first if it is not there.

    Returns:
        the paths written, the manifest first.

    Raises:
        PdnasError: the data cannot be had, or the files not be written.
    """
    cifar10.load()
    tensors, metadata = read_tensors(cifar10.path())
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in (
            (_METADATA, json.dumps(metadata).encode()),
            *_encoded(tensors),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    whole = archive.getvalue()
    parts = [whole[start : start + limit] for start in range(0, len(whole), limit)]
    manifest = {"cifar10": _digest(tensors), "parts": [_checksum(part) for part in parts]}
    paths = [folder / f"{_NAME}.{number}" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        with atomic_path(path) as temporary:
            temporary.write_bytes(part)
    write_json(folder / f"{_NAME}.json", manifest)
    return [folder / f"{_NAME}.json", *paths]


def unpack(folder: Path) -> Path:
    """Put what :func:`pack` took back into the cache.

    Returns:
        the file written.

    Raises:
        PdnasError: a part is missing or damaged; it is named.
    """
    manifest = read_json(folder / f"{_NAME}.json")
    parts = []
    for number, expected in enumerate(manifest["parts"]):
        path = folder / f"{_NAME}.{number}"
        if not path.is_file():
            raise PdnasError(f"{path} is missing; there are {len(manifest['parts'])} parts")
        parts.append(path.read_bytes())
        if _checksum(parts[-1]) != expected:
            raise PdnasError(f"{path} has not the checksum of {_NAME}.json; copy it again")
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None  # the checksums say that it is ours, all regular files
            contents[member.name] = file.read()
    tensors = _decoded(contents)
    if _digest(tensors) != manifest["cifar10"]:
        raise PdnasError("this version of Pillow decodes WebP differently; update it")
    write_tensors(cifar10.path(), tensors, json.loads(contents[_METADATA]))
    return cifar10.path()


def _encoded(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the archive's members that hold images and labels."""
    from PIL import Image

    images = [(part, tensors[f"{part}_images"].split(_STRIP)) for part in ("train", "test")]
    with Progress("pack CIFAR-10", sum(len(strips) for _, strips in images)) as progress:
        for part, strips in images:
            yield _LABELS.format(part), tensors[f"{part}_labels"].to(torch.uint8).numpy().tobytes()
            for number, strip in enumerate(strips):
                rows = strip.permute(0, 2, 3, 1).flatten(0, 1).contiguous().numpy()
                picture = io.BytesIO()
                Image.fromarray(rows).save(picture, "WEBP", lossless=True, method=4)
                yield f"{part}-{number:03d}.webp", picture.getvalue()
                progress.advance()


def _decoded(contents: Mapping[str, bytes]) -> dict[str, Tensor]:
    from PIL import Image

    tensors = {}
    for part in ("train", "test"):
        labels = np.frombuffer(contents[_LABELS.format(part)], dtype=np.uint8)
        tensors[f"{part}_labels"] = torch.from_numpy(labels.astype(np.int64))
        strips = []
        for name in sorted(name for name in contents if name.startswith(f"{part}-")):
            with Image.open(io.BytesIO(contents[name]), formats=["WEBP"]) as picture:
                strips.append(np.asarray(picture.convert("RGB")))
        rows = torch.from_numpy(np.concatenate(strips))
        side = rows.shape[1]
        images = rows.unflatten(0, (-1, side)).permute(0, 3, 1, 2)
        tensors[f"{part}_images"] = images.contiguous()
    return tensors


def _checksum(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all values, names in alphabetical order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


app = typer.Typer(
    help="CIFAR-10 in a few small files.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("pack")
def pack_command(
    folder: Annotated[Path, typer.Argument(help="Where to write the parts.")],
    megabytes: Annotated[int, typer.Option(min=1, help="Largest part, in millions of bytes.")] = 55,
) -> None:
    """Write the data as parts, for a machine without internet."""
    _show(pack(folder, megabytes * 1_000_000))


@app.command("unpack")
def unpack_command(
    folder: Annotated[Path, typer.Argument(help="Folder with all that `pack` wrote.")],
) -> None:
    """Put what `pack` wrote into this machine's cache, checked."""
    _show([unpack(folder)])


def _show(paths: list[Path]) -> None:
    for path in paths:
        typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(app)
