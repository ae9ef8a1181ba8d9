"""Convolutions against torch's own, their derivatives by finite differences, their ops by torch.library's checks."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from agnlib.errors import InputError
from agnlib.ops import _conv_transpose2d as transposed
from agnlib.ops import backend, bias_act, conv2d, conv_transpose2d
from agnlib.ops._conv2d import conv2d_op, conv2d_weight_op

FORMATS = ("contiguous", "channels_last", "strided")
HALVES = (torch.float16, torch.bfloat16)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def stored(x: Tensor, form: str) -> Tensor:
    """The same numbers in another memory format."""
    if form == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if form == "strided":
        return torch.stack([x, x], dim=-1).flatten(3)[..., ::2]
    return x.contiguous()


@st.composite
def convolutions(draw: st.DrawFn, *, turned: bool = False) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
    groups = draw(st.integers(1, 3))
    batch, channels, filters = (
        draw(st.integers(0, 2)),
        groups * draw(st.integers(1, 3)),
        groups * draw(st.integers(1, 3)),
    )
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    high, wide = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    x = stored(torch.randn(batch, channels, high, wide, dtype=torch.float64), draw(st.sampled_from(FORMATS)))
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    reach = [dilation[i] * (kernel[i] - 1) for i in (0, 1)]
    if turned:
        weight = torch.randn(channels, filters // groups, *kernel, dtype=torch.float64)
        extra = tuple(draw(st.integers(0, max(stride[i], dilation[i]) - 1)) for i in (0, 1))
        options["output_padding"] = extra
        sizes = [(n - 1) * stride[i] - 2 * padding[i] + reach[i] + extra[i] + 1 for i, n in enumerate((high, wide))]
    else:
        weight = torch.randn(filters, channels // groups, *kernel, dtype=torch.float64)
        sizes = [n + 2 * padding[i] - reach[i] for i, n in enumerate((high, wide))]
    assume(min(sizes) > 0)
    return x, weight, torch.randn(filters, dtype=torch.float64), options


@given(convolutions())
def test_conv2d_is_torchs(drawn: tuple[Tensor, Tensor, Tensor, dict[str, Any]]) -> None:
    x, weight, bias, options = drawn
    torch.testing.assert_close(conv2d(x, weight, bias, **options), F.conv2d(x, weight, bias, **options))
    torch.testing.assert_close(conv2d(x, weight, **options), F.conv2d(x, weight, **options))


@given(convolutions(turned=True))
def test_conv_transpose2d_is_torchs(drawn: tuple[Tensor, Tensor, Tensor, dict[str, Any]]) -> None:
    x, weight, bias, options = drawn
    expected = F.conv_transpose2d(x, weight, bias, **options)
    torch.testing.assert_close(conv_transpose2d(x, weight, bias, **options), expected)


@pytest.mark.parametrize("function", [conv2d, conv_transpose2d])
@pytest.mark.parametrize("name", ["auto", "reference"])
@pytest.mark.parametrize("act", ["linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"])
def test_epilogue_is_bias_act(function: Callable[..., Tensor], name: str, act: str) -> None:
    x, weight, bias = torch.randn(2, 4, 6, 5), torch.randn(4, 4, 3, 3), torch.randn(4)
    for gain in (1.0, 1.7, -0.5):
        with backend(name):
            got = function(x, weight, bias, act=act, gain=gain)
        torch.testing.assert_close(got, bias_act(function(x, weight), bias, act=act, gain=gain), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (40, 33)])
@pytest.mark.parametrize("kernel", [2, 4])
def test_every_form_of_the_deconvolution_is_torchs(form: str, size: tuple[int, int], kernel: int) -> None:
    x, weight, bias = stored(torch.randn(2, 3, *size), form), torch.randn(3, 5, kernel, kernel), torch.randn(5)
    for padding in range(kernel // 2):
        options = ((2, 2), (padding, padding), (0, 0), 1, (1, 1))
        expected = F.conv_transpose2d(x, weight, bias, *options)
        for function in (transposed._phases, transposed._bands):
            torch.testing.assert_close(function(x, weight, bias, *options), expected, atol=1e-5, rtol=1e-4)


@settings(max_examples=60)
@given(convolutions(turned=True))
def test_bands_serve_every_deconvolution(drawn: tuple[Tensor, Tensor, Tensor, dict[str, Any]]) -> None:
    x, weight, bias, options = drawn
    order = ("stride", "padding", "output_padding", "groups", "dilation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transposed, "_BAND", 2)  # so that small pictures have several
        got = transposed._bands(x, weight, bias, *(options[name] for name in order))
    torch.testing.assert_close(got, F.conv_transpose2d(x, weight, bias, **options))


def test_the_measured_rule_takes_each_form(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for name in ("_phases", "_bands"):
        original = getattr(transposed, name)
        monkeypatch.setattr(transposed, name, lambda *a, n=name, f=original: taken.append(n) or f(*a))
    large, weight = torch.randn(1, 4, 300, 300), torch.randn(4, 8, 4, 4)
    y = conv_transpose2d(large, weight, stride=2, padding=1)
    assert y.is_contiguous()
    torch.testing.assert_close(y, F.conv_transpose2d(large, weight, stride=2, padding=1), atol=1e-4, rtol=1e-4)
    conv_transpose2d(large, weight[:, :3].contiguous(), stride=2, padding=1)
    assert taken == ["_bands", "_phases"]
    conv_transpose2d(large, weight.requires_grad_(), stride=2, padding=1)  # bands are not for training
    conv_transpose2d(stored(large, "channels_last"), weight.detach(), stride=2, padding=1)
    assert taken == ["_bands", "_phases"]


def error(y: Tensor, exact: Tensor) -> float:
    """The largest difference, in units of the largest number."""
    return float((y.double() - exact).abs().max() / exact.abs().max().clamp_min(1e-30))


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("function", "torchs"), [(conv2d, F.conv2d), (conv_transpose2d, F.conv_transpose2d)])
def test_error_is_at_most_twice_torchs(
    function: Callable[..., Tensor], torchs: Callable[..., Tensor], form: str, dtype: torch.dtype
) -> None:
    exact = torch.randn(2, 16, 11, 9).to(dtype), torch.randn(16, 16, 4, 4).to(dtype) / 8, torch.randn(16).to(dtype)
    wide = [t.double().requires_grad_() for t in exact]
    ours = [t.clone().requires_grad_() for t in (stored(exact[0], form), *exact[1:])]
    theirs = [t.clone().requires_grad_() for t in (stored(exact[0], form), *exact[1:])]
    results = []
    for tensors, call in ((wide, torchs), (ours, function), (theirs, torchs)):
        y = call(*tensors, stride=2, padding=1)
        grad = torch.cos(torch.arange(y.numel(), dtype=torch.float64)).view_as(y).to(dtype).to(y.dtype)
        results.append([y.detach(), *torch.autograd.grad(y, tensors, grad)])
    ulp = torch.finfo(dtype).eps
    for i, (right, got, reference) in enumerate(zip(*results, strict=True)):
        assert got.dtype == dtype
        assert error(got, right) <= max((3 if i else 2) * error(reference, right), 2 * ulp)


@pytest.mark.parametrize("act", ["linear", "lrelu", "tanh"])
@settings(max_examples=3)
@given(drawn=convolutions())
def test_conv2d_derivatives(act: str, drawn: tuple[Tensor, Tensor, Tensor, dict[str, Any]]) -> None:
    x, weight, bias, options = drawn
    assume(x.numel() < 40)
    geometry = [options[name] for name in ("stride", "padding", "dilation", "groups")]
    inputs = tuple(t.requires_grad_() for t in (x, weight, bias))
    for call in (lambda *t: conv2d(*t, **options, act=act, gain=1.3), lambda *t: conv2d_op(*t, *geometry, act, 1.3)):
        assert gradcheck(call, inputs)
        assert gradgradcheck(call, inputs)


@pytest.mark.parametrize("act", ["linear", "lrelu", "tanh"])
@settings(max_examples=3)
@given(drawn=convolutions(turned=True))
def test_conv_transpose2d_derivatives(act: str, drawn: tuple[Tensor, Tensor, Tensor, dict[str, Any]]) -> None:
    x, weight, bias, options = drawn
    assume(x.numel() < 30)
    geometry = [options[name] for name in ("stride", "padding", "output_padding", "groups", "dilation")]
    inputs = tuple(t.requires_grad_() for t in (x, weight, bias))
    calls = (
        lambda *t: conv_transpose2d(*t, **options, act=act, gain=1.3),
        lambda *t: transposed._op(*t, *geometry, act, 1.3),
    )
    for call in calls:
        assert gradcheck(call, inputs)
        assert gradgradcheck(call, inputs)


def test_phases_are_differentiable_twice() -> None:
    x, weight = torch.randn(1, 2, 3, 2, dtype=torch.float64), torch.randn(2, 1, 4, 4, dtype=torch.float64)
    inputs = x.requires_grad_(), weight.requires_grad_()
    call = lambda x, w: transposed._phases(x, w, None, (2, 2), (1, 1), (0, 0), 1, (1, 1))  # noqa: E731
    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


@pytest.mark.parametrize(("form", "act"), list(zip(FORMATS, ("linear", "lrelu", "tanh"), strict=True)))
def test_opcheck(form: str, act: str) -> None:
    x = stored(torch.randn(2, 4, 7, 6), form).requires_grad_()
    weight, bias = torch.randn(6, 2, 3, 2, requires_grad=True), torch.randn(6, requires_grad=True)
    turned = torch.randn(4, 3, 3, 2, requires_grad=True)
    torch.library.opcheck(conv2d_op, (x, weight, bias, [2, 1], [1, 2], [1, 2], 2, act, 1.0))
    torch.library.opcheck(transposed._op, (x, turned, bias, [2, 1], [1, 2], [1, 0], 2, [1, 1], act, 1.0))
    grad = stored(torch.randn(2, 6, 4, 8), form).requires_grad_()
    torch.library.opcheck(conv2d_weight_op, (x, grad, [3, 2], [2, 1], [1, 2], [1, 2], 2))


class Both(torch.nn.Module):
    """A convolution, then a deconvolution."""

    def __init__(self) -> None:
        super().__init__()
        self.down = torch.nn.Parameter(torch.randn(8, 3, 3, 3))
        self.up = torch.nn.Parameter(torch.randn(8, 3, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        features = conv2d(x, self.down, stride=2, padding=1, act="lrelu", gain=1.5)
        return conv_transpose2d(features, self.up, stride=2, padding=1, act="tanh")


def test_compiles_without_graph_breaks() -> None:
    module, x = Both(), torch.randn(2, 3, 8, 8)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for name in ("auto", "reference"):
        with backend(name):
            torch.testing.assert_close(compiled(x), module(x), atol=1e-5, rtol=1e-4)
            compiled(x).sum().backward()


def test_export_has_standard_operators_only() -> None:
    program = torch.export.export(Both(), (torch.randn(1, 3, 8, 8),))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert called
    assert all(name.startswith("aten.") for name in called), called


def test_onnx_runs_the_same() -> None:
    pytest.importorskip("onnx", reason="needs the extra onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    module, x, file = Both().eval(), torch.randn(1, 3, 8, 8), io.BytesIO()
    torch.onnx.export(module, (x,), file, input_names=["x"], dynamo=False)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], module(x).detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_a_1x1_convolution_on_one_thread_is_torchs(padding: int, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    x = torch.randn(2, 48, 30, 34).contiguous(memory_format=torch.channels_last)
    weight, shift = torch.randn(40, 48, 1, 1), torch.randn(40) if bias else None
    with torch.no_grad():
        found = conv2d(x, weight, shift, padding=padding)
    expected = F.conv2d(x.double(), weight.double(), None if shift is None else shift.double(), padding=padding)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_autocast_casts_as_torchs_convolution_does() -> None:
    x, weight, bias = torch.randn(1, 3, 5, 5), torch.randn(4, 3, 3, 3), torch.randn(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, expected = conv2d(x, weight, bias), F.conv2d(x, weight, bias)
    assert got.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(got, expected)


X, W = torch.zeros(1, 4, 5, 5), torch.zeros(2, 4, 3, 3)
WT = torch.zeros(4, 2, 3, 3)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: conv2d(torch.zeros(4, 5, 5), W), "x has 3 dimensions"),
        (lambda: conv2d(X, torch.zeros(2, 4, 3)), "weight has shape (2, 4, 3)"),
        (lambda: conv2d(X, W.half()), "weight is torch.float16; expected torch.float32"),
        (lambda: conv2d(X.int(), W), "x is torch.int32"),
        (lambda: conv2d(X, W.to("meta")), "weight is on meta"),
        (lambda: conv2d(X, W, torch.zeros(3)), "bias has shape (3,); expected (2,)"),
        (lambda: conv2d(X, W[:, :3]), "x has 4 channels"),
        (lambda: conv2d(X, W, groups=3), "groups is 3"),
        (lambda: conv2d(X, W, groups=0), "groups is 0"),
        (lambda: conv2d(X, W, stride=0), "stride is 0"),
        (lambda: conv2d(X, W, padding=-1), "padding is -1"),
        (lambda: conv2d(X, W, padding=(1, 1, 1)), "padding is (1, 1, 1)"),
        (lambda: conv2d(X, W, dilation=3), "would be -1 x -1"),
        (lambda: conv2d(X, W, act="mish"), "act is 'mish'"),
        (lambda: conv_transpose2d(X, W), "x has 4 channels"),
        (lambda: conv_transpose2d(X, WT, stride=2, output_padding=2), "output_padding is (2, 2)"),
        (lambda: conv_transpose2d(X, WT, padding=4), "would be -1 x -1"),
        (lambda: conv_transpose2d(X[:, :, :0], WT), "at least 1 x 1"),
        (lambda: conv_transpose2d(X, WT, torch.zeros(4)), "bias has shape (4,); expected (2,)"),
        (lambda: conv_transpose2d(X, WT, groups=3), "groups is 3"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: conv2d([1], W),  # type: ignore[arg-type]
        lambda: conv2d(X, W, stride=1.5),  # type: ignore[arg-type]
        lambda: conv2d(X, W, groups=1.0),  # type: ignore[arg-type]
    ],
)
def test_wrong_types_are_type_errors(call: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"conv2d: .* expected"):
        call()
