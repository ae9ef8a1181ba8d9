"""A band along the border, as padding leaves it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.metrics._checks import check_image
from agnlib.ops._precision import in_full_precision

_WIDTHS = (1, 2, 4, 8)  # of the bands that are looked for
_MIN_SIZE = 64
_USUAL = 0.95  # of the steps inside: a single horizon is no measure
_FLOOR = 0.5 / 255  # a quarter of a step of 8 bits


@in_full_precision
def border_band(image: Tensor) -> Tensor:
    """How far the outermost rows differ from those next to them, in decibels above such a difference inside.

    For bands of 1, 2, 4 and 8 rows: the step from the outermost band to the next, over the 95% quantile of all steps
    between adjacent bands inside; once in mean color, once in roughness (the root mean square of the differences along
    a row). The same from all four sides; the strongest counts. A painted frame, a paper margin or a mount is a band as
    well, so compare with the photograph's own value. A band whose inner edge fades over more than 8 px is not seen.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1], both sides at least 64 px.

    Returns:
        `(B,)` in dB: below 0 if the border is like any other place, about 20 for an evident frame.

    Raises:
        InputError: not float RGB in [-1, 1], or too small.

    Example:
        >>> import torch
        >>> noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
        >>> banded = noise.clone()
        >>> banded[..., :2] += 0.5
        >>> border_band(noise).item() < 6, border_band(banded).item() > 12
        (True, True)
    """
    check_image("image", image, min_size=_MIN_SIZE)
    lying = image.transpose(2, 3)
    sides = (image, image.flip(2), lying, lying.flip(2))
    levels = [_level(profile, width) for side in sides for profile in _profiles(side) for width in _WIDTHS]
    return torch.stack(levels).amax(dim=0)


def _profiles(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean color `(B, 3, H)` and roughness `(B, 1, H)` of each row."""
    roughness = image.diff(dim=3).square().mean(dim=(1, 3)).sqrt()
    return image.mean(dim=3), roughness[:, None]


def _level(profile: Tensor, width: int) -> Tensor:
    """The first step between bands of that width beside the usual one inside."""
    bands = F.avg_pool1d(profile, width, stride=1)
    steps = torch.linalg.vector_norm(bands[..., width:] - bands[..., :-width], dim=1)
    inside = steps[:, 2 * width : -2 * width].quantile(_USUAL, dim=1)
    return 20 * torch.log10((steps[:, 0] + _FLOOR) / (inside + _FLOOR))
