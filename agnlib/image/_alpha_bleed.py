"""The color hidden under fully transparent pixels, replaced by a continuation of what is visible.

The continuation is an average of the visible surroundings, the coarser the further away they are: a pyramid of means.
From 1/8 of the size upwards it is made once for the whole picture; the levels below are made for each window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CELL", "averaged", "continued", "filled"]

_DEPTH = 3
CELL = 2**_DEPTH  # pixels to a cell of the part that is made for the whole picture


def averaged(color: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the visible color, and the visible share, at 1/8: for rows that begin at a multiple of 8."""
    for _ in range(_DEPTH):
        color, visible = _halved(color, visible)
    return color, visible


def continued(color: Tensor, visible: Tensor) -> Tensor:
    """The color where `visible` is above 0, and its continuation elsewhere; a whole picture, or its means at 1/8."""
    if bool((visible > 0).all()) or max(color.shape[-2:]) == 1:
        return color
    return _completed(color, visible, continued(*_halved(color, visible)))


def filled(color: Tensor, visible: Tensor, coarse: Tensor, depth: int = _DEPTH) -> Tensor:
    """A window that begins at a multiple of 8, with its part of what `continued` made of the whole picture at 1/8.

    The outermost 7 pixels lack what lies beyond the window.
    """
    if depth == 0:
        return coarse
    return _completed(color, visible, filled(*_halved(color, visible), coarse, depth - 1))


def _halved(color: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    from torch.nn import functional as F

    weight = F.avg_pool2d(visible, 2, ceil_mode=True)
    return F.avg_pool2d(color * visible, 2, ceil_mode=True) / weight.clamp(min=1e-12), weight


def _completed(color: Tensor, visible: Tensor, below: Tensor) -> Tensor:
    import torch
    from torch.nn import functional as F

    height, width = color.shape[-2:]
    around = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return torch.where(visible > 0, color, around)
