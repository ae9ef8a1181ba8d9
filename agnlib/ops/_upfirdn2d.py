"""Resampling with a finite impulse response filter: zeros in, filter, every n-th sample out."""
# ruff: noqa: PLR0917 - the arguments of a torch.library op have an order

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError
from agnlib.ops._checks import check_companion, check_map, format_of, in_format_of, narrowed, widened
from agnlib.ops._dispatch import choose, define
from agnlib.ops._polyphase import polyphase, smoothed

__all__ = ["fir_filter", "upfirdn2d", "upfirdn2d_reference"]

_FEW = 8  # channels with which a depthwise convolution of the same size is slower than shifted maps


def fir_filter(taps: Sequence[float], *, normalize: bool = True) -> Tensor:
    """A 1-D filter `(taps,)`, to be used in both directions; with `normalize` its sum is 1.

    Raises:
        InputError: no taps, or taps that sum to zero and so cannot be normalized.

    Example:
        >>> fir_filter([1, 2, 1])
        tensor([0.2500, 0.5000, 0.2500])
    """
    values = [float(tap) for tap in taps]  # in Python: a compiled program can make filters too
    if not values:
        raise InputError("fir_filter: got no taps; expected at least one number")
    total = sum(values)
    if normalize and total == 0:
        raise InputError(f"fir_filter: the taps {list(taps)} sum to zero; expected another sum, or normalize=False")
    scaled = [value / total for value in values] if normalize else values
    return torch.tensor(scaled, device=None, dtype=torch.float32)  # where a module's parameters are made


def upfirdn2d(
    x: Tensor,
    filter: Tensor,
    *,
    up: int = 1,
    down: int = 1,
    padding: int | tuple[int, int, int, int] = 0,
    gain: float = 1.0,
) -> Tensor:
    """Insert zeros, pad, filter (a true convolution) and keep every `down`-th sample.

    Paper: Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020 (the operation);
    Crochiere and Rabiner, "Multirate digital signal processing", 1983 (the theory).

    Args:
        x: pictures or features `(B, C, H, W)`.
        filter: taps `(n,)`, used along both axes, or `(n, m)`; of the dtype of `x` or float32.
        up: each sample is followed by `up - 1` zeros.
        down: every `down`-th sample of the filtered signal is kept.
        padding: zeros around the upsampled picture: one number or (left, right, top, bottom); what is negative is
            cropped from it.
        gain: the result is multiplied by this.

    Returns:
        `(B, C, (H * up + top + bottom - n) // down + 1, ...)`.

    Raises:
        InputError: a rank, dtype or device that does not fit, a factor below 1, or a filter larger than the padded
            picture.
        TypeError: `x` or `filter` is no tensor.

    Example:
        >>> x = torch.ones(1, 1, 4, 4)
        >>> upfirdn2d(x, fir_filter([1, 1]), down=2).shape
        torch.Size([1, 1, 2, 2])
    """
    pad = [padding] * 4 if isinstance(padding, int) else list(padding)
    _check(x, filter, up, down, pad)
    learned = filter.requires_grad and torch.is_grad_enabled()
    limits = ("the kernel has no gradient for the filter, which requires one",) if learned else ()
    how = choose("upfirdn2d", x, filter, limits=limits)
    if how == "triton":
        return _op(x, filter, up, down, pad, False, gain)  # type: ignore[no-any-return]
    if how == "torch" and x.device.type == "cpu" and not learned:
        run = _op if x.requires_grad and torch.is_grad_enabled() else _on_cpu
        return run(x, filter, up, down, pad, False, gain)
    return upfirdn2d_reference(x, filter, up, down, pad, False, gain)


