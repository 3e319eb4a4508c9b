"""NAS-Bench-Macro's supernet: its networks are the benchmark's, and images take their own ways."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pdnas.nn.describe import describe
from pdnas.nn.gates import GateSettings
from pdnas.nn.noise import together
from pdnas.nn.subnet import extract, multiply_adds, parameters
from pdnas.nn.supernets import build
from pdnas.nn.supernets.categorical.mixture import find_routes
from pdnas.nn.supernets.categorical.scoring import folded
from pdnas.nn.supernets.macro.blocks import LayerMixture
from pdnas.nn.supernets.macro.network import NasBenchMacroSupernet
from pdnas.nn.supernets.macro.scoring import blocks, score_block
from pdnas.space.macro import LAYERS, MacroSpace
from pdnas.spec.names import Dependence, Estimator
from pdnas.spec.supernets import NAMED
from pdnas.support.errors import PdnasError
from pdnas.truth.tables import open_truth

SPACE = MacroSpace()
TRUTH = open_truth("nasbench-macro")
BIAS = 10
"""Of the classifier, which the benchmark's FLOPs leave out; its parameters count."""


def small(**settings: object) -> NasBenchMacroSupernet:
    """Two channels in float64, with BatchNorm values that are not those of a new one."""
    torch.manual_seed(0)
    net = NasBenchMacroSupernet(2, 3, 10)
    net.begin_alone()
    net.configure_gates(GateSettings(temperature=1.0, **settings))  # type: ignore[arg-type]
    with torch.no_grad():
        net.logits.normal_()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                for positive in (module.running_var, module.weight):
                    positive.uniform_(0.5, 1.5)
                for real in (module.running_mean, module.bias):
                    real.normal_()
    return net.double()


def choice(codes: list[int]) -> dict[str, Tensor]:
    return {SPACE.KEY: torch.tensor(codes, dtype=torch.int8)}


def benchmark() -> NasBenchMacroSupernet:
    with torch.device("meta"):
        network = build(NAMED["nasbench-macro"], 3, 10)
    assert isinstance(network, NasBenchMacroSupernet)
    return network.eval()


def some_networks(count: int) -> Iterator[list[int]]:
    rows = np.random.default_rng(0).choice(len(SPACE), count, replace=False)
    yield from SPACE.codes[rows].tolist()


def test_parameters_and_multiply_adds_of_every_network_are_the_benchmarks() -> None:
    """By sums of what each block adds to the network without it."""
    net = benchmark()
    image = torch.empty(1, 3, 32, 32, device="meta")

    def sizes(codes: list[int]) -> tuple[int, int]:
        with net.candidate(choice(codes)):
            return net.candidate_parameters(choice(codes)), multiply_adds(net, image)

    bare = np.array(sizes([0] * LAYERS))
    total = np.tile(bare, (len(SPACE), 1))
    for layer in range(LAYERS):
        for code in (1, 2):
            codes = [0] * LAYERS
            codes[layer] = code
            total[SPACE.codes[:, layer] == code] += np.array(sizes(codes)) - bare
    np.testing.assert_array_equal(total[:, 0], TRUTH.parameters)
    np.testing.assert_array_equal(total[:, 1], TRUTH.multiply_adds)


def test_some_networks_on_their_own() -> None:
    """Built of nothing but their blocks, counted by torch."""
    torch.manual_seed(0)
    net = NasBenchMacroSupernet(32, 3, 10).eval()
    net.begin_alone()
    x = torch.randn(1, 3, 32, 32)
    for codes in some_networks(30):
        alone = extract(net, choice(codes), x)
        row = int(SPACE.ids(np.array(codes)))
        with net.candidate(choice(codes)), torch.no_grad():
            torch.testing.assert_close(alone(x), net(x), rtol=1e-3, atol=1e-4)
        assert net.candidate_parameters(choice(codes)) == TRUTH.parameters[row]
        # The extracted network has BatchNorm as a part of its convolutions.
        norms = sum(
            2 * module.num_features
            for layer, code in zip(net.layers, codes, strict=True)
            for module in layer.blocks[str(code)].modules()
            if isinstance(module, nn.BatchNorm2d)
        )
        assert parameters(alone) in (TRUTH.parameters[row], TRUTH.parameters[row] - norms)
        assert multiply_adds(alone, x) == TRUTH.multiply_adds[row]


