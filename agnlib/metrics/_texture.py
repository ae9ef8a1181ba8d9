"""Texture where a photo has none: whose is it, the painter's or the network's own, and how strong?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError
from agnlib.metrics._checks import check_aligned, check_pair
from agnlib.metrics._detail import blurred, luminance
from agnlib.ops._precision import in_full_precision

_FINE, _COARSE = 1.0, 4.0  # Gaussians, px: what lies between them is texture
_REACH = 3  # deviations of a Gaussian that are summed
_FLAT = 0.3  # of the photo, where it has least texture
_FAINT = 0.1 / 127.5  # a tenth of a step of 8 bits: less is no texture
_MIN_SIZE = 2 * _REACH * int(_COARSE) + 1


@in_full_precision
def shared_texture(first: Tensor, second: Tensor, content: Tensor) -> Tensor:
    """Correlation of what two paintings of one photo have in its flat parts: 0 nothing in common, 1 always the same.

    Painted after two different references, flat parts should have the texture of each; what they share is the
    network's own. Texture is luminance between Gaussians of 1 and 4 px; the photo's own is regressed out of both, and
    the 30% of the places count where it has the least energy. Meant for a shorter side of about 384 px.

    Args:
        first, second: float `(B, 3, H, W)` in [-1, 1], both sides at least 25 px.
        content: the photograph, same shape.

    Returns:
        `(B,)` in [-1, 1]; 0 where one of the two has no texture.

    Raises:
        InputError: a batch is not float RGB in [-1, 1] or too small, or the shapes differ.

    Example:
        >>> import torch
        >>> rng = torch.Generator().manual_seed(0)
        >>> photo, one, other = (torch.rand(1, 3, 64, 64, generator=rng) * 2 - 1 for _ in range(3))
        >>> [round(shared_texture(one, each, photo).item(), 1) for each in (one, other)]
        [1.0, 0.0]
    """
    check_aligned(("first", "content"), first, content, min_size=_MIN_SIZE)
    check_aligned(("second", "content"), second, content, min_size=_MIN_SIZE)
    return texture_correlation(luminance(first), luminance(second), luminance(content))


def texture_correlation(first: Tensor, second: Tensor, content: Tensor) -> Tensor:
    """`shared_texture` of luminances `(B, 1, H, W)` of any range, differentiable by the first two."""
    if not first.shape == second.shape == content.shape:
        shapes = ", ".join(str(tuple(each.shape)) for each in (first, second, content))
        raise InputError(f"texture_correlation: shapes {shapes}; expected one")
    photo = _band(content)
    flat = _flat(photo)
    ours, theirs = (_residual(_band(picture), photo, flat) for picture in (first, second))
    least = _FAINT * flat.sum(1, keepdim=True).sqrt()
    ours, theirs = (rows / torch.maximum(rows.norm(dim=1, keepdim=True), least) for rows in (ours, theirs))
    return (ours * theirs).sum(1)


@in_full_precision
def flat_texture_ratio(image: Tensor, content: Tensor, reference: Tensor) -> Tensor:
    """How strong texture is where the photo has none, in what it is where the reference has least.

    Color between Gaussians of 1 and 4 px, root mean square over the 30% of the places where the photo's, or the
    reference's own, has the least energy. Meant for a shorter side of about 384 px, of painting and reference alike.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1], both sides at least 25 px.
        content: the photograph, of the image's shape.
        reference: float `(B, 3, H', W')` in [-1, 1], as large.

    Returns:
        `(B,)`: 1 for flat parts as rough as the reference's, above for rougher ones.

    Raises:
        InputError: a batch is not float RGB in [-1, 1] or too small, or the shapes do not fit.

    Example:
        >>> import torch
        >>> rough = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
        >>> flat = rough / 4
        >>> 3 < flat_texture_ratio(rough, torch.zeros_like(rough), flat).item() < 5
        True
    """
    check_aligned(("image", "content"), image, content, min_size=_MIN_SIZE)
    check_pair(("image", "reference"), image, reference, min_size=_MIN_SIZE)
    ours, theirs = flat_texture(image, content), flat_texture(reference, reference)
    return ((ours + _FAINT**2) / (theirs + _FAINT**2)).sqrt()


def flat_texture(image: Tensor, content: Tensor) -> Tensor:
    """The mean square of the band of all colors where the content is flat, `(B,)`, differentiable by the first."""
    flat = _flat(_band(luminance(content)))
    energy = _band(image.flatten(0, 1)[:, None]).square().view(len(image), 3, -1).mean(1)
    return (energy * flat).sum(1) / flat.sum(1)


def _band(plane: Tensor) -> Tensor:
    return _blur(plane, _FINE) - _blur(plane, _COARSE)


def _flat(band: Tensor) -> Tensor:
    """`(B, H W)`: where the band has least energy, as 0 and 1."""
    energy = _blur(band.square(), _COARSE).flatten(1)
    count = int(_FLAT * (energy.shape[1] - 1)) + 1
    return (energy <= energy.kthvalue(count, dim=1, keepdim=True).values).to(band.dtype)


def _residual(band: Tensor, photo: Tensor, weight: Tensor) -> Tensor:
    """The band less its mean and what the photo's band explains of it, where the weight is 1."""
    count = weight.sum(1, keepdim=True)
    ours, theirs = (rows - (rows * weight).sum(1, keepdim=True) / count for rows in (band.flatten(1), photo.flatten(1)))
    slope = (ours * theirs * weight).sum(1, keepdim=True)
    slope = slope / (theirs.square() * weight).sum(1, keepdim=True).clamp_min(1e-12)
    return (ours - slope * theirs) * weight


def _blur(plane: Tensor, sigma: float) -> Tensor:
    radius = int(_REACH * sigma)
    return blurred(F.pad(plane, (radius,) * 4, mode="replicate"), sigma, radius)
