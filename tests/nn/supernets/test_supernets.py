"""Supernets against the published sizes, brute force and enumeration."""

import copy
import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, get_args

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdnas.nn.gates import GatedConv2d, GateSettings
from pdnas.nn.supernets import Supernet, build
from pdnas.nn.supernets.categorical import credit
from pdnas.nn.supernets.categorical.batchnorm import normalised
from pdnas.nn.supernets.categorical.credit import Credit, products_of_rows
from pdnas.nn.supernets.categorical.draws import Draws
from pdnas.nn.supernets.categorical.estimators import ESTIMATORS
from pdnas.nn.supernets.categorical.mixture import find_routes
from pdnas.nn.supernets.cells.mixture import CellMixture
from pdnas.nn.supernets.cells.network import NasBench201Supernet
from pdnas.nn.supernets.cells.operations import make_operation
from pdnas.nn.supernets.multibranch import MultiBranchSupernet, ShakeShake
from pdnas.space.cells import CELL, EDGES, CellSpace
from pdnas.space.posterior import ChannelPosterior
from pdnas.spec.names import Estimator
from pdnas.spec.supernets import NAMED, MultiBranchConfig, NasBench201Config
from pdnas.support.errors import PdnasError
from pdnas.truth.cost import parameters

Network = TypeVar("Network", bound=nn.Module)


def shake_out(net: Network, seed: int = 0) -> Network:
    """BatchNorm statistics and scales that are not those of a fresh network."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.running_var, module.weight.data):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            for value in (module.running_mean, module.bias.data):
                value.copy_(torch.randn(value.shape, generator=generator))
    return net


@pytest.fixture
def branches() -> MultiBranchSupernet:
    torch.manual_seed(0)
    net = MultiBranchSupernet(width=6, blocks=2, in_channels=3, classes=10)
    net.configure_gates(GateSettings())
    with torch.no_grad():
        for logit in net.distribution_parameters():
            logit.normal_()
    return shake_out(net)


def cells_net(
    cells: int = 1,
    space: CellSpace | None = None,
    seed: int = 0,
    estimator: Estimator = "score",
    temperature: float = 1.0,
) -> NasBench201Supernet:
    torch.manual_seed(seed)
    net = NasBench201Supernet(4, cells, space or CellSpace(), in_channels=3, classes=10)
    net.configure_gates(GateSettings(temperature=temperature, estimator=estimator))
    with torch.no_grad():
        net.logits.normal_()
        for kernel in net.gated_weights():  # they start as identities
            kernel.normal_(std=0.2)
    return shake_out(net, seed).double()


def cell(*codes: Any) -> dict[str, Tensor]:
    return {CELL: torch.tensor(codes, dtype=torch.int8)}


@pytest.mark.parametrize(
    ("name", "size"), [("supernet-m", 26_192_922), ("supernet-mi", 72_695_194)]
)
def test_the_paper_s_supernets_have_the_reported_sizes(name: str, size: int) -> None:
    with torch.device("meta"):
        net = build(NAMED[name], 3, 10)
    assert net.parameter_count() == size
    # Nothing counted twice, and every convolution but the stem is gated.
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [m for m in convolutions if not isinstance(m, GatedConv2d)] == [net.stem]
    assert len(net.gated_layers()) == len(convolutions) - 1 == 12 * 4 + 3 * 2


def test_the_benchmark_s_network_has_the_published_size() -> None:
    with torch.device("meta"):
        net = build(NAMED["nasbench201"], 3, 10)
    assert net.candidate_parameters(cell(3, 3, 3, 3, 3, 3)) == 1_531_546
    assert net.candidate_parameters(cell(0, 0, 0, 0, 0, 0)) == 73_306


def test_cell_parameters_agree_with_the_closed_form() -> None:
    with torch.device("meta"):
        nets = [
            (net, shape)
            for shape in ((16, 5, 10), (8, 1, 10), (6, 2, 7))
            if (net := NasBench201Supernet(*shape[:2], CellSpace(), 3, shape[2]))
        ]
    chosen = CellSpace().cells[np.random.default_rng(0).integers(0, 15_625, 8)]
    for net, shape in nets:
        ours = [net.candidate_parameters({CELL: torch.from_numpy(codes)}) for codes in chosen]
        assert ours == parameters(chosen, *shape).tolist()


def test_build_follows_the_configuration() -> None:
    net = build(MultiBranchConfig(name="multibranch", width=4, blocks=1), 1, 7)
    assert net.eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
    operations = ("none", "nor_conv_3x3")
    net = build(
        NasBench201Config(name="nasbench201", channels=2, cells=3, stages=1, operations=operations),
        1,
        7,
    )
    assert net.space.operations == operations
    assert [type(layer) for layer in net.layers] == [CellMixture] * 3
    with net.candidate(cell(1, 1, 1, 1, 1, 1)):
        assert net.eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


def normed(norm: Any, x: Tensor) -> Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


@pytest.mark.parametrize("merge", ["sum", "shake-shake"])
def test_the_3_branch_network_by_its_formula(merge: str) -> None:
    """Gastaldi's network, written out with plain functions."""
    net = shake_out(MultiBranchSupernet(4, 2, 3, 10, merge)).double().eval()
    net.configure_gates(GateSettings("none"))
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)

    def path(layers: Any, x: Tensor, stride: int) -> Tensor:
        first, norm1, second, norm2 = layers
        x = normed(norm1, F.conv2d(F.relu(x), first.weight, stride=stride, padding=1))
        return normed(norm2, F.conv2d(F.relu(x), second.weight, padding=1))

    def skip(block: Any, x: Tensor, stride: int) -> Tensor:
        if isinstance(block.skip, nn.Identity):
            return x
        x = F.relu(x)
        moved = F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
        halves = (
            F.conv2d(F.avg_pool2d(here, 1, stride), convolution.weight)
            for here, convolution in ((x, block.skip.conv), (moved, block.skip.conv_shifted))
        )
        return normed(block.skip.norm, torch.cat(list(halves), dim=1))

    x = normed(net.stem_norm, F.conv2d(images, net.stem.weight, padding=1))
    for number, stage in enumerate(net.stages):
        for place, block in enumerate(stage):
            stride = 2 if number and not place else 1
            branches = path(block.branch1, x, stride) + path(block.branch2, x, stride)
            x = skip(block, x, stride) + (branches / 2 if merge == "shake-shake" else branches)
    pooled = F.adaptive_avg_pool2d(F.relu(x), 1).flatten(1)
    logits = F.linear(pooled, net.classifier.weight, net.classifier.bias)
    torch.testing.assert_close(net(images), logits)


