"""Round spots that stand alone, as normalization leaves them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.metrics._checks import check_image
from agnlib.ops._precision import in_full_precision

_SCALES = (2.0, 4.0)  # of the Gaussians, in pixels: spots of about 6 to 20 px across
_MIN_SIZE = 64
_REACH, _SELF = 4, 2  # in cells: the neighborhood goes so far, the spot itself may take so much
_BUSY = 0.9  # which of the neighboring cells a spot has to outdo
_FLOOR = 2 / 255  # a step of 8 bits


@in_full_precision
def droplets(image: Tensor) -> Tensor:
    """How far the most solitary round spot stands out from what is around it, in decibels.

    Blobs like drops of water are what networks with instance normalization paint when one place carries the statistics
    of all: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (CVPR 2020). Edges and texture have
    as much local variance as a drop; a drop is round and has nothing like it near. So the roundness is taken, which is
    the lesser curvature of the blurred channels (Lindeberg, "Feature Detection with Automatic Scale Selection", 1998,
    at two scales), and its peak in each cell of 8 or 16 px is divided by the 90% quantile of the cells around.

    A moon, an eye on a plain face or a lone corner among flat planes stands alone too, so that one picture's value is
    a hint, a set's share above real art's a finding. Drops of more than about 20 px, drops side by side and those on
    a ground as busy as they are strong are not seen.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1], both sides at least 64 px.

    Returns:
        `(B,)` in dB, 0 for a flat picture; about 8 is usual for paintings, above 14 rare.

    Raises:
        InputError: not float RGB in [-1, 1], or too small.

    Example:
        >>> import torch
        >>> ground = (torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) - 0.5) / 4
        >>> across = torch.arange(96) - 40.0
        >>> drop = torch.exp(-(across.square() + across[:, None].square()) / 50)
        >>> droplets(ground).item() < 10, droplets((ground + drop / 2).clamp(-1, 1)).item() > 15
        (True, True)
    """
    check_image("image", image, min_size=_MIN_SIZE)
    return torch.stack([_solitude(_roundness(image, scale), scale) for scale in _SCALES]).amax(dim=0)


def _roundness(image: Tensor, scale: float) -> Tensor:
    """The lesser of the two curvatures where both bend alike, else 0; of the channel that has most, `(B, 1, H, W)`."""
    smooth = F.pad(_blurred(image, scale), (1, 1, 1, 1), mode="replicate") * scale**2
    middle, above, below = smooth[:, :, 1:-1], smooth[:, :, :-2], smooth[:, :, 2:]
    across = (middle[..., 2:] - 2 * middle[..., 1:-1] + middle[..., :-2]) / 2
    down = (below - 2 * middle + above)[..., 1:-1] / 2
    twist = ((below - above)[..., 2:] - (below - above)[..., :-2]) / 4
    mean, spread = across + down, torch.hypot(across - down, twist)
    return (mean.abs() - spread).clamp_min(0).amax(dim=1, keepdim=True)


def _blurred(image: Tensor, scale: float) -> Tensor:
    radius = math.ceil(4 * scale)
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.softmax(-offsets.square() / (2 * scale**2), dim=0).expand(3, 1, -1)
    padded = F.pad(image, (radius, radius, radius, radius), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.unsqueeze(2), groups=3), kernel.unsqueeze(3), groups=3)


def _solitude(roundness: Tensor, scale: float) -> Tensor:
    """The most that a cell's peak exceeds its surroundings', `(B,)` in dB."""
    step = round(2 * scale)
    peaks = F.max_pool2d(roundness, 2 * step, step)
    width = 2 * _REACH + 1
    padded = F.pad(peaks, (_REACH, _REACH, _REACH, _REACH), mode="replicate")
    offsets = torch.arange(-_REACH, _REACH + 1, device=peaks.device).abs()
    around = (torch.maximum(offsets[:, None], offsets) > _SELF).flatten()
    surroundings = F.unfold(padded, width)[:, around].quantile(_BUSY, dim=1)
    return (20 * torch.log10((peaks.flatten(1) + _FLOOR) / (surroundings + _FLOOR))).amax(dim=1)
