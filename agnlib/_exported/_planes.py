"""Pictures as planes, `(C, H, W)` in float32: resampled and continued as `agnlib.image` does it with tensors."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["Planes", "averaged", "continued", "reduced", "resampled"]

Planes: TypeAlias = npt.NDArray[np.float32]

_LARGE_PIXELS = 2**20  # a picture is brought down to between 1 and 4 times so many before it is resampled


def reduced(planes: Planes, size: tuple[int, int]) -> Planes:
    """`(C, H, W)` -> `(C, *size)`, antialiased; of a large picture means of squares are taken first."""
    height, width = planes.shape[1:]
    side = math.isqrt(height * width // _LARGE_PIXELS)
    return resampled(averaged(planes, side) if side >= 2 else planes, size)


def resampled(planes: Planes, size: tuple[int, int], rows: slice = slice(None)) -> Planes:
    """`(C, H, W)` -> these rows of `(C, *size)`: bicubic, antialiased where it shrinks."""
    first, end, _ = rows.indices(size[0])
    height, width = planes.shape[1:]
    step = height / size[0]
    part: dict[str, Any] = {"box": (0, first * step, width, min(end * step, height))}
    parts = [
        Image.fromarray(plane).resize((size[1], end - first), Image.Resampling.BICUBIC, **part) for plane in planes
    ]
    return np.stack([np.asarray(each, dtype=np.float32) for each in parts])


def averaged(planes: Planes, side: int) -> Planes:
    """Means of squares, the last of which may be cut off."""
    height, width = planes.shape[1:]
    down, across = np.arange(0, height, side), np.arange(0, width, side)
    sums = np.add.reduceat(np.add.reduceat(planes, down, axis=1), across, axis=2)
    counts = np.minimum(side, height - down)[:, None] * np.minimum(side, width - across)
    means: Planes = sums / counts.astype(np.float32)
    return means


def continued(color: Planes, visible: Planes) -> Planes:
    """The color where `visible`, `(1, H, W)`, is above 0; elsewhere means of what is visible around, ever coarser."""
    if bool((visible > 0).all()) or max(color.shape[1:]) == 1:
        return color
    share = averaged(visible, 2)
    coarse = averaged(color * visible, 2) / np.maximum(share, np.float32(1e-12))
    around = _doubled(_doubled(continued(coarse, share), 1), 2)
    return np.where(visible > 0, color, around[:, : color.shape[1], : color.shape[2]])


def _doubled(planes: Planes, axis: int) -> Planes:
    """Twice as many rows or columns, between two old ones by their distance."""
    old = np.moveaxis(planes, axis, 0)
    new = np.repeat(old, 2, axis=0) * np.float32(0.75)
    new[::2] += np.float32(0.25) * np.concatenate([old[:1], old[:-1]])
    new[1::2] += np.float32(0.25) * np.concatenate([old[1:], old[-1:]])
    return np.moveaxis(new, 0, axis)
