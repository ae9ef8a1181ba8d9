"""Bias, activation, gain and clamp: what stands between two linear layers, in one go."""
# ruff: noqa: PLR0917 - the arguments of a torch.library op have an order

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError
from agnlib.ops._checks import check_companion, check_map, narrowed, widened
from agnlib.ops._dispatch import choose, define

__all__ = ["ACTIVATIONS", "bias_act", "bias_act_reference"]

# Each activation's default gain keeps the variance of normal input (He et al., ICCV 2015, for the rectifiers).
ACTIVATIONS = {
    "linear": 1.0,
    "relu": 2**0.5,
    "lrelu": 2**0.5,
    "tanh": 1.0,
    "sigmoid": 1.0,
    "elu": 1.0,
    "selu": 1.0,
    "softplus": 1.0,
    "swish": 2**0.5,
}
_HOMOGENEOUS = ("linear", "relu", "lrelu")  # f(g z) = g f(z) for g > 0; their second derivative is zero
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al., NeurIPS 2017


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    act: str = "lrelu",
    alpha: float = 0.2,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Add a bias to each channel, apply an activation, multiply by a gain and clamp: `clamp(gain * act(x + bias))`.

    Paper: Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020 (the layer's order);
    Ramachandran et al., "Searching for activation functions", 2017 (swish).

    Args:
        x: features `(B, C, ...)`.
        bias: `(C,)`, or None.
        act: "linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus" or "swish".
        alpha: slope of "lrelu" below zero; the other activations have none.
        gain: factor after the activation; None is sqrt(2) for "relu", "lrelu" and "swish", 1 for the others.
        clamp: the result is held within [-clamp, clamp]; None does not.

    Returns:
        Features of the shape and dtype of `x`.

    Raises:
        InputError: a rank, shape, dtype, device, activation or clamp that does not fit; the message names the argument.
        TypeError: `x` or `bias` is no tensor.

    Example:
        >>> import torch
        >>> bias_act(torch.tensor([[-4.0, 1.0]]), torch.tensor([1.0, 1.0]), act="relu", gain=2.0)
        tensor([[0., 4.]])
    """
    check_map("bias_act", "x", x, least=2, most=8, expected="(B, C, ...)")
    if isinstance(bias, Tensor) and torch.is_autocast_enabled(x.device.type) and bias.is_floating_point():
        bias = bias.to(x.dtype)  # the map comes from a convolution in 16 bits, the parameter is not
    if bias is not None:
        check_companion("bias_act", "bias", bias, x, shape=(x.shape[1],))
    if act not in ACTIVATIONS:
        raise InputError(f"bias_act: act is {act!r}; expected one of {', '.join(ACTIVATIONS)}")
    if clamp is not None and not clamp >= 0:
        raise InputError(f"bias_act: clamp is {clamp}; expected None or a number of at least 0")
    factor = ACTIVATIONS[act] if gain is None else float(gain)
    how = choose("bias_act", x, bias)
    if how == "triton":
        return _op(x, bias, act, alpha, factor, clamp)  # type: ignore[no-any-return]
    if how == "torch":
        return _in_few_passes(x, bias, act, alpha, factor, clamp)
    return bias_act_reference(x, bias, act, alpha, factor, clamp)


def bias_act_reference(
    x: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
) -> Tensor:
    """The specification of `bias_act`, in float32 or wider."""
    y = _ACT[act](_biased(x, bias), alpha) * gain
    y = y if clamp is None else y.clamp(-clamp, clamp)
    return narrowed(y, x)


def bias_act_backward_reference(
    grad: Tensor,
    x: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    order: int,
) -> Tensor:
    """`grad` times the derivative of that order (1 or 2) of `bias_act` with respect to `x`."""
    z = _biased(x, bias)
    y = grad.to(z.dtype) * (_derivative(z, act, alpha, order) * gain)
    if clamp is not None:
        y = y * ((_ACT[act](z, alpha) * gain).abs() <= clamp)
    return torch.empty_like(x).copy_(y)


def _in_few_passes(x: Tensor, bias: Tensor | None, act: str, alpha: float, gain: float, clamp: float | None) -> Tensor:
    """Each pass over a large map costs as much as any other: fold the gain into the bias, then work in place."""
    folds = act in _HOMOGENEOUS and gain > 0 and alpha >= 0
    if not folds or x.dtype in (torch.float16, torch.bfloat16):
        return bias_act_reference(x, bias, act, alpha, gain, clamp)
    folded = None if bias is None else _column(bias if gain == 1.0 else bias * gain, x)
    y = x * gain if folded is None else torch.add(folded, x, alpha=gain)
    if act == "lrelu":
        F.leaky_relu_(y, alpha)
    elif act == "relu":
        F.relu_(y)
    if clamp is None:
        return y
    return y.clamp(-clamp, clamp) if y.requires_grad else y.clamp_(-clamp, clamp)  # the rectifiers save their result


def _biased(x: Tensor, bias: Tensor | None) -> Tensor:
    # A new tensor in any case: nothing that the reference returns may be its input.
    return widened(x) + (0 if bias is None else _column(widened(bias), x))


def _column(bias: Tensor, x: Tensor) -> Tensor:
    return bias.view(-1, *(1,) * (x.ndim - 2))


_ACT: dict[str, Callable[[Tensor, float], Tensor]] = {
    "linear": lambda z, alpha: z,
    "relu": lambda z, alpha: F.relu(z),
    "lrelu": F.leaky_relu,
    "tanh": lambda z, alpha: torch.tanh(z),
    "sigmoid": lambda z, alpha: torch.sigmoid(z),
    "elu": lambda z, alpha: F.elu(z),
    "selu": lambda z, alpha: F.selu(z),
    "softplus": lambda z, alpha: F.softplus(z, threshold=40.0),
    "swish": lambda z, alpha: F.silu(z),
}


def _derivative(z: Tensor, act: str, alpha: float, order: int) -> Tensor:
    if act in _HOMOGENEOUS:
        slope = {"linear": 1.0, "relu": 0.0, "lrelu": alpha}[act]
        one = torch.ones_like(z)
        return torch.where(z > 0, one, one * slope) if order == 1 else torch.zeros_like(z)
    if act == "tanh":
        t = z.tanh()
        return 1 - t * t if order == 1 else -2 * t * (1 - t * t)
    if act in ("elu", "selu"):
        scale, below = (_SELU_SCALE, _SELU_SCALE * _SELU_ALPHA) if act == "selu" else (1.0, 1.0)
        above = torch.full_like(z, scale if order == 1 else 0.0)
        return torch.where(z > 0, above, below * z.clamp(max=0).exp())
    s, r = z.sigmoid(), (-z).sigmoid()  # r = 1 - s without cancellation
    if act == "sigmoid":
        return s * r if order == 1 else s * r * (r - s)
    if act == "softplus":
        return s if order == 1 else s * r
    return s * (1 + z * r) if order == 1 else s * r * (2 + z * (r - s))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, bias, *ctx.options = inputs
    ctx.save_for_backward(x, bias)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, bias = ctx.saved_tensors
    dx = _backward_op(grad, x, bias, *ctx.options, 1)
    db = _over_channels(dx) if ctx.needs_input_grad[1] else None
    return dx, db, None, None, None, None


def _setup_again(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, x, bias, *ctx.options, ctx.order = inputs
    ctx.save_for_backward(grad, x, bias)


def _backward_again(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    grad, x, bias = ctx.saved_tensors
    nothing = (None,) * 5
    dgrad = _backward_op(grad_out, x, bias, *ctx.options, ctx.order)
    if ctx.options[0] in _HOMOGENEOUS:
        return dgrad, None, None, *nothing
    if ctx.order > 1:
        raise NotImplementedError('bias_act: a third derivative was asked for; use backend("reference")')
    dx = _backward_op(grad * grad_out, x, bias, *ctx.options, 2)
    return dgrad, dx, _over_channels(dx) if ctx.needs_input_grad[2] else None, *nothing


def _over_channels(dx: Tensor) -> Tensor:
    return dx.sum([0, *range(2, dx.ndim)])


_op = define(
    "bias_act",
    bias_act_reference,
    module="bias_act",
    fake=lambda x, *_: torch.empty_like(x),
    public=True,
    setup_context=_setup,
    backward=_backward,
)
_backward_op = define(
    "bias_act_backward",
    bias_act_backward_reference,
    module="bias_act",
    fake=lambda grad, x, *_: torch.empty_like(x),
    setup_context=_setup_again,
    backward=_backward_again,
)
