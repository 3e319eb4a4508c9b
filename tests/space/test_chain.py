"""Cells whose edges depend on each other: posterior and supernet against enumeration."""

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from pdnas.nn.gates import GateSettings
from pdnas.nn.objective import Objective
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.runs.run import Run
from pdnas.space.candidates import Candidates
from pdnas.space.cells import CELL, CHAIN, EDGES, CellSpace
from pdnas.space.posterior import CategoricalPosterior
from pdnas.spec.names import Dependence, Estimator
from pdnas.spec.scale import SCALES, load_scale
from pdnas.stages.materials import trained_supernet
from pdnas.stages.rank import rank_run
from pdnas.stages.retrain import choose, retrain_run
from pdnas.stages.sample import sample_run
from pdnas.stages.search import search_run
from pdnas.support.errors import PdnasError
from pdnas.truth.efficiency import load_probabilities

CPU = torch.device("cpu")
TWO = CellSpace(("skip_connect", "nor_conv_1x1"))
THREE = CellSpace(("none", "skip_connect", "nor_conv_3x3"))
BEFORE = {"1>2": "0>1", "0>2": "1>2", "2>3": "0>2", "1>3": "2>3", "0>3": "1>3"}
"""The chain, written down once more: each edge and the one it depends on."""


def place(edge: str) -> int:
    return EDGES.index(tuple(int(node) for node in edge.split(">")))


def chain_posterior(space: CellSpace = THREE, seed: int = 0) -> CategoricalPosterior:
    options = len(space.operations)
    tables = np.random.default_rng(seed).dirichlet(np.ones(options), (6, options))
    return CategoricalPosterior(torch.from_numpy(tables), space)


def by_hand(tables: NDArray[np.float64], space: CellSpace) -> NDArray[np.float64]:
    """Probabilities of all cells from the definition; ``tables``: (6, operations, operations)."""
    probabilities = []
    for cell in itertools.product(range(len(space.operations)), repeat=6):
        p = float(tables[place("0>1"), 0, cell[place("0>1")]])
        for edge, before in BEFORE.items():
            p *= float(tables[place(edge), cell[place(before)], cell[place(edge)]])
        probabilities.append(p)
    return np.array(probabilities)


def chain_net(
    space: CellSpace = TWO,
    seed: int = 0,
    estimator: Estimator = "score",
    temperature: float = 1.0,
) -> NasBench201Supernet:
    """A chain in float64 with random logits and with BatchNorms in which images do not meet."""
    torch.manual_seed(seed)
    net = NasBench201Supernet(4, 1, space, in_channels=3, classes=10, stages=1)
    settings = GateSettings(temperature=temperature, estimator=estimator, dependence="chain")
    net.configure_gates(settings)
    with torch.no_grad():
        net.logits.normal_()
        for kernel in net.gated_weights():
            kernel.normal_(std=0.2)
    net.double().train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            nn.init.normal_(module.bias)
    return net


def test_neighbours_in_the_chain_meet_in_a_node() -> None:
    assert sorted(CHAIN) == list(range(6))
    for first, second in itertools.pairwise(CHAIN):
        end = EDGES[first][1]
        assert end in EDGES[second]


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_by_enumeration(seed: int) -> None:
    q = chain_posterior(seed=seed)
    p = q.architecture_probabilities()
    expected = by_hand(q.conditionals, THREE)
    assert p.shape == (729,)
    assert p.sum() == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    cells = Candidates({CELL: torch.from_numpy(THREE.cells)})
    np.testing.assert_allclose(q.log_probability(cells), np.log(expected), rtol=1e-12)
    assert q.entropy() == pytest.approx(-(expected * np.log(expected)).sum(), rel=1e-12)
    marginals = [[expected[column == code].sum() for code in range(3)] for column in THREE.cells.T]
    np.testing.assert_allclose(q.probabilities, marginals, rtol=1e-12)
    np.testing.assert_allclose(q.marginals().probability, np.ravel(marginals), rtol=1e-12)


def test_a_chain_of_equal_rows_is_the_product() -> None:
    rows = torch.from_numpy(np.random.default_rng(1).dirichlet(np.ones(3), 6))
    product = CategoricalPosterior(rows, THREE)
    chain = CategoricalPosterior(rows[:, None].expand(6, 3, 3), THREE)
    np.testing.assert_allclose(
        chain.architecture_probabilities(), product.architecture_probabilities(), rtol=1e-12
    )
    np.testing.assert_allclose(chain.probabilities, product.probabilities, rtol=1e-12)
    assert chain.entropy() == pytest.approx(product.entropy(), rel=1e-12)
    assert torch.equal(chain.mode().choices[CELL], product.mode().choices[CELL])
    assert torch.equal(chain.sample(200, 3).choices[CELL], product.sample(200, 3).choices[CELL])


