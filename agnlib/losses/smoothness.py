"""Smoothness: the price of noise."""

from __future__ import annotations

from torch import Tensor

__all__ = ["total_variation"]


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of `(B, C, H, W)`, along both axes; 0 along an axis of one pixel.

    Paper: Rudin, Osher and Fatemi, 1992 (anisotropic form).

    Example:
        >>> import torch
        >>> total_variation(torch.ones(1, 3, 4, 4))
        tensor(0.)
    """
    vertical = (image[:, :, 1:] - image[:, :, :-1]).abs()
    horizontal = (image[:, :, :, 1:] - image[:, :, :, :-1]).abs()
    return _mean(vertical) + _mean(horizontal)


def _mean(values: Tensor) -> Tensor:
    """The mean, and 0 of nothing."""
    return values.mean() if values.numel() else values.sum()
