"""Gates against float64 formulas, brute force and their limits."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pdnas.nn import gates
from pdnas.nn.gates import (
    ChannelGate,
    Gated,
    GatedConv2d,
    GatedLinear,
    Gates,
    GateSettings,
    SquareNorms,
    bernoulli_entropy,
    logistic_noise,
    relaxed_keep,
)
from pdnas.nn.supernets.multibranch import MultiBranchSupernet
from pdnas.support.errors import PdnasError

Array = NDArray[np.float64]

CPU = torch.device("cpu")


def freeze_noise(monkeypatch: pytest.MonkeyPatch, noise: Tensor) -> None:
    monkeypatch.setattr(gates, "logistic_noise", lambda shape, device: noise.expand(*shape))


def keep64(logit_p: Array, noise: Array, temperature: float) -> Array:
    """The paper's relaxation in float64: keep = 1 - sigmoid((log p - log(1 - p) + L) / τ)."""
    p = scipy.special.expit(np.asarray(logit_p, np.float64))
    drop = scipy.special.expit(
        (np.log(p) - np.log(1 - p) + np.asarray(noise, np.float64)) / temperature
    )
    return 1 - drop


def test_noise_is_standard_logistic() -> None:
    torch.manual_seed(1)
    n = 200_000
    noise = logistic_noise((n // 10, 10), CPU).double().numpy().ravel()
    assert scipy.stats.kstest(noise, scipy.stats.logistic.cdf).pvalue > 1e-3
    assert abs(noise.mean()) < 4 * math.pi / math.sqrt(3 * n)
    assert noise.var() == pytest.approx(math.pi**2 / 3, rel=0.02)
    assert scipy.stats.kurtosis(noise) == pytest.approx(1.2, abs=0.2)


def test_noise_is_the_difference_of_two_gumbels() -> None:
    torch.manual_seed(2)
    r1, r2 = np.random.default_rng(0).random((2, 100_000))
    paper = np.log(-np.log(r1)) - np.log(-np.log(r2))
    ours = logistic_noise((100_000,), CPU).numpy()
    assert scipy.stats.ks_2samp(paper, ours).pvalue > 1e-3


@pytest.mark.parametrize("uniform", [0.0, 1 - 2.0**-24])
def test_noise_is_finite_at_the_ends(monkeypatch: pytest.MonkeyPatch, uniform: float) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, **kw: torch.full(shape, uniform, **kw))
    noise = logistic_noise((3,), CPU)
    assert noise.dtype == torch.float32
    assert torch.isfinite(noise).all()
    assert (noise > 16).all() if uniform else (noise < -16).all()


@pytest.mark.parametrize("temperature", [0.2, 2 / 3, 1.0])
def test_relaxed_keep_follows_the_formula(temperature: float) -> None:
    logit_p = torch.linspace(-4, 4, 9)[:, None]
    noise = torch.linspace(-5, 5, 23)[None]
    ours = relaxed_keep(logit_p, noise, temperature).double().numpy()
    np.testing.assert_allclose(
        ours, keep64(logit_p.numpy(), noise.numpy(), temperature), rtol=1e-4, atol=2e-6
    )


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_temperature_zero_is_bernoulli(p: float) -> None:
    torch.manual_seed(3)
    logit = torch.tensor(math.log(p / (1 - p)))
    noise = logistic_noise((200_000,), CPU)
    error = 4 * math.sqrt(p * (1 - p) / 200_000)
    cold = relaxed_keep(logit, noise, 1e-4)
    assert float(cold.double().mean()) == pytest.approx(1 - p, abs=error)
    assert float(((cold < 0.01) | (cold > 0.99)).double().mean()) > 0.999
    # More often kept than dropped with probability 1 - p, at every temperature.
    warm = relaxed_keep(logit, noise, 0.2)
    assert float((warm > 0.5).double().mean()) == pytest.approx(1 - p, abs=error)


@pytest.mark.parametrize(
    "settings", [GateSettings(mode="none"), GateSettings(mode="fixed", initial=1e-12)]
)
@pytest.mark.parametrize("training", [True, False])
def test_drop_probability_zero_is_the_plain_layer(settings: GateSettings, training: bool) -> None:
    torch.manual_seed(4)
    conv = GatedConv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=True).train(training)
    linear = GatedLinear(5, 3).train(training)
    conv.gate.configure(settings)
    linear.gate.configure(settings)
    image, row = torch.randn(2, 4, 8, 8), torch.randn(7, 5)
    plain = nn.functional.conv2d(image, conv.weight, conv.bias, stride=2, padding=1, groups=2)
    assert torch.equal(conv(image), plain)
    assert torch.equal(linear(row), nn.functional.linear(row, linear.weight, linear.bias))


