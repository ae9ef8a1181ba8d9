"""The colors of one picture given the mean and covariance of another's.

Paper: Hertzmann, "Algorithms for rendering in artistic styles", 2001, appendix B; the symmetric map of Pitie and
Kokaram, "The linear Monge-Kantorovitch color mapping", CVMP 2007, which moves colors least.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ColorMoments", "color_moments", "recolored"]

_FLOOR = 1e-5  # added to the variance along any axis: gray pictures have none along two of them

ColorMoments = tuple[Tensor, Tensor]


def color_moments(image: Tensor, weight: Tensor | None = None) -> ColorMoments:
    """Mean `(3,)` and covariance `(3, 3)` of the colors of `(1, 3, H, W)`, weighted by `(1, 1, H, W)` if given."""
    colors = image[0].flatten(1).double()
    each = torch.ones_like(colors[0]) if weight is None else weight.flatten().double()
    each = each / each.sum().clamp_min(1e-12)
    mean = colors @ each
    centered = colors - mean[:, None]
    return mean, (centered * each) @ centered.T


def recolored(image: Tensor, own: ColorMoments, wanted: ColorMoments) -> Tensor:
    """The picture `(1, 3, H, W)` with its colors moved so that moments `own` become `wanted`.

    Example:
        >>> image, other = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 9, 9)
        >>> result = recolored(image, color_moments(image), color_moments(other))
        >>> [torch.allclose(a, b, atol=1e-4) for a, b in zip(color_moments(result), color_moments(other))]
        [True, True]
    """
    floor = _FLOOR * torch.eye(3, dtype=own[1].dtype, device=own[1].device)
    root, inverse = _power(own[1] + floor, 0.5), _power(own[1] + floor, -0.5)
    change = inverse @ _power(root @ (wanted[1] + floor) @ root, 0.5) @ inverse
    moved = change @ (image[0].flatten(1).double() - own[0][:, None]) + wanted[0][:, None]
    return moved.to(image.dtype).view_as(image)


def _power(covariance: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    raised: Tensor = (vectors * values**exponent) @ vectors.T
    return raised