def test_the_benchmark_s_skeleton_by_its_formula() -> None:
    """Stem, cells, residual blocks and head (Dong and Yang 2020), the cell a single convolution."""
    net = cells_net().eval()
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)

    def convolve(operation: Any, x: Tensor, stride: int = 1) -> Tensor:
        _, convolution, norm = operation
        return normed(norm, F.conv2d(F.relu(x), convolution.weight, stride=stride, padding=1))

    convolution, norm = net.stem
    x = normed(norm, F.conv2d(images, convolution.weight, padding=1))
    for layer in net.layers:
        if isinstance(layer, CellMixture):
            x = convolve(layer.edges[3]["nor_conv_3x3"], x)  # from input to output
        else:
            first, second = layer.body
            body = convolve(second, convolve(first, x, 2))
            x = F.conv2d(F.avg_pool2d(x, 2), layer.shortcut[1].weight) + body
    pooled = F.adaptive_avg_pool2d(F.relu(normed(net.head[0], x)), 1).flatten(1)
    logits = F.linear(pooled, net.classifier.weight, net.classifier.bias)
    assert EDGES[3] == (0, 3)
    with net.candidate(cell(0, 0, 0, 3, 0, 0)):
        torch.testing.assert_close(net(images), logits)


def test_all_kept_is_the_supernet(branches: MultiBranchSupernet) -> None:
    branches.eval()
    x = torch.randn(2, 3, 16, 16)
    everything = {
        name: torch.ones(layer.gate.channels, dtype=torch.bool)
        for name, layer in branches.gated_layers().items()
    }
    whole = branches(x)
    with branches.candidate(everything):
        assert torch.equal(branches(x), whole)
    assert branches.candidate_parameters(everything) == branches.parameter_count()
    assert branches.kept(everything) == (1, 1)


def test_a_candidate_is_the_network_without_the_dropped_slices(
    branches: MultiBranchSupernet,
) -> None:
    branches.eval()
    choice = branches.posterior().sample(1, seed=2)[0]
    x = torch.randn(2, 3, 16, 16)
    whole = branches(x)
    zeroed = copy.deepcopy(branches)
    removed = 0
    with torch.no_grad():
        for name, layer in zeroed.gated_layers().items():
            for channel, keep in enumerate(choice[name]):
                if not keep:
                    removed += layer.weight[:, channel].numel()
                    layer.weight[:, channel] = 0
    with branches.candidate(choice):
        out = branches(x)
    torch.testing.assert_close(out, zeroed(x))
    assert not torch.allclose(out, whole)
    assert torch.equal(branches(x), whole)  # the supernet again
    logits = len(branches.gated_layers())
    everything = sum(p.numel() for p in branches.parameters()) - logits
    assert branches.candidate_parameters(choice) == everything - removed


