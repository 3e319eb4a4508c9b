"""What supernets of one-of-many switches have in common.

The distribution over architectures: independent Bernoulli switches on the options, conditioned on
exactly one being on. That is a categorical distribution, and here its logits are the parameters. As
an option (``gates.dependence: chain``), a switch's logits depend on the option of the switch before
it in the space's order.

While such a supernet trains, every image draws its own architecture, and only the images that chose
an option pass through it with gradients: a fraction of the arithmetic of computing all, and
BatchNorm then sees the statistics of exactly those images. A deep network cannot learn like that.
There a few architectures share the batch (``gates.noise``), and BatchNorm normalises the images of
each by themselves, so that every one works as it would alone. The logits learn by one of the
estimators in :mod:`pdnas.nn.supernets.categorical.estimators`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from pdnas.nn.gates import GateSettings
from pdnas.nn.noise import DrawsNoise, together
from pdnas.nn.supernets.base import Supernet
from pdnas.nn.supernets.categorical.draws import Draws
from pdnas.nn.supernets.categorical.estimators import ESTIMATORS, GradientEstimator
from pdnas.nn.supernets.categorical.mixture import NOTHING, Mixture
from pdnas.space.candidates import Candidates, Choice
from pdnas.space.categorical import CategoricalSpace
from pdnas.space.chain import option_marginals, row_weights
from pdnas.space.posterior import CategoricalPosterior
from pdnas.support.errors import PdnasError


class CategoricalSupernet(DrawsNoise, Supernet):
    """A stem, mixtures of all options, a head.

    A subclass registers its modules, then calls :meth:`configure_gates` for the logits.

    Args:
        space: the architectures.
    """

    stem: nn.Sequential
    layers: nn.ModuleList
    logits: nn.Parameter

    def __init__(self, space: CategoricalSpace) -> None:
        super().__init__()
        self.space = space
        self._warming_up = False
        self._choice: Tensor | None = None
        self.drawn: Tensor | None = None
        """Codes of the last training pass, where drawn, (rows, switches): of its images, or of the
        architectures that they shared."""

    def mixtures(self) -> list[Mixture]:
        """All parts that hold options, in the order of the network."""
        return [layer for layer in self.layers if isinstance(layer, Mixture)]

    @abstractmethod
    def parts(self, switch: int, option: str) -> list[nn.Module]:
        """What an option of a switch is made of, all over the network."""

    @abstractmethod
    def through_layers(
        self,
        x: Tensor,
        through: Callable[[Mixture, Tensor], Tensor],
        per_batch: int | None = None,
        first: int = 0,
    ) -> Tensor:
        """The logits of images after the stem.

        Args:
            through: takes a mixture and its input to its output.
            per_batch: as in :class:`Mixture`.
            first: number of the layer that ``x`` enters.
        """

    def configure_gates(self, settings: GateSettings) -> None:
        # The options of a switch start alike, so any initial drop probability means uniform.
        self.settings = settings
        options = len(self.space.options)
        rows = (options,) if settings.dependence == "chain" else ()
        weights = next(self.parameters())
        logits = weights.new_zeros(len(self.space.SWITCHES), *rows, options)
        self.logits = nn.Parameter(logits, requires_grad=settings.mode == "learned")

    def begin_alone(self) -> None:
        for kernel in self.gated_weights():
            nn.init.kaiming_normal_(kernel, mode="fan_out")

    def set_warm_up(self, on: bool) -> None:
        """Let every image take one uniformly drawn architecture, whatever the estimator and
        dependence."""
        self._warming_up = on

    def set_temperature(self, temperature: float) -> None:
        self.settings = replace(self.settings, temperature=temperature)

    def forward(self, x: Tensor) -> Tensor:
        if self._choice is not None:
            names = [self.space.options[int(code)] for code in self._choice]
            return self.through_layers(self.stem(x), lambda part, x: part.alone(x, names))
        if not self.training:
            raise PdnasError(
                f"a supernet of one-of-many switches is evaluated as one {self.space.ARCHITECTURE};"
                " choose one"
            )
        way = self._estimator().way(self.draws(), len(x))
        self.drawn = way.drawn
        if way.per_batch is None:
            return self.through_layers(self.stem(x), way.through)
        features = self.stem(together(x, way.per_batch))
        logits = self.through_layers(features, way.through, way.per_batch)
        return together(logits, len(x) // way.per_batch)

    def draws(self) -> Draws:
        """What draws the architectures of a batch in training, uniformly while it warms up."""
        logits: Tensor = self.logits
        if self._warming_up:  # a chain, too, then draws as independent switches do
            logits = logits.new_zeros(len(self.space.SWITCHES), len(self.space.options))
        return Draws(
            logits,
            self.space,
            self.settings.temperature,
            self.settings.masks_per_batch,
            self.for_images,
        )

    def _estimator(self) -> GradientEstimator:
        if self.settings.mode != "learned" or self._warming_up:
            return GradientEstimator()
        return ESTIMATORS[self.settings.estimator]

    def choose(self, choice: Choice | None) -> None:
        if choice is not None:
            stacked = Candidates({name: codes[None] for name, codes in choice.items()})
            stacked.check_codes(self.space)
        self._choice = None if choice is None else choice[self.space.KEY]

    def posterior(self) -> CategoricalPosterior:
        probabilities = torch.softmax(self.logits.detach().double().cpu(), dim=-1)
        return CategoricalPosterior(probabilities, self.space)

    def _tables(self) -> Tensor:
        """The logits as (switches, rows, options): independent switches have one row."""
        return self.logits.unsqueeze(1) if self.logits.dim() == 2 else self.logits

    def candidate_parameters(self, choice: Choice) -> int:
        every = sum(p.numel() for mixture in self.mixtures() for p in mixture.parameters())
        chosen = sum(
            p.numel()
            for switch, code in enumerate(choice[self.space.KEY].tolist())
            for part in self.parts(switch, self.space.options[code])
            for p in part.parameters()
        )
        return self.parameter_count() - every + chosen

    def kept(self, choice: Choice) -> tuple[float, float]:
        codes = choice[self.space.KEY].tolist()
        share = sum(self.space.options[code] != NOTHING for code in codes) / len(codes)
        return share, share

    def prior_energy(self, *, constant: bool = False) -> Tensor:
        if self._choice is None:
            keep = option_marginals(torch.softmax(self._tables(), dim=2), self.space.ORDER)
            if constant:
                keep = torch.ones_like(keep)
        else:
            one_hot = nn.functional.one_hot(self._choice.long(), len(self.space.options))
            keep = one_hot.to(self.logits)
        energy = self.logits.new_zeros(())
        for switch in range(len(self.space.SWITCHES)):
            for code, option in enumerate(self.space.options):
                squares = [p.square().sum() for p in self._kernels(switch, option)]
                if squares:
                    energy = energy + keep[switch, code] * torch.stack(squares).sum()
        return energy

    def _kernels(self, switch: int, option: str) -> list[Tensor]:
        """Kernels of an option of a switch, all over the network."""
        return [
            module.weight
            for part in self.parts(switch, option)
            for module in part.modules()
            if isinstance(module, nn.Conv2d)
        ]

    def entropy(self) -> Tensor:
        if self._choice is not None:
            return self.logits.new_zeros(())
        log_q = torch.log_softmax(self._tables(), dim=2)
        q = log_q.exp()
        return -(row_weights(q, self.space.ORDER)[:, :, None] * (q * log_q)).sum()

    def score_surrogate(self, nll: Tensor) -> Tensor:
        """What the estimator adds to the loss of the last training pass; zero in value.

        Images that share an architecture count as one, with their mean NLL.
        """
        surrogate = None
        if self._choice is None and self.logits.requires_grad and self.drawn is not None:
            of_rows = nll.view(-1, len(self.drawn)).mean(dim=0)
            tables, order = self._tables(), self.space.ORDER
            surrogate = self._estimator().surrogate(tables, self.drawn, of_rows, order)
        return nll.new_zeros(()) if surrogate is None else surrogate

    def distribution_parameters(self) -> list[nn.Parameter]:
        return [self.logits]

    def gated_weights(self) -> list[Tensor]:
        return [
            weight
            for switch in range(len(self.space.SWITCHES))
            for option in self.space.options
            for weight in self._kernels(switch, option)
        ]
