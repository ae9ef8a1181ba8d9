"""`adain` and its derivative: each reads the map twice, once for sums over it, once to write the result.

A tile is some channels by some pixels: one channel wide in contiguous maps, many in channels_last, so that neighboring
threads read neighboring memory. A picture's pixels are split over several programs; each leaves its partial sums, and
every program of the second pass joins all of its channels' partial sums by itself.
"""
# mypy: disable-error-code="import-untyped,no-untyped-call,no-untyped-def,untyped-decorator"
# ruff: noqa: N803, PLR0917 - constants of a kernel are in capitals, its arguments have an order

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from agnlib.ops._checks import format_of, in_format_of

__all__ = ["adain", "adain_backward"]

_SLOPE = tl.constexpr(0.2)
_ACTIVATIONS = {"linear": 0, "relu": 1, "lrelu": 2}
_PROGRAMS = 2048  # enough to fill a GPU several times over
_MOST_PARTS = 64


@triton.jit
def _places(channels, pixels, stride_b, stride_c, stride_p, C: tl.constexpr):
    """The picture's and channels' own numbers, the memory offset of each channel, and which channels exist."""
    b = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1).to(tl.int64) * C + tl.arange(0, C)
    return b * channels + c, b * stride_b + c * stride_c, c < channels


@triton.jit
def _joined(part_ptr, row, exists, parts, PARTS: tl.constexpr):
    """The partial values `(C, PARTS)` of each channel; zeros where there is none."""
    i = tl.arange(0, PARTS)
    mask = exists[:, None] & (i[None, :] < parts)
    return tl.load(part_ptr + row[:, None] * parts + i[None, :], mask=mask, other=0.0)


@triton.jit
def _rectified(g, y, ACT: tl.constexpr):
    if ACT == 1:
        g = tl.where(y > 0, g, 0.0)
    elif ACT == 2:
        g = tl.where(y > 0, g, g * _SLOPE)
    return g


