"""The objective against brute force and numerical integration."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from scipy.integrate import quad
from torch import Tensor, nn

from pdnas.nn.gates import GatedConv2d, GateSettings
from pdnas.nn.objective import Objective, SizePrice
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.nn.supernets.sizes import SizeSupernet
from pdnas.space.cells import CellSpace
from pdnas.space.sizes import parameters as size_parameters
from pdnas.support.errors import PdnasError


@pytest.fixture
def supernet() -> MultiBranchSupernet:
    torch.manual_seed(0)
    net = MultiBranchSupernet(width=4, blocks=1, in_channels=1, classes=3)
    net.configure_gates(GateSettings())
    with torch.no_grad():
        for logit in net.distribution_parameters():
            logit.normal_()
    return net


def gated(net: nn.Module) -> list[GatedConv2d]:
    return [module for module in net.modules() if isinstance(module, GatedConv2d)]


def test_prior_by_brute_force(supernet: MultiBranchSupernet) -> None:
    total = 0.0
    for layer in gated(supernet):
        keep = 1 - scipy.special.expit(layer.gate.logit_p.detach().double().item())
        weight = layer.weight.detach().double().numpy()
        for channel in range(weight.shape[1]):
            total += keep * float(np.square(weight[:, channel]).sum())
    nll = torch.tensor([1.0, 2.0])
    paper = Objective(length_scale2=50.0, examples=700)(nll, supernet)
    official = Objective(length_scale2=50.0, examples=700, form="official")(nll, supernet)
    assert paper.prior.item() == pytest.approx(50 / (2 * 700) * total, rel=1e-5)
    assert official.prior.item() == 2 * paper.prior.item()
    assert official.entropy.item() == paper.entropy.item()


def test_a_constant_prior_is_plain_l2_in_float64_and_moves_no_drop_probability(
    supernet: MultiBranchSupernet,
) -> None:
    supernet.double()
    nll = torch.tensor([1.0, 2.0], dtype=torch.float64)
    terms = Objective(length_scale2=50.0, examples=700, prior="constant")(nll, supernet)
    total = sum(np.square(layer.weight.detach().numpy()).sum() for layer in gated(supernet))
    assert terms.prior.item() == pytest.approx(50 / (2 * 700) * total, rel=1e-12)
    kept = Objective(length_scale2=50.0, examples=700)(nll, supernet)
    assert terms.entropy.item() == kept.entropy.item()
    terms.prior.backward()
    for layer in gated(supernet):
        assert layer.gate.logit_p.grad is None
        torch.testing.assert_close(layer.weight.grad, 50 / 700 * layer.weight.detach())


def test_a_constant_prior_of_a_candidate_has_only_kept_slices(
    supernet: MultiBranchSupernet,
) -> None:
    choice = supernet.posterior().sample(1, seed=0)[0]
    assert not all(bool(mask.all()) for mask in choice.values())
    with supernet.candidate(choice):
        assert supernet.prior_energy(constant=True) == supernet.prior_energy()


def test_a_constant_prior_over_cells_sums_every_kernel() -> None:
    torch.manual_seed(0)
    net = NasBench201Supernet(4, 1, CellSpace(), 1, 3).double()
    with torch.no_grad():
        net.logits.normal_()
    expected = sum(float(weight.detach().square().sum()) for weight in net.gated_weights())
    assert net.prior_energy(constant=True).item() == pytest.approx(expected, rel=1e-12)
    assert net.prior_energy().item() < 0.9 * expected


def test_entropy_sums_channels(supernet: MultiBranchSupernet) -> None:
    expected = sum(
        layer.in_channels
        * scipy.stats.bernoulli.entropy(
            scipy.special.expit(layer.gate.logit_p.detach().double().item())
        )
        for layer in gated(supernet)
    )
    terms = Objective(1.0, 300)(torch.zeros(2), supernet)
    assert terms.entropy.item() == pytest.approx(-expected / 300, rel=1e-5)


def test_loss_is_the_sum_and_the_surrogate_is_zero(supernet: MultiBranchSupernet) -> None:
    nll = torch.tensor([0.5, 1.0, 3.0], requires_grad=True)
    terms = Objective(20.0, 100)(nll, supernet)
    assert float(terms.surrogate) == 0
    assert terms.nll.item() == 1.5
    assert terms.loss.item() == pytest.approx(1.5 + terms.prior.item() + terms.entropy.item())
    terms.loss.backward()
    np.testing.assert_allclose(nll.grad, 1 / 3, rtol=1e-6)


def test_gradients_pull_weights_to_zero_and_probabilities_as_the_formula_says(
    supernet: MultiBranchSupernet,
) -> None:
    objective = Objective(20.0, 100)
    objective(torch.zeros(1), supernet).loss.backward()
    for layer in gated(supernet):
        logit = layer.gate.logit_p.detach().double().item()
        p = scipy.special.expit(logit)
        weight = layer.weight.detach().double()
        np.testing.assert_allclose(
            layer.weight.grad, 20 / 100 * (1 - p) * weight, rtol=1e-4, atol=1e-9
        )
        # d/dlogit of l²/(2N) (1-p) |m|² - C H(p) / N
        expected = (
            p
            * (1 - p)
            * (-20 / 200 * float(weight.square().sum()) + layer.in_channels * logit / 100)
        )
        assert layer.gate.logit_p.grad.item() == pytest.approx(expected, rel=1e-4)


def test_without_a_prior_it_moves_no_weight(supernet: MultiBranchSupernet) -> None:
    terms = Objective(0, 100)(torch.zeros(1), supernet)
    assert float(terms.prior) == 0
    terms.loss.backward()
    assert all(layer.weight.grad is None for layer in gated(supernet))
    assert all(bool(layer.gate.logit_p.grad.any()) for layer in gated(supernet))


@pytest.mark.parametrize("length_scale2", [0.5, 4.0])
@pytest.mark.parametrize("mean", [-1.3, 0.4])
def test_prior_is_the_weight_dependent_part_of_the_divergence(
    length_scale2: float, mean: float
) -> None:
    """KL(N(m, σ²) ‖ N(0, l^-2)), by integration, less its value at m = 0; times keep, over N."""
    width, keep, examples = 0.02, 0.7, 40
    prior = scipy.stats.norm(0, 1 / math.sqrt(length_scale2))

    def divergence(at: float) -> float:
        q = scipy.stats.norm(at, width)
        value, _ = quad(
            lambda w: q.pdf(w) * (q.logpdf(w) - prior.logpdf(w)),
            at - 10 * width,
            at + 10 * width,
            limit=200,
        )
        return value

    class OneWeight:
        def prior_energy(self, *, constant: bool = False) -> Tensor:
            return torch.tensor(keep * mean**2, dtype=torch.float64)

        def entropy(self) -> Tensor:
            return torch.zeros((), dtype=torch.float64)

        def score_surrogate(self, nll: Tensor) -> Tensor:
            return nll.new_zeros(())

    terms = Objective(length_scale2, examples)(torch.zeros(1, dtype=torch.float64), OneWeight())
    expected = keep * (divergence(mean) - divergence(0.0)) / examples
    assert terms.prior.item() == pytest.approx(expected, rel=1e-6)


def test_a_candidate_has_no_entropy_and_only_kept_energy(supernet: MultiBranchSupernet) -> None:
    choice = supernet.posterior().sample(1, seed=0)[0]
    expected = sum(
        float(layer.weight[:, choice[name]].double().square().sum())
        for name, layer in supernet.gated_layers().items()
    )
    with supernet.candidate(choice):
        assert float(supernet.entropy()) == 0
        assert float(supernet.prior_energy()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size_prior", [0.3, 2.0])
def test_the_size_prior_by_hand_and_what_it_does_to_each_drop_probability(
    supernet: MultiBranchSupernet, size_prior: float
) -> None:
    """λ nats an image and 100 000 expected parameters; d/dlogit of (1 - p) is -p (1 - p)."""
    supernet.double()
    zero = torch.zeros(2, dtype=torch.float64)
    terms = Objective(0, 700, size_prior=size_prior)(zero, supernet)
    expected = 16 * 9 + 2 * 16 + 3 * 16 + 3  # stem, its BatchNorm, classifier
    expected += sum(2 * norm.num_features for norm in supernet.stages.modules() if is_norm(norm))
    for layer in gated(supernet):
        p = scipy.special.expit(layer.gate.logit_p.item())
        expected += (1 - p) * layer.weight.numel()
    assert terms.size.item() == pytest.approx(size_prior * expected / 100_000, rel=1e-12)
    assert terms.loss.item() == pytest.approx(terms.size.item() + terms.entropy.item(), rel=1e-12)
    terms.size.backward()
    for layer in gated(supernet):
        p = scipy.special.expit(layer.gate.logit_p.item())
        of_logit = -size_prior / 100_000 * layer.weight.numel() * p * (1 - p)
        assert layer.gate.logit_p.grad.item() == pytest.approx(of_logit, rel=1e-10)
        assert layer.weight.grad is None


def is_norm(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.BatchNorm2d)


def test_the_size_prior_over_widths_that_layers_share_is_not_linear() -> None:
    """Against the exact expectation over binomial widths, of which two are random."""
    net = SizeSupernet([3, 2, 2, 2, 2], 1, 4).double()
    net.configure_gates(GateSettings(initial=1e-12))
    with torch.no_grad():
        net.c0.logit_p.fill_(0.7)
        net.c3.logit_p.fill_(-0.4)

    def expected(first: float, third: float) -> float:
        of_first = scipy.stats.binom(3, scipy.special.expit(-first))
        of_third = scipy.stats.binom(2, scipy.special.expit(-third))
        projections = 2 * 2 + 2 * 2  # c1 to c2, which are equal; the space has none there
        total = projections + 0.0
        for i in range(4):
            for j in range(3):
                projected = (j * 2 + 2 * 2) * (j == 2)
                size = float(size_parameters([i, 2, 2, j, 2], 4, colours=1)) + projected
                total += of_first.pmf(i) * of_third.pmf(j) * size
        return 0.3 / 100_000 * total

    term = Objective(0, 700, size_prior=0.3)(torch.zeros(2, dtype=torch.float64), net).size
    assert term.item() == pytest.approx(expected(0.7, -0.4), rel=1e-9)
    term.backward()
    for gate, slope in (
        (net.c0, expected(0.7 + 1e-4, -0.4) - expected(0.7 - 1e-4, -0.4)),
        (net.c3, expected(0.7, -0.4 + 1e-4) - expected(0.7, -0.4 - 1e-4)),
    ):
        assert gate.logit_p.grad.item() == pytest.approx(slope / 2e-4, rel=1e-5)
        assert gate.logit_p.grad.item() < 0, "descent drops more channels"


def test_a_candidates_size_term_is_that_of_its_parameters(supernet: MultiBranchSupernet) -> None:
    choice = supernet.posterior().sample(1, seed=0)[0]
    with supernet.candidate(choice):
        term = Objective(0, 700, size_prior=0.3)(torch.zeros(2), supernet).size
    expected = 0.3 * supernet.candidate_parameters(choice) / 100_000
    assert term.item() == pytest.approx(expected, rel=1e-6)


def test_without_a_size_prior_the_loss_is_as_it_was(supernet: MultiBranchSupernet) -> None:
    terms = Objective(20.0, 100)(torch.tensor([0.5, 1.0]), supernet)
    assert terms.size.item() == 0
    assert terms.loss.item() == (terms.nll + terms.prior + terms.entropy).item()


def test_the_price_of_size_by_hand() -> None:
    """At a target of 200 000, λ's unit of 100 000 parameters is half of one; excess counts up to
    a fifth."""
    price = SizePrice(0.1, target=200_000)
    found = []
    for expected in (220_000, 400_000, 10_000, 200_000):
        price.adapt(expected)
        found.append((price.multiplier, price.value))
    multipliers = [0.1 + 0.01 * 0.1, 0.101 + 0.01 * 0.2, 0.103 - 0.01 * 0.2, 0.101]
    values = [0.101 + 1.0 * 0.1, 0.103 + 1.0 * 0.2, 0.0, 0.101]
    assert [each for each, _ in found] == pytest.approx(multipliers)
    assert [each for _, each in found] == pytest.approx(values)


def test_the_price_of_size_is_never_negative() -> None:
    price = SizePrice(0.0, target=1000)
    price.adapt(10)
    assert (price.multiplier, price.value) == (0, 0)


def test_cells_have_no_size_prior() -> None:
    net = NasBench201Supernet(4, 1, CellSpace(), 1, 3)
    with pytest.raises(PdnasError, match="has no prior on the architecture's size"):
        Objective(0, 700, size_prior=0.3)(torch.zeros(2), net)