def test_all_blocks_of_a_layer_begin_alike() -> None:
    """But for the input that a residual block adds; a network of its own begins as networks do."""
    torch.manual_seed(0)
    net = NasBenchMacroSupernet(4, 3, 10).double().eval()
    x = net.stem(torch.rand(2, 3, 16, 16, dtype=torch.float64))
    for layer in net.layers:
        given = []
        for block in layer.blocks.values():
            out = block(x)
            assert float(out.detach().std()) > 0
            given.append(out - x if block.residual else out)
        for out in given:
            torch.testing.assert_close(out, given[0], rtol=1e-3, atol=1e-3)
        x = given[0]
    before = [kernel.clone() for kernel in net.gated_weights()]
    net.begin_alone()
    for kernel, old in zip(net.gated_weights(), before, strict=True):
        assert (kernel == 0).sum() < (old == 0).sum() or (old != 0).all()


def test_describe() -> None:
    record = describe("nasbench-macro", width=None, cell="02012100", classes=None, size=None)
    row = TRUTH.rows["02012100"]
    assert record["parameters"] == TRUTH.parameters[row]
    assert record["multiply_adds"] == TRUTH.multiply_adds[row]
    whole = describe("nasbench-macro", width=8, cell=None, classes=None, size=None)
    assert [gate["name"] for gate in whole["gates"]] == [f"layer{each}" for each in range(8)]
    with pytest.raises(PdnasError, match="'0201210' is no network"):
        describe("nasbench-macro", width=None, cell="0201210", classes=None, size=None)


def test_names() -> None:
    assert SPACE.to_string(SPACE.from_string(" 02012100 ")) == "02012100"
    assert [SPACE.to_string(codes) for codes in SPACE.codes[[0, 1, 3, -1]]] == [
        "00000000",
        "00000001",
        "00000010",
        "22222222",
    ]
    with pytest.raises(PdnasError, match="a network is 8 whole block codes from 0 to 2"):
        SPACE.ids(np.full(8, 3))
    with pytest.raises(PdnasError, match="one network has one name"):
        SPACE.to_string(SPACE.codes[:2])


@pytest.mark.parametrize("training", [True, False])
def test_images_that_share_a_network_go_its_way(training: bool) -> None:
    """By routes and by the network alone: the same logits, also with statistics of the batch."""
    net = small().train(training)
    x = torch.randn(6, 3, 16, 16, dtype=torch.float64)
    codes = [1, 0, 2, 2, 0, 0, 1, 2]
    routes = find_routes(torch.tensor(codes).expand(6, 8), SPACE.options)
    other = copy.deepcopy(net)
    routed = net.through_layers(net.stem(x), lambda layer, x: layer(x, routes))
    with other.candidate(choice(codes)):
        torch.testing.assert_close(routed, other(x))


def test_images_of_several_networks_as_if_each_were_alone() -> None:
    """Evaluated, images do not meet; trained with shared networks, only those of one do."""
    net = small().eval()
    x = torch.randn(12, 3, 16, 16, dtype=torch.float64)
    drawn = torch.tensor(list(some_networks(3)))
    routes = find_routes(drawn.repeat(4, 1), SPACE.options)
    mixed = net.through_layers(net.stem(x), lambda layer, x: layer(x, routes))
    for number, codes in enumerate(drawn.tolist()):
        with net.candidate(choice(codes)):
            torch.testing.assert_close(mixed[number::3], net(x[number::3]))
    features = together(net.stem(x), 3)
    routes = find_routes(drawn, SPACE.options)
    shared = net.through_layers(features, lambda layer, x: layer(x, routes, None, 3), 3)
    for number, codes in enumerate(drawn.tolist()):
        names = [SPACE.options[code] for code in codes]
        own = net.through_layers(
            features.chunk(3)[number], lambda layer, x, names=names: layer.alone(x, names, 1), 1
        )
        torch.testing.assert_close(shared.chunk(3)[number], own)


