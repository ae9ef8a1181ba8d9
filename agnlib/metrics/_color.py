"""Colors without regard to where they are: palette and colorfulness."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from agnlib import losses
from agnlib.errors import InputError
from agnlib.metrics._checks import check_image, check_pair
from agnlib.ops._precision import in_full_precision


@in_full_precision
def rgb_to_lab(image: Tensor) -> Tensor:
    """CIE 1976 L*a*b* (D65, 2 degrees) of sRGB pictures.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1].

    Returns:
        `(B, 3, H, W)`: L* in [0, 100], a* and b* around [-128, 127].

    Raises:
        InputError: not float RGB in [-1, 1].

    Example:
        >>> import torch
        >>> rgb_to_lab(torch.ones(1, 3, 1, 1)).flatten().round().abs().tolist()
        [100.0, 0.0, 0.0]
    """
    check_image("image", image)
    return losses.rgb_to_lab(image)


@in_full_precision
def palette_distance(image: Tensor, reference: Tensor, *, directions: int = 32) -> Tensor:
    """Sliced Wasserstein-1 distance between the two pictures' colors in CIE Lab.

    Both clouds of pixels are projected on evenly spread, fixed directions, and the mean distance of their sorted values
    is averaged over directions: Rabin et al., "Wasserstein Barycenter and its Application to Texture Mixing", 2011.
    A shift of the whole cloud by d Lab units gives about d / 2, since a direction sees half of it on average.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1].
        reference: float `(B, 3, H', W')` in [-1, 1].
        directions: how many directions, at least 3.

    Returns:
        `(B,)` in Lab units, 0 for the same colors in the same amounts.

    Raises:
        InputError: a batch is not float RGB in [-1, 1], the two differ in number, or fewer than 3 directions.

    Example:
        >>> import torch
        >>> black, white = torch.full((1, 3, 4, 4), -1.0), torch.full((1, 3, 6, 2), 1.0)
        >>> round(palette_distance(black, white).item())
        50
    """
    check_pair(("image", "reference"), image, reference)
    if directions < 3:
        raise InputError(f"directions: got {directions}, expected 3 or more; 32 is plenty.")
    axes = _half_sphere(directions).to(image)
    ours = (axes @ rgb_to_lab(image).flatten(2)).sort(dim=2).values
    theirs = (axes @ rgb_to_lab(reference).flatten(2)).sort(dim=2).values
    points = max(ours.shape[2], theirs.shape[2])
    return (_quantiles(ours, points) - _quantiles(theirs, points)).abs().mean(dim=(1, 2))


def _half_sphere(count: int) -> Tensor:
    """Unit vectors spread evenly over half a sphere, `(count, 3)`: the golden-angle spiral, so nothing is random."""
    height = (torch.arange(count, dtype=torch.float64, device="cpu") + 0.5) / count
    angle = torch.arange(count, dtype=torch.float64, device="cpu") * math.pi * (3 - math.sqrt(5))
    radius = (1 - height.square()).sqrt()
    return torch.stack([height, radius * angle.cos(), radius * angle.sin()], dim=1)


def _quantiles(ordered: Tensor, points: int) -> Tensor:
    """The step function through sorted values, read at the middles of `points` equal intervals."""
    count = ordered.shape[-1]
    if count == points:
        return ordered
    index = (torch.arange(points, device=ordered.device) * 2 + 1) * count // (2 * points)
    return ordered[..., index]


@in_full_precision
def colorfulness(image: Tensor) -> Tensor:
    """Hasler & Süsstrunk's M3, "Measuring Colorfulness in Natural Images" (2003).

    Args:
        image: float `(B, 3, H, W)` in [-1, 1].

    Returns:
        `(B,)` on the paper's scale of 8-bit values: 0 is gray, 15 slightly and 59 quite colorful, 109 extremely.

    Raises:
        InputError: not float RGB in [-1, 1].

    Example:
        >>> import torch
        >>> colorfulness(torch.zeros(1, 3, 4, 4)).item()
        0.0
    """
    check_image("image", image)
    red, green, blue = ((image + 1) * 127.5).flatten(2).unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue])
    deviations, means = torch.std_mean(opponents, dim=2, correction=0)
    return deviations.square().sum(dim=0).sqrt() + 0.3 * means.square().sum(dim=0).sqrt()


@in_full_precision
def color_ratio(image: Tensor, reference: Tensor) -> Tensor:
    """Colorfulness of the picture over the reference's: below 1 is duller, above 1 is gaudier.

    Both are taken as at least 1 (a gray that no eye tells from pure gray), so that gray references give finite ratios.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1].
        reference: float `(B, 3, H', W')` in [-1, 1].

    Returns:
        `(B,)`, 1 for equal colorfulness.

    Raises:
        InputError: a batch is not float RGB in [-1, 1], or the two differ in number.

    Example:
        >>> import torch
        >>> picture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
        >>> round(color_ratio(picture / 2, picture).item(), 3)
        0.5
    """
    check_pair(("image", "reference"), image, reference)
    return colorfulness(image).clamp_min(1) / colorfulness(reference).clamp_min(1)
