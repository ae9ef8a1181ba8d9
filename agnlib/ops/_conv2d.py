"""Convolution with bias, activation and gain in one op; its gradients are ops of the same family."""
# ruff: noqa: PLR0917 - the arguments of a torch.library op have an order

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError
from agnlib.ops._checks import format_of
from agnlib.ops._conv_checks import (
    activated,
    autocasted,
    check_convolution,
    dense_like,
    gradient_before_epilogue,
    keeps_output,
    pair,
    reference_epilogue,
)
from agnlib.ops._dispatch import choose, define

__all__ = ["conv2d", "conv2d_op", "conv2d_reference", "conv2d_weight_op", "conv2d_weight_reference"]


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    act: str | None = None,
    gain: float = 1.0,
) -> Tensor:
    """Convolve as `torch.nn.functional.conv2d` does, then activate: `gain * act(conv(x) + bias)`.

    Paper: Chetlur et al., "cuDNN: efficient primitives for deep learning", 2014 (the kernel's implicit product of
    matrices).

    Args:
        x: features `(B, C, H, W)`.
        weight: `(O, C / groups, k, k)`, of the dtype of `x`.
        bias: `(O,)`, or None.
        stride: of the windows; one number, or (vertical, horizontal), as the next two.
        padding: zeros at each border.
        dilation: distance between the taps of the kernel.
        groups: the channels fall into so many parts that do not see each other.
        act: an activation of `bias_act` ("lrelu" has slope 0.2), or None.
        gain: factor after the activation.

    Returns:
        `(B, O, (H + 2 * padding - dilation * (k - 1) - 1) // stride + 1, ...)`, of the dtype of `x`.

    Raises:
        InputError: shapes, dtypes, devices or options that do not fit; the message names the argument.
        TypeError: an argument of a wrong type.

    Example:
        >>> x, weight = torch.randn(1, 3, 8, 8), torch.randn(16, 3, 3, 3)
        >>> conv2d(x, weight, torch.zeros(16), stride=2, padding=1, act="lrelu").shape
        torch.Size([1, 16, 4, 4])
    """
    x, weight, bias = autocasted(x, weight, bias)
    act = check_convolution("conv2d", x, weight, bias, groups=groups, act=act)
    stride, padding = pair("conv2d", "stride", stride, least=1), pair("conv2d", "padding", padding, least=0)
    dilation, gain = pair("conv2d", "dilation", dilation, least=1), float(gain)
    if min(size := _size(x, weight.shape[2:], stride, padding, dilation)) < 1:
        raise InputError(
            f"conv2d: x is {tuple(x.shape)}, weight {tuple(weight.shape)}, padding {padding}, dilation {dilation}:"
            f" the result would be {size[0]} x {size[1]}; expected x, padded, at least as large as the kernel"
        )
    how = choose("conv2d", x, weight, bias)
    if how == "triton":
        return cast(Tensor, conv2d_op(x, weight, bias, stride, padding, dilation, groups, act, gain))
    if how == "reference":
        return conv2d_reference(x, weight, bias, stride, padding, dilation, groups, act, gain)
    form = _pointwise if _is_pointwise(x, weight, stride, groups) else F.conv2d
    return activated(lambda w, b: form(x, w, b, stride, padding, dilation, groups), weight, bias, act, gain)


def conv2d_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    act: str,
    gain: float,
) -> Tensor:
    """The specification of `conv2d`."""
    return reference_epilogue(F.conv2d(x, weight, bias, stride, padding, dilation, groups), act, gain)


def _is_pointwise(x: Tensor, weight: Tensor, stride: Sequence[int], groups: int) -> bool:
    """A 1x1 convolution for which PyTorch on one thread does not take oneDNN, which needs a sixth less time."""
    if weight.shape[2:] != (1, 1) or groups != 1 or tuple(stride) != (1, 1) or x.device.type != "cpu":
        return False
    plain = x.dtype == torch.float32 and format_of(x) == torch.channels_last
    return plain and torch.get_num_threads() == 1 and not torch.is_grad_enabled() and _has_onednn()