def upfirdn2d_reference(
    x: Tensor, filter: Tensor, up: int, down: int, padding: Sequence[int], flip: bool, gain: float
) -> Tensor:
    """The specification of `upfirdn2d`, in float32 or wider; with `flip` it is a correlation, as its derivative is."""
    channels, (high, wide) = x.shape[1], _size(filter)
    if x.numel() == 0:  # zeros, with a derivative
        return x.sum().expand(_result_shape(x, filter, up, down, padding)).clone()
    y = F.pad(_insert_zeros(widened(x), up), [max(0, side) for side in padding])
    if min(padding) < 0:  # cropped from the padded picture: more than the picture itself has may go
        y = F.pad(y, [min(0, side) for side in padding])
    taps = filter.to(y) if flip else filter.to(y).flip(tuple(range(filter.ndim)))
    kernels = [taps] if filter.ndim == 2 else [taps.view(1, wide), taps.view(high, 1)]
    strides = [(down, down)] if filter.ndim == 2 else [(1, down), (down, 1)]
    for kernel, stride in zip(kernels, strides, strict=True):
        y = F.conv2d(y, kernel.expand(channels, 1, *kernel.shape), stride=stride, groups=channels)
    return narrowed(y if gain == 1.0 else y * gain, x)


def _insert_zeros(x: Tensor, up: int) -> Tensor:
    if up == 1:
        return x
    b, c, h, w = x.shape
    y = x.new_zeros(b, c, h, up, w, up)
    y[:, :, :, 0, :, 0] = x
    return y.reshape(b, c, h * up, w * up)


def _dense_reference(
    x: Tensor, filter: Tensor, up: int, down: int, padding: Sequence[int], flip: bool, gain: float
) -> Tensor:
    y = upfirdn2d_reference(x, filter, up, down, padding, flip, gain)
    return in_format_of(x, y.clone() if y.data_ptr() == x.data_ptr() else y)


def _on_cpu(x: Tensor, filter: Tensor, up: int, down: int, padding: Sequence[int], flip: bool, gain: float) -> Tensor:
    """No zeros are inserted and nothing is computed that is thrown away; not differentiable, `_op` is.

    In channels_last oneDNN's depthwise convolutions are as fast as memory. They are slow in contiguous maps and with
    few channels: there, shifted maps are added up, one for each tap.
    """
    if x.dtype not in (torch.float32, torch.float64) or x.numel() == 0:
        return _dense_reference(x, filter, up, down, padding, flip, gain)
    x, taps = in_format_of(x, x), filter.to(x.dtype)
    if flip:
        taps = taps.flip(tuple(range(taps.ndim)))
    if format_of(x) == torch.channels_last and (x.shape[1] >= _FEW or up != down):
        kernel = _kernel_2d(taps, gain)
        if up == 1 and min(padding) >= 0:
            return in_format_of(x, _strided_conv(x, kernel, down, padding))
        if down == 1 and _transposable(kernel, up, padding):
            return in_format_of(x, _transposed_conv(x, kernel, up, padding))
    if format_of(x) == torch.channels_last and up == down == 1 and not any(padding) and _has_taps(taps):
        return smoothed(x, taps.tolist()[::-1], gain)
    shape = _result_shape(x, filter, up, down, padding)
    return polyphase(x, taps, up=up, down=down, padding=padding, gain=gain, shape=shape)


def _has_taps(taps: Tensor) -> bool:
    return taps.ndim == 1 and len(taps) > 1 and bool(taps.any())


def _kernel_2d(taps: Tensor, gain: float) -> Tensor:
    whole = taps if taps.ndim == 2 else taps[:, None] * taps
    return whole if gain == 1.0 else whole * gain


def _strided_conv(x: Tensor, kernel: Tensor, down: int, padding: Sequence[int]) -> Tensor:
    """The padding is left to the convolution, which pads both sides alike; the shorter side is met by taps of zero."""
    left, right, top, bottom = padding
    kernel = F.pad(
        kernel.flip((0, 1)), (max(0, right - left), max(0, left - right), max(0, bottom - top), max(0, top - bottom))
    )
    even = (max(top, bottom), max(left, right))
    return F.conv2d(x, kernel.expand(x.shape[1], 1, *kernel.shape), stride=down, padding=even, groups=x.shape[1])


