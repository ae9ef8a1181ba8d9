"""The convolutions' kernels against torch's own, forward and backward, and that the networks' layers run them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from ops_accuracy import assert_accurate
from torch import Tensor

from agnlib.models import Discriminator, Generator
from agnlib.ops import backend, conv2d, conv2d_resample, conv_transpose2d, fir_filter, modulated_conv2d
from agnlib.ops._checks import format_of
from agnlib.ops._conv2d import conv2d_weight_op, conv2d_weight_reference
from agnlib.ops._dispatch import registered

FORMATS = ("contiguous", "channels_last", "strided")


@pytest.fixture(autouse=True)
def whole_float32() -> Any:
    """Products in float32 as they are; PyTorch's default for convolutions rounds them."""
    cudnn = torch.backends.cudnn
    old = not hasattr(cudnn, "conv")
    place, name, whole = (cudnn, "allow_tf32", False) if old else (cudnn.conv, "fp32_precision", "ieee")
    before = getattr(place, name)
    setattr(place, name, whole)
    yield
    setattr(place, name, before)


def stored(x: Tensor, form: str) -> Tensor:
    if form == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if form == "strided":
        return torch.stack([x, x], dim=-1).flatten(3)[..., ::2]
    return x


def assert_near(got: Tensor, exact: Tensor) -> None:
    """Equal to 1e-4 of the largest number."""
    scale = max(1.0, float(exact.abs().max())) if exact.numel() else 1.0
    torch.testing.assert_close(got.double() / scale, exact / scale, atol=1e-4, rtol=0)


def geometry(rng: random.Random, *, turned: bool) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """A shape, a weight's shape and options that fit each other, whatever comes up."""
    while True:
        groups = rng.randint(1, 3)
        per, filters = rng.choice([1, 1, 2, 5]), groups * rng.randint(1, 3)
        kernel, stride, dilation = ([rng.randint(1, 3) for _ in range(2)] for _ in range(3))
        padding, size = [rng.randint(0, 2) for _ in range(2)], [rng.randint(1, 8) for _ in range(2)]
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        shape = (rng.randint(0, 2), groups * per, *size)
        if turned:
            options["output_padding"] = [rng.randint(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)]
            spare = [(size[i] - 1) * stride[i] - 2 * padding[i] + reach[i] for i in (0, 1)]
            weight = (groups * per, filters // groups, *kernel)
        else:
            spare = [size[i] + 2 * padding[i] - reach[i] - 1 for i in (0, 1)]
            weight = (filters, per, *kernel)
        if min(spare) >= 0:
            return shape, weight, options


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("function", "torchs"), [(conv2d, F.conv2d), (conv_transpose2d, F.conv_transpose2d)])
def test_kernels_are_torchs(
    device: torch.device, function: Callable[..., Tensor], torchs: Callable[..., Tensor], seed: int, form: str
) -> None:
    turned = function is conv_transpose2d
    shape, weight_shape, options = geometry(random.Random(seed), turned=turned)
    filters = weight_shape[1] * options["groups"] if turned else weight_shape[0]
    tensors = torch.randn(shape), torch.randn(weight_shape), torch.randn(filters)
    ours = [t.to(device).requires_grad_() for t in (stored(tensors[0], form), *tensors[1:])]
    act, gain = [(None, 1.0), ("lrelu", 1.5), ("tanh", 0.7)][seed % 3]
    activate = {None: lambda y: y, "lrelu": lambda y: F.leaky_relu(y, 0.2), "tanh": torch.tanh}[act]

    def results(run: Callable[..., Tensor], given: Sequence[Tensor]) -> list[Tensor]:
        """The result, and first and second derivatives."""
        y = run(*given)
        grads = torch.autograd.grad(y.square().sum(), given, create_graph=True)
        return [y, *grads, *torch.autograd.grad(sum(g.square().sum() for g in grads), given)]

    def by_torch(*given: Tensor) -> Tensor:
        return gain * activate(torchs(*given, **options))

    theirs, exact = (
        results(by_torch, [t.to(device, kind).requires_grad_() for t in tensors])
        for kind in (torch.float32, torch.float64)
    )
    with backend("triton"):
        y, *derivatives = results(lambda *given: function(*given, **options, act=act, gain=gain), ours)
    assert y.is_contiguous(memory_format=format_of(ours[0]))
    assert_accurate(y, theirs[0], exact[0])
    for got, plain, right in zip(derivatives, theirs[1:], exact[1:], strict=True):
        assert_accurate(got, plain, right, factor=3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_summed_in_float32(device: torch.device, dtype: torch.dtype) -> None:
    x, weight = torch.randn(2, 40, 6, 5).to(device, dtype), (torch.randn(20, 40, 3, 3) / 16).to(device, dtype)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    with backend("triton"):
        y = conv2d(x, weight, padding=1)
    grad = torch.randn(2, 20, 6, 5).to(device, dtype)
    pairs = [
        (y, exact, F.conv2d(x, weight, padding=1)),
        (
            conv2d_weight_op(x, grad, [3, 3], [1, 1], [1, 1], [1, 1], 1),
            conv2d_weight_reference(x.double(), grad.double(), [3, 3], [1, 1], [1, 1], [1, 1], 1),
            conv2d_weight_reference(x, grad, [3, 3], [1, 1], [1, 1], [1, 1], 1),
        ),
    ]
    for got, right, torchs in pairs:
        assert got.dtype == dtype
        bound = 2 * torch.finfo(dtype).eps * right.abs().max()
        assert (got.double() - right).abs().max() <= max(2 * (torchs.double() - right).abs().max(), bound)


@pytest.mark.parametrize("options", [{"padding": 1}, {"demodulate": False}, {"up": 2, "padding": 1}, {"down": 2}])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_modulated_kernels(device: torch.device, options: dict[str, Any], batch: int) -> None:
    tensors = torch.randn(batch, 3, 5, 4), torch.randn(4, 3, 3, 3), torch.rand(batch, 3) + 0.5
    filter = fir_filter([1, 3, 3, 1]) if {"up", "down"} & set(options) else None
    ours = [t.to(device).requires_grad_() for t in tensors]
    wide = [t.double().to(device).requires_grad_() for t in tensors]
    with backend("triton"):
        y = modulated_conv2d(*ours, **options, filter=None if filter is None else filter.to(device))
        grads = torch.autograd.grad(y.square().sum(), ours, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in grads), ours)
    with backend("reference"):
        exact = modulated_conv2d(*wide, **options, filter=None if filter is None else filter.to(device, torch.float64))
        expected = torch.autograd.grad(exact.square().sum(), wide, create_graph=True)
        expected_second = torch.autograd.grad(sum(g.square().sum() for g in expected), wide)
    for got, right in zip((y, *grads, *second), (exact, *expected, *expected_second), strict=True):
        assert_near(got, right)