def test_shake_shake_draws_weights_of_each_image_and_others_for_the_gradient() -> None:
    torch.manual_seed(0)
    first = torch.randn(3000, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    second = torch.randn_like(first, requires_grad=True)
    out = ShakeShake()(first, second)
    weights = ((out - second) / (first - second)).detach().flatten(1)
    torch.testing.assert_close(weights, weights[:, :1].expand_as(weights))
    gradients = torch.autograd.grad(out.sum(), (first, second))
    towards = gradients[0].flatten(1)
    torch.testing.assert_close(towards, towards[:, :1].expand_as(towards))
    torch.testing.assert_close(gradients[0] + gradients[1], torch.ones_like(first))
    for drawn in (weights[:, 0], towards[:, 0]):  # uniform from 0 to 1
        assert scipy.stats.kstest(drawn.numpy(), "uniform").pvalue > 0.001
    assert abs(np.corrcoef(weights[:, 0], towards[:, 0])[0, 1]) < 4 / 3000**0.5


def test_shake_shake_is_the_mean_of_the_branches_in_evaluation(
    branches: MultiBranchSupernet,
) -> None:
    shaking = MultiBranchSupernet(6, 2, 3, 10, "shake-shake")
    shaking.configure_gates(GateSettings())
    shaking.load_state_dict(branches.state_dict())
    choice = branches.posterior().sample(1, seed=2)[0]
    assert shaking.candidate_parameters(choice) == branches.candidate_parameters(choice)
    assert shaking.parameter_count() == branches.parameter_count()
    with torch.no_grad():  # halving what leaves a path halves its weight in the sum
        for name, parameter in branches.named_parameters():
            if ".branch" in name and ".5." in name:  # the path's last BatchNorm
                parameter.mul_(0.5)
    x = torch.randn(2, 3, 16, 16)
    with branches.candidate(choice), shaking.candidate(choice):
        torch.testing.assert_close(shaking.eval()(x), branches.eval()(x), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(shaking.train()(x), shaking(x))


def test_kept_counts_channels_and_operations(branches: MultiBranchSupernet) -> None:
    layers = branches.gated_layers()
    choice = {n: torch.ones(layer.gate.channels).bool() for n, layer in layers.items()}
    gone = list(layers)[3]
    choice[gone] = torch.zeros_like(choice[gone])
    channels, operations = branches.kept(choice)
    total = sum(layer.gate.channels for layer in layers.values())
    assert channels == pytest.approx(1 - layers[gone].gate.channels / total)
    assert operations == pytest.approx(1 - 1 / len(layers))


def test_expected_parameters_are_the_mean_over_candidates(branches: MultiBranchSupernet) -> None:
    q = branches.posterior()
    drawn = q.sample(400, seed=0)
    sizes = np.array([branches.candidate_parameters(drawn[i]) for i in range(len(drawn))])
    error = sizes.std() / np.sqrt(len(sizes))
    assert abs(branches.expected_parameters(q) - sizes.mean()) < 4 * error


def test_matching_rate_gives_equal_expected_parameters(branches: MultiBranchSupernet) -> None:
    q = branches.posterior()
    rate = branches.matching_drop_probability(q)
    assert 0 < rate < 1
    matched = ChannelPosterior.constant(q, rate)
    assert branches.expected_parameters(matched) == pytest.approx(branches.expected_parameters(q))
    tenth = ChannelPosterior.constant(q, 0.1)
    assert branches.matching_drop_probability(tenth) == pytest.approx(0.1)


def test_posterior_holds_the_present_probabilities(branches: MultiBranchSupernet) -> None:
    q = branches.posterior()
    for name, layer in branches.gated_layers().items():
        expected = torch.sigmoid(layer.gate.logit_p.double())
        torch.testing.assert_close(q.drop[name], expected, check_dtype=False)
        assert q.channel_drop(name).shape == (layer.in_channels,)


def test_a_candidate_is_left_after_an_error(branches: MultiBranchSupernet) -> None:
    choice = branches.posterior().sample(1, seed=0)[0]
    with pytest.raises(RuntimeError), branches.candidate(choice):
        raise RuntimeError
    assert all(layer.gate.keep_mask is None for layer in branches.gated_layers().values())


@pytest.mark.parametrize("wrong", ["missing", "unknown", "kind", "length", "stack"])
def test_bad_masks_name_the_gate(branches: MultiBranchSupernet, wrong: str) -> None:
    choice = branches.posterior().sample(1, seed=0)[0]
    name = list(choice)[4]
    if wrong == "missing":
        del choice[name]
    elif wrong == "unknown":
        name = "stages.9.conv"
        choice[name] = torch.ones(2).bool()
    elif wrong == "kind":
        choice[name] = choice[name].float()
    elif wrong == "length":
        choice[name] = choice[name][:-1]
    else:
        choice[name] = choice[name][None]
    with pytest.raises(PdnasError) as raised:
        branches.choose(choice)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)
    assert all(layer.gate.keep_mask is None for layer in branches.gated_layers().values())


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {CELL: torch.zeros(5, dtype=torch.int8)},
        {CELL: torch.zeros(1, 6, dtype=torch.int8)},
        cell(0, 1, 2, 3, 4, 5),
        cell(0, 1, 2, 3, 4, -1),
        cell(0, 0, 0, 0, 0, 0) | {"conv": torch.ones(2).bool()},
    ],
)
def test_bad_cells_name_the_switch(choice: dict[str, Tensor]) -> None:
    with pytest.raises(PdnasError, match=r"switch '(cell|conv)'"):
        cells_net().choose(choice)