def test_the_mode_is_the_most_probable_cell() -> None:
    differs = 0
    for seed in range(20):
        q = chain_posterior(seed=seed)
        mode = q.mode().choices[CELL]
        assert mode.dtype == torch.int8
        best = THREE.cells[by_hand(q.conditionals, THREE).argmax()]
        assert mode[0].tolist() == best.tolist()
        differs += best.tolist() != q.probabilities.argmax(dim=1).tolist()
    assert differs  # the best operation of each edge alone would not do


def test_frequencies_follow_the_probabilities() -> None:
    q, n = chain_posterior(TWO, seed=4), 50_000
    drawn = q.sample(n, seed=1).choices[CELL]
    assert drawn.dtype == torch.int8
    assert goodness_of_fit(drawn.numpy(), q) > 1e-3
    assert goodness_of_fit(drawn.numpy(), CategoricalPosterior(q.probabilities, TWO)) < 1e-9


def goodness_of_fit(drawn: NDArray[np.integer], q: CategoricalPosterior) -> float:
    """P-value of the chi-square test of drawn cells against q."""
    expected = len(drawn) * q.architecture_probabilities()
    observed = np.bincount(q.space.ids(drawn), minlength=len(expected))
    bins = np.where(expected > 5, np.arange(len(expected)), expected.argmin())  # the rare in one
    table = [np.bincount(bins, x)[np.unique(bins)] for x in (observed, expected)]
    return scipy.stats.chisquare(*table).pvalue


def test_a_short_draw_is_the_beginning_of_a_long_one() -> None:
    q = chain_posterior()
    short, long, other = (
        q.sample(count, seed).choices[CELL] for count, seed in ((13, 5), (26, 5), (26, 6))
    )
    assert torch.equal(short, long[:13])
    assert not torch.equal(long, other)


def test_certain_dependence() -> None:
    """Every edge repeats the operation before it; the first is a fair coin."""
    tables = torch.eye(2).repeat(6, 1, 1)
    tables[CHAIN[0]] = 0.5
    q = CategoricalPosterior(tables, TWO)
    assert q.sample(100, seed=0).choices[CELL].unique(dim=0).tolist() == [[0] * 6, [1] * 6]
    assert q.entropy() == pytest.approx(math.log(2))
    assert sorted(q.architecture_probabilities())[-3:] == [0, 0.5, 0.5]
    np.testing.assert_allclose(q.probabilities, 0.5)


@pytest.mark.parametrize(
    "tables",
    [
        torch.full((5, 3, 3), 1 / 3),
        torch.full((6, 2, 3), 1 / 3),
        torch.full((6, 3, 2), 1 / 2),
        torch.full((6, 3, 3), 0.3),
        torch.tensor([[[1.5, -0.5, 0.0]] * 3] * 6),
        torch.full((6, 3, 3), math.nan),
    ],
)
def test_bad_probabilities_are_refused(tables: Tensor) -> None:
    with pytest.raises(PdnasError, match="probabilities"):
        CategoricalPosterior(tables, THREE)


def test_a_new_chain_is_uniform() -> None:
    net = NasBench201Supernet(4, 1, THREE, in_channels=3, classes=10)
    net.configure_gates(GateSettings(dependence="chain"))
    np.testing.assert_allclose(net.posterior().architecture_probabilities(), 1 / 729, rtol=1e-12)


@pytest.mark.parametrize("estimator", ["score", "straight-through"])
def test_draws_follow_the_logits(estimator: str) -> None:
    net = chain_net(estimator=estimator, temperature=0.7)
    drawn = net.draws().codes(20_000).numpy()
    assert goodness_of_fit(drawn, net.posterior()) > 1e-3
    assert goodness_of_fit(drawn, CategoricalPosterior(net.posterior().probabilities, TWO)) < 1e-9


