"""`bias_act` and its derivatives: one pass over the map, whatever its memory format."""
# mypy: disable-error-code="import-untyped,no-untyped-call,no-untyped-def,untyped-decorator"
# ruff: noqa: N803, PLR0917 - constants of a kernel are in capitals, its arguments have an order

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["bias_act", "bias_act_backward"]

_CODES = {"linear": 0, "relu": 1, "lrelu": 2, "tanh": 3, "sigmoid": 4, "elu": 5, "selu": 6, "softplus": 7, "swish": 8}
_BLOCK = 1024


@triton.jit
def _sigmoid(z):
    e = tl.exp(-tl.abs(z))
    return tl.where(z >= 0, 1 / (1 + e), e / (1 + e))


@triton.jit
def _expm1(z):
    """exp(z) - 1 for z <= 0: the series where the difference would cancel."""
    series = z * (1 + z * (0.5 + z * (1 / 6 + z * (1 / 24 + z * (1 / 120 + z * (1 / 720 + z * (1 / 5040)))))))
    return tl.where(z > -0.35, series, tl.exp(z) - 1)


@triton.jit
def _tanh(z):
    e = _expm1(-2 * tl.abs(z))
    t = -e / (2 + e)
    return tl.where(z >= 0, t, -t)


@triton.jit
def _tanh_slope(z):
    """1 - tanh(z)^2 without the difference."""
    e = tl.exp(-2 * tl.abs(z))
    return 4 * e / ((1 + e) * (1 + e))


@triton.jit
def _log1p(e):
    """log(1 + e) for 0 <= e <= 1; what rounding took from 1 + e is given back."""
    u = 1 + e
    return tl.log(u) + (e - (u - 1)) / u


@triton.jit
def _activation(z, alpha, ACT: tl.constexpr):
    if ACT == 1:
        y = tl.maximum(z, 0.0)
    elif ACT == 2:
        y = tl.where(z > 0, z, z * alpha)
    elif ACT == 3:
        y = _tanh(z)
    elif ACT == 4:
        y = _sigmoid(z)
    elif ACT == 5:
        y = tl.where(z > 0, z, _expm1(tl.minimum(z, 0.0)))
    elif ACT == 6:
        y = 1.0507009873554805 * tl.where(z > 0, z, 1.6732632423543772 * _expm1(tl.minimum(z, 0.0)))
    elif ACT == 7:
        y = tl.maximum(z, 0.0) + _log1p(tl.exp(-tl.abs(z)))
    elif ACT == 8:
        y = z * _sigmoid(z)
    else:
        y = z
    return y


@triton.jit
def _first(z, alpha, ACT: tl.constexpr):
    if ACT == 1:
        y = tl.where(z > 0, 1.0, 0.0)
    elif ACT == 2:
        y = tl.where(z > 0, 1.0, alpha)
    elif ACT == 3:
        y = _tanh_slope(z)
    elif ACT == 4:
        y = _sigmoid(z) * _sigmoid(-z)
    elif ACT == 5:
        y = tl.where(z > 0, 1.0, tl.exp(tl.minimum(z, 0.0)))
    elif ACT == 6:
        y = 1.0507009873554805 * tl.where(z > 0, 1.0, 1.6732632423543772 * tl.exp(tl.minimum(z, 0.0)))
    elif ACT == 7:
        y = _sigmoid(z)
    elif ACT == 8:
        y = _sigmoid(z) * (1 + z * _sigmoid(-z))
    else:
        y = tl.full(z.shape, 1.0, tl.float32)
    return y


@triton.jit
def _second(z, ACT: tl.constexpr):
    s = _sigmoid(z)
    r = _sigmoid(-z)
    if ACT == 3:
        y = -2 * _tanh(z) * _tanh_slope(z)
    elif ACT == 4:
        y = s * r * (r - s)
    elif ACT == 5:
        y = tl.where(z > 0, 0.0, tl.exp(tl.minimum(z, 0.0)))
    elif ACT == 6:
        y = tl.where(z > 0, 0.0, 1.0507009873554805 * 1.6732632423543772 * tl.exp(tl.minimum(z, 0.0)))
    elif ACT == 7:
        y = s * r
    elif ACT == 8:
        y = s * r * (2 + z * (r - s))
    else:
        y = z * 0.0
    return y


@triton.jit
def _kernel(
    grad_ptr, x_ptr, bias_ptr, y_ptr, count, channels, inner, alpha, gain, clamp,
    ACT: tl.constexpr, ORDER: tl.constexpr, BIAS: tl.constexpr, CLAMP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # The channel of element i is (i // inner) % channels: inner is H W in contiguous maps, 1 in channels_last.
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < count
    z = tl.load(x_ptr + i, mask=inside, other=0.0).to(tl.float32)
    if BIAS:
        z += tl.load(bias_ptr + (i // inner) % channels, mask=inside, other=0.0).to(tl.float32)
    if ORDER == 0:
        y = _activation(z, alpha, ACT) * gain
        if CLAMP:
            y = tl.minimum(tl.maximum(y, -clamp), clamp)
    else:
        slope = _first(z, alpha, ACT) if ORDER == 1 else _second(z, ACT)
        y = tl.load(grad_ptr + i, mask=inside, other=0.0).to(tl.float32) * (slope * gain)
        if CLAMP:
            y = tl.where(tl.abs(_activation(z, alpha, ACT) * gain) <= clamp, y, 0.0)
    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=inside)


def bias_act(x: Tensor, bias: Tensor | None, act: str, alpha: float, gain: float, clamp: float | None) -> Tensor:
    """See `agnlib.ops.bias_act`."""
    return _launch(None, x, bias, act, alpha, gain, clamp, 0)


def bias_act_backward(
    grad: Tensor, x: Tensor, bias: Tensor | None, act: str, alpha: float, gain: float, clamp: float | None, order: int
) -> Tensor:
    """See `agnlib.ops._bias_act.bias_act_backward_reference`."""
    return _launch(grad, x, bias, act, alpha, gain, clamp, order)


def _launch(
    grad: Tensor | None,
    x: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    order: int,
) -> Tensor:
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    # `y` is dense; the others follow its order of elements, so one flat index serves all of them.
    x = x if x.stride() == y.stride() else torch.empty_like(y).copy_(x)
    if grad is not None and grad.stride() != y.stride():
        grad = torch.empty_like(y).copy_(grad)
    inner = y.stride(1) if y.shape[1] > 1 else 1
    grid = (triton.cdiv(y.numel(), _BLOCK),)
    with torch.cuda.device_of(x):
        _kernel[grid](
            x if grad is None else grad, x, x if bias is None else bias.contiguous(), y,
            y.numel(), y.shape[1], inner, alpha, gain, 0.0 if clamp is None else clamp,
            ACT=_CODES[act], ORDER=order, BIAS=bias is not None, CLAMP=clamp is not None, BLOCK=_BLOCK,
        )  # fmt: skip
    return y
