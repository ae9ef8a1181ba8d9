"""Transposed convolution ("deconvolution") with bias, activation and gain in one op."""
# ruff: noqa: PLR0917 - the arguments of a torch.library op have an order

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError
from agnlib.ops._checks import format_of
from agnlib.ops._conv2d import conv2d_op, conv2d_weight_op
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

__all__ = ["conv_transpose2d", "conv_transpose2d_reference"]

_BAND = 16  # rows of the input at a time: what a band of 32 channels x 512 columns becomes stays in the cache
_LARGE = 1 << 20  # numbers in a result that is worth bands
_PICTURE = 4  # channels of a result that is a picture


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    act: str | None = None,
    gain: float = 1.0,
) -> Tensor:
    """Deconvolve as `torch.nn.functional.conv_transpose2d` does, then activate: `gain * act(deconv(x) + bias)`.

    Papers: Zeiler et al., "Deconvolutional networks", CVPR 2010; Shi et al., "Is the deconvolution layer the same as a
    convolutional layer?", 2016 (the sub-pixel form).

    Args:
        x: features `(B, C, H, W)`.
        weight: `(C, O / groups, k, k)`, of the dtype of `x`.
        bias: `(O,)`, or None.
        stride: each sample is followed by `stride - 1` zeros; one number, or (vertical, horizontal), as the next three.
        padding: rows and columns that the result loses at each border.
        output_padding: rows and columns that it gains at the bottom and at the right.
        groups: the channels fall into so many parts that do not see each other.
        dilation: distance between the taps of the kernel.
        act: an activation of `bias_act` ("lrelu" has slope 0.2), or None.
        gain: factor after the activation.

    Returns:
        `(B, O, (H - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1, ...)`, of the dtype of `x`.

    Raises:
        InputError: shapes, dtypes, devices or options that do not fit; the message names the argument.
        TypeError: an argument of a wrong type.

    Example:
        >>> x, weight = torch.randn(1, 16, 8, 8), torch.randn(16, 3, 4, 4)
        >>> conv_transpose2d(x, weight, stride=2, padding=1).shape
        torch.Size([1, 3, 16, 16])
    """
    op = "conv_transpose2d"
    x, weight, bias = autocasted(x, weight, bias)
    act = check_convolution(op, x, weight, bias, groups=groups, act=act, transposed=True)
    stride, padding = pair(op, "stride", stride, least=1), pair(op, "padding", padding, least=0)
    extra, dilation = pair(op, "output_padding", output_padding, least=0), pair(op, "dilation", dilation, least=1)
    gain = float(gain)
    if any(extra[i] >= max(stride[i], dilation[i]) for i in (0, 1)):
        raise InputError(
            f"{op}: output_padding is {extra}, stride {stride}, dilation {dilation};"
            " expected output_padding smaller than stride or dilation"
        )
    geometry = (stride, padding, extra, groups, dilation)
    if min(size := _size(x, weight, *geometry)) < 1 or 0 in x.shape[2:]:
        raise InputError(
            f"{op}: x is {tuple(x.shape)}, weight {tuple(weight.shape)}, padding {padding}: the result would be"
            f" {size[0]} x {size[1]}; expected at least 1 x 1, from at least 1 x 1"
        )
    how = choose(op, x, weight, bias)
    if how == "triton":
        return cast(Tensor, _op(x, weight, bias, *geometry, act, gain))
    if how == "reference":
        return conv_transpose2d_reference(x, weight, bias, *geometry, act, gain)
    form = _quickest(x, weight, bias, size, stride, extra, groups, dilation)
    return activated(lambda w, b: form(x, w, b, *geometry), weight, bias, act, gain)


def conv_transpose2d_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
    act: str,
    gain: float,
) -> Tensor:
    """The specification of `conv_transpose2d`."""
    y = F.conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return reference_epilogue(y, act, gain)


