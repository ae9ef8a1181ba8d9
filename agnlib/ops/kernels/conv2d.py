"""`conv2d` and its weight's gradient as implicit products of matrices: no unfolded map is ever written.

The forward kernel serves `conv_transpose2d` too: a deconvolution of stride s is s * s convolutions, one for each phase
of the result. Geometry therefore comes in as steps: where the windows start, how far apart the taps are in the input
and in the weight, and which of the result's cells are written.
"""
# mypy: disable-error-code="import-untyped,no-untyped-call,no-untyped-def,untyped-decorator"
# ruff: noqa: N803, PLR0915, PLR0917 - constants of a kernel are in capitals, its arguments have an order, it is one piece

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from agnlib.ops._checks import format_of
from agnlib.ops._dispatch import INTERPRETED
from agnlib.ops.kernels.bias_act import _CODES, _activation

__all__ = ["Axis", "conv2d", "conv2d_weight", "convolution_axes", "launch", "result"]

_SPLITS = 512  # programs that a weight's gradient is cut into where its own tiles are too few for a GPU
_INT32 = 2**31


@triton.jit
def _tile_kernel(
    x_ptr, w_ptr, bias_ptr, scale_in_ptr, scale_out_ptr, y_ptr,
    pixels, rows, columns, channels, filters, height, width,
    x_b, x_c, x_y, x_x, w_group, w_n, w_c, w_y, w_x, y_b, y_c, y_y, y_x,
    start_y, start_x, window_y, window_x, tap_y, tap_x, first_y, first_x, next_y, next_x, taps_y, taps_x,
    out_y, out_x, cell_y, cell_x, gain,
    BIAS: tl.constexpr, SCALE_IN: tl.constexpr, SCALE_OUT: tl.constexpr, ACT: tl.constexpr, WIDE: tl.constexpr,
    DEPTHWISE: tl.constexpr, PRECISION: tl.constexpr, EMULATED: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    # Rows of the product are cells of the result, columns its channels, the sum runs over taps and channels of x.
    tiles_n = tl.cdiv(filters, BLOCK_N)
    m = (tl.program_id(0) // tiles_n).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = (tl.program_id(0) % tiles_n) * BLOCK_N + tl.arange(0, BLOCK_N)
    group = tl.program_id(1)
    if not WIDE:
        m = m.to(tl.int32)
    else:
        n = n.to(tl.int64)
        group = group.to(tl.int64)
    inside_m = m < pixels
    inside_n = n < filters
    column = m % columns
    row = (m // columns) % rows
    picture = m // (columns * rows)
    top = row * window_y + start_y
    left = column * window_x + start_x
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    if DEPTHWISE:  # each result channel sees one channel of x: `group` stays 0 and n counts all of the result's
        per_group = tl.maximum(channels, 1)
        source = n // per_group
        x_at = x_ptr + (picture * x_b)[:, None] + (source * x_c)[None, :]
        w_at = w_ptr + source * w_group + (n % per_group) * w_n
        for tap in range(taps_y * taps_x):
            i = tap // taps_x
            j = tap % taps_x
            y_in = top + i * tap_y
            x_in = left + j * tap_x
            seen = inside_m & (y_in >= 0) & (y_in < height) & (x_in >= 0) & (x_in < width)
            value = tl.load(
                x_at + (y_in * x_y + x_in * x_x)[:, None], mask=seen[:, None] & inside_n[None, :], other=0.0
            )
            weight = tl.load(
                w_at + (first_y + i * next_y) * w_y + (first_x + j * next_x) * w_x, mask=inside_n, other=0.0
            )
            acc += value.to(tl.float32) * weight.to(tl.float32)[None, :]
    else:
        depth = taps_y * taps_x * channels
        for k0 in range(0, depth, BLOCK_K):
            k = k0 + tl.arange(0, BLOCK_K)
            if WIDE:
                k = k.to(tl.int64)
            c = k % channels
            tap = k // channels
            i = tap // taps_x
            j = tap % taps_x
            y_in = top[:, None] + (i * tap_y)[None, :]
            x_in = left[:, None] + (j * tap_x)[None, :]
            seen = inside_m[:, None] & (k < depth)[None, :]
            seen = seen & (y_in >= 0) & (y_in < height) & (x_in >= 0) & (x_in < width)
            channel = group * channels + c
            value = tl.load(
                x_ptr + (picture * x_b)[:, None] + (channel * x_c)[None, :] + y_in * x_y + x_in * x_x,
                mask=seen, other=0.0,
            )  # fmt: skip
            if SCALE_IN:
                scale = tl.load(
                    scale_in_ptr + (picture * (channels * tl.num_programs(1)))[:, None] + channel[None, :],
                    mask=seen, other=0.0,
                )  # fmt: skip
                value = (value.to(tl.float32) * scale).to(x_ptr.dtype.element_ty)
            at = (c * w_c + (first_y + i * next_y) * w_y + (first_x + j * next_x) * w_x)[:, None]
            weight = tl.load(
                w_ptr + group * w_group + at + (n * w_n)[None, :],
                mask=(k < depth)[:, None] & inside_n[None, :], other=0.0,
            )  # fmt: skip
            if EMULATED:
                value = value.to(tl.float32)
                weight = weight.to(tl.float32)
            acc = tl.dot(value, weight, acc, input_precision=PRECISION)
    out_channel = group * filters + n
    inside = inside_m[:, None] & inside_n[None, :]
    if SCALE_OUT:
        scale = tl.load(
            scale_out_ptr + (picture * (filters * tl.num_programs(1)))[:, None] + out_channel[None, :],
            mask=inside, other=0.0,
        )  # fmt: skip
        acc *= scale
    if BIAS:
        acc += tl.load(bias_ptr + out_channel, mask=inside_n, other=0.0).to(tl.float32)[None, :]
    acc = _activation(acc, 0.2, ACT) * gain
    at = (picture * y_b + (row * out_y + cell_y) * y_y + (column * out_x + cell_x) * y_x)[:, None]
    tl.store(y_ptr + at + (out_channel * y_c)[None, :], acc.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _weight_kernel(
    x_ptr, g_ptr, part_ptr,
    pixels, rows, columns, channels, filters, height, width,
    x_b, x_c, x_y, x_x, g_b, g_c, g_y, g_x,
    pad_y, pad_x, stride_y, stride_x, dilation_y, dilation_x, taps_y, taps_x, share,
    WIDE: tl.constexpr, PRECISION: tl.constexpr, EMULATED: tl.constexpr, SINGLE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    # Rows of the product are the result's channels, columns taps and channels of x, the sum runs over the cells of g;
    # each program sums a share of them in float32, and the shares are added afterwards, always in the same order.
    depth = taps_y * taps_x * channels
    tiles_j = tl.cdiv(depth, BLOCK_J)
    n = (tl.program_id(0) // tiles_j) * BLOCK_N + tl.arange(0, BLOCK_N)
    j = (tl.program_id(0) % tiles_j) * BLOCK_J + tl.arange(0, BLOCK_J)
    group = tl.program_id(1)
    split = tl.program_id(2).to(tl.int64)
    if WIDE:
        n = n.to(tl.int64)
        j = j.to(tl.int64)
        group = group.to(tl.int64)
    c = j % channels
    tap = j // channels
    down = (tap // taps_x) * dilation_y - pad_y
    right = (tap % taps_x) * dilation_x - pad_x
    x_at = x_ptr + ((group * channels + c) * x_c)[None, :]
    g_at = g_ptr + ((group * filters + n) * g_c)[None, :]
    acc = tl.zeros((BLOCK_N, BLOCK_J), dtype=tl.float32)
    for p0 in range(0, share, BLOCK_P):
        local = p0 + tl.arange(0, BLOCK_P)
        p = split * share + local
        mine = (local < share) & (p < pixels)
        if not WIDE:
            p = p.to(tl.int32)
        column = p % columns
        row = (p // columns) % rows
        picture = p // (columns * rows)
        g = tl.load(
            g_at + (picture * g_b + row * g_y + column * g_x)[:, None],
            mask=mine[:, None] & (n < filters)[None, :], other=0.0,
        )  # fmt: skip
        y_in = (row * stride_y)[:, None] + down[None, :]
        x_in = (column * stride_x)[:, None] + right[None, :]
        seen = mine[:, None] & (j < depth)[None, :] & (y_in >= 0) & (y_in < height) & (x_in >= 0) & (x_in < width)
        value = tl.load(x_at + (picture * x_b)[:, None] + y_in * x_y + x_in * x_x, mask=seen, other=0.0)
        if SINGLE:
            acc += tl.sum(g.to(tl.float32) * value.to(tl.float32), axis=0)[None, :]
        else:
            if EMULATED:
                g = g.to(tl.float32)
                value = value.to(tl.float32)
            acc = tl.dot(tl.trans(g), value, acc, input_precision=PRECISION)
    filter = group * filters + n
    at = (split * (filters * tl.num_programs(1)) + filter)[:, None] * depth + (c * (taps_y * taps_x) + tap)[None, :]
    tl.store(part_ptr + at, acc, mask=(n < filters)[:, None] & (j < depth)[None, :])


@dataclass(frozen=True)
class Axis:
    """How one axis of the result reads the input: cell i starts at `start + i * window`, tap t is `t * tap` further.

    In the weight it is tap `first + t * next`, and cell i of `cells` is written at `out * i + cell`.
    """

    cells: int
    start: int
    window: int
    tap: int
    first: int
    next: int
    taps: int
    out: int = 1
    cell: int = 0


def conv2d(
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
    """See `agnlib.ops.conv2d`."""
    axes = convolution_axes(x, weight, stride, padding, dilation)
    y = result(x, weight.shape[0], axes[0].cells, axes[1].cells)
    launch(x, weight, bias, y, axes, groups, act=act, gain=gain)
    return y


def convolution_axes(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[Axis, Axis]:
    """The two axes of a convolution."""
    axes = []
    for i in (0, 1):
        taps = weight.shape[2 + i]
        cells = (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (taps - 1) - 1) // stride[i] + 1
        axes.append(Axis(cells, -padding[i], stride[i], dilation[i], 0, 1, taps))
    return axes[0], axes[1]


def result(x: Tensor, filters: int, high: int, wide: int) -> Tensor:
    """An empty result in the memory format of `x`."""
    return torch.empty((x.shape[0], filters, high, wide), dtype=x.dtype, device=x.device, memory_format=format_of(x))


def launch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    y: Tensor,
    axes: tuple[Axis, Axis],
    groups: int,
    *,
    act: str = "linear",
    gain: float = 1.0,
    transposed: bool = False,
    scale_in: Tensor | None = None,
    scale_out: Tensor | None = None,
) -> None:
    """Fill the cells of `y` that the axes name; `transposed` says that the weight is `(C, O / groups, k, k)`."""
    vertical, horizontal = axes
    pixels = x.shape[0] * vertical.cells * horizontal.cells
    if pixels == 0:
        return
    channels, filters = x.shape[1] // groups, y.shape[1] // groups
    w_c, w_n = (weight.stride(0), weight.stride(1)) if transposed else (weight.stride(1), weight.stride(0))
    w_group = weight.stride(0) * (channels if transposed else filters)
    depthwise = channels == 1 and groups > 1
    blocks = _blocks(x, y.shape[1] if depthwise else filters, channels * vertical.taps * horizontal.taps, depthwise)
    columns = y.shape[1] if depthwise else filters
    grid = (
        triton.cdiv(pixels, blocks["BLOCK_M"]) * triton.cdiv(columns, blocks["BLOCK_N"]),
        1 if depthwise else groups,
    )
    both = [
        value
        for name in ("start", "window", "tap", "first", "next", "taps", "out", "cell")
        for value in (getattr(vertical, name), getattr(horizontal, name))
    ]
    empty = y  # stands for what is not there
    with torch.cuda.device_of(x):
        _tile_kernel[grid](
            x, weight, empty if bias is None else bias, empty if scale_in is None else scale_in,
            empty if scale_out is None else scale_out, y,
            pixels, vertical.cells, horizontal.cells, filters if depthwise else channels, columns,
            x.shape[2], x.shape[3], *x.stride(), w_group, w_n, w_c, weight.stride(2), weight.stride(3), *y.stride(),
            *both, gain,
            BIAS=bias is not None, SCALE_IN=scale_in is not None, SCALE_OUT=scale_out is not None, ACT=_CODES[act],
            WIDE=_wide(x, weight, y), DEPTHWISE=depthwise, PRECISION=_precision(), EMULATED=_emulated(x), **blocks,
        )  # fmt: skip


def conv2d_weight(
    x: Tensor,
    grad: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """See `agnlib.ops._conv2d.conv2d_weight_reference`."""
    channels, filters = x.shape[1] // groups, grad.shape[1] // groups
    weight = x.new_empty(grad.shape[1], channels, *kernel)
    rows, columns = grad.shape[2:]
    pixels, depth = x.shape[0] * rows * columns, channels * kernel[0] * kernel[1]
    if pixels == 0:
        return weight.zero_()
    single = filters == 1
    n = 1 if single else _block(filters, 64)
    j, p = _block(depth, 64), 64
    tiles = triton.cdiv(filters, n) * triton.cdiv(depth, j) * groups
    splits = max(1, min(_SPLITS // tiles, triton.cdiv(pixels, 4 * p)))
    share = triton.cdiv(triton.cdiv(pixels, splits), p) * p
    parts = torch.empty((splits, *weight.shape), dtype=torch.float32, device=x.device)
    with torch.cuda.device_of(x):
        _weight_kernel[(triton.cdiv(filters, n) * triton.cdiv(depth, j), groups, splits)](
            x, grad, parts, pixels, rows, columns, channels, filters, x.shape[2], x.shape[3],
            *x.stride(), *grad.stride(), *padding, *stride, *dilation, *kernel, share,
            WIDE=_wide(x, grad), PRECISION=_precision(), EMULATED=_emulated(x), SINGLE=single,
            BLOCK_N=n, BLOCK_J=j, BLOCK_P=p,
        )  # fmt: skip
    return parts.sum(0).to(x.dtype)


def _blocks(x: Tensor, filters: int, depth: int, depthwise: bool) -> dict[str, Any]:
    if depthwise:
        return {"BLOCK_M": 64, "BLOCK_N": _block(filters, 32), "BLOCK_K": 16, "num_warps": 4}
    n = _block(filters, 128)
    k = min(_block(depth, 64), 32 if x.dtype == torch.float32 else 64)
    return {"BLOCK_M": 128, "BLOCK_N": n, "BLOCK_K": k, "num_warps": 8 if n == 128 else 4, "num_stages": 3}


def _block(size: int, most: int) -> int:
    """A power of two that holds `size`, from 16, which the matrix units need, to `most`."""
    return max(16, min(most, 1 << max(0, size - 1).bit_length()))


def _wide(*tensors: Tensor) -> bool:
    """Whether an offset into one of them, padding included, may not fit into 32 bits."""
    return any(2 * sum(s * n for s, n in zip(t.stride(), t.shape, strict=True)) >= _INT32 for t in tensors)


def _emulated(x: Tensor) -> bool:
    """Triton's interpreter multiplies the bits of bfloat16 as whole numbers; there, products are made in float32."""
    return INTERPRETED and x.dtype == torch.bfloat16


def _precision() -> str:
    """Float32 products as PyTorch was told to compute convolutions."""
    convolutions = getattr(torch.backends.cudnn, "conv", None)  # from torch 2.9 on
    rounded = torch.backends.cudnn.allow_tf32 if convolutions is None else convolutions.fp32_precision == "tf32"
    return "tf32" if rounded else "ieee"
