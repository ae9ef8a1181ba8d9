"""adain against instance_norm, finite differences and float64, in every memory format."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from ops_accuracy import DTYPES, LAYOUTS, assert_accurate, stored
from torch import Tensor
from torch.library import opcheck

from agnlib.errors import InputError
from agnlib.ops import adain, backend
from agnlib.ops._adain import _moments_in_channels_last, adain_reference

sizes = st.integers(1, 9)
layouts = st.sampled_from(LAYOUTS)
acts = st.sampled_from([None, "relu", "lrelu"])
op = torch.ops.agnlib.adain.default


def theirs(x: Tensor, mean: Tensor, std: Tensor, act: str | None = None) -> Tensor:
    y = F.instance_norm(x, eps=1e-5) * std[:, :, None, None] + mean[:, :, None, None]
    return {None: lambda y: y, "relu": F.relu, "lrelu": lambda y: F.leaky_relu(y, 0.2)}[act](y)


@pytest.mark.parametrize("size", [(2, 3), (31, 37), (4099, 1), (4099, 3), (67, 67)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("b", [1, 2])
def test_moments_of_every_shape_are_float64s(size: tuple[int, int], dtype: torch.dtype, b: int) -> None:
    x = stored((torch.randn(b, 24, *size) * 2 + 100).to(dtype), "channels_last")
    mu, var = _moments_in_channels_last(x)
    expected_var, expected_mu = torch.var_mean(x.double(), (2, 3), correction=0)
    torch.testing.assert_close(mu, expected_mu.float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(var, expected_var.float(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("act", [None, "relu", "lrelu"])
@pytest.mark.parametrize("b", [1, 3])
def test_16_bits_are_rounded_no_more_than_the_result_is(b: int, act: str | None, own: bool) -> None:
    x = stored((torch.randn(b, 24, 17, 20) * 2 + 5).bfloat16(), "channels_last")
    mean, std = torch.randn(2, b, 24)
    outside = None if own else (torch.randn(b, 24), torch.rand(b, 24) + 0.5)
    found = adain(x, mean, std, statistics=outside, act=act)
    statistics = tuple(each.double() for each in outside) if outside else (None, None)
    exact = adain_reference(x.double(), mean.double(), std.double(), *statistics, act)
    assert found.is_contiguous(memory_format=torch.channels_last)
    stored_times = 2 if act == "lrelu" else 1  # each time off by half of the last of 8 bits at most
    torch.testing.assert_close(found.double(), exact, rtol=stored_times * 2**-8, atol=1e-5)


@given(b=st.integers(0, 3), c=st.integers(1, 4), h=sizes, w=st.integers(2, 9), layout=layouts, act=acts)
def test_is_instance_norm_then_scale_and_shift(b: int, c: int, h: int, w: int, layout: str, act: str | None) -> None:
    x = stored(torch.randn(b, c, h, w, dtype=torch.float64), layout)
    mean, std = torch.randn(2, b, c, dtype=torch.float64)
    expected = theirs(x, mean, std, act) if b else torch.zeros_like(x)
    torch.testing.assert_close(adain(x, mean, std, act=act), expected)
    torch.testing.assert_close(adain_reference(x, mean, std, act=act), expected)


@given(
    dtype=st.sampled_from(DTYPES),
    layout=layouts,
    b=st.integers(1, 2),
    side=st.integers(6, 40),
    offset=st.sampled_from([0.0, 1.0, 10.0]),
)
def test_error_is_within_twice_that_of_instance_norm(
    dtype: torch.dtype, layout: str, b: int, side: int, offset: float
) -> None:
    x = stored((torch.randn(b, 5, side, side + 1) + offset).to(dtype), layout)
    mean, std, grad = torch.randn(b, 5).to(dtype), torch.randn(b, 5).to(dtype), torch.randn(x.shape).to(dtype)
    size = 1 + offset  # deviations from zero to the features
    exact = theirs(x.double(), mean.double(), std.double())
    assert_accurate(adain(x, mean, std), theirs(x, mean, std), exact, size=size)

    def derivatives(function: Callable[..., Tensor], kind: torch.dtype) -> tuple[Tensor, ...]:
        given = tuple(t.detach().to(kind).requires_grad_() for t in (x, mean, std))
        return torch.autograd.grad(function(*given), given, grad.to(kind))

    found = [derivatives(adain, dtype), derivatives(theirs, dtype), derivatives(theirs, torch.float64)]
    for ours, torchs, true in zip(*found, strict=True):
        assert_accurate(ours, torchs, true, factor=3, size=size)


def test_channels_last_is_accurate_where_sums_of_squares_are_not() -> None:
    x = stored(torch.randn(1, 4, 300, 300) + 50, "channels_last")
    mean, std = torch.zeros(1, 4), torch.ones(1, 4)
    exact = theirs(x.double(), mean.double(), std.double())
    assert (F.group_norm(x, 4) - exact).abs().max() > 1e-2  # PyTorch's own, in this format
    assert (adain(x, mean, std) - exact).abs().max() < 1e-4


@given(b=st.integers(1, 2), layout=layouts, act=acts, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_statistics_from_outside(b: int, layout: str, act: str | None, dtype: torch.dtype) -> None:
    x = stored(torch.randn(b, 3, 6, 8, dtype=dtype), layout)
    mean, std = torch.randn(2, b, 3, dtype=dtype)
    own = (x.mean((2, 3)), x.var((2, 3), correction=0))
    whole = adain(x, mean, std, act=act)
    torch.testing.assert_close(adain(x, mean, std, statistics=own, act=act), whole)
    torch.testing.assert_close(adain(x[..., :4], mean, std, statistics=own, act=act), whole[..., :4])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("act", [None, "lrelu"])
def test_first_and_second_derivatives(layout: str, outside: bool, act: str | None) -> None:
    x = stored(torch.randn(2, 2, 3, 4, dtype=torch.float64), layout).requires_grad_()
    others = [torch.rand(2, 2, dtype=torch.float64).add_(0.5).requires_grad_() for _ in range(4 if outside else 2)]

    def function(x: Tensor, mean: Tensor, std: Tensor, *given: Tensor) -> Tensor:
        return adain(x, mean, std, statistics=given or None, act=act)  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(function, (x, *others))
    assert torch.autograd.gradgradcheck(function, (x, *others))
    with backend("reference"):
        assert torch.autograd.gradgradcheck(function, (x, *others))


def test_third_derivative_is_the_references() -> None:
    x = stored(torch.randn(1, 2, 3, 4, dtype=torch.float64), "channels_last").requires_grad_()
    mean, std = torch.randn(2, 1, 2, dtype=torch.float64)

    def third() -> Tensor:
        y = adain(x, mean, std).pow(3).sum()
        for _ in range(3):
            y = torch.autograd.grad(y, x, create_graph=True)[0].pow(2).sum()
        return y

    found = third()
    with backend("reference"):
        torch.testing.assert_close(found, third())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("outside", [False, True])
def test_opcheck(layout: str, outside: bool) -> None:
    x = stored(torch.randn(2, 3, 4, 5), layout).detach().requires_grad_()
    mean, std, mu, var = (torch.rand(2, 3).add_(0.5).requires_grad_() for _ in range(4))
    given = (mu, var) if outside else (None, None)
    opcheck(op, (x, mean, std, *given, "lrelu", 1e-5))
    y, center, rsigma = (t.detach() for t in op(x, mean, std, *given, "lrelu", 1e-5))
    opcheck(
        torch.ops.agnlib.adain_backward.default,
        (torch.randn_like(x), x, y, std, center, rsigma, not outside, "lrelu", 1e-5),
    )


def test_memory_format_is_kept() -> None:
    mean, std = torch.randn(2, 2, 3)
    for layout in ("contiguous", "channels_last"):
        for name in ("auto", "reference"):
            with backend(name):
                x = stored(torch.randn(2, 3, 4, 5), layout)
                assert adain(x, mean, std, act="relu").stride() == x.stride()


def test_its_input_stays_as_it_was() -> None:
    x, mean, std = torch.randn(1, 3, 4, 5), torch.randn(1, 3), torch.randn(1, 3)
    before = x.clone()
    adain(x, mean, std, act="relu")
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"x": torch.zeros(3, 4, 4)}, "x has 3 dimensions"),
        ({"x": torch.zeros(1, 3, 4, 4, dtype=torch.int64)}, "x is torch.int64"),
        ({"x": torch.zeros(1, 3, 4, 4, device="meta")}, "mean is on cpu; expected meta"),
        ({"mean": torch.zeros(1, 2)}, "mean has shape (1, 2); expected (1, 3)"),
        ({"std": torch.zeros(1, 3, dtype=torch.float64)}, "std is torch.float64"),
        ({"statistics": (torch.zeros(1, 3), torch.zeros(3))}, "statistics[1] has shape (3,)"),
        ({"act": "tanh"}, "act is 'tanh'"),
    ],
)
def test_bad_input_is_named(change: dict[str, object], named: str) -> None:
    arguments = {"x": torch.zeros(1, 3, 4, 4), "mean": torch.zeros(1, 3), "std": torch.zeros(1, 3)} | change
    with pytest.raises(InputError) as caught:
        adain(**arguments)  # type: ignore[arg-type]
    assert named in str(caught.value)


def test_what_is_no_tensor_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="mean is a float"):
        adain(torch.zeros(1, 1, 2, 2), 0.0, torch.zeros(1, 1))  # type: ignore[arg-type]
