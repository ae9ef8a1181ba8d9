"""Smoothness: the price of noise, and of color patches that nothing in the photo asks for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_TOLERANCE = 0.05  # in deviations: below it nobody sees a step

__all__ = ["guided_smoothness", "total_variation"]


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighboring pixels of `(B, C, H, W)`, along both axes; 0 along an axis of one pixel.

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


def guided_smoothness(image: Tensor, content: Tensor, *, pool: int = 16) -> Tensor:
    """By how much neighboring regions of the result differ more than the same regions of the photo do.

    Regions are squares of `pool` pixels, averaged, so that strokes are free; each picture is measured in deviations of
    its own regions, so that contrast and palette are free as well. What is left are patches: a sky of one color in the
    photo and of several in the result. In the spirit of Luan et al., "Deep photo style transfer", CVPR 2017.

    Args:
        image: the result, `(B, C, H, W)`.
        content: the photo, of the same shape.
        pool: side of a region; pictures smaller than two regions cost nothing.

    Example:
        >>> photo = torch.rand(1, 3, 64, 64)
        >>> guided_smoothness(0.5 * photo + 0.1, photo)
        tensor(0.)
    """
    if min(image.shape[2:]) < 2 * pool:
        return image.sum() * 0
    steps = [_region_steps(picture, pool) for picture in (image, content)]
    excess = [F.relu(found - allowed - _TOLERANCE).mean() for found, allowed in zip(*steps, strict=True)]
    return torch.stack(excess).mean()


def _region_steps(image: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    """Euclidean color steps between neighboring regions, down and across, in deviations of the picture's regions."""
    regions = F.avg_pool2d(image, pool)
    regions = regions / (regions.var((1, 2, 3), keepdim=True) + 1e-4).sqrt()
    down, across = regions[:, :, 1:] - regions[:, :, :-1], regions[:, :, :, 1:] - regions[:, :, :, :-1]
    return (down.square().sum(1) + 1e-6).sqrt(), (across.square().sum(1) + 1e-6).sqrt()
