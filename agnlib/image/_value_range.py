"""Floats in [0, 1], and how far outside they may lie: as far as one bicubic resize can carry them."""

from __future__ import annotations

import math

from agnlib.errors import InputError

__all__ = ["OVERSHOOT", "must_be_clipped"]

# Keys' kernel (1981) with the parameter a has the weights a t (1 - t)^2 and a t^2 (1 - t) for the outer two of the four
# neighbors at a fraction t of a pixel: together a t (1 - t), at worst n = -a / 4 where t = 1/2. Weights sum to 1, so
# that values in [0, 1] come to lie in [-n, 1 + n]. Down and across, weights are products: those below 0 have the sum
# 2 n (1 + n). PyTorch's a is -0.75, which gives 0.4453; antialiased it is -0.5, as in Pillow, which gives 0.2813 (up to
# 0.305 where the kernel is cut at the border or stretched: found by trying all sizes up to 24 and 70).
_TORCH_A = -0.75
_LOBES = -_TORCH_A / 4
_ROUNDING = 0.004  # of float16 and bfloat16
OVERSHOOT = 2 * _LOBES * (1 + _LOBES) + _ROUNDING


def must_be_clipped(low: float, high: float, name: str) -> bool:
    """Whether the least or the largest value of a float picture lies outside [0, 1], no further than by a resize.

    Raises:
        InputError: they lie further out, or are no numbers.
    """
    if math.isnan(low) or math.isnan(high):
        raise InputError(f"{name}: a float picture must lie in [0, 1], got NaN; find its cause or replace it")
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise InputError(
            f"{name}: a float picture must lie in [0, 1], got values from {low:.7g} to {high:.7g}, which is more than "
            "a bicubic resize overshoots (0.45): rescale it (x / 255, (x + 1) / 2, or undo Normalize) or clip it"
        )
    return low < 0 or high > 1