def test_evaluation_keeps_everything() -> None:
    gate = ChannelGate([3])
    gate.configure(GateSettings(initial=0.9))
    x = torch.randn(2, 3, 4, 4)
    assert not torch.equal(gate.train()(x), x)
    assert torch.equal(gate.eval()(x), x)


def test_none_has_no_energy_of_its_own() -> None:
    gate = ChannelGate([2, 1])
    gate.configure(GateSettings(mode="none", initial=0.3))
    assert gate.drop_probability().tolist() == [0, 0]
    assert Gates([gate]).keep_weight().tolist() == [1, 1, 1]
    assert float(Gates([gate]).entropy()) == 0
    assert not gate.logit_p.requires_grad


@pytest.mark.parametrize("mode", ["learned", "fixed"])
def test_configure_sets_probability_and_gradient(mode: str) -> None:
    gate = ChannelGate([2, 1])
    gate.configure(GateSettings(mode=mode, initial=0.1))
    np.testing.assert_allclose(gate.drop_probability().detach(), 0.1, rtol=1e-6)
    assert gate.logit_p.requires_grad == (mode == "learned")


@pytest.mark.parametrize("masks", [None, 1, 2])
def test_noise_per_image_or_shared(masks: int | None) -> None:
    torch.manual_seed(5)
    gate = ChannelGate([50]).train()
    gate.configure(GateSettings(initial=0.5, temperature=1.0, masks_per_batch=masks))
    out = gate(torch.ones(4, 50, 4, 5))
    switches = out[:, :, 0, 0]
    assert torch.equal(out, switches[:, :, None, None].expand_as(out))  # same for all pixels
    assert len(switches[0].unique()) > 45  # channels are independent
    assert torch.equal(switches[0], switches[1]) == (masks == 1)
    assert torch.equal(switches[0], switches[2]) == (masks is not None)
    again = gate(torch.ones(4, 50, 4, 5))
    assert not torch.equal(out, again)


def test_masks_that_cannot_be_shared_evenly_are_refused() -> None:
    gate = ChannelGate([5]).train()
    gate.configure(GateSettings(masks_per_batch=3))
    with pytest.raises(PdnasError, match="4 images go through at once, which 3 masks cannot share"):
        gate(torch.ones(4, 5, 2, 2))


def test_gate_draws_with_its_own_probability_and_temperature() -> None:
    torch.manual_seed(6)
    gate = ChannelGate([1, 1]).train()
    gate.configure(GateSettings(temperature=1e-4))
    with torch.no_grad():
        gate.logit_p.copy_(torch.logit(torch.tensor([0.2, 0.7])))
    mean = gate(torch.ones(50_000, 2)).double().mean(dim=0)
    np.testing.assert_allclose(mean.detach(), [0.8, 0.3], atol=0.01)


