"""Floats in [0, 1], and how far outside they may lie."""

from __future__ import annotations

import math

from agnlib.errors import InputError

__all__ = ["must_be_clipped"]

# Bicubic crops of photographs overshoot by up to 8%, the corners of sharp edges by 15%; what was meant to lie in
# [-1, 1] or [0, 255], or was normalised, lies further out.
_OVERSHOOT = 0.15


def must_be_clipped(low: float, high: float, name: str) -> bool:
    """Whether the least or the largest value of a float picture lies a little outside [0, 1].

    Raises:
        InputError: they lie further out, or are no numbers.
    """
    if math.isnan(low) or math.isnan(high):
        raise InputError(f"{name}: a float picture must lie in [0, 1], got NaN; find its cause or replace it")
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise InputError(
            f"{name}: a float picture must lie in [0, 1], got values from {low:.7g} to {high:.7g}; "
            "rescale it (x / 255, or (x + 1) / 2) or clip it"
        )
    return low < 0 or high > 1
