"""How many hues a picture has."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from agnlib.metrics._color import rgb_to_lab
from agnlib.ops._precision import in_full_precision

_HUES = 12
_PLACES = 3  # where the first of the hues may begin, a third of a hue apart
_LEAST_CHROMA = 2.0  # about the least difference that an eye sees; below it a color is gray


@in_full_precision
def hue_entropy(image: Tensor) -> Tensor:
    """Entropy of each picture's hues in CIE Lab, weighed by their chroma, in parts of that of twelve equal shares.

    Chroma counts from 2 Lab units on, so that grays have no hue. The twelve hues begin where the entropy is lowest, in
    steps of 10 degrees: one hue is one hue, wherever it lies. A sepia drawing or a blue woodcut is near 0 as well;
    only many pictures, or the references beside them, tell a collapse from a choice.
    `agnlib.training.safety.collapse.hue_entropy` is another one: of a whole batch at once, on the hexagon of RGB.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1].

    Returns:
        `(B,)` in [0, 1]: 0 for one hue or none, 1 for all hues alike.

    Raises:
        InputError: not float RGB in [-1, 1].

    Example:
        >>> import torch
        >>> red, cyan = torch.tensor([1.0, -1.0, -1.0]), torch.tensor([-1.0, 1.0, 1.0])
        >>> palette = lambda *colors: torch.stack(colors, dim=1)[None, :, None]
        >>> hue_entropy(palette(red)).item()
        0.0
        >>> 0 < hue_entropy(palette(red, cyan)).item() < math.log(2) / math.log(12)
        True
    """
    across, up = rgb_to_lab(image).flatten(2)[:, 1:].double().unbind(1)
    chroma = (torch.hypot(across, up) - _LEAST_CHROMA).clamp_min(0)
    bins = _HUES * _PLACES
    place = ((torch.atan2(up, across) / (2 * math.pi) % 1) * bins).long().clamp_max(bins - 1)
    weights = torch.zeros(len(chroma), bins, dtype=chroma.dtype, device=chroma.device).scatter_add(1, place, chroma)
    shares = weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    hues = torch.stack([shares.roll(shift, 1).view(-1, _HUES, _PLACES).sum(2) for shift in range(_PLACES)])
    entropy: Tensor = torch.special.entr(hues).sum(dim=2).amin(dim=0) / math.log(_HUES)
    return entropy.clamp(0, 1).to(image.dtype)