def test_noise_stays_float32_under_bfloat16_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    noise = logistic_noise((5, 64), CPU)
    freeze_noise(monkeypatch, noise)
    seen = []

    def record(logit_p: Tensor, noise: Tensor, temperature: float) -> Tensor:
        keep = relaxed_keep(logit_p, noise, temperature)
        seen.append((logit_p.dtype, noise.dtype, keep.dtype))
        return keep

    monkeypatch.setattr(gates, "relaxed_keep", record)
    layer = GatedConv2d(64, 2, 1).train()
    x = torch.ones(5, 64, 2, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gated = layer.gate(x)
        assert layer(x).dtype == torch.bfloat16
    assert set(seen) == {(torch.float32,) * 3}
    # Rounded once at the end, never computed in bfloat16.
    exact = torch.from_numpy(keep64(np.full(64, math.log(0.1 / 0.9)), noise.numpy(), 0.2))
    np.testing.assert_allclose(gated[:, :, 0, 0].detach().double(), exact, rtol=2.0**-8, atol=1e-6)


def test_noise_generator_is_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert logistic_noise((4,), CPU).dtype == torch.float32


def test_channels_of_a_group_share_one_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    freeze_noise(monkeypatch, torch.zeros(1, 1))
    gate = ChannelGate([2, 3]).train()
    with torch.no_grad():
        gate.logit_p.copy_(torch.tensor([1.0, -0.4]))
    expected = keep64([1.0, 1.0, -0.4, -0.4, -0.4], 0, 0.2)
    np.testing.assert_allclose(gate(torch.ones(1, 5))[0].detach(), expected, rtol=1e-5)
    p = scipy.special.expit([1.0, 1.0, -0.4, -0.4, -0.4])
    np.testing.assert_allclose(Gates([gate]).keep_weight().detach(), 1 - p, rtol=1e-6)
    entropy = scipy.stats.bernoulli.entropy(p).sum()
    assert Gates([gate]).entropy().item() == pytest.approx(entropy, rel=1e-6)


@pytest.mark.parametrize("sizes", [[], [2, 0]])
def test_empty_groups_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one channel"):
        ChannelGate(sizes)


def test_groups_must_cover_the_input() -> None:
    with pytest.raises(ValueError, match="add up to 4"):
        GatedConv2d(4, 2, 1, group_sizes=[1, 2])


def test_gradient_of_the_logit_matches_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    noise, x, weight = rng.normal(size=(6, 5)), rng.normal(size=(6, 5)), rng.normal(size=(3, 5))
    logit = np.array([-0.3, 0.2])
    freeze_noise(monkeypatch, torch.from_numpy(noise).float())
    layer = GatedLinear(5, 3, bias=False, group_sizes=[2, 3]).train()
    layer.gate.configure(GateSettings(temperature=2 / 3))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.gate.logit_p.copy_(torch.from_numpy(logit))
    loss = layer(torch.from_numpy(x).float()).square().sum()
    loss.backward()

    def formula(values: Array) -> float:
        keep = keep64(np.repeat(values, [2, 3]), noise, 2 / 3)
        return np.square((x * keep) @ weight.T).sum()

    step = 1e-5
    numeric = [
        (formula(logit + step * unit) - formula(logit - step * unit)) / (2 * step)
        for unit in np.eye(2)
    ]
    assert loss.item() == pytest.approx(formula(logit), rel=1e-5)
    np.testing.assert_allclose(layer.gate.logit_p.grad, numeric, rtol=1e-4)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 4, 6)])
@pytest.mark.parametrize("masks", [3, 1])
def test_gated_channels_are_the_plain_formula_in_value_and_gradient(
    relu: bool, shape: tuple[int, ...], masks: int
) -> None:
    """Within 1e-12 of autograd on the formula, in float64."""
    torch.manual_seed(13)
    x = torch.randn(shape, dtype=torch.float64)
    keep = torch.rand(masks, 5, *(1,) * (len(shape) - 2), dtype=torch.float64) ** 20  # to 1e-20
    direction = torch.randn(shape, dtype=torch.float64)
    results = []
    for compute in (
        lambda x, keep: Gated.apply(x, keep, relu),
        lambda x, keep: (torch.relu(x) if relu else x) * keep,
    ):
        inputs = x.clone().requires_grad_(), keep.clone().requires_grad_()
        y = compute(*inputs)
        results.append((y, *torch.autograd.grad(y, inputs, direction)))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-14)