def test_resampling_runs_the_kernels(device: torch.device) -> None:
    x, weight = torch.randn(1, 4, 5, 5, device=device), torch.randn(3, 4, 3, 3, device=device)
    filter = fir_filter([1, 3, 3, 1]).to(device)
    for options in ({"up": 2}, {"down": 2}):
        expected = conv2d_resample(x, weight, filter=filter, padding=1, **options)
        with backend("triton"):
            got = conv2d_resample(x, weight, filter=filter, padding=1, **options)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_the_networks_layers_run_the_kernels(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    from agnlib.ops.kernels import adain as adain_kernels
    from agnlib.ops.kernels import conv2d as conv_kernels

    seen: list[str] = []
    for module, name in ((conv_kernels, "conv2d"), (adain_kernels, "adain")):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, n=name, f=original: seen.append(n) or f(*a))
    generator = Generator(latent_dim=4, style_dim=4, channels=(4, 8, 8), blocks=(1, 1, 1), margin=0).eval().to(device)
    discriminator = Discriminator(style_dim=4, channels=(4, 8), scales=1).eval().to(device)
    photo, style = torch.rand(1, 3, 16, 16, device=device), torch.randn(1, 4, device=device)
    with torch.no_grad():
        expected = generator(None, style, content=photo)
        logits = discriminator(photo)
        with backend("triton"):
            painted = generator(None, style, content=photo)
            torch.testing.assert_close(discriminator(photo), logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(painted, expected, atol=1e-3, rtol=1e-3)
    layers = [m for network in (generator, discriminator) for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    unused = 1  # the seed's convolution, since there is no latent
    assert seen.count("conv2d") == len(layers) - unused
    assert seen.count("adain") > 0
    assert {"conv2d", "conv_transpose2d", "modulated_conv2d", "adain"} <= set(registered())


def test_more_than_two_to_the_31_numbers(gpu: torch.device) -> None:
    if torch.cuda.mem_get_info(gpu)[0] < 24 * 2**30:
        pytest.skip("needs 24 GiB of GPU memory")
    x = torch.zeros(1, 17, 16384, 8192, device=gpu, dtype=torch.float16)  # 2.3e9 numbers
    x[:, :, -2:, -2:] = 1
    weight = torch.ones(16, 17, 1, 1, device=gpu, dtype=torch.float16)
    with backend("triton"):
        y = conv2d(x, weight)
    assert y[0, :, -1, -1].eq(17).all()
    assert y[0, :, -3, -3].eq(0).all()
