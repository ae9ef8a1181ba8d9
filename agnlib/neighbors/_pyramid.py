"""A picture as what each size of it adds to the next smaller one.

Paper: Burt and Adelson, "The Laplacian pyramid as a compact image code", 1983. Descent on its levels moves large areas
as easily as single pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

__all__ = ["collapsed", "pyramid"]

_SMALLEST = 4  # pixels


def pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """The levels of `(B, C, H, W)`, the finest first; fewer where the picture is too small for so many.

    Example:
        >>> import torch
        >>> [tuple(level.shape[2:]) for level in pyramid(torch.zeros(1, 3, 16, 24), 3)]
        [(16, 24), (8, 12), (4, 6)]
    """
    details: list[Tensor] = []
    while len(details) < levels - 1 and min(image.shape[2:]) // 2 >= _SMALLEST:
        smaller = F.interpolate(image, [-(-side // 2) for side in image.shape[2:]], mode="area")
        details.append(image - _enlarged(smaller, image))
        image = smaller
    return [*details, image]


def collapsed(levels: Sequence[Tensor]) -> Tensor:
    """The picture of which these are the levels.

    Example:
        >>> import torch
        >>> image = torch.rand(1, 3, 17, 20)
        >>> torch.allclose(collapsed(pyramid(image, 3)), image, atol=1e-6)
        True
    """
    image = levels[-1]
    for detail in reversed(levels[:-1]):
        image = detail + _enlarged(image, detail)
    return image


def _enlarged(image: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(image, like.shape[2:], mode="bilinear", align_corners=False)
