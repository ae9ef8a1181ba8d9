"""How broad strokes are in a large picture, so that they are as broad beside it in each."""

from __future__ import annotations

import math

__all__ = ["stroke_scale"]

_PIXELS = 10**6  # a larger picture is painted at so many and enlarged
_LEAST_SCALE = 1.2  # less would blur, for strokes that are hardly broader


def stroke_scale(size: tuple[int, int]) -> float:
    """How many pixels of a picture one pixel of its painting becomes; 1 for one that is painted in its own size.

    Example:
        >>> stroke_scale((1000, 1000)), stroke_scale((2000, 2000))
        (1.0, 2.0)
    """
    scale = math.sqrt(math.prod(size) / _PIXELS)
    return scale if scale >= _LEAST_SCALE else 1.0
