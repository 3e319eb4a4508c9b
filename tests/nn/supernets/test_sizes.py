"""The supernet of NATS-Bench's size space: shared gates, parameters, extraction."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from pdnas.nn.gates import GateSettings
from pdnas.nn.sizes import rounded_choice, space_network
from pdnas.nn.subnet import extract, parameters
from pdnas.nn.supernets.sizes import SizeSupernet
from pdnas.space.posterior import ChannelPosterior
from pdnas.space.sizes import (
    LARGEST,
    NAMES,
    SizeSpace,
    network_probabilities,
    posterior_probabilities,
    rounded,
)
from pdnas.space.sizes import parameters as of_widths
from pdnas.spec.supernets import NatsBenchSizeConfig
from pdnas.support.errors import PdnasError

CLASSES = 10


def supernet(width: int, classes: int = CLASSES) -> SizeSupernet:
    torch.manual_seed(0)
    config = NatsBenchSizeConfig(name="natsbench-size", width=width)
    net = SizeSupernet.of(config, 3, classes)
    with torch.no_grad():
        for logit in net.distribution_parameters():
            logit.normal_()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 1.5)
                module.bias.normal_()
    return net.eval()


def kept(choice: dict[str, Tensor]) -> list[int]:
    return [int(choice[name].sum()) for name in NAMES]


def with_projections(counts: list[int], classes: int = CLASSES) -> int:
    """The space's parameters, and those of the projections that it leaves out."""
    _, c1, c2, c3, c4 = counts
    projections = sum(i * o + 2 * o for i, o in ((c1, c2), (c3, c4)) if i == o)
    return int(of_widths(counts, classes)) + projections


@pytest.mark.parametrize("classes", [10, 100, 120])
def test_a_network_has_the_spaces_parameters_for_its_widths(classes: int) -> None:
    space = SizeSpace()
    rows = np.random.default_rng(0).integers(len(space), size=30)
    for row in [*rows.tolist(), 0, len(space) - 1, space.row("64:64:56:64:24")]:
        with torch.device("meta"):
            net = SizeSupernet(space.counts[row].tolist(), 3, classes, project=False)
        assert net.parameter_count() == space.parameters(classes)[row], space.names[row]


def test_a_gate_a_width_which_all_layers_that_read_it_share() -> None:
    net = supernet(8)
    assert list(net.gates()) == list(NAMES)
    assert [logit.shape for logit in net.distribution_parameters()] == [(1,)] * 5
    readers = {name: list(net.gate_names().values()).count(name) for name in NAMES}
    # A cell reads its input twice or, projecting it, three times, and its own width three times.
    assert readers == {"c0": 5 + 2, "c1": 1 + 3, "c2": 3 + 2, "c3": 1 + 3, "c4": 3 + 1}
    assert [name for name in net.state_dict() if "logit" in name] == [f"{n}.logit_p" for n in NAMES]


def test_a_training_pass_draws_one_mask_an_image_for_all_readers_of_a_width() -> None:
    net = supernet(16).train()
    seen: dict[str, list[Tensor]] = {name: [] for name in NAMES}

    def note(name: str, x: Tensor, y: Tensor, relu: bool) -> None:
        entering = torch.relu(x) if relu else x
        sums = [each.reshape(3, 16, -1).abs().sum(dim=2) for each in (y, entering)]
        seen[name].append(sums[0] / sums[1])  # the switches; NaN where a channel is all zeros

    for name, gate in net.gates().items():
        gate.register_forward_hook(
            lambda _, args, options, y, name=name: note(
                name, args[0], y, options.get("relu", False)
            ),
            with_kwargs=True,
        )
    for _ in range(2):  # a second pass draws anew
        net(torch.randn(3, 3, 16, 16))
    for name, switches in seen.items():
        half = len(switches) // 2
        one, other = switches[0], switches[half]
        for of_pass in (switches[:half], switches[half:]):
            for reader in of_pass[1:]:
                both = ~(reader.isnan() | of_pass[0].isnan())
                assert both.float().mean() > 0.5
                torch.testing.assert_close(reader[both], of_pass[0][both])
        assert not torch.allclose(one.nan_to_num(), other.nan_to_num()), name
        assert not torch.allclose(one[0].nan_to_num(), one[1].nan_to_num()), name


def test_training_leaves_nothing_drawn_behind() -> None:
    net = supernet(4)
    x = torch.randn(2, 3, 8, 8)
    expected = net(x)
    saved = copy.deepcopy(net.state_dict())
    net.train()(x).sum().backward()
    net.load_state_dict(saved)
    torch.testing.assert_close(net.eval()(x), expected)
    copied = copy.deepcopy(net)
    with torch.no_grad():
        copied.c2.logit_p.fill_(3.0)
    assert copied.posterior().drop["c2"].item() == pytest.approx(scipy.special.expit(3.0))
    assert net.posterior().drop["c2"].item() != copied.posterior().drop["c2"].item()
    for name, layer in copied.gated_layers().items():
        assert layer.gate is copied.gates()[net.gate_names()[name]]


def test_the_prior_counts_a_slice_with_its_widths_keep_probability() -> None:
    net = supernet(4).double()
    expected = 0.0
    for name, layer in net.gated_layers().items():
        drop = float(net.posterior().drop[net.gate_names()[name]])
        expected += (1 - drop) * float(layer.weight.detach().square().sum())
    assert float(net.prior_energy().detach()) == pytest.approx(expected, rel=1e-12)
    entropies = scipy.stats.bernoulli.entropy([float(p) for p in net.posterior().drop.values()])
    assert float(net.entropy().detach()) == pytest.approx(4 * entropies.sum(), rel=1e-12)