@cache
def _has_onednn() -> bool:
    is_there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_there and torch.backends.cpu.get_cpu_capability().startswith("AVX")


def _pointwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    return torch.mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups)


def conv2d_weight_reference(
    x: Tensor,
    grad: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """The gradient of a convolution's weight `(O, C / groups, *kernel)`, from its input and its output's gradient.

    `grad` may lack rows and columns at the far end; they count as zero.
    """
    high, wide = _size(x, kernel, stride, padding, dilation)
    whole = F.pad(grad, (0, wide - grad.shape[3], 0, high - grad.shape[2]))
    weight = x.new_empty(1).expand(grad.shape[1], x.shape[1] // groups, *kernel)
    options = (list(stride), list(padding), list(dilation), False, [0, 0], groups, [False, True, False])
    found = torch.ops.aten.convolution_backward(whole, x, weight, None, *options)[1]
    return cast(Tensor, found.contiguous())


def _size(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int]:
    high = (x.shape[2] + 2 * padding[0] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    wide = (x.shape[3] + 2 * padding[1] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    return high, wide


def _default(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    act: str,
    gain: float,
) -> Tensor:
    return dense_like(conv2d_reference(x, weight, bias, stride, padding, dilation, groups, act, gain), x)


def _fake(x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
    shape = (x.shape[0], weight.shape[0], *_size(x, weight.shape[2:], *options[:3]))
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=format_of(x))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, ctx.stride, ctx.padding, ctx.dilation, ctx.groups, *ctx.epilogue = inputs
    ctx.save_for_backward(x, weight, bias, output if keeps_output(*ctx.epilogue) else None)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, bias, output = ctx.saved_tensors
    geometry = (ctx.stride, ctx.padding, ctx.dilation, ctx.groups)
    grad = gradient_before_epilogue(
        grad, output, lambda: conv2d_op(x, weight, bias, *geometry, "linear", 1.0), ctx.epilogue
    )
    dx = input_gradient(x, grad, weight, *geometry) if ctx.needs_input_grad[0] else None
    dweight = conv2d_weight_op(x, grad, weight.shape[2:], *geometry) if ctx.needs_input_grad[1] else None
    dbias = grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
    return dx, dweight, dbias, *(None,) * 6


def input_gradient(
    x: Tensor,
    grad: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """The gradient of a convolution's input: a deconvolution to the size of `x`."""
    rest = [
        x.shape[2 + i]
        - ((grad.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (weight.shape[2 + i] - 1) + 1)
        for i in (0, 1)
    ]
    transposed = torch.ops.agnlib.conv_transpose2d.default
    return cast(Tensor, transposed(grad, weight, None, stride, padding, rest, groups, dilation, "linear", 1.0))


def _setup_weight(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, grad, _, *ctx.geometry = inputs
    ctx.save_for_backward(x, grad)


def _backward_weight(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
    x, grad = ctx.saved_tensors
    dx = input_gradient(x, grad, weight, *ctx.geometry) if ctx.needs_input_grad[0] else None
    dgrad = None
    if ctx.needs_input_grad[1]:
        dgrad = conv2d_op(x, weight, None, *ctx.geometry, "linear", 1.0)[:, :, : grad.shape[2], : grad.shape[3]]
    return dx, dgrad, *(None,) * 5


conv2d_op = define(
    "conv2d", _default, module="conv2d", fake=_fake, public=True, setup_context=_setup, backward=_backward
)
conv2d_weight_op = define(
    "conv2d_weight",
    conv2d_weight_reference,
    module="conv2d",
    fake=lambda x, grad, kernel, stride, padding, dilation, groups: x.new_empty(
        grad.shape[1], x.shape[1] // groups, *kernel
    ),
    setup_context=_setup_weight,
    backward=_backward_weight,
)