@triton.jit
def _moments_kernel(
    x_ptr, mean_ptr, m2_ptr, channels, pixels, share, stride_b, stride_c, stride_p,
    C: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    # Mean and sum of squared differences from it, joined tile by tile: no E[x^2] - E[x]^2.
    row, offset, exists = _places(channels, pixels, stride_b, stride_c, stride_p, C)
    begin = tl.program_id(0).to(tl.int64) * share
    end = tl.minimum(begin + share, pixels)
    mean = tl.zeros((C,), tl.float32)
    m2 = tl.zeros((C,), tl.float32)
    for at in range(begin, end, P):
        p = at + tl.arange(0, P)
        mask = exists[:, None] & (p[None, :] < end)
        x = tl.load(x_ptr + offset[:, None] + p[None, :] * stride_p, mask=mask, other=0.0).to(tl.float32)
        size = tl.minimum(end - at, P).to(tl.float32)
        seen = (at - begin).to(tl.float32)
        here = tl.sum(x, 1) / size
        off = tl.where(mask, x - here[:, None], 0.0)
        step = here - mean
        m2 += tl.sum(off * off, 1) + step * step * (seen * size / (seen + size))
        mean += step * (size / (seen + size))
    parts = tl.num_programs(0)
    tl.store(mean_ptr + row * parts + tl.program_id(0), mean, mask=exists)
    tl.store(m2_ptr + row * parts + tl.program_id(0), m2, mask=exists)


@triton.jit
def _apply_kernel(
    x_ptr, y_ptr, new_mean_ptr, new_std_ptr, mu_ptr, rsigma_ptr, part_mean_ptr, part_m2_ptr,
    channels, pixels, share, parts, eps, stride_b, stride_c, stride_p,
    ACT: tl.constexpr, OWN: tl.constexpr, C: tl.constexpr, P: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    row, offset, exists = _places(channels, pixels, stride_b, stride_c, stride_p, C)
    if OWN:
        i = tl.arange(0, PARTS)
        size = tl.maximum(tl.minimum(pixels - i * share, share), 0).to(tl.float32)
        means = _joined(part_mean_ptr, row, exists, parts, PARTS)
        mu = tl.sum(means * (size / pixels)[None, :], 1)
        off = means - mu[:, None]
        m2 = tl.sum(_joined(part_m2_ptr, row, exists, parts, PARTS) + off * off * size[None, :], 1)
        rsigma = 1 / tl.sqrt(m2 / pixels + eps)
        if tl.program_id(0) == 0:
            tl.store(mu_ptr + row, mu, mask=exists)
            tl.store(rsigma_ptr + row, rsigma, mask=exists)
    else:
        mu = tl.load(mu_ptr + row, mask=exists, other=0.0)
        rsigma = tl.load(rsigma_ptr + row, mask=exists, other=0.0)
    scale = tl.load(new_std_ptr + row, mask=exists, other=0.0).to(tl.float32) * rsigma
    shift = tl.load(new_mean_ptr + row, mask=exists, other=0.0).to(tl.float32)
    begin = tl.program_id(0).to(tl.int64) * share
    end = tl.minimum(begin + share, pixels)
    for at in range(begin, end, P):
        p = at + tl.arange(0, P)
        mask = exists[:, None] & (p[None, :] < end)
        place = offset[:, None] + p[None, :] * stride_p
        x = tl.load(x_ptr + place, mask=mask, other=0.0).to(tl.float32)
        y = (x - mu[:, None]) * scale[:, None] + shift[:, None]
        y = _rectified(y, y, ACT)
        tl.store(y_ptr + place, y.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _sums_kernel(
    g_ptr, x_ptr, y_ptr, mu_ptr, part_sum_ptr, part_dot_ptr,
    channels, pixels, share, stride_b, stride_c, stride_p,
    ACT: tl.constexpr, C: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    row, offset, exists = _places(channels, pixels, stride_b, stride_c, stride_p, C)
    mu = tl.load(mu_ptr + row, mask=exists, other=0.0)
    begin = tl.program_id(0).to(tl.int64) * share
    end = tl.minimum(begin + share, pixels)
    total = tl.zeros((C,), tl.float32)
    dot = tl.zeros((C,), tl.float32)
    for at in range(begin, end, P):
        p = at + tl.arange(0, P)
        mask = exists[:, None] & (p[None, :] < end)
        place = offset[:, None] + p[None, :] * stride_p
        g = tl.load(g_ptr + place, mask=mask, other=0.0).to(tl.float32)
        x = tl.load(x_ptr + place, mask=mask, other=0.0).to(tl.float32)
        if ACT != 0:
            g = _rectified(g, tl.load(y_ptr + place, mask=mask, other=0.0).to(tl.float32), ACT)
        total += tl.sum(g, 1)
        dot += tl.sum(g * (x - mu[:, None]), 1)
    parts = tl.num_programs(0)
    tl.store(part_sum_ptr + row * parts + tl.program_id(0), total, mask=exists)
    tl.store(part_dot_ptr + row * parts + tl.program_id(0), dot, mask=exists)


@triton.jit
def _backward_kernel(
    g_ptr, x_ptr, y_ptr, dx_ptr, std_ptr, mu_ptr, rsigma_ptr, part_sum_ptr, part_dot_ptr, sum_ptr, dot_ptr,
    channels, pixels, share, parts, stride_b, stride_c, stride_p,
    ACT: tl.constexpr, OWN: tl.constexpr, C: tl.constexpr, P: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    row, offset, exists = _places(channels, pixels, stride_b, stride_c, stride_p, C)
    mu = tl.load(mu_ptr + row, mask=exists, other=0.0)
    rsigma = tl.load(rsigma_ptr + row, mask=exists, other=0.0)
    scale = tl.load(std_ptr + row, mask=exists, other=0.0).to(tl.float32) * rsigma
    total = tl.sum(_joined(part_sum_ptr, row, exists, parts, PARTS), 1)
    dot = tl.sum(_joined(part_dot_ptr, row, exists, parts, PARTS), 1) * rsigma
    if tl.program_id(0) == 0:
        tl.store(sum_ptr + row, total, mask=exists)
        tl.store(dot_ptr + row, dot, mask=exists)
    by_one = scale * total / pixels
    by_x = scale * rsigma * dot / pixels
    begin = tl.program_id(0).to(tl.int64) * share
    end = tl.minimum(begin + share, pixels)
    for at in range(begin, end, P):
        p = at + tl.arange(0, P)
        mask = exists[:, None] & (p[None, :] < end)
        place = offset[:, None] + p[None, :] * stride_p
        g = tl.load(g_ptr + place, mask=mask, other=0.0).to(tl.float32)
        if ACT != 0:
            g = _rectified(g, tl.load(y_ptr + place, mask=mask, other=0.0).to(tl.float32), ACT)
        dx = g * scale[:, None]
        if OWN:
            x = tl.load(x_ptr + place, mask=mask, other=0.0).to(tl.float32)
            dx -= by_one[:, None] + (x - mu[:, None]) * by_x[:, None]
        tl.store(dx_ptr + place, dx.to(dx_ptr.dtype.element_ty), mask=mask)


def adain(
    x: Tensor, mean: Tensor, std: Tensor, mu: Tensor | None, var: Tensor | None, act: str, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `agnlib.ops._adain.adain_with_statistics`."""
    x = in_format_of(x, x)
    y = torch.empty_like(x)
    own = mu is None or var is None
    if mu is None or var is None:
        center, rsigma = x.new_empty(2, *x.shape[:2], dtype=torch.float32)
    else:
        center, rsigma = mu.to(torch.float32, copy=True).contiguous(), (var.float() + eps).rsqrt().contiguous()
    if x.numel() == 0:
        return y, center, rsigma if not own else rsigma.clone()
    grid, sizes, tile = _plan(x)
    part = x.new_empty(2, *x.shape[:2], grid[0], dtype=torch.float32) if own else center
    with torch.cuda.device_of(x):
        if own:
            _moments_kernel[grid](x, part[0], part[1], *sizes, **tile)
        _apply_kernel[grid](
            x, y, mean.contiguous(), std.contiguous(), center, rsigma, part[0], part[1 if own else 0],
            *sizes[:3], grid[0], eps, *sizes[3:],
            ACT=_ACTIVATIONS[act], OWN=own, PARTS=triton.next_power_of_2(grid[0]), **tile,
        )  # fmt: skip
    return y, center, rsigma.clone() if own else rsigma


def adain_backward(
    grad: Tensor, x: Tensor, y: Tensor | None, std: Tensor, mu: Tensor, rsigma: Tensor, own: bool, act: str, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `agnlib.ops._adain.adain_backward_reference`."""
    x = in_format_of(x, x)
    grad, y = (each.contiguous(memory_format=format_of(x)) for each in (grad, x if y is None else y))
    dx = torch.empty_like(x)
    if x.numel() == 0:
        return dx, x.new_zeros(x.shape[:2], dtype=torch.float32), x.new_zeros(x.shape[:2], dtype=torch.float32)
    grid, sizes, tile = _plan(x)
    part = x.new_empty(2, *x.shape[:2], grid[0], dtype=torch.float32)
    total, dot = (x.new_empty(x.shape[:2], dtype=torch.float32) for _ in range(2))
    mu, rsigma = mu.contiguous(), rsigma.contiguous()
    with torch.cuda.device_of(x):
        _sums_kernel[grid](grad, x, y, mu, part[0], part[1], *sizes, ACT=_ACTIVATIONS[act], **tile)
        _backward_kernel[grid](
            grad, x, y, dx, std.contiguous(), mu, rsigma, part[0], part[1], total, dot,
            *sizes[:3], grid[0], *sizes[3:],
            ACT=_ACTIVATIONS[act], OWN=own, PARTS=triton.next_power_of_2(grid[0]), **tile,
        )  # fmt: skip
    return dx, total, dot


def _plan(x: Tensor) -> tuple[tuple[int, int, int], tuple[int, ...], dict[str, Any]]:
    """Grid (parts, tiles of channels, pictures), what the kernels ask about the map, and the tile."""
    b, c, h, w = x.shape
    pixels = h * w
    if format_of(x) == torch.channels_last:
        wide = min(64, triton.next_power_of_2(c))
        strides = (c * pixels, 1, c)
    else:
        wide, strides = 1, (c * pixels, pixels, 1)
    tall = max(1, min(2048 // wide, triton.next_power_of_2(pixels)))
    columns = triton.cdiv(c, wide)
    parts = max(1, min(_PROGRAMS // max(1, b * columns), triton.cdiv(pixels, tall), _MOST_PARTS))
    share = triton.cdiv(triton.cdiv(pixels, parts), tall) * tall
    grid = (triton.cdiv(pixels, share), columns, b)
    return grid, (c, pixels, share, *strides), {"C": wide, "P": tall}