def _quickest(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    size: tuple[int, int],
    stride: Sequence[int],
    extra: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Any:
    """Which form to take, measured by benchmarks/ops/bench_deconv.py; on other devices, not measured yet, PyTorch's."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or x.shape[0] == 0 or torch._C._is_tracing():
        return F.conv_transpose2d
    outputs = weight.shape[1] * groups
    square = tuple(stride) == (2, 2) and tuple(weight.shape[2:]) == (4, 4)
    if square and groups == 1 and outputs <= _PICTURE and tuple(dilation) == (1, 1) and not any(extra):
        return _phases
    learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias))
    large = x.shape[0] * outputs * size[0] * size[1] >= _LARGE
    return _bands if large and not learns and format_of(x) == torch.contiguous_format else F.conv_transpose2d


def _phases(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Tensor:
    """As sub-pixels: a convolution at the input's size makes every phase of the result, pixel shuffle places them.

    For kernels that are a multiple of an even stride, without groups, dilation and output padding. A kernel as large as
    the stride is a 1x1 convolution, one twice as large a 2x2 convolution on one more row and column.
    """
    step = stride[0]
    inputs, outputs = weight.shape[:2]
    taps = weight.shape[2] // step, weight.shape[3] // step
    split = weight.view(inputs, outputs, taps[0], step, taps[1], step).flip(2, 4)
    kernel = split.permute(1, 3, 5, 0, 2, 4).reshape(outputs * step * step, inputs, *taps)
    shifts = None if bias is None else bias.repeat_interleave(step * step)
    cells = F.conv2d(x, kernel.contiguous(memory_format=format_of(x)), shifts, padding=(taps[0] - 1, taps[1] - 1))
    whole = F.pixel_shuffle(cells, step)
    y = whole[:, :, padding[0] : whole.shape[2] - padding[0], padding[1] : whole.shape[3] - padding[1]]
    return y.contiguous(memory_format=format_of(x))


def _bands(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Tensor:
    """For contiguous input: in channels_last, where PyTorch's is quick, a few rows at a time so that none leaves the
    cache before it is written into its place."""
    step, cut = stride[0], padding[0]
    reach = dilation[0] * (weight.shape[2] - 1) + 1
    high, wide = _size(x, weight, stride, padding, output_padding, groups, dilation)
    result = x.new_empty(x.shape[0], weight.shape[1] * groups, high, wide)
    for top in range(0, high, _BAND * step):
        bottom = min(top + _BAND * step, high)
        # The inputs that reach these rows, and one on either side for rows that none reaches.
        first = max(0, min(-(-(top + cut - reach + 1) // step), (top + cut) // step, x.shape[2] - 1))
        last = min(x.shape[2], (bottom + cut - 1) // step + 2)
        band = x[:, :, first:last].contiguous(memory_format=torch.channels_last)
        extra = (output_padding[0] if last == x.shape[2] else 0, output_padding[1])
        y = F.conv_transpose2d(band, weight, bias, stride, (0, padding[1]), extra, groups, dilation)
        start = cut - first * step
        result[:, :, top:bottom] = y[:, :, start + top : start + bottom]
    return result


def _size(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> tuple[int, int]:
    high, wide = (
        (x.shape[2 + i] - 1) * stride[i]
        - 2 * padding[i]
        + dilation[i] * (weight.shape[2 + i] - 1)
        + output_padding[i]
        + 1
        for i in (0, 1)
    )
    return high, wide


def _default(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
    act: str,
    gain: float,
) -> Tensor:
    geometry = (stride, padding, output_padding, groups, dilation)
    return dense_like(conv_transpose2d_reference(x, weight, bias, *geometry, act, gain), x)


def _fake(x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
    shape = (x.shape[0], weight.shape[1] * options[3], *_size(x, weight, *options[:5]))
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=format_of(x))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, *ctx.geometry, act, gain = inputs
    ctx.epilogue = (act, gain)
    ctx.save_for_backward(x, weight, bias, output if keeps_output(act, gain) else None)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, bias, output = ctx.saved_tensors
    stride, padding, _, groups, dilation = ctx.geometry
    grad = gradient_before_epilogue(
        grad, output, lambda: _op(x, weight, bias, *ctx.geometry, "linear", 1.0), ctx.epilogue
    )
    dx = dweight = None
    if ctx.needs_input_grad[0]:
        dx = conv2d_op(grad, weight, None, stride, padding, dilation, groups, "linear", 1.0)
        dx = dx[:, :, : x.shape[2], : x.shape[3]]
    if ctx.needs_input_grad[1]:
        dweight = conv2d_weight_op(grad, x, weight.shape[2:], stride, padding, dilation, groups)
    dbias = grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
    return dx, dweight, dbias, *(None,) * 7


_op = define(
    "conv_transpose2d",
    _default,
    module="conv_transpose2d",
    fake=_fake,
    public=True,
    setup_context=_setup,
    backward=_backward,
)
