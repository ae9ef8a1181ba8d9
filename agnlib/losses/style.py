"""Style as the statistics of features: means, deviations, and which features occur together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["FeatureMoments", "covariance_style_loss", "feature_moments", "moment_style_loss"]

_SMOOTH = 1e-6  # rounds off the root at zero, where its slope would be infinite


class FeatureMoments(NamedTuple):
    """Mean `(B, C)` and covariance `(B, C, C)` of features over positions."""

    mean: Tensor
    covariance: Tensor


def feature_moments(features: Tensor) -> FeatureMoments:
    """Mean and (biased) covariance over positions of features `(B, C, H, W)`, in float32.

    Example:
        >>> feature_moments(torch.randn(2, 4, 8, 8)).covariance.shape
        torch.Size([2, 4, 4])
    """
    rows = features.flatten(2)
    mean = rows.float().mean(2)
    centered = rows - mean[:, :, None].to(rows.dtype)
    return FeatureMoments(mean, (centered @ centered.mT).float() / rows.shape[2])


def covariance_style_loss(features: Mapping[str, Tensor], target: Mapping[str, FeatureMoments]) -> Tensor:
    """Relative distance of means and of covariances, averaged over layers; 0 where all agree.

    Each layer is measured in units of its own target, so deep and shallow layers count alike.
    Paper: Gatys et al., "Image style transfer using convolutional neural networks", CVPR 2016; centered here, since
    the mean of rectified features would otherwise drown the correlations in which strokes live.

    Args:
        features: `{tap: (B, C, H, W)}` of the result.
        target: `{tap: moments}` of the reference.

    Example:
        >>> f = {"a": torch.randn(1, 3, 8, 8)}
        >>> covariance_style_loss(f, {"a": feature_moments(f["a"])})
        tensor(0.)
    """
    losses = []
    for tap, wanted in target.items():
        found = feature_moments(features[tap])
        losses.append(_relative(found.mean, wanted.mean) + _relative(found.covariance, wanted.covariance))
    return torch.stack(losses).mean()


def moment_style_loss(features: Mapping[str, Tensor], target: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
    """Relative distance of channel means and deviations, averaged over layers.

    Paper: Huang and Belongie, ICCV 2017.

    Args:
        features: `{tap: (B, C, H, W)}` of the result.
        target: `{tap: (means (B, C), deviations (B, C))}` of the reference.

    Example:
        >>> f = torch.randn(1, 3, 8, 8)
        >>> moment_style_loss({"a": f}, {"a": (f.mean((2, 3)), f.std((2, 3), correction=0))})
        tensor(0.)
    """
    losses = []
    for tap, (mean, std) in target.items():
        found = features[tap]
        both = torch.cat([found.mean((2, 3)), found.std((2, 3), correction=0)], dim=1)
        losses.append(_relative(both, torch.cat([mean, std], dim=1)))
    return torch.stack(losses).mean()


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    """`|found - wanted| / |wanted|`, a mean over the batch.

    Not squared, or the faintest references would rule the rest.
    """
    error = (found - wanted).square().flatten(1).sum(1)
    relative = error / wanted.square().flatten(1).sum(1).clamp_min(1e-8)
    return (relative + _SMOOTH).sqrt().mean() - math.sqrt(_SMOOTH)
