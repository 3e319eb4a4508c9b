"""The training objective: the negative ELBO for each training example.

    loss = NLL + prior_scale · Σ_k keep_k ‖m_k‖² - (1/N) · Σ_k H_k + λ · E[parameters] / 100 000

The second term is the KL divergence to a zero-mean Gaussian prior of length scale l on the kernel
slices, weighted by the probability of keeping each; it replaces weight decay on gated weights. The
third is the (negative) entropy of the switches. N counts the training examples of the posterior.

The ablation of the paper's Table 2, a constant L2 term, has keep_k = 1 in the second term, so that
drop probabilities neither weaken it nor learn from it.

The last term is the divergence to a prior on the architecture a itself, which the paper has not:
p(a) ∝ exp(-N λ parameters(a) / 100 000), but for its constant. λ counts nats an image. It is given,
or it is the multiplier at which as many parameters are expected as wanted (:class:`SizePrice`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from pdnas.spec.gates import GateConfig
from pdnas.spec.names import Form, Prior

SIZE_UNIT = 100_000
"""Parameters that λ is the price of."""


@dataclass
class SizePrice:
    """λ while a search learns how large its architectures are to be: the method of multipliers.

    After each step the multiplier rises by a share of what the expected parameters exceed their
    target by, and falls likewise, down to 0. λ is the multiplier and, so that sizes do not swing
    about the target, a part in proportion to the present excess. At rest the target is met and λ
    is the multiplier of that constraint. Far from the target the excess counts as a fifth of it:
    else the multiplier would have grown too large on the way.

    Attributes:
        value: λ, as :attr:`Objective.size_prior`.
        target: expected parameters; None: λ stays.
        multiplier: in the units of λ; None before the first step.
    """

    value: float
    target: int | None = None
    multiplier: float | None = None

    def adapt(self, expected: float) -> None:
        """Take a step, when so many parameters are expected."""
        assert self.target is not None
        # In nats an image and so many parameters as the target has, one rate suits all sizes.
        unit = SIZE_UNIT / self.target
        excess = min(max(expected / self.target - 1, -LARGEST_EXCESS), LARGEST_EXCESS)
        before = self.value if self.multiplier is None else self.multiplier
        self.multiplier = max(0.0, before + SIZE_STEP * unit * excess)
        self.value = max(0.0, self.multiplier + SIZE_DAMPING * unit * excess)


SIZE_STEP, SIZE_DAMPING, LARGEST_EXCESS = 0.02, 2.0, 0.2
"""Nats an image by which the multiplier changes in a step, and λ differs from it, at an excess of
one target; and the excess beyond which they do not grow."""


class Variational(Protocol):
    """What the objective needs to know of a supernet."""

    def prior_energy(self, *, constant: bool = False) -> Tensor:
        """Σ_k keep_k ‖m_k‖² over all gated slices, a scalar; if ``constant``, keep_k is 1."""
        ...

    def expected_size(self) -> Tensor:
        """Expected parameters of an architecture, a scalar."""
        ...

    def entropy(self) -> Tensor:
        """Entropy in nats of all switches together, a scalar."""
        ...

    def score_surrogate(self, nll: Tensor) -> Tensor:
        """Zero, with the score-function part of the NLL's gradient; nll: (images,)."""
        ...


@dataclass(frozen=True)
class Objective:
    """The constants of the objective.

    Attributes:
        length_scale2: l² of the Gaussian prior.
        examples: N, the number of training examples the posterior counts.
        form: ``paper`` has l²/(2N), ``official`` (the released code) l²/N.
        prior: ``kept`` weighs a slice by its probability of being kept, ``constant`` does not.
        size_prior: λ of the prior on the architecture.
    """

    length_scale2: float
    examples: int
    form: Form = "paper"
    prior: Prior = "kept"
    size_prior: float = 0.0

    @classmethod
    def of(cls, gates: GateConfig, images: int) -> Objective:
        """The objective of a specification trained on ``images`` images."""
        return cls(
            length_scale2=gates.length_scale2,
            examples=gates.examples or images,
            form=gates.form,
            prior=gates.prior,
            size_prior=gates.size_prior,
        )

    @property
    def prior_scale(self) -> float:
        """The factor of the prior energy."""
        half = 2.0 if self.form == "paper" else 1.0
        return self.length_scale2 / (half * self.examples)

    def __call__(
        self, nll: Tensor, supernet: Variational, auxiliary: Tensor | None = None
    ) -> Terms:
        """Put the loss together from the NLL of each image, shape (images,).

        Args:
            auxiliary: the weighted NLL of an auxiliary head, a scalar, where one is trained.
        """
        prior = nll.new_zeros(())
        if self.prior_scale:  # the energy goes through all weights, for nothing where it is not in
            prior = self.prior_scale * supernet.prior_energy(constant=self.prior == "constant")
        size = nll.new_zeros(())
        if self.size_prior:
            size = self.size_prior / SIZE_UNIT * supernet.expected_size()
        return Terms(
            nll=nll.mean(),
            prior=prior,
            size=size,
            entropy=-supernet.entropy() / self.examples,
            surrogate=supernet.score_surrogate(nll.detach()),
            auxiliary=nll.new_zeros(()) if auxiliary is None else auxiliary,
        )


@dataclass(frozen=True)
class Terms:
    """The parts of one loss, scalars. ``surrogate`` is zero in value and acts on gradients only."""

    nll: Tensor
    prior: Tensor
    size: Tensor
    entropy: Tensor
    surrogate: Tensor
    auxiliary: Tensor

    @property
    def loss(self) -> Tensor:
        learned = self.nll + self.prior + self.entropy + self.surrogate + self.auxiliary
        return learned + self.size
