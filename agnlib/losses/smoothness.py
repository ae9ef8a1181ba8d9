"""Smoothness: the price of noise."""

from __future__ import annotations

from torch import Tensor

__all__ = ["total_variation"]


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of `(B, C, H, W)`, along both axes.

    Paper: Rudin, Osher and Fatemi, 1992 (anisotropic form).

    Example:
        >>> total_variation(torch.ones(1, 3, 4, 4))
        tensor(0.)
    """
    vertical = (image[:, :, 1:] - image[:, :, :-1]).abs().mean()
    horizontal = (image[:, :, :, 1:] - image[:, :, :, :-1]).abs().mean()
    return vertical + horizontal