def test_a_cell_mixture_is_never_evaluated_whole() -> None:
    with pytest.raises(PdnasError, match="choose one"):
        cells_net().eval()(torch.zeros(1, 3, 8, 8).double())


def test_gradients_reach_gates_only_when_learned(branches: MultiBranchSupernet) -> None:
    branches.train()
    branches(torch.randn(4, 3, 8, 8)).square().sum().backward()
    assert all(float(logit.grad.abs().sum()) > 0 for logit in branches.distribution_parameters())
    branches.configure_gates(GateSettings(mode="fixed"))
    assert not any(logit.requires_grad for logit in branches.distribution_parameters())


@pytest.mark.parametrize("make", [lambda: MultiBranchSupernet(4, 1, 3, 10), cells_net])
def test_gated_weights_are_all_weights_of_the_energy(make: Callable[[], Supernet]) -> None:
    net = make()
    net.configure_gates(GateSettings())
    net.prior_energy().backward()
    touched = {id(p) for p in net.parameters() if p.grad is not None}
    logits = {id(p) for p in net.distribution_parameters()}
    assert touched - logits == {id(p) for p in net.gated_weights()}
    assert len(net.gated_weights()) == len(touched - logits)  # none twice


@pytest.mark.parametrize(
    "codes", [(3, 1, 2, 4, 3, 1), (0, 0, 0, 0, 0, 0), (1, 0, 3, 0, 0, 2), (3, 3, 3, 3, 3, 3)]
)
def test_dispatch_equals_one_cell_when_all_images_draw_it(
    monkeypatch: pytest.MonkeyPatch, codes: tuple[int, ...]
) -> None:
    net = cells_net(cells=2).train()
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)

    def outcome() -> tuple[Tensor, dict[str, Tensor]]:
        net.zero_grad()
        out = net(x)
        out.square().sum().backward()
        grads = {n: p.grad for n, p in net.named_parameters() if n != "logits"}
        return out, {n: g for n, g in grads.items() if g is not None}

    monkeypatch.setattr(Draws, "codes", lambda _, n: torch.tensor(codes).expand(n, 6))
    dispatched, gradients = outcome()
    with net.candidate(cell(*codes)):
        alone, expected = outcome()
    torch.testing.assert_close(dispatched, alone)
    nonzero = {n for n, g in expected.items() if bool(g.any())}
    assert nonzero == {n for n, g in gradients.items() if bool(g.any())}
    for name in nonzero:
        torch.testing.assert_close(gradients[name], expected[name])


def test_each_image_of_a_mixed_batch_passes_through_its_own_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = cells_net(cells=2).train()
    own_statistics(net)
    rows = CellSpace().cells
    drawn = torch.from_numpy(rows[np.random.default_rng(0).integers(0, len(rows), 24)]).long()
    assert (drawn == 0).any()
    monkeypatch.setattr(Draws, "codes", lambda _, images: drawn)
    x = torch.randn(24, 3, 8, 8, dtype=torch.float64)
    mixed = net(x)
    for image in range(len(x)):
        with net.candidate({CELL: drawn[image]}):
            torch.testing.assert_close(mixed[image : image + 1], net(x[image : image + 1]))


