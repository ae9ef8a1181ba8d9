"""Hypercolumns: all that an encoder says of a place of a picture, one row for each place.

Paper: Hariharan et al., "Hypercolumns for object segmentation and fine-grained localization", CVPR 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ALIGN", "STRIDE", "Columns", "Encoder", "Places", "chosen", "columns", "grid"]

STRIDE = 4  # pixels between neighboring places
ALIGN = 16  # pictures and windows have sides of so many times n: no map is cut off then

Columns: TypeAlias = "dict[str, Tensor]"
Places: TypeAlias = "Tensor | slice"
Encoder: TypeAlias = Callable[[Tensor], Mapping[str, Tensor]]


def grid(size: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the places in a picture of this height and width.

    Example:
        >>> grid((64, 96))
        (16, 24)
    """
    height, width = size
    return height // STRIDE, width // STRIDE


def columns(encoder: Encoder, image: Tensor) -> Columns:
    """The features of each place, apart by tap: `{tap: (N, C)}`, float32, N = H // 4 * W // 4 row by row.

    Maps finer than the grid are averaged, coarser ones interpolated.

    Args:
        encoder: gives `{tap: (1, C, h, w)}`.
        image: `(1, 3, H, W)`, sides a multiple of 16.

    Example:
        >>> fine_and_coarse = lambda x: {"fine": x, "coarse": F.avg_pool2d(x, 8)}
        >>> {tap: tuple(rows.shape) for tap, rows in columns(fine_and_coarse, torch.zeros(1, 3, 16, 32)).items()}
        {'fine': (32, 3), 'coarse': (32, 3)}
    """
    size = grid(image.shape[2:])
    return {tap: _resized(each, size)[0].flatten(1).T for tap, each in encoder(image).items()}


def chosen(found: Columns, places: Places) -> Columns:
    """Only the rows of some places."""
    return {tap: rows[places] for tap, rows in found.items()}


def _resized(features: Tensor, size: tuple[int, int]) -> Tensor:
    if features.shape[2:] == size:
        return features.float()
    if features.shape[2] > size[0]:
        averaged: Tensor = _Averaged.apply(features, features.shape[2] // size[0])
        return averaged
    return F.interpolate(features.float(), size, mode="bilinear", align_corners=False)


class _Averaged(torch.autograd.Function):
    """`F.avg_pool2d` in float32, whose own derivative takes four times as long where channels come last."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, side: int) -> Tensor:
        ctx.side, ctx.dtype = side, features.dtype
        return F.avg_pool2d(features, side).float()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        each = (slopes[0] / ctx.side**2).to(ctx.dtype).permute(0, 2, 3, 1)
        batch, height, width, channels = each.shape
        spread = each[:, :, None, :, None].expand(batch, height, ctx.side, width, ctx.side, channels)
        return spread.reshape(batch, height * ctx.side, width * ctx.side, channels).permute(0, 3, 1, 2), None
