"""Haloes: colors beside a photo's edges that the same color of the photo does not have away from them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.metrics._checks import check_aligned
from agnlib.metrics._color import rgb_to_lab
from agnlib.ops._precision import in_full_precision

__all__ = ["halo", "halo_squared"]

_CELL = 8  # px; strokes are averaged away
_EDGE = 12.0  # Lab: the range among neighboring cells that is an edge of the photo
_SAME = 4.0  # Lab: the deviation of what counts as one color of the photo
_NEAR, _FAR = (2, 6), 8  # cells from an edge: where a halo is, and from where on there is none
_LEAST = 4.0  # cells of a color on either side


@in_full_precision
def halo(result: Tensor, content: Tensor) -> Tensor:
    """How far a painting's colors beside the photo's edges are from those of the same color away from them, in CIE Lab.

    For each place 16 to 48 px from an edge: the mean of the painting over all such places of the photo's color there,
    and over all of that color more than 64 px away from edges. Given is the root of the mean of their squared distance.

    Args:
        result: the painting, float `(B, 3, H, W)` in [-1, 1], both sides at least 8 px.
        content: the photograph, same shape.

    Returns:
        `(B,)`: 0 where colors follow the photo, or where none of them lies on both sides.

    Raises:
        InputError: a batch is not float RGB in [-1, 1] or too small, or the shapes differ.

    Example:
        >>> import torch
        >>> photo = torch.full((1, 3, 8, 256), 0.5)
        >>> photo[..., :48] = -0.9
        >>> ring = photo.clone()
        >>> ring[..., 48:104] += 0.2
        >>> [round(halo(each, photo).item(), 1) for each in (photo, ring)]
        [0.0, 9.2]
    """
    check_aligned(("result", "content"), result, content, min_size=_CELL)
    return halo_squared(result, content).sqrt()


def halo_squared(painted: Tensor, content: Tensor) -> Tensor:
    """The square of `halo`, differentiable by the first; values are clamped."""
    photo, ours = (F.avg_pool2d(rgb_to_lab(each.clamp(-1, 1)), _CELL) for each in (content, painted))
    far, near = (places.flatten(1) for places in _places(photo))
    pictures = zip(photo.flatten(2).mT, ours.flatten(2).mT, far, near, strict=True)
    return torch.stack([_of_one(*each) for each in pictures])


def _of_one(colors: Tensor, ours: Tensor, far: Tensor, near: Tensor) -> Tensor:
    """Of one picture's cells, `(N, 3)` each, and places, `(N,)`."""
    same = torch.exp(-torch.cdist(colors[near], colors).square() / (2 * _SAME**2))
    here, there = same * near, same * far
    means = [shares @ ours / shares.sum(1, keepdim=True).clamp_min(1e-6) for shares in (here, there)]
    known = torch.minimum(here.sum(1), there.sum(1)) >= _LEAST
    return ((means[0] - means[1]).square().sum(1) * known).sum() / known.sum().clamp_min(1)


def _places(photo: Tensor) -> tuple[Tensor, Tensor]:
    """Far from edges, and beside them: bool `(B, h, w)`, of cells `(B, 3, h, w)` in Lab."""
    high, low = F.max_pool2d(photo, 3, 1, 1), -F.max_pool2d(-photo, 3, 1, 1)
    edge = ((high - low).norm(dim=1, keepdim=True) > _EDGE).to(photo.dtype)

    def within(cells: int) -> Tensor:
        return F.max_pool2d(edge, 2 * cells + 1, 1, cells)[:, 0] > 0

    return ~within(_FAR), within(_NEAR[1]) & ~within(_NEAR[0] - 1)