def own_statistics(net: nn.Module) -> None:
    """Evaluation mode for BatchNorm alone, so that images do not see each other."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            nn.init.normal_(module.bias)  # an offset leaves even a node that nothing reaches


def test_straight_through_computes_the_drawn_cells() -> None:
    net = cells_net(cells=2, estimator="straight-through").train()
    own_statistics(net)
    x = torch.randn(24, 3, 8, 8, dtype=torch.float64)
    torch.manual_seed(3)
    mixed = net(x)
    torch.manual_seed(3)
    drawn = nn.functional.gumbel_softmax(net.logits.expand(24, -1, -1)).argmax(dim=2)
    assert len(drawn.unique(dim=0)) > 20
    for image in range(len(x)):
        with net.candidate({CELL: drawn[image]}):
            torch.testing.assert_close(mixed[image : image + 1], net(x[image : image + 1]))


def test_routes_are_the_images_of_each_operation_in_their_order() -> None:
    net = cells_net()
    cells = torch.randint(5, (40, 6), generator=torch.Generator().manual_seed(0))
    cells[:, 2] = 3  # an edge on which the others have no image
    for edge, route in enumerate(find_routes(cells.to(torch.int8), net.space.operations)):
        expected = {
            name: (cells[:, edge] == code).nonzero().flatten()
            for code, name in enumerate(net.space.operations)
            if name != "none" and bool((cells[:, edge] == code).any())
        }
        assert list(route) == list(expected)
        for name, images in expected.items():
            assert torch.equal(route[name], images)


@pytest.mark.parametrize("masks", [1, 3])
def test_images_that_share_a_cell_are_normalised_by_themselves(masks: int) -> None:
    """Each cell's outputs are those of the cell alone, with the statistics of its own images."""
    net = cells_net(cells=2, estimator="score").train()
    net.stem.eval()
    net.settings = dataclasses.replace(net.settings, masks_per_batch=masks)
    x = torch.randn(12, 3, 8, 8, dtype=torch.float64)
    running = [module.running_mean.clone() for module in norms(net)]
    out = net(x)
    assert all(map(torch.equal, running, [module.running_mean for module in norms(net)]))
    drawn = net.drawn
    assert len(drawn) == len(drawn.unique(dim=0)) == masks
    together = net.forward_cells(x, drawn)
    for cell in range(masks):
        alone = copy.deepcopy(net)
        alone.choose({CELL: drawn[cell]})
        torch.testing.assert_close(out[cell::masks], alone(x[cell::masks]))
        torch.testing.assert_close(together[cell], alone.train()(x))


def test_score_surrogate_takes_images_that_share_a_cell_as_one() -> None:
    nll = torch.randn(12, generator=torch.Generator().manual_seed(2)).double()
    net = cells_net(estimator="score").train()
    net.drawn = torch.randint(5, (3, 6), generator=torch.Generator().manual_seed(3))
    net.logits.data = torch.randn(6, 5, generator=torch.Generator().manual_seed(4)).double()
    means = nll.view(4, 3).mean(dim=0)
    (one_each,) = torch.autograd.grad(net.score_surrogate(means), net.logits)
    assert one_each.abs().max() > 0.01
    (shared,) = torch.autograd.grad(net.score_surrogate(nll), net.logits)
    torch.testing.assert_close(shared, one_each)


def norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("cells", [1, 3])
def test_credit_of_shared_cells_is_the_gradient_of_the_weighted_sum(cells: int) -> None:
    """Of ``chosen + relaxed - relaxed.detach()``, with every operation on every image."""
    torch.manual_seed(3)
    mixture = CellMixture(4, CellSpace().operations).double().train()
    x = torch.randn(6, 4, 8, 8, dtype=torch.float64)
    for norm in norms(mixture):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    soft = torch.softmax(torch.randn(cells, 6, 5, dtype=torch.float64), dim=2).requires_grad_()
    chosen = soft.argmax(dim=2)
    weights = nn.functional.one_hot(chosen, 5) + soft - soft.detach()
    outputs = [
        mixture(x, find_routes(chosen, mixture.operations), soft, cells),
        mixture.weighted(x, weights, cells),
    ]
    torch.testing.assert_close(*outputs)
    parameters = [soft, mixture.operation(0, "nor_conv_3x3")[1].weight]
    gradients = [
        torch.autograd.grad(out.pow(3).sum(), parameters, allow_unused=True) for out in outputs
    ]
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert gradients[0][0].abs().max() > 0.1


@pytest.mark.parametrize("estimator", get_args(Estimator))
def test_a_second_derivative_that_credit_would_falsify_is_refused(estimator: Estimator) -> None:
    net = cells_net(estimator=estimator).train()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    loss = net(x).pow(2).sum()
    if estimator == "score":  # its gradient comes from no function of ours
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        assert bool(torch.autograd.grad(slope.square().sum(), x)[0].any())
        return
    with pytest.raises(PdnasError, match=r"no second derivative.* gates\.estimator to score"):
        torch.autograd.grad(loss, [x, net.logits], create_graph=True)


def test_a_second_derivative_of_images_that_share_cells_is_refused() -> None:
    net = cells_net().train()
    net.configure_gates(GateSettings(estimator="score", masks_per_batch=2))
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    loss = net(x).pow(2).sum()
    with pytest.raises(PdnasError, match=r"no second derivative.* gates\.noise to image"):
        torch.autograd.grad(loss, x, create_graph=True)


