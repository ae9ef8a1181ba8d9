"""Resampling and modulated convolutions against their plain forms, closed forms and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.signal import upfirdn
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from agnlib.errors import InputError
from agnlib.ops import _modulated_conv2d as modulated
from agnlib.ops import backend, conv2d_resample, fir_filter, modulated_conv2d
from agnlib.ops._conv2d_resample import conv2d_resample_reference

DOUBLE = torch.float64


@st.composite
def resamplings(draw: st.DrawFn) -> tuple[Tensor, Tensor, dict[str, Any]]:
    groups, up, down = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    high, wide = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    margins = draw(st.integers(0, 2) | st.tuples(*(st.integers(0, 2),) * 4))
    left, right, top, bottom = (margins,) * 4 if isinstance(margins, int) else margins
    assume(high * up + top + bottom >= kernel[0] and wide * up + left + right >= kernel[1])
    taps = draw(st.sampled_from([None, (1,), (2,), (3,), (4,), (5,), (2, 3), (3, 6)]))
    filter = None if taps is None else torch.randn(taps, dtype=DOUBLE)
    x = torch.randn(draw(st.integers(0, 2)), groups * 2, high, wide, dtype=DOUBLE)
    weight = torch.randn(groups * draw(st.integers(1, 3)), 2, *kernel, dtype=DOUBLE)
    return x, weight, {"filter": filter, "up": up, "down": down, "padding": margins, "groups": groups}


@settings(max_examples=100)
@given(resamplings())
def test_resampling_is_its_specification(drawn: tuple[Tensor, Tensor, dict[str, Any]]) -> None:
    x, weight, options = drawn
    y = conv2d_resample(x, weight, **options)
    torch.testing.assert_close(y, conv2d_resample_reference(x, weight, **options))
    margins = options["padding"]
    left, right, top, bottom = (margins,) * 4 if isinstance(margins, int) else margins
    up, down = options["up"], options["down"]
    assert y.shape[2] == (x.shape[2] * up + top + bottom - weight.shape[2]) // down + 1
    assert y.shape[3] == (x.shape[3] * up + left + right - weight.shape[3]) // down + 1


def test_without_a_filter_it_is_a_strided_convolution() -> None:
    x, weight = torch.randn(2, 3, 7, 6), torch.randn(4, 3, 3, 3)
    expected = F.conv2d(x, weight, stride=2, padding=1)
    torch.testing.assert_close(conv2d_resample(x, weight, down=2, padding=1), expected, atol=1e-5, rtol=1e-5)


def test_the_filter_is_scipys_upfirdn() -> None:
    x, taps, one = torch.randn(1, 1, 6, 9, dtype=DOUBLE), [1.0, 3.0, 3.0, 1.0], torch.ones(1, 1, 1, 1, dtype=DOUBLE)
    filter = fir_filter(taps).double()
    expected = upfirdn(filter, upfirdn(filter, x[0, 0].numpy(), up=2, axis=0), up=2, axis=1)[1:-1, 1:-1] * 4
    got = conv2d_resample(x, one, filter=filter, up=2)[0, 0]
    torch.testing.assert_close(got, torch.from_numpy(expected[:12, :18]))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_picture_does_not_move_and_keeps_its_brightness(factor: int) -> None:
    x, one = torch.randn(2, 3, 12, 24), torch.eye(3)[:, :, None, None]
    box = fir_filter([1.0] * factor)
    larger = conv2d_resample(x, one, filter=box, up=factor)
    torch.testing.assert_close(larger, F.interpolate(x, scale_factor=factor, mode="nearest"))
    smaller = conv2d_resample(x, one, filter=box, down=factor)
    torch.testing.assert_close(smaller, F.avg_pool2d(x, factor))


@given(drawn=resamplings())
@settings(max_examples=3)
def test_resampling_derivatives(drawn: tuple[Tensor, Tensor, dict[str, Any]]) -> None:
    x, weight, options = drawn
    assume(x.numel() < 40)
    inputs = x.requires_grad_(), weight.requires_grad_()
    assert gradcheck(lambda x, w: conv2d_resample(x, w, **options), inputs)
    assert gradgradcheck(lambda x, w: conv2d_resample(x, w, **options), inputs)


CASES: list[dict[str, Any]] = [
    {"padding": 1},
    {"padding": 0, "demodulate": False},
    {"up": 2, "padding": 1, "filter": fir_filter([1, 3, 3, 1])},
    {"down": 2, "padding": (1, 0, 2, 1), "filter": fir_filter([1, 2, 1])},
]


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("last", [False, True])
def test_modulated_is_a_convolution_of_its_own_for_each_picture(
    options: dict[str, Any], batch: int, last: bool
) -> None:
    x, weight, style = torch.randn(batch, 3, 7, 6), torch.randn(5, 3, 3, 3), torch.randn(batch, 3)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    rest = {name: value for name, value in options.items() if name != "demodulate"}
    rows = []
    for i in range(batch):
        own = weight * style[i][None, :, None, None]
        if options.get("demodulate", True):
            own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        rows.append(conv2d_resample(x[i : i + 1], own, **rest))
    for name in ("auto", "reference"):
        with backend(name):
            y = modulated_conv2d(x, weight, style, **options)
        assert y.shape == (batch, 5, *conv2d_resample(torch.zeros(1, 3, 7, 6), weight, **rest).shape[2:])
        if rows:
            torch.testing.assert_close(y, torch.cat(rows), atol=1e-5, rtol=1e-4)


def test_demodulated_white_noise_keeps_unit_deviation() -> None:
    y = modulated_conv2d(torch.randn(2, 64, 64, 64), torch.randn(16, 64, 3, 3), 5 * torch.rand(2, 64) + 0.1)
    assert (y.std((2, 3)) - 1).abs().max() < 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 2])
def test_large_styles_do_not_overflow_in_sixteen_bits(dtype: torch.dtype, batch: int) -> None:
    x, weight, style = torch.randn(batch, 8, 6, 6), torch.randn(4, 8, 3, 3), 1e4 * torch.rand(batch, 8)
    y = modulated_conv2d(x.to(dtype), weight.to(dtype), style)
    exact = modulated_conv2d(x.to(dtype).double(), weight.to(dtype).double(), style.double())
    scale = torch.finfo(dtype).eps * float(exact.abs().max())
    assert y.dtype == dtype
    assert (y.double() - exact).abs().max() < 6 * scale  # inputs, weight, sum, scale and result are rounded once each


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("options", [{"padding": 1}, {"up": 2, "padding": 1, "filter": fir_filter([1, 1]).double()}])
def test_modulated_derivatives(batch: int, options: dict[str, Any]) -> None:
    shapes = (batch, 2, 3, 4), (2, 2, 3, 3), (batch, 2)
    inputs = tuple(torch.randn(shape, dtype=DOUBLE).requires_grad_() for shape in shapes)
    assert gradcheck(lambda *t: modulated_conv2d(*t, **options), inputs)
    assert gradgradcheck(lambda *t: modulated_conv2d(*t, **options), inputs)


@pytest.mark.parametrize(("last", "stride"), [(True, (1, 1)), (False, (2, 1))])
def test_its_ops(last: bool, stride: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 3, 2, dtype=DOUBLE)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    weight, turned = torch.randn(2, 3, 3, 2, dtype=DOUBLE), torch.randn(3, 2, 3, 2, dtype=DOUBLE)
    scales = torch.rand(2, 3, dtype=DOUBLE), torch.rand(2, 2, dtype=DOUBLE)
    there = tuple(t.requires_grad_() for t in (x, weight, *scales))
    back = there[0], turned.requires_grad_(), *there[2:]
    rest = (stride[0] - 1, 0)
    for op, inputs, geometry in (
        (modulated._op, there, (stride, (1, 0))),
        (modulated._transposed_op, back, (stride, (1, 0), rest)),
    ):
        torch.library.opcheck(op, (*inputs, *map(list, geometry)))
        assert gradcheck(lambda *t, op=op, g=geometry: op(*t, *g), inputs)
        assert gradgradcheck(lambda *t, op=op, g=geometry: op(*t, *g), inputs)


def test_both_compile_without_graph_breaks() -> None:
    x, weight, style = torch.randn(2, 3, 6, 6), torch.randn(4, 3, 3, 3), torch.randn(2, 3)
    filter = fir_filter([1, 3, 3, 1])

    def function(x: Tensor, style: Tensor) -> Tensor:
        return modulated_conv2d(x, weight, style, up=2, padding=1, filter=filter)

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, style), function(x, style), atol=1e-5, rtol=1e-4)


X, W, S = torch.zeros(2, 3, 5, 5), torch.zeros(4, 3, 3, 3), torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: conv2d_resample(X, W, up=0), "up is 0"),
        (lambda: conv2d_resample(X, W, down=0), "down is 0"),
        (lambda: conv2d_resample(X, W, padding=-1), "padding is -1"),
        (lambda: conv2d_resample(X, W, padding=(1, 2)), "padding is (1, 2)"),
        (lambda: conv2d_resample(X[:, :, :2], W), "expected at least the size of the kernel"),
        (lambda: conv2d_resample(X, W, filter=torch.zeros(0)), "filter has shape (0,)"),
        (lambda: conv2d_resample(X, W, filter=torch.zeros(3).double()), "filter is torch.float64"),
        (lambda: conv2d_resample(X, W, groups=2), "groups is 2"),
        (lambda: modulated_conv2d(X, W, S[:1]), "style has shape (1, 3); expected (2, 3)"),
        (lambda: modulated_conv2d(X, W, S.to("meta")), "style is on meta"),
        (lambda: modulated_conv2d(X, W[:, :2], S), "x has 3 channels"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert named in str(caught.value)
