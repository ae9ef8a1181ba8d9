"""Brightness without regard to color: fine texture and the place of edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.metrics._checks import check_aligned, check_image, check_pair
from agnlib.ops._precision import in_full_precision

_SIGMA = 2.0
_RADIUS = 8


@in_full_precision
def luminance(image: Tensor) -> Tensor:
    """Rec. 709 luma of float RGB `(B, 3, H, W)` in [-1, 1]: `(B, 1, H, W)` in [-1, 1].

    Raises:
        InputError: not float RGB in [-1, 1].

    Example:
        >>> import torch
        >>> round(luminance(torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1)).item(), 4)
        -0.575
    """
    check_image("image", image)
    weights = torch.tensor([0.2125, 0.7154, 0.0721], dtype=image.dtype, device=image.device)
    return (image * weights.view(3, 1, 1)).sum(dim=1, keepdim=True)


@in_full_precision
def fine_detail(image: Tensor) -> Tensor:
    """Root mean square of what a Gaussian blur of 2 px takes away from the luminance: strokes, hatching, grain, edges.

    A sinusoid of angular frequency w keeps 1 - exp(-2 w^2) of its amplitude, so that waves longer than about 12 px
    count little. The outermost 8 px, where the blur would see the border, are left out.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1], both sides above 16 px.

    Returns:
        `(B,)`, 0 for a flat picture.

    Raises:
        InputError: not float RGB in [-1, 1], or too small.

    Example:
        >>> import torch
        >>> fine_detail(torch.full((1, 3, 24, 24), 0.25)).item() < 1e-6
        True
    """
    check_image("image", image, min_size=2 * _RADIUS + 1)
    plane = luminance(image)
    sharp = plane[:, :, _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    return (sharp - blurred(plane, _SIGMA, _RADIUS)).square().mean(dim=(1, 2, 3)).sqrt()


@in_full_precision
def detail_ratio(image: Tensor, reference: Tensor) -> Tensor:
    """`fine_detail` of the picture over the reference's: below 1 is smoother, above 1 is busier.

    Both are taken as at least 1/255 (half a step of 8 bits), so that flat references give finite ratios.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1], both sides above 16 px.
        reference: float `(B, 3, H', W')` in [-1, 1], brought to the same longer side, since detail depends on scale.

    Returns:
        `(B,)`, 1 for as much detail.

    Raises:
        InputError: a batch is not float RGB in [-1, 1] or too small, or the two differ in number.

    Example:
        >>> import torch
        >>> picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
        >>> round(detail_ratio(picture / 2, picture).item(), 3)
        0.5
    """
    check_pair(("image", "reference"), image, reference, min_size=2 * _RADIUS + 1)
    return fine_detail(image).clamp_min(1 / 255) / fine_detail(reference).clamp_min(1 / 255)


@in_full_precision
def structure(image: Tensor, content: Tensor) -> Tensor:
    """Correlation of the two pictures' luminance gradient magnitudes (Sobel): are the edges where they were?

    Args:
        image: float `(B, 3, H, W)` in [-1, 1], both sides at least 3 px.
        content: the photograph, same shape.

    Returns:
        `(B,)` in [-1, 1]: 1 for the photograph itself, about 0 for an unrelated or a flat picture.

    Raises:
        InputError: a batch is not float RGB in [-1, 1] or too small, or the shapes differ.

    Example:
        >>> import torch
        >>> photo = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
        >>> round(structure(-0.5 * photo, photo).item(), 4)
        1.0
    """
    check_aligned(("image", "content"), image, content, min_size=3)
    ours, theirs = (_edges(picture).flatten(1) for picture in (image, content))
    ours, theirs = (edges - edges.mean(dim=1, keepdim=True) for edges in (ours, theirs))
    return (F.normalize(ours, dim=1) * F.normalize(theirs, dim=1)).sum(dim=1)


def _edges(image: Tensor) -> Tensor:
    smooth, slope = image.new_tensor([1.0, 2.0, 1.0]) / 4, image.new_tensor([-1.0, 0.0, 1.0]) / 2
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)]).unsqueeze(1)
    return F.conv2d(luminance(image), kernels).square().sum(dim=1).sqrt()


def blurred(plane: Tensor, sigma: float, radius: int) -> Tensor:
    """`(B, 1, H, W)` under a Gaussian that is cut off at a radius, smaller by that at every side."""
    offsets = torch.arange(-radius, radius + 1, dtype=plane.dtype, device=plane.device)
    kernel = torch.softmax(-offsets.square() / (2 * sigma**2), dim=0)
    return F.conv2d(F.conv2d(plane, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