@pytest.mark.parametrize("per_batch", [None, 3])
def test_credit_is_the_gradient_of_the_weighted_sum(per_batch: int | None) -> None:
    """At weights of one option each, where the sum's value is that of the routes."""
    torch.manual_seed(1)
    layer = LayerMixture(2, 4, 8, stride=2).double()
    x = torch.randn(6, 4, 8, 8, dtype=torch.float64)
    chosen = torch.randint(3, (2, 8))
    chosen = chosen.repeat(3, 1) if per_batch is None else torch.randint(3, (3, 8))
    soft = nn.functional.one_hot(chosen, 3).double().requires_grad_()
    weights = soft.detach().clone().requires_grad_()
    layer.train(per_batch is not None)  # evaluated: what an option would add, images apart
    slope = torch.randn(6, 8, 4, 4, dtype=torch.float64)
    routed = layer(x, find_routes(chosen, SPACE.options), soft, per_batch)
    weighted = layer.weighted(x, weights, per_batch)
    (credit,) = torch.autograd.grad((routed * slope).sum(), soft)
    (expected,) = torch.autograd.grad((weighted * slope).sum(), weights)
    torch.testing.assert_close(routed, weighted)
    torch.testing.assert_close(credit, expected)


@pytest.mark.parametrize("estimator", ["straight-through", "relaxed", "softmax", "score"])
@pytest.mark.parametrize("noise", [None, 2, 1])
@pytest.mark.parametrize("dependence", ["independent", "chain"])
def test_a_step_moves_weights_and_logits(
    estimator: Estimator, noise: int | None, dependence: Dependence
) -> None:
    if dependence == "chain" and estimator in ("relaxed", "softmax"):
        pytest.skip("refused by the specification")
    if noise == 1 and estimator == "score":
        pytest.skip("one network leaves nothing to compare")
    net = small(estimator=estimator, masks_per_batch=noise, dependence=dependence).train()
    x, y = torch.randn(30, 3, 16, 16, dtype=torch.float64), torch.arange(30) % 10
    nll = nn.functional.cross_entropy(net(x), y, reduction="none")
    (nll.mean() + net.score_surrogate(nll.detach()) - net.entropy() / 100).backward()
    assert torch.isfinite(net.logits.grad).all()
    assert bool((net.logits.grad.abs().flatten(1).sum(dim=1) > 0).all())
    assert bool(net.stem[0].weight.grad.abs().sum() > 0)


@pytest.mark.parametrize("rows_at_once", [1, 190, 100_000])
@pytest.mark.parametrize("alone", [True, False])
def test_scores_of_a_block_are_those_of_each_network(alone: bool, rows_at_once: int) -> None:
    net = small().eval()
    x, y = torch.randn(20, 3, 8, 8, dtype=torch.float64), torch.arange(20) % 10
    beginnings = blocks(SPACE)
    assert np.array_equal(np.concatenate(beginnings), SPACE.codes)
    found = score_block(
        net if alone else folded(net), beginnings[40], [(x, y)], alone, rows_at_once
    )
    for row in (0, 7, 80):
        codes = beginnings[40][row]
        assert found["cell_id"][row] == SPACE.ids(codes)
        own = copy.deepcopy(net).train(alone)  # in training: statistics of these images
        with own.candidate(choice(codes.tolist())), torch.no_grad():
            logits = own(x)
        assert found["score"][row] == float((logits.argmax(dim=1) == y).double().mean())
        assert found["loss"][row] == pytest.approx(float(nn.functional.cross_entropy(logits, y)))
