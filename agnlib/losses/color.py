"""Colors as a cloud of points: how far one palette has to move to become another."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError
from agnlib.ops._precision import in_full_precision

__all__ = ["palette_loss", "rgb_to_lab"]

_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)  # D65, the white of sRGB
_MAX_POINTS = 2304
_SMOOTH = 1e-6  # rounds off the root at zero, where its slope would be infinite


@in_full_precision
def rgb_to_lab(image: Tensor) -> Tensor:
    """CIE L*a*b* (D65) `(B, 3, ...)` of sRGB pictures `(B, 3, ...)` in [-1, 1]; differentiable, in float32 at least.

    Example:
        >>> rgb_to_lab(torch.ones(1, 3, 1)).flatten().round().abs()
        tensor([100.,   0.,   0.])
    """
    rgb = (image.clamp(-1, 1) + 1) / 2
    linear = torch.where(rgb > 0.04045, ((rgb.clamp_min(0.04) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = image.new_tensor(_TO_XYZ) / image.new_tensor(_WHITE)[:, None]
    xyz = torch.einsum("ij,bj...->bi...", matrix, linear)
    curve = torch.where(xyz > 0.008856, xyz.clamp_min(0.008) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = curve.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


@in_full_precision
def palette_loss(image: Tensor, reference: Tensor, *, directions: int = 24, pool: int = 2, seed: int = 0) -> Tensor:
    """Sliced Wasserstein distance (of order 2) of two pictures' colors in CIE L*a*b*, in units of 10 Delta E.

    Paper: Pitie et al., "N-dimensional probability density function transfer and its application to colour transfer",
    ICCV 2005; Bonneel et al., "Sliced and Radon Wasserstein barycenters", 2015.

    Args:
        image, reference: `(B, 3, H, W)` in [-1, 1], not necessarily of one size.
        directions: number of random lines onto which the clouds are projected.
        pool: pictures are averaged by this factor first.
        seed: of the directions and of the sample of points.

    Raises:
        InputError: batches that differ.

    Example:
        >>> x = torch.rand(1, 3, 16, 16) * 2 - 1
        >>> palette_loss(x, x)
        tensor(0.)
    """
    if image.shape[0] != reference.shape[0]:
        raise InputError(f"palette_loss: batches of {image.shape[0]} and {reference.shape[0]}; expected one size")
    generator = torch.Generator().manual_seed(seed)
    lines = F.normalize(torch.randn(directions, 3, generator=generator, device="cpu", dtype=torch.float32), dim=1).to(
        image
    )
    clouds = [_cloud(picture, pool, generator) for picture in (image, reference)]
    points = min(cloud.shape[2] for cloud in clouds)
    sorted_clouds = [_quantiles(torch.sort(lines @ cloud, dim=2).values, points) for cloud in clouds]
    squared = (sorted_clouds[0] - sorted_clouds[1]).square().mean((1, 2)) / 100
    return (squared + _SMOOTH).sqrt().mean() - math.sqrt(_SMOOTH)


def _cloud(image: Tensor, pool: int, generator: torch.Generator) -> Tensor:
    if min(image.shape[2:]) >= pool > 1:
        image = F.avg_pool2d(image, pool)
    points = image.flatten(2)
    if points.shape[2] > _MAX_POINTS:
        points = points[
            :, :, torch.randperm(points.shape[2], generator=generator, device="cpu")[:_MAX_POINTS].to(image.device)
        ]
    return rgb_to_lab(points)


def _quantiles(values: Tensor, count: int) -> Tensor:
    if values.shape[2] == count:
        return values
    return F.interpolate(values, count, mode="linear", align_corners=True)