def test_energy_and_entropy_by_enumeration() -> None:
    """Values and gradients are those of sums over all 729 cells."""
    net = chain_net(THREE)
    cells = torch.from_numpy(THREE.cells).long()
    log_q = enumerated_log_probability(net.logits, cells)
    np.testing.assert_allclose(
        net.posterior().architecture_probabilities(), log_q.detach().exp(), rtol=1e-12
    )
    entropy = -(log_q.exp() * log_q).sum()
    energies = []
    for cell in cells:
        with net.candidate({CELL: cell}):
            energies.append(net.prior_energy())
    energy = (log_q.exp() * torch.stack(energies).detach()).sum()
    for ours, expected in ((net.entropy(), entropy), (net.prior_energy(), energy)):
        torch.testing.assert_close(ours, expected)
        gradients = [
            torch.autograd.grad(value, net.logits, retain_graph=True)[0]
            for value in (ours, expected)
        ]
        torch.testing.assert_close(*gradients)
        assert bool(gradients[0].any())


def enumerated_log_probability(logits: Tensor, cells: Tensor) -> Tensor:
    """log q of cells, shape (cells,), with its gradient."""
    log = torch.log_softmax(logits, dim=2)
    total = log[place("0>1"), 0][cells[:, place("0>1")]]
    for edge, before in BEFORE.items():
        total = total + log[place(edge)][cells[:, place(before)], cells[:, place(edge)]]
    return total


def test_score_surrogate_is_unbiased() -> None:
    """Over all pairs of cells, its mean gradient is the slope of the enumerated expectation."""
    net = chain_net()
    cells = torch.from_numpy(TWO.cells).long()
    value = torch.randn(64, dtype=torch.float64) + 3  # an NLL for every cell
    weights = torch.from_numpy(net.posterior().architecture_probabilities())
    total = torch.zeros((), dtype=torch.float64)
    for first, second in itertools.product(range(64), repeat=2):
        if first <= second:
            weight = weights[first] * weights[second] * (1 if first == second else 2)
            net.drawn = cells[[first, second]]
            total = total + weight * net.score_surrogate(value[[first, second]])
    (mean,) = torch.autograd.grad(total, net.logits)

    step, slopes = 1e-5, torch.zeros_like(net.logits)
    for index in np.ndindex(*net.logits.shape):
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                net.logits[index] += sign * step
                q = torch.softmax(net.logits, dim=2)
                sides.append(by_hand(q, TWO) @ value.numpy())
                net.logits[index] -= sign * step
        slopes[index] = (sides[0] - sides[1]) / (2 * step)
    assert float(slopes.abs().max()) > 0.01
    np.testing.assert_allclose(mean, slopes.detach(), atol=1e-8)


def test_straight_through_gradient_by_the_definition() -> None:
    """Of hard choices w on every edge, with ∂w = ∂softmax, whose logits are w @ table."""
    net = chain_net(THREE, estimator="straight-through", temperature=0.7)
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    torch.manual_seed(5)
    out = net(x)
    (gradient,) = torch.autograd.grad(out.square().mean(), net.logits)

    torch.manual_seed(5)
    hard, logits = {}, net.logits[CHAIN[0], 0].expand(6, -1)
    used = torch.zeros_like(net.logits, dtype=torch.bool)
    used[CHAIN[0], 0] = True
    for edge, following in itertools.zip_longest(CHAIN, CHAIN[1:]):
        soft = nn.functional.gumbel_softmax(logits, tau=0.7)
        one_hot = nn.functional.one_hot(soft.argmax(dim=1), 3).double()
        hard[edge] = one_hot + (soft - soft.detach())
        if following is not None:
            used[following, soft.argmax(dim=1)] = True
            logits = hard[edge] @ net.logits[following]
    weights = torch.stack([hard[edge] for edge in range(6)], dim=1)
    features = net.layers[0].weighted(net.stem(x), weights)
    expected = net.classifier(net.head(features).mean(dim=(2, 3)))
    torch.testing.assert_close(out, expected)
    (slope,) = torch.autograd.grad(expected.square().mean(), net.logits)
    torch.testing.assert_close(gradient, slope, rtol=1e-6, atol=1e-10)
    assert not bool(used.all())
    assert not bool(gradient[~used].any())  # rows that no image used
    assert bool(gradient[used].any())


FIRST, SECOND = CHAIN[:2]


def planted(codes: Tensor, strength: float = 3.0) -> Tensor:
    """NLL of a likelihood that only rewards equal operations on the chain's first two edges."""
    return strength * (codes[:, FIRST] != codes[:, SECOND]).double()


