"""The frame around a picture or its features: by padding and slicing, and by index in programs that are exported.

Padding and slicing ask about the size, and a program that was traced at one size would hold the answers for ever.
An index is arithmetic on the size, and so the same program serves any.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.ops._exporting import is_exporting

__all__ = ["cut", "extend", "renew_border"]


def extend(image: Tensor, pad: tuple[int, int, int, int]) -> Tensor:
    """Reflect at the borders, left, right, top and bottom; beyond what there is to reflect, repeat the last."""
    left, right, top, bottom = pad
    height, width = image.shape[2:]
    if is_exporting():
        return _taken(image, _reflected(height, top, bottom), _reflected(width, left, right))
    inner = (min(left, width - 1), min(right, width - 1), min(top, height - 1), min(bottom, height - 1))
    image = F.pad(image, inner, mode="reflect")
    outer = (left - inner[0], right - inner[1], top - inner[2], bottom - inner[3])
    return F.pad(image, outer, mode="replicate") if any(outer) else image


def renew_border(x: Tensor) -> Tensor:
    """The outermost rows and columns replaced by their neighbors; there are at least three of each."""
    if not is_exporting():
        return F.pad(x[:, :, 1:-1, 1:-1], (1, 1, 1, 1), mode="replicate")
    height, width = x.shape[2:]
    return _taken(
        x,
        torch.arange(height, device="cpu").clamp(1, height - 2),
        torch.arange(width, device="cpu").clamp(1, width - 2),
    )


def cut(image: Tensor, top: int, left: int, size: tuple[int, int]) -> Tensor:
    """The part of `size` that begins at `top` and `left`."""
    height, width = size
    if not is_exporting():
        return image[:, :, top : top + height, left : left + width]
    return _taken(image, torch.arange(top, top + height, device="cpu"), torch.arange(left, left + width, device="cpu"))


def _reflected(length: int, before: int, after: int) -> Tensor:
    places = torch.arange(-before, length + after, device="cpu")
    return torch.minimum(places.abs(), (2 * (length - 1) - places).clamp_min(0)).clamp_max(length - 1)


def _taken(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return x.index_select(2, rows.to(x.device)).index_select(3, columns.to(x.device))