def test_expected_parameters_by_brute_force_over_all_widths() -> None:
    net = supernet(4)
    posterior = net.posterior()
    pmfs = [scipy.stats.binom.pmf(np.arange(5), 4, 1 - float(posterior.drop[n])) for n in NAMES]
    expected = sum(
        np.prod([pmf[count] for pmf, count in zip(pmfs, counts, strict=True)])
        * with_projections(list(counts))
        for counts in itertools.product(range(5), repeat=5)
    )
    assert net.expected_parameters(posterior) == pytest.approx(expected, rel=1e-12)


def test_the_size_under_the_prior_is_that_of_the_network_it_stands_for() -> None:
    net = supernet(16).double()
    drop = [float(p) for p in net.posterior().drop.values()]
    draws = np.random.default_rng(0).binomial(LARGEST, 1 - np.array(drop), (20_000, 5))
    sizes = [with_projections(row) for row in draws.tolist()]
    found = float(net.expected_size().detach())
    assert found == pytest.approx(np.mean(sizes), rel=0.003)
    whole = supernet(LARGEST).double()
    with torch.no_grad():
        for name, gate in whole.gates().items():
            gate.logit_p.copy_(net.gates()[name].logit_p)
    assert float(whole.expected_size().detach()) == pytest.approx(found, rel=1e-12)
    assert whole.expected_parameters(whole.posterior()) == pytest.approx(found, rel=1e-12)


def test_a_posterior_is_a_distribution_over_the_spaces_networks() -> None:
    posterior = supernet(16).posterior()
    drop = [float(posterior.drop[name]) for name in NAMES]
    np.testing.assert_array_equal(network_probabilities(posterior), posterior_probabilities(drop))
    own = network_probabilities(posterior, channels=16)
    np.testing.assert_array_equal(own, posterior_probabilities(drop, 16))
    sizes, rounding = SizeSpace().parameters(CLASSES), 0.05
    whole = supernet(LARGEST).expected_parameters(
        ChannelPosterior(posterior.drop, {name: torch.tensor([64]) for name in NAMES})
    )
    assert network_probabilities(posterior) @ sizes == pytest.approx(whole, rel=rounding)
    with pytest.raises(PdnasError, match="has gates c0, c1, c2, c3, c4, not a"):
        network_probabilities(ChannelPosterior({"a": torch.zeros(1)}, {"a": torch.ones(1)}))


def test_one_drop_probability_gives_the_same_expected_parameters() -> None:
    net = supernet(16)
    posterior = net.posterior()
    drop = net.matching_drop_probability(posterior)
    constant = ChannelPosterior.constant(posterior, drop)
    assert net.expected_parameters(constant) == pytest.approx(
        net.expected_parameters(posterior), rel=1e-10
    )
    everything = ChannelPosterior.constant(posterior, 0.0)
    assert net.matching_drop_probability(everything) == pytest.approx(0, abs=1e-9)


def test_an_extracted_candidate_has_the_spaces_parameters_for_its_kept_widths() -> None:
    net = supernet(8)
    image = torch.randn(1, 3, 4, 4)
    net.configure_gates(GateSettings(initial=0.4))
    candidates = net.posterior().sample(12, seed=0)
    different = 0
    for number in range(len(candidates)):
        choice = candidates[number]
        counts = kept(choice)
        if min(counts) == 0:
            continue
        found = parameters(extract(net, choice, image))
        assert found == net.candidate_parameters(choice) == with_projections(counts)
        if counts[1] != counts[2] and counts[3] != counts[4]:
            different += 1
            assert found == of_widths(counts, CLASSES)
    assert different > 3


def test_an_extracted_candidate_computes_what_the_masked_supernet_does() -> None:
    net = supernet(8).double()
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    for number in range(3):
        choice = net.posterior().sample(3, seed=1)[number]
        small = extract(net, choice, x[:1])
        with net.candidate(choice), torch.no_grad():
            torch.testing.assert_close(small(x), net(x))


def test_a_candidate_rounded_to_the_space_is_a_network_of_the_space() -> None:
    net = supernet(LARGEST)
    space, image = SizeSpace(), torch.randn(1, 3, 4, 4)
    net.configure_gates(GateSettings(initial=0.6))
    candidates = net.posterior().sample(6, seed=0)
    equal = 0
    for number in range(len(candidates)):
        widths = rounded(kept(candidates[number]))
        row = space.rows(widths)
        equal += int(widths[1] == widths[2] or widths[3] == widths[4])
        network = space_network(net, candidates[number], image)
        assert parameters(network) == space.parameters(CLASSES)[row], space.names[row]
    assert 0 < equal < 6


def test_a_rounded_network_inherits_the_weights_of_the_kept_channels() -> None:
    net = supernet(16).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    for seed in range(20):
        choice = net.posterior().sample(1, seed)[0]
        masks = rounded_choice(net, choice)
        counts = kept(masks)
        for name in NAMES:  # 16 channels stand for 64, so two of them for 8
            assert counts[NAMES.index(name)] == rounded(int(choice[name].sum()), 16) // 4
            more, fewer = (masks[name], choice[name])
            assert bool((more & fewer).sum() == min(more.sum(), fewer.sum()))
        if counts[1] != counts[2] and counts[3] != counts[4]:
            network = space_network(net, choice, x[:1])
            with net.candidate(masks), torch.no_grad():
                torch.testing.assert_close(network(x), net(x))
            return
    pytest.fail("no candidate of four different widths")


def test_a_supernet_of_few_channels_has_no_widths_to_round_to() -> None:
    net = supernet(4)
    with pytest.raises(PdnasError, match="multiple of 8"):
        rounded_choice(net, net.posterior().sample(1, seed=0)[0])