def second_derivatives(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """Of a loss whose own gradient depends on what ``function`` gives, by every input."""
    given = [x.detach().clone().requires_grad_() for x in inputs]
    loss = function(*given).pow(3).sum() + sum(x.pow(3).sum() for x in given)
    slopes = torch.autograd.grad(loss, given, create_graph=True)
    penalty = torch.stack([slope.square().sum() for slope in slopes]).sum()
    return list(torch.autograd.grad(penalty, given))


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("masks", [3, 1])
def test_second_derivatives_through_a_gate_are_those_of_the_plain_formula(
    relu: bool, masks: int
) -> None:
    """Without a word they once lacked the gate's part."""
    torch.manual_seed(19)
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    keep = torch.rand(masks, 5, 1, dtype=torch.float64) + 0.01

    def gate(x: Tensor, keep: Tensor) -> Tensor:
        return Gated.apply(x, keep, relu)

    def plain(x: Tensor, keep: Tensor) -> Tensor:
        return (torch.relu(x) if relu else x) * keep

    ours, theirs = (second_derivatives(f, x, keep) for f in (gate, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    given = x.requires_grad_(), keep.requires_grad_()
    assert torch.autograd.gradgradcheck(gate, given)


def test_second_derivatives_of_slice_norms_are_those_of_the_plain_formula() -> None:
    torch.manual_seed(20)
    slices = [torch.randn(2, 3, 4, 9).double(), torch.randn(1, 2, 5, 1).double()]

    def plain(*slices: Tensor) -> Tensor:
        return torch.cat([each.square().sum(dim=(1, 3)).flatten() for each in slices])

    ours, theirs = (second_derivatives(f, *slices) for f in (SquareNorms.apply, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_second_derivatives_of_a_training_network_are_those_of_finite_differences() -> None:
    """Of a penalty on the slope by the images, through gates, ReLUs, BatchNorm and convolutions."""
    torch.manual_seed(21)
    net = MultiBranchSupernet(4, 1, in_channels=3, classes=3).double().train()
    net.configure_gates(GateSettings(initial=0.3, temperature=1))
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    kernel = net.get_parameter("stages.1.0.branch1.4.weight")
    direction = torch.randn_like(kernel)

    def penalty() -> Tensor:
        torch.manual_seed(22)  # the same switches
        x = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(net(x).logsumexp(1).sum(), x, create_graph=True)
        return slope.square().sum()

    (found,) = torch.autograd.grad(penalty(), kernel)
    values = []
    for step in (1e-6, -1e-6):
        with torch.no_grad():
            kernel.add_(direction, alpha=step)
        values.append(float(penalty().detach()))
        with torch.no_grad():
            kernel.sub_(direction, alpha=step)
    numeric = (values[0] - values[1]) / 2e-6
    assert float((found * direction).sum()) == pytest.approx(numeric, rel=1e-4)


def test_torch_func_says_that_it_cannot_look_through_a_gate() -> None:
    def loss(x: Tensor) -> Tensor:
        return Gated.apply(x, torch.ones(1, 3), True).sum()

    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.grad(torch.func.grad(loss))(torch.randn(2, 3))


@pytest.mark.parametrize("masks", [None, 1])
def test_a_gated_convolution_trains_as_by_the_plain_formula(
    monkeypatch: pytest.MonkeyPatch, masks: int | None
) -> None:
    """Weights and inputs in float64 within 1e-10, switches in float32, their logits within 1e-5."""
    torch.manual_seed(14)
    noise = logistic_noise((masks or 4, 5), CPU)
    freeze_noise(monkeypatch, noise)
    conv = GatedConv2d(5, 6, 3, padding=1, relu=True, group_sizes=[2, 3]).train().double()
    conv.gate.configure(GateSettings(masks_per_batch=masks))
    x = torch.randn(4, 5, 6, 6, dtype=torch.float64, requires_grad=True)
    parameters = x, conv.weight, conv.gate.logit_p
    ours = torch.autograd.grad(conv(x).square().sum(), parameters)

    logit = conv.gate.logit_p[torch.tensor([0, 0, 1, 1, 1])]
    keep = relaxed_keep(logit, noise, 0.2).double()[:, :, None, None]
    y = nn.functional.conv2d(torch.relu(x) * keep, conv.weight, padding=1)
    plain = torch.autograd.grad(y.square().sum(), parameters)
    for our, theirs, tolerance in zip(ours, plain, (1e-10, 1e-10, 1e-5), strict=True):
        torch.testing.assert_close(our, theirs, rtol=tolerance, atol=tolerance)


def test_a_gate_with_relu_keeps_nothing_but_what_its_convolution_needs() -> None:
    conv = GatedConv2d(4, 6, 3, padding=1, relu=True).train()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        conv(torch.randn(2, 4, 8, 8, requires_grad=True))
    assert len({tensor.data_ptr() for tensor in kept if tensor.shape == (2, 4, 8, 8)}) == 1


def test_gates_under_bfloat16_autocast_have_the_gradient_of_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Within a few roundings of bfloat16, 2^-8 each."""
    torch.manual_seed(15)
    freeze_noise(monkeypatch, logistic_noise((8, 16), CPU))
    conv = GatedConv2d(16, 4, 1, relu=True).train()
    x = torch.rand(8, 16, 4, 4)
    gradients = []
    for enabled in (False, True):
        conv.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            y = conv(x.bfloat16() if enabled else x)
        y.float().square().mean().backward()
        gradients.append((conv.weight.grad.clone(), conv.gate.logit_p.grad.clone()))
    for exact, rounded in zip(*gradients, strict=True):
        torch.testing.assert_close(rounded, exact, rtol=0.03, atol=0.01 * float(exact.abs().max()))


@pytest.mark.thorough
def test_a_compiled_supernet_trains_like_a_plain_one() -> None:
    gradients = []
    for network in (lambda net: net, lambda net: torch.compile(net, backend="aot_eager")):
        torch.manual_seed(17)
        net = MultiBranchSupernet(2, 1, in_channels=1, classes=3).train()
        net.configure_gates(GateSettings())
        network(net)(torch.randn(4, 1, 8, 8)).square().sum().backward()
        gradients.append([parameter.grad for parameter in net.parameters()])
    for ours, compiled in zip(*gradients, strict=True):
        torch.testing.assert_close(compiled, ours, rtol=1e-4, atol=1e-5)


def test_gates_draw_together_each_with_its_own_probability() -> None:
    torch.manual_seed(16)
    pair = [ChannelGate([1, 1]).train(), ChannelGate([3]).train()]
    with torch.no_grad():
        pair[0].logit_p.copy_(torch.logit(torch.tensor([0.2, 0.7])))
        pair[1].logit_p.fill_(0)
    for gate in pair:
        gate.settings = GateSettings(temperature=1e-4)
    x = torch.ones(20_000, 1)
    Gates(pair).draw(x)
    drawn = torch.cat([gate(torch.ones(20_000, gate.channels)) for gate in pair], dim=1).detach()
    np.testing.assert_allclose(drawn.mean(dim=0), [0.8, 0.3, 0.5, 0.5, 0.5], atol=0.02)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(5)).max() < 0.03
    again = pair[0](torch.ones(20_000, 2))  # each draw serves one pass
    assert not torch.equal(again, drawn[:, :2])


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups"), [(4, 6, 1), (4, 6, 2), (6, 4, 2), (4, 4, 4), (4, 8, 4)]
)
def test_slice_norms_of_convolutions_by_brute_force(inputs: int, outputs: int, groups: int) -> None:
    torch.manual_seed(9)
    conv = GatedConv2d(inputs, outputs, 3, padding=1, groups=groups).eval()
    norms = SquareNorms.apply(conv.slices()).detach()
    # The response to a single bright pixel of one channel shows exactly that channel's slice.
    for channel in range(inputs):
        x = torch.zeros(1, inputs, 5, 5)
        x[0, channel, 2, 2] = 1
        assert float(norms[channel]) == pytest.approx(
            float(conv(x).square().sum().detach()), rel=1e-5
        )
    assert float(norms.sum()) == pytest.approx(float(conv.weight.square().sum()), rel=1e-5)


def test_slice_norms_of_many_layers_and_their_gradients() -> None:
    torch.manual_seed(9)
    layers = [
        GatedConv2d(4, 6, 3),
        GatedConv2d(6, 4, 3, groups=2).to(memory_format=torch.channels_last),
        GatedLinear(5, 3),
    ]
    slices = [layer.double().slices().detach().requires_grad_() for layer in layers]
    norms = SquareNorms.apply(*slices)
    one_by_one = [SquareNorms.apply(each) for each in slices]
    assert torch.equal(norms, torch.cat(one_by_one))
    assert norms.shape == (4 + 6 + 5,)
    assert torch.autograd.gradcheck(SquareNorms.apply, slices)


def test_slice_norms_of_linear_layers() -> None:
    layer = GatedLinear(4, 3)
    expected = [float(layer.weight[:, k].square().sum()) for k in range(4)]
    norms = SquareNorms.apply(layer.slices()).detach()
    np.testing.assert_allclose(norms, expected, rtol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_hard_mask_is_a_convolution_on_the_kept_channels(training: bool) -> None:
    torch.manual_seed(10)
    conv = GatedConv2d(5, 3, 3, padding=1, bias=True).train(training)
    mask = torch.tensor([True, False, True, True, False])
    conv.gate.keep_mask = mask[None]
    x = torch.randn(2, 5, 6, 6)
    small = nn.functional.conv2d(x[:, mask], conv.weight[:, mask], conv.bias, padding=1)
    torch.testing.assert_close(conv(x), small)
    assert Gates([conv.gate]).keep_weight().tolist() == [1, 0, 1, 1, 0]
    assert float(Gates([conv.gate]).entropy()) == 0


def test_bernoulli_entropy_matches_scipy() -> None:
    logit = torch.linspace(-20, 20, 81, dtype=torch.float64)
    expected = scipy.stats.bernoulli.entropy(scipy.special.expit(logit.numpy()))
    np.testing.assert_allclose(bernoulli_entropy(logit), expected, rtol=1e-6)
    assert float(bernoulli_entropy(torch.tensor(0.0))) == pytest.approx(math.log(2), rel=1e-6)


def test_bernoulli_entropy_at_extreme_logits() -> None:
    extreme = torch.tensor([-math.inf, -1e4, -80.0, 80.0, 1e4, math.inf])
    entropy = bernoulli_entropy(extreme)
    assert torch.isfinite(entropy).all()
    assert entropy[[0, 1, 4, 5]].tolist() == [0, 0, 0, 0]
    # 81 e^-80, where 1 - p rounds to 1 in float32
    assert float(entropy[2]) == pytest.approx(81 * math.exp(-80), rel=1e-4)
    assert float(entropy[3]) == float(entropy[2])


def test_bernoulli_entropy_gradient_at_zero_and_far_out() -> None:
    logit = torch.tensor([0.0, 1.5, -1.5, 60.0, -60.0], requires_grad=True)
    bernoulli_entropy(logit).sum().backward()
    x = logit.detach().double().numpy()
    expected = -x * scipy.special.expit(x) * scipy.special.expit(-x)
    np.testing.assert_allclose(logit.grad, expected, rtol=1e-5, atol=1e-7)


def test_switches_that_are_all_but_off_leave_finite_gradients() -> None:
    """The gradient of a switch divides by it, and in float32 these would be exactly 0."""
    layer = GatedConv2d(4, 3, 3, padding=1, relu=True)
    layer.gate.configure(GateSettings(temperature=0.2))
    with torch.no_grad():
        layer.gate.logit_p.fill_(60)
    layer.train()(torch.randn(2, 4, 5, 5)).square().sum().backward()
    assert torch.isfinite(layer.gate.logit_p.grad).all()
    assert torch.isfinite(layer.weight.grad).all()
