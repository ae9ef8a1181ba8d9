"""Pictures made smaller: to which size, and by which filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agnlib._shared.numbers import is_count
from agnlib.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["checked_size", "reduced_size", "resized"]


def checked_size(size: int) -> int:
    """The side that a picture is to be reduced to, in pixels.

    Raises:
        InputError: it is not a whole number of at least 1.

    Example:
        >>> checked_size(208)
        208
    """
    if not is_count(size, 1):
        raise InputError(f"size must be a whole number of pixels, at least 1, got {size!r}")
    return int(size)


def reduced_size(size: tuple[int, int], *, longer: int | None = None, shorter: int | None = None) -> tuple[int, int]:
    """Height and width, made smaller until the longer or shorter side is at most so long; never larger.

    Raises:
        InputError: not exactly one of `longer` and `shorter`, or one below 1.

    Example:
        >>> reduced_size((30, 60), shorter=10)
        (10, 20)
    """
    limit = longer if longer is not None else shorter
    if limit is None or not is_count(limit, 1) or (longer is not None and shorter is not None):
        raise InputError(f"give one of longer and shorter, at least 1; got longer={longer}, shorter={shorter}")
    height, width = size
    side = max(height, width) if longer is not None else min(height, width)
    if side <= limit:
        return height, width
    return max(1, round(height * limit / side)), max(1, round(width * limit / side))


def resized(values: Tensor, size: Sequence[int]) -> Tensor:
    """`(B, C, H, W)` -> `(B, C, *size)`, bicubic and antialiased: values may lie a little beyond those that came in."""
    from torch.nn import functional as F

    from agnlib.tiling import Box, Computed, Resampled

    if size[1] == 1:  # torch (seen in 2.15) takes a single column for channels-last and mixes up its rows
        source = Computed((values.shape[2], values.shape[3]), lambda box: values[box.slices])
        return Resampled(source, (size[0], 1)).window(Box(0, 0, size[0], 1))
    return F.interpolate(values, size=tuple(size), mode="bicubic", align_corners=False, antialias=True)