@pytest.mark.parametrize("estimator", ["relaxed", "score"])
def test_one_draw_for_a_batch_is_the_same_draw_for_each_image(
    monkeypatch: pytest.MonkeyPatch, estimator: str
) -> None:
    """The draws are made equal by hand where every image has its own; gradients included."""
    noise = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).double()

    def draw(logits: Tensor, tau: float) -> Tensor:
        drawn.append(len(logits))
        return torch.softmax((logits + noise) / tau, dim=2)

    def multinomial(probabilities: Tensor, count: int, replacement: bool) -> Tensor:
        drawn.append(count)
        return noise.argmax(dim=1)[:, None].expand(-1, count)

    monkeypatch.setattr(nn.functional, "gumbel_softmax", draw)
    monkeypatch.setattr(torch, "multinomial", multinomial)
    x = torch.randn(7, 3, 8, 8, dtype=torch.float64)
    outcomes, drawn = [], []
    for masks in (None, 1):
        net = cells_net(cells=2, estimator=estimator).train()
        net.settings = dataclasses.replace(net.settings, masks_per_batch=masks)
        out = net(x)
        (out.square().mean(dim=1).mean() + 0 * net.logits.sum()).backward()
        outcomes.append((out, net.logits.grad))
    assert drawn == [7, 1]
    torch.testing.assert_close(outcomes[0], outcomes[1])
    assert estimator == "score" or bool(outcomes[0][1].any())


def test_relaxed_gradient_of_the_logits_by_finite_differences() -> None:
    net = cells_net(estimator="relaxed", temperature=0.7).train()
    own_statistics(net)
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)

    def loss() -> Tensor:
        torch.manual_seed(4)
        return net(x).square().mean()

    (gradient,) = torch.autograd.grad(loss(), net.logits)
    step = 1e-5
    for edge, code in [(0, 3), (2, 1), (5, 0), (4, 4)]:
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                net.logits[edge, code] += sign * step
                sides.append(loss().item())
                net.logits[edge, code] -= sign * step
        slope = (sides[0] - sides[1]) / (2 * step)
        assert gradient[edge, code].item() == pytest.approx(slope, rel=1e-5, abs=1e-9)
        assert abs(slope) > 1e-6


