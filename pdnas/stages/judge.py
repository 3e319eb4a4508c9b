"""How a candidate is judged: on the same images as all others, with the supernet's own weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from pdnas.data.batches import Loader
from pdnas.nn.subnet import Extractor
from pdnas.nn.supernets import ChannelSupernet, Supernet
from pdnas.runs.run import Run
from pdnas.space.candidates import Choice
from pdnas.spec.names import BatchNormStatistics
from pdnas.spec.training import TrainingConfig
from pdnas.stages.materials import EVALUATION_BATCH, loader_of
from pdnas.train.device import autocast
from pdnas.train.evaluate import verdicts

GPU_PAIRS = 1000
"""Of a candidate and an image in one batch, where there is a GPU. A CPU, which gains nothing once a
candidate has 100 images, takes one candidate after the other."""
EXTRACTED, MULTIPLE = 500, 8
"""Images from which on a CPU judges a candidate as an extracted network, whose channels are
multiples of the second number (docs/speed.md)."""


@dataclass(frozen=True)
class Judge:
    """How a candidate is evaluated.

    Attributes:
        supernet: the trained supernet.
        loader: the images to judge on.
        training: for its precision.
        batchnorm: ``running`` takes the supernet's BatchNorm statistics as they are;
            ``recalibrated`` gives each candidate its own, from ``calibration`` (training images).
        calibration: images of shape (images, channels, height, width) for ``recalibrated``.
        top: most probable classes among which an image's own has to be.
        pairs: of a candidate and an image, go through the supernet at once, if they are more than a
            batch of images makes with one candidate.
    """

    supernet: Supernet
    loader: Loader
    training: TrainingConfig
    batchnorm: BatchNormStatistics = "running"
    calibration: Sequence[Tensor] = ()
    top: int = 1
    pairs: int = 1

    def together(self, images: int) -> int:
        """How many candidates go through at once with so many images each."""
        if self.batchnorm == "recalibrated" or not isinstance(self.supernet, ChannelSupernet):
            return 1
        return max(1, self.pairs // min(images, EVALUATION_BATCH))

    def __call__(self, choice: Choice) -> tuple[float, float]:
        """Accuracy and mean cross-entropy of one architecture with inherited weights."""
        return self.judge([choice])[0]

    def judge(self, choices: Sequence[Choice]) -> list[tuple[float, float]]:
        """Accuracy and mean cross-entropy of architectures that go through at once."""
        parts = []
        with self._judging(choices, self.loader.examples) as network:
            for x, y in self.loader.epoch(0):
                verdicts = self._verdicts(network, len(choices), x, y)
                parts.append(torch.stack([part.double().sum(dim=1) for part in verdicts], dim=1))
        sums = torch.stack(parts).sum(dim=0) / self.loader.examples
        return [(accuracy, loss) for accuracy, loss in sums.tolist()]

    def each(self, choices: Sequence[Choice], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each architecture is right about each image, and its cross-entropy.

        Both of shape (candidates, images); the candidates go through at once.
        """
        with self._judging(choices, len(y)) as network:
            parts = zip(x.split(EVALUATION_BATCH), y.split(EVALUATION_BATCH), strict=True)
            verdicts = [self._verdicts(network, len(choices), *part) for part in parts]
        right, nll = (torch.cat(part, dim=1) for part in zip(*verdicts, strict=True))
        return right, nll

    def _verdicts(
        self, network: nn.Module, candidates: int, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        return verdicts(network, x, y, self.training, self.top, candidates)

    @contextmanager
    def _judging(self, choices: Sequence[Choice], images: int) -> Iterator[nn.Module]:
        """The network that so many images of each of the candidates go through."""
        with ExitStack() as stack:
            if len(choices) > 1:
                assert isinstance(self.supernet, ChannelSupernet)
                stack.enter_context(self.supernet.candidates(choices))
            else:
                stack.enter_context(self.supernet.candidate(choices[0]))
            stack.enter_context(self.statistics())
            self.supernet.eval()
            extract = self._extractor if len(choices) == 1 and images >= EXTRACTED else None
            yield extract(choices[0]) if extract else self.supernet

    @cached_property
    def _extractor(self) -> Extractor | None:
        """None where the masked supernet is faster, or is not extracted with equal verdicts."""
        if (
            not isinstance(self.supernet, ChannelSupernet)
            or self.batchnorm == "recalibrated"
            or self.training.precision != "float32"
            or next(self.supernet.parameters()).device.type != "cpu"
        ):
            return None
        x, _ = next(iter(self.loader.epoch(0)))
        try:
            return Extractor(self.supernet, x[:1], MULTIPLE)
        except Exception:  # torch.fx fails in many ways where it cannot follow a user's supernet
            return None

    def size(self, choice: Choice) -> dict[str, float]:
        """``parameters`` of an architecture, and the shares of gated channels and operations kept:
        ``kept_channels``, ``kept_operations``."""
        channels, operations = self.supernet.kept(choice)
        return {
            "parameters": self.supernet.candidate_parameters(choice),
            "kept_channels": channels,
            "kept_operations": operations,
        }

    def statistics(self) -> AbstractContextManager[None]:
        """BatchNorm statistics of the network as it stands, if it is to have its own."""
        if self.batchnorm == "running":
            return nullcontext()
        return recalibrated(self.supernet, self.calibration, self.training)


@contextmanager
def recalibrated(
    supernet: Supernet, batches: Sequence[Tensor], training: TrainingConfig
) -> Iterator[None]:
    """Within the block, BatchNorm statistics are those of ``batches`` in the network as it stands.

    They are taken with the precision of ``training``, which networks are judged with too. The
    supernet's own statistics come back afterwards.
    """
    norms = [module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [
        (norm.momentum, {k: v.clone() for k, v in norm.state_dict().items()}) for norm in norms
    ]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over the batches
        supernet.eval()  # drop-path and the like stay off; only the statistics are at work
        for norm in norms:
            norm.train()
        with torch.no_grad():
            for batch in batches:
                with autocast(batch.device, training):
                    supernet(batch)
        supernet.eval()
        yield
    finally:
        for norm, (momentum, state) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.load_state_dict(state)
        supernet.eval()


def make_judge(run: Run, supernet: Supernet, loader: Loader, device: torch.device) -> Judge:
    """The judge a run's specification asks for, on the images of ``loader``."""
    settings = run.spec.candidates
    calibration = []
    if settings.batchnorm == "recalibrated":
        images = 0
        for batch, _ in loader_of(run, "train", device, train=True).epoch(0):
            calibration.append(batch)
            images += len(batch)
            if images >= settings.recalibration_images:
                break
    return Judge(
        supernet,
        loader,
        run.spec.training,
        settings.batchnorm,
        calibration,
        pairs=settings.pairs or (GPU_PAIRS if device.type == "cuda" else 1),
    )