def _transposable(kernel: Tensor, up: int, padding: Sequence[int]) -> bool:
    """Whether the padding can be said as `conv_transpose2d`'s own padding and output_padding."""
    left, right, top, bottom = padding
    fits = left < kernel.shape[1] and top < kernel.shape[0]
    return fits and 0 <= up - 1 + right - left < up and 0 <= up - 1 + bottom - top < up


def _transposed_conv(x: Tensor, kernel: Tensor, up: int, padding: Sequence[int]) -> Tensor:
    left, right, top, bottom = padding
    return F.conv_transpose2d(
        x,
        kernel.expand(x.shape[1], 1, *kernel.shape),
        stride=up,
        padding=(kernel.shape[0] - 1 - top, kernel.shape[1] - 1 - left),
        output_padding=(up - 1 + bottom - top, up - 1 + right - left),
        groups=x.shape[1],
    )


def _size(filter: Tensor) -> tuple[int, int]:
    return filter.shape[0], filter.shape[-1]


def _result_shape(x: Tensor, filter: Tensor, up: int, down: int, padding: Sequence[int]) -> tuple[int, int, int, int]:
    left, right, top, bottom = padding
    high, wide = _size(filter)
    height = (x.shape[2] * up + top + bottom - high) // down + 1
    return x.shape[0], x.shape[1], height, (x.shape[3] * up + left + right - wide) // down + 1


def _check(x: Tensor, filter: Tensor, up: int, down: int, padding: list[int]) -> None:
    check_map("upfirdn2d", "x", x)
    check_companion("upfirdn2d", "filter", filter, x, wide=True)
    if filter.ndim not in (1, 2) or filter.numel() == 0:
        raise InputError(f"upfirdn2d: filter has shape {tuple(filter.shape)}; expected (n,) or (n, m), with taps")
    if up < 1 or down < 1:
        raise InputError(f"upfirdn2d: up is {up} and down is {down}; expected both to be at least 1")
    if len(padding) != 4:
        raise InputError(f"upfirdn2d: padding has {len(padding)} numbers; expected one, or (left, right, top, bottom)")
    left, right, top, bottom = padding
    (high, wide), (h, w) = _size(filter), x.shape[2:]
    padded = (h * up + top + bottom, w * up + left + right)
    if padded[0] < high or padded[1] < wide:
        raise InputError(
            f"upfirdn2d: the filter is {high} x {wide}, the padded picture {padded[0]} x {padded[1]};"
            " expected the filter to fit: add padding"
        )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, filter, ctx.up, ctx.down, ctx.padding, ctx.flip, ctx.gain = inputs
    ctx.size = x.shape[2:]
    ctx.save_for_backward(filter)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The adjoint: factors exchanged, the filter turned round, and what was cropped is padded."""
    (filter,) = ctx.saved_tensors
    sides = []
    for size, result, taps, (before, _) in zip(
        ctx.size[::-1], grad.shape[:1:-1], _size(filter)[::-1], (ctx.padding[:2], ctx.padding[2:]), strict=True
    ):
        sides += [taps - 1 - before, (size - 1) * ctx.up - result * ctx.down + 1 + before]
    dx = _op(grad, filter, ctx.down, ctx.up, sides, not ctx.flip, ctx.gain)
    return dx, None, None, None, None, None, None


def _fake(x: Tensor, filter: Tensor, up: int, down: int, padding: Sequence[int], *_: Any) -> Tensor:
    return torch.empty(
        _result_shape(x, filter, up, down, padding), dtype=x.dtype, device=x.device, memory_format=format_of(x)
    )


_op = define(
    "upfirdn2d",
    _dense_reference,
    cpu=_on_cpu,
    module="upfirdn2d",
    fake=_fake,
    public=True,
    setup_context=_setup,
    backward=_backward,
)
