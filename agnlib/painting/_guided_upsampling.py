"""A painting at a larger size than it was painted in, with the photo's edges sharp and the strokes as broad.

How a painting's channels follow the photo's lightness is found around each place, and so much of the lightness that the
small photo has lost is added: at an edge that is painted, little in a stroke of the painting's own. Paper: He and Sun,
"Fast guided filter", 2015, whose coefficients are taken for the detail alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.tiling import Box, Computed, Resampled, Source

__all__ = ["GuidedUpsampled", "Once", "lightness"]

_RADIUS = 3  # pixels of the painting
_FLAT = 8e-3  # variance of lightness in [-1, 1]: where there is less, the photo has nothing to be followed
_MOST = 2.0  # times the photo's own detail
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Once:
    """A source that is computed as a whole when it is first asked for."""

    def __init__(self, source: Source) -> None:
        self._source, self.size = source, source.size

    def window(self, box: Box) -> Tensor:
        """A part of it."""
        return self._whole[box.slices]

    @cached_property
    def _whole(self) -> Tensor:
        return self._source.window(Box(0, 0, *self.size))


@dataclass(frozen=True)
class GuidedUpsampled:
    """A painting seen at the size of the photo; a source, any window of which is that part of the whole.

    Args:
        painting: `(B, C, h, w)` in [-1, 1].
        seen: the photo that was painted, of the painting's size.
        photo: `(B, 3, H, W)` in [-1, 1], larger.

    Example:
        >>> def blank(side: int) -> Computed:
        ...     return Computed((side, side), lambda box: torch.zeros(1, 3, box.height, box.width))
        >>> GuidedUpsampled(blank(8), blank(8), blank(20)).window(Box(0, 0, 20, 5)).shape
        torch.Size([1, 3, 20, 5])
    """

    painting: Source
    seen: Source
    photo: Source

    @property
    def size(self) -> tuple[int, int]:
        """Of the photo."""
        return self.photo.size

    def window(self, box: Box) -> Tensor:
        """Float32 `(B, C, h, w)`."""
        small = Computed(self.painting.size, self._small)
        painted, slope, light = torch.tensor_split(Resampled(small, self.size).window(box), (-4, -1), dim=1)
        detail = lightness(self.photo.window(box).to(painted)) - light
        return torch.addcmul(painted, slope, detail)

    def _small(self, box: Box) -> Tensor:
        """The painting, how it follows the photo's lightness, and that: `(B, 2 C + 1, h, w)`."""
        outer = box.grown(2 * _RADIUS, self.painting.size)
        painted = self.painting.window(outer)
        light = lightness(self.seen.window(outer).to(painted))
        mean = _mean(light)
        variance = _mean(light * light) - mean * mean
        slope = (_mean(light * painted) - mean * _mean(painted)) / (variance + _FLAT)
        slope = _mean(slope.clamp(-_MOST, _MOST))
        return torch.cat([painted, slope, light], dim=1)[box.within(outer).slices]


def lightness(pixels: Tensor) -> Tensor:
    """The luma of `(B, 3, H, W)`, `(B, 1, H, W)`."""
    weights = torch.tensor(_LUMA, device=pixels.device, dtype=pixels.dtype)
    return (pixels * weights[:, None, None]).sum(1, keepdim=True)


def _mean(maps: Tensor) -> Tensor:
    """Around each place; at a border the last rows and columns count more than once."""
    side = 2 * _RADIUS + 1
    return F.avg_pool2d(F.pad(maps, [_RADIUS] * 4, mode="replicate"), side, stride=1)
