"""One photo painted by a program, row by row: a large one at about a megapixel, enlarged with its edges sharp.

The sizes and the way of enlarging are those of a `Stylizer`: see `agnlib.painting._painted_windows` and
`agnlib.painting._guided_upsampling`, which has the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from agnlib._exported._photo import Pixels
from agnlib._exported._planes import Planes, resampled
from agnlib._shared.strokes import stroke_scale

__all__ = ["Paint", "painted_rows"]

Paint: TypeAlias = Callable[[Planes], Planes]  # both (3, H, W) in about [-1, 1]

_PIXELS_AT_ONCE = 2**20
_RADIUS = 3
_FLAT = 8e-3
_MOST = 2.0
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def painted_rows(photo: Pixels, paint: Paint) -> Iterator[npt.NDArray[Any]]:
    """The painting as `(h, W, C)`, from the top."""
    size, seen = photo.size, _seen_size(photo.size)
    if seen == size:
        yield photo.encoded(paint(photo.color), slice(None))
        return
    small = _followed(resampled(photo.color, seen), paint)
    step = max(1, _PIXELS_AT_ONCE // size[1])
    for top in range(0, size[0], step):
        rows = slice(top, min(top + step, size[0]))
        large = resampled(small, size, rows)
        painted, slope, light = large[:3], large[3:6], large[6:]
        yield photo.encoded(painted + slope * (_lightness(photo.color[:, rows]) - light), rows)


def _seen_size(size: tuple[int, int]) -> tuple[int, int]:
    """Of the picture that the program sees."""
    scale = stroke_scale(size)
    return max(1, round(size[0] / scale)), max(1, round(size[1] / scale))


def _followed(seen: Planes, paint: Paint) -> Planes:
    """The painting of a small photo, how it follows the photo's lightness, and that: `(7, h, w)`."""
    painted, light = paint(seen), _lightness(seen)
    mean = _mean(light)
    variance = _mean(light * light) - mean * mean
    slope = (_mean(light * painted) - mean * _mean(painted)) / (variance + np.float32(_FLAT))
    return np.concatenate([painted, _mean(slope.clip(-_MOST, _MOST)), light])


def _lightness(color: Planes) -> Planes:
    """The luma, `(1, H, W)`."""
    luma: Planes = np.tensordot(_LUMA, color, 1)[None]
    return luma


def _mean(planes: Planes) -> Planes:
    """Around each place; at a border the last rows and columns count more than once."""
    for axis in (1, 2):
        planes = _mean_along(planes, axis)
    return planes


def _mean_along(planes: Planes, axis: int) -> Planes:
    around = [(_RADIUS, _RADIUS) if axis == each else (0, 0) for each in range(3)]
    padded, side, count = np.pad(planes, around, mode="edge"), 2 * _RADIUS + 1, planes.shape[axis]
    parts = (padded[:, each : each + count] if axis == 1 else padded[..., each : each + count] for each in range(side))
    mean: Planes = sum(parts, np.zeros_like(planes)) / np.float32(side)
    return mean
