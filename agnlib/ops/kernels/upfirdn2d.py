"""`upfirdn2d`, which is its own derivative: every result gathers the samples that its taps reach.

The results of a picture are numbered row by row; a tile is some of them by some channels, one in contiguous maps and
many in channels_last, so that neighboring threads read neighboring memory.
"""
# mypy: disable-error-code="import-untyped,no-untyped-call,no-untyped-def,untyped-decorator"
# ruff: noqa: N803, PLR0917 - constants of a kernel are in capitals, its arguments have an order

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from agnlib.ops._checks import format_of, in_format_of

__all__ = ["upfirdn2d"]

_TILE = 1024
_LONG = 8  # taps from which two passes along one axis each read less than one along both


@triton.jit
def _kernel(
    x_ptr, filter_ptr, y_ptr, channels, height, width, high, wide, left, top, gain,
    x_stride_b, x_stride_c, x_stride_p, y_stride_b, y_stride_c, y_stride_p,
    UP_Y: tl.constexpr, UP_X: tl.constexpr, DOWN_Y: tl.constexpr, DOWN_X: tl.constexpr,
    TAPS_Y: tl.constexpr, TAPS_X: tl.constexpr, OUTER: tl.constexpr, FLIP: tl.constexpr,
    C: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1).to(tl.int64) * C + tl.arange(0, C)
    p = tl.program_id(0).to(tl.int64) * P + tl.arange(0, P)
    inside = p < high * wide
    # Where tap 0 of each result lies on the upsampled axis; of its taps, one in UP meets a sample.
    at_y = (p // wide) * DOWN_Y + (TAPS_Y - 1) - top
    at_x = (p % wide) * DOWN_X + (TAPS_X - 1) - left
    first_y = ((at_y % UP_Y) + UP_Y) % UP_Y
    first_x = ((at_x % UP_X) + UP_X) % UP_X
    source = x_ptr + b * x_stride_b + c[:, None] * x_stride_c
    total = tl.zeros((C, P), tl.float32)
    for j in tl.static_range((TAPS_Y + UP_Y - 1) // UP_Y):
        ky = first_y + j * UP_Y
        row = (at_y - ky) // UP_Y
        meets_y = inside & (ky < TAPS_Y) & (at_y >= ky) & (row < height)
        for i in tl.static_range((TAPS_X + UP_X - 1) // UP_X):
            kx = first_x + i * UP_X
            column = (at_x - kx) // UP_X
            meets = meets_y & (kx < TAPS_X) & (at_x >= kx) & (column < width)
            tap_y = (TAPS_Y - 1 - ky) if FLIP else ky
            tap_x = (TAPS_X - 1 - kx) if FLIP else kx
            if OUTER:
                tap = tl.load(filter_ptr + tap_y, mask=meets, other=0.0).to(tl.float32)
                tap *= tl.load(filter_ptr + tap_x, mask=meets, other=0.0).to(tl.float32)
            else:
                tap = tl.load(filter_ptr + tap_y * TAPS_X + tap_x, mask=meets, other=0.0).to(tl.float32)
            place = source + (row * width + column)[None, :] * x_stride_p
            x = tl.load(place, mask=meets[None, :] & (c < channels)[:, None], other=0.0).to(tl.float32)
            total += x * tap[None, :]
    place = y_ptr + b * y_stride_b + c[:, None] * y_stride_c + p[None, :] * y_stride_p
    tl.store(place, (total * gain).to(y_ptr.dtype.element_ty), mask=inside[None, :] & (c < channels)[:, None])


def upfirdn2d(x: Tensor, filter: Tensor, up: int, down: int, padding: Sequence[int], flip: bool, gain: float) -> Tensor:
    """See `agnlib.ops.upfirdn2d`; with `flip` a correlation."""
    left, right, top, bottom = padding
    x, filter = in_format_of(x, x), filter.contiguous()
    if filter.ndim == 2 or filter.shape[0] < _LONG:
        return _launch(x, filter, (up, up), (down, down), (left, right, top, bottom), flip, gain)
    middle = _launch(x, filter[:, None], (up, 1), (down, 1), (0, 0, top, bottom), flip, gain, dtype=torch.float32)
    return _launch(middle, filter[None, :], (1, up), (1, down), (left, right, 0, 0), flip, 1.0, dtype=x.dtype)


def _launch(
    x: Tensor,
    filter: Tensor,
    up: tuple[int, int],
    down: tuple[int, int],
    padding: tuple[int, int, int, int],
    flip: bool,
    gain: float,
    dtype: torch.dtype | None = None,
) -> Tensor:
    (b, c, h, w), (left, right, top, bottom) = x.shape, padding
    taps_y, taps_x = filter.shape[0], filter.shape[-1]
    high = (h * up[0] + top + bottom - taps_y) // down[0] + 1
    wide = (w * up[1] + left + right - taps_x) // down[1] + 1
    y = torch.empty((b, c, high, wide), dtype=dtype or x.dtype, device=x.device, memory_format=format_of(x))
    if y.numel() == 0:
        return y
    last = format_of(x) == torch.channels_last
    channels = min(64, triton.next_power_of_2(c)) if last else 1
    pixels = min(_TILE // channels, triton.next_power_of_2(high * wide))
    grid = (triton.cdiv(high * wide, pixels), triton.cdiv(c, channels), b)
    with torch.cuda.device_of(x):
        _kernel[grid](
            x, filter, y, c, h, w, high, wide, left, top, gain,
            *((c * h * w, 1, c) if last else (c * h * w, h * w, 1)),
            *((c * high * wide, 1, c) if last else (c * high * wide, high * wide, 1)),
            UP_Y=up[0], UP_X=up[1], DOWN_Y=down[0], DOWN_X=down[1], TAPS_Y=taps_y, TAPS_X=taps_x,
            OUTER=filter.ndim == 1, FLIP=flip, C=channels, P=pixels,
        )  # fmt: skip
    return y