def test_straight_through_gradient_is_the_loss_s_slope_at_the_drawn_cell_times_the_softmax_s() -> (
    None
):
    """Against the definition: Σ over images of (∂loss/∂w at the one-hot w) · ∂softmax/∂logits."""
    net = cells_net(estimator="straight-through", temperature=0.7).train()
    own_statistics(net)
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    torch.manual_seed(5)
    (gradient,) = torch.autograd.grad(net(x).square().mean(), net.logits)

    torch.manual_seed(5)
    soft = nn.functional.gumbel_softmax(net.logits.expand(6, -1, -1), tau=0.7)
    hard = nn.functional.one_hot(soft.argmax(dim=2), 5).double()

    def loss(weights: Tensor) -> Tensor:
        features = net.stem(x)
        for layer in net.layers:
            is_cell = isinstance(layer, CellMixture)
            features = layer.weighted(features, weights) if is_cell else layer(features)
        return net.classifier(net.head(features).mean(dim=(2, 3))).square().mean()

    # Not by differences: a node that nothing reaches is zero, where ReLU has a kink.
    one_hot = hard.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(one_hot), one_hot)
    (expected,) = torch.autograd.grad((soft * slope).sum(), net.logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("estimator", ["straight-through", "score"])
def test_a_search_that_does_not_learn_yet_dispatches(estimator: str) -> None:
    net = cells_net(estimator=estimator).train()
    net.logits.requires_grad_(False)
    net(torch.randn(6, 3, 8, 8).double())
    assert net.drawn.shape == (6, 6)
    assert not net.score_surrogate(torch.rand(6).double()).requires_grad
    net.logits.requires_grad_(True)
    net(torch.randn(6, 3, 8, 8).double())
    assert (net.drawn is not None) == (estimator == "score")
    assert net.score_surrogate(torch.rand(6).double()).requires_grad == (estimator == "score")


def test_credit_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    node, output, slope = torch.randn(3, 7, 5, dtype=torch.float64)
    weights = torch.zeros(7, 2, dtype=torch.float64, requires_grad=True)
    expected = torch.stack([torch.zeros(7).double(), (slope * output).sum(dim=1)], dim=1)
    of_rows = partial(products_of_rows, (2,))
    for numbers in (1, 10, 15, 10**6):  # rows one by one, two, three (the last alone), all
        monkeypatch.setattr(credit, "CACHED_NUMBERS", numbers)
        through = Credit.apply(node, weights, of_rows, None, output)
        assert torch.equal(through, node)
        torch.testing.assert_close(torch.autograd.grad(through, weights, slope), (expected,))


@pytest.mark.parametrize("per_batch", [1, 3])
def test_images_of_an_architecture_are_normalised_as_torch_does(per_batch: int) -> None:
    torch.manual_seed(4)
    norm = nn.BatchNorm2d(4).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(6, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(6, 4, 3, 5, dtype=torch.float64)
    parts = [
        nn.functional.batch_norm(part, None, None, norm.weight, norm.bias, True)
        for part in x.chunk(per_batch)
    ]
    outputs = [normalised(norm, x, per_batch), torch.cat(parts)]
    torch.testing.assert_close(*outputs)
    gradients = [torch.autograd.grad(out, [x, norm.weight, norm.bias], slope) for out in outputs]
    torch.testing.assert_close(*gradients)


def test_a_pool_passes_a_slope_back_as_autograd_does() -> None:
    pool = make_operation("avg_pool_3x3", 2)
    x, slope = torch.randn(2, 3, 2, 5, 4, dtype=torch.float64)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(pool(x), x, slope)
    torch.testing.assert_close(pool.transposed(slope), expected)


def test_a_cell_of_its_own_begins_as_networks_do() -> None:
    torch.manual_seed(0)
    net = NasBench201Supernet(16, 1, CellSpace(), in_channels=3, classes=10)
    shared = [kernel.clone() for kernel in net.gated_weights()]
    net.begin_alone()
    for before, kernel in zip(shared, net.gated_weights(), strict=True):
        outputs, _, *extents = kernel.shape
        assert float(before.square().sum()) == outputs, "an identity"
        expected = math.sqrt(2 / (outputs * math.prod(extents)))
        assert float(kernel.std()) == pytest.approx(expected, rel=0.2)


def test_kernels_fade_from_an_identity_to_what_they_learn() -> None:
    torch.manual_seed(0)
    random = NasBench201Supernet(4, 1, CellSpace(), 3, 10, kernels="random")
    torch.manual_seed(0)
    net = NasBench201Supernet(4, 1, CellSpace(), 3, 10, kernels="fading")
    shared = NasBench201Supernet(4, 1, CellSpace(), 3, 10).gated_weights()
    began = [kernel.clone() for kernel in random.gated_weights()]
    for share in (1, 0.25, 0.25, 0):  # the same share again, as after a resume, changes nothing
        net.set_identity(share)
        again = NasBench201Supernet(4, 1, CellSpace(), 3, 10, kernels="fading")
        again.load_state_dict(net.state_dict())
        again.set_identity(share)
        for each in (net, again):
            for kernel, random_one, identity in zip(
                each.gated_weights(), began, shared, strict=True
            ):
                torch.testing.assert_close(kernel, random_one + share * identity)
    before = [kernel.clone() for kernel in random.gated_weights()]
    random.set_identity(1)
    assert all(map(torch.equal, before, random.gated_weights())), "only fading kernels fade"


def test_average_pool_is_torch_s() -> None:
    x = torch.randn(3, 5, 7, 9, dtype=torch.float64, requires_grad=True)
    torch_s = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    ours = make_operation("avg_pool_3x3", 5)
    torch.testing.assert_close(ours(x), torch_s(x))
    weight = torch.randn_like(x)
    gradients = [torch.autograd.grad((pool(x) * weight).sum(), x)[0] for pool in (ours, torch_s)]
    torch.testing.assert_close(*gradients)


def test_softmax_computes_the_mixture_of_all_operations() -> None:
    net = cells_net(estimator="softmax", temperature=0.5).train()
    own_statistics(net)
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    mixture = net(x)
    weights = torch.softmax(net.logits / 0.5, dim=1).expand(3, 6, 5)
    features = net.stem(x)
    for layer in net.layers:
        if isinstance(layer, CellMixture):
            nodes = [features]
            for target in (1, 2, 3):
                node = torch.zeros_like(features)
                for edge, (source, end) in enumerate(EDGES):
                    if end == target:
                        for code, name in enumerate(net.space.operations):
                            if name != "none":
                                out = layer.operation(edge, name)(nodes[source])
                                node = node + weights[0, edge, code] * out
                nodes.append(node)
            features = nodes[-1]
        else:
            features = layer(features)
    expected = net.classifier(net.head(features).mean(dim=(2, 3)))
    torch.testing.assert_close(mixture, expected)


def test_set_temperature_acts_on_every_switch(branches: MultiBranchSupernet) -> None:
    branches.set_temperature(3.0)
    layers = branches.gated_layers().values()
    assert {layer.gate.settings.temperature for layer in layers} == {3.0}
    net = cells_net(estimator="softmax").train()
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    before = net(x)
    net.set_temperature(3.0)
    assert not torch.allclose(net(x), before)


def test_all_operations_begin_as_skip_connections() -> None:
    net = NasBench201Supernet(4, 1, CellSpace(), in_channels=3, classes=10)
    x = torch.rand(2, 4, 8, 8)
    for name in ("nor_conv_1x1", "nor_conv_3x3"):
        operation = net.layers[0].operation(0, name).eval()
        torch.testing.assert_close(operation(x), x, rtol=1e-4, atol=0)


def test_every_estimator_of_the_vocabulary_is_there_and_no_other() -> None:
    assert set(ESTIMATORS) == set(get_args(Estimator))


def test_draws_follow_the_logits() -> None:
    torch.manual_seed(1)
    net = cells_net()
    drawn = net.draws().codes(20_000)
    assert drawn.shape == (20_000, 6)
    frequencies = nn.functional.one_hot(drawn, 5).double().mean(dim=0)
    np.testing.assert_allclose(frequencies, net.posterior().probabilities, atol=0.015)
    # Edges are independent of each other.
    pair = torch.bincount(drawn[:, 0] * 5 + drawn[:, 5], minlength=25).reshape(5, 5) / 20_000
    np.testing.assert_allclose(pair, torch.outer(frequencies[0], frequencies[5]), atol=0.015)


def test_score_surrogate_is_unbiased() -> None:
    """The mean over all pairs of cells, weighted by probability, is the exact gradient."""
    space = CellSpace(("skip_connect", "nor_conv_1x1"))
    net = cells_net(space=space)
    cells = torch.from_numpy(space.cells).long()
    value = torch.randn(64, dtype=torch.float64) + 3  # an NLL for every cell
    log_q = torch.log_softmax(net.logits, dim=1)
    q = log_q[torch.arange(6), cells].sum(dim=1).exp()
    (exact,) = torch.autograd.grad((q * value).sum(), net.logits)
    weights = q.detach()
    total = torch.zeros((), dtype=torch.float64)
    for first in range(64):
        for second in range(first, 64):
            weight = weights[first] * weights[second] * (1 if first == second else 2)
            net.drawn = cells[[first, second]]
            surrogate = net.score_surrogate(value[[first, second]])
            total = total + weight * surrogate
            assert surrogate.item() == 0
    (mean,) = torch.autograd.grad(total, net.logits)
    assert float(exact.abs().max()) > 0.01
    np.testing.assert_allclose(mean, exact, rtol=1e-9, atol=1e-12)


def test_score_surrogate_of_larger_batches_agrees_on_average() -> None:
    torch.manual_seed(2)
    space = CellSpace(("skip_connect", "nor_conv_1x1"))
    net = cells_net(space=space)
    value = torch.randn(64, dtype=torch.float64)
    weights = 2 ** torch.arange(5, -1, -1)
    q = net.posterior().architecture_probabilities()
    cells = torch.from_numpy(space.cells).long()
    log_q = torch.log_softmax(net.logits, dim=1)[torch.arange(6), cells].sum(dim=1)
    (exact,) = torch.autograd.grad((torch.from_numpy(q) * value * log_q).sum(), net.logits)
    draws = []
    for _ in range(1500):
        net.drawn = net.draws().codes(16)
        surrogate = net.score_surrogate(value[net.drawn @ weights])
        draws.append(torch.autograd.grad(surrogate, net.logits)[0])
    draws = torch.stack(draws)
    error = draws.std(dim=0) / len(draws) ** 0.5
    assert bool(((draws.mean(dim=0) - exact).abs() < 4.5 * error).all())


def test_score_surrogate_ignores_what_images_have_in_common() -> None:
    net = cells_net().train()
    net(torch.randn(6, 3, 8, 8).double())
    nll = torch.randn(6).double()
    gradients = [
        torch.autograd.grad(net.score_surrogate(nll + shift), net.logits)[0] for shift in (0, 1e3)
    ]
    torch.testing.assert_close(*gradients)
    assert bool(gradients[0].any())


def test_a_fixed_distribution_is_uniform_and_has_no_gradient() -> None:
    net = cells_net()
    net.configure_gates(GateSettings(mode="fixed", initial=0.4, estimator="straight-through"))
    np.testing.assert_allclose(net.posterior().probabilities, 0.2)
    net.train()(torch.randn(3, 3, 8, 8).double())
    assert not net.score_surrogate(torch.rand(3).double()).requires_grad


def test_cell_energy_and_entropy_by_brute_force() -> None:
    net = cells_net(cells=2)
    q = net.posterior()
    total = 0.0
    for name, p in net.named_parameters():
        if ".edges." in name and p.dim() == 4:
            _, _, _, edge, operation, *_ = name.split(".")
            code = net.space.operations.index(operation)
            total += float(q.probabilities[int(edge), code]) * p.square().sum().item()
    assert net.prior_energy().item() == pytest.approx(total, rel=1e-9)
    assert net.entropy().item() == pytest.approx(q.entropy(), rel=1e-9)
    with net.candidate(cell(1, 1, 0, 0, 4, 4)):
        assert net.prior_energy().item() == 0
        assert net.entropy().item() == 0
    assert net.kept(cell(1, 1, 0, 0, 4, 4)) == (pytest.approx(4 / 6),) * 2