def learned(dependence: Dependence, estimator: Estimator) -> CategoricalPosterior:
    """The posterior learned from the planted likelihood of one example."""
    torch.manual_seed(0)
    net = NasBench201Supernet(2, 1, THREE, in_channels=1, classes=2, stages=1)
    net.configure_gates(GateSettings(estimator=estimator, dependence=dependence))
    objective = Objective(length_scale2=0, examples=1)
    optimiser = torch.optim.Adam([net.logits], lr=0.05)
    for step in range(300):
        if step == 200:
            optimiser.param_groups[0]["lr"] = 0.01
        if estimator == "score":
            net.drawn = net.draws().codes(128)
            nll = planted(net.drawn)
        else:
            soft = net.draws().relaxed(128)
            one_hot = nn.functional.one_hot(soft.argmax(dim=2), 3)
            choice = one_hot + (soft - soft.detach())
            nll = 3.0 * (1 - (choice[:, FIRST] * choice[:, SECOND]).sum(dim=1))
        optimiser.zero_grad()
        objective(nll, net).loss.backward()
        optimiser.step()
    return net.posterior()


@pytest.mark.parametrize("estimator", ["score", "straight-through"])
def test_a_chain_learns_a_planted_dependence_that_a_product_cannot(estimator: str) -> None:
    nll = planted(torch.from_numpy(THREE.cells)).numpy()
    evidence = np.log(np.exp(-nll).mean())
    bounds, equal = {}, {}
    for dependence in ("chain", "independent"):
        q = learned(dependence, estimator)
        p = q.architecture_probabilities()
        bounds[dependence] = q.entropy() - 6 * math.log(3) - p @ nll
        equal[dependence] = p[nll == 0].sum()
    # The true posterior is a chain. A product agrees more often only by choosing less freely.
    assert bounds["chain"] == pytest.approx(evidence, abs=0.03)
    assert equal["chain"] == pytest.approx(3 / (3 + 6 * math.exp(-3)), abs=0.04)
    assert bounds["independent"] < evidence - 0.5


def scale_file(tmp_path: Path, **gates: Any) -> str:
    """The smoke scale's cells, two short epochs of them, with other gates."""
    content = yaml.safe_load((SCALES / "smoke.yaml").read_text())
    study = copy.deepcopy(content["studies"]["nasbench201"])
    base = study["base"]
    base["data"] |= {"train": 100, "validation": 50, "test": 50}
    base["training"]["epochs"] = 2
    base["candidates"]["count"] = 3
    base["gates"] |= {"dependence": "chain", "warmup_epochs": 1} | gates
    study["variants"] = {"guided": {}}
    content["studies"] = {"nasbench201": study}
    path = tmp_path / "chain.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize("estimator", ["straight-through", "score"])
def test_every_stage_runs(tmp_path: Path, estimator: str) -> None:
    spec = load_scale(scale_file(tmp_path, estimator=estimator)).spec("nasbench201", "guided")
    out = tmp_path / "run"
    search_run(spec, scale="c", study="nasbench201", variant="guided", seed=0, out=out, device=CPU)
    run = Run.load(out)
    options = len(spec.supernet.operations)
    assert run.posterior().conditionals.shape == (6, options, options)
    assert trained_supernet(run, CPU).posterior().entropy() == pytest.approx(
        run.posterior().entropy()
    )
    assert run.posterior().entropy() < 6 * math.log(options) - 1e-6
    sample_run(run, "posterior", 3, 0)
    sample_run(run, "uniform", 3, 0)
    rank_run(run, "posterior", CPU)
    retrain_run(run, choose(run, "posterior"), "none", CPU)
    assert load_probabilities(out)[1].sum() == pytest.approx(1)


@pytest.mark.parametrize("estimator", ["relaxed", "softmax"])
def test_mixtures_have_no_choice_to_depend_on(tmp_path: Path, estimator: str) -> None:
    with pytest.raises(PdnasError, match="chain needs estimator: straight-through or score"):
        load_scale(scale_file(tmp_path, estimator=estimator))


def test_channels_form_no_chain(tmp_path: Path) -> None:
    content = yaml.safe_load((SCALES / "smoke.yaml").read_text())
    content["studies"]["multibranch"]["base"]["gates"]["dependence"] = "chain"
    path = tmp_path / "scale.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(PdnasError, match="chain needs supernet nasbench201"):
        load_scale(str(path))
