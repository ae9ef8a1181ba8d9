"""Style as the whole distribution of features, seen along lines."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError

__all__ = ["sliced_style_loss"]

_SMOOTH = 1e-6  # rounds off the root at zero, where its slope would be infinite


def sliced_style_loss(
    features: Mapping[str, Tensor], target: Mapping[str, Tensor], *, directions: int = 64, seed: int = 0
) -> Tensor:
    """Relative sliced Wasserstein distance (of order 2) of feature vectors, averaged over layers; 0 where all agree.

    Along a random line the best transport between two clouds of points is that of their sorted values, so the loss sees
    every moment of the features' distribution, where means and covariances are the first two. Each layer is measured in
    units of its own target.
    Papers: Rabin et al., "Wasserstein barycenter and its application to texture mixing", 2011; Heitz et al., "A sliced
    Wasserstein loss for neural texture synthesis", CVPR 2021.

    Args:
        features: `{tap: (B, C, H, W)}` of the result.
        target: `{tap: (B, C, H', W')}` of the reference; where sizes differ its quantiles are interpolated.
        directions: number of random lines.
        seed: of the lines; another one at every step sees all of the distribution in the long run.

    Raises:
        InputError: no taps, batches or channels that differ, or fewer than one direction.

    Example:
        >>> f = {"a": torch.randn(1, 3, 8, 8)}
        >>> sliced_style_loss(f, {"a": f["a"].flip(3)})  # places do not matter
        tensor(0.)
    """
    if not target or directions < 1:
        raise InputError(
            f"sliced_style_loss: {len(target)} taps, {directions} directions; expected at least one of each"
        )
    rng = torch.Generator().manual_seed(seed)
    losses = []
    for tap, wanted in target.items():
        found = features[tap]
        if found.shape[:2] != wanted.shape[:2]:
            raise InputError(
                f"sliced_style_loss: {tap} of shape {tuple(found.shape)} and {tuple(wanted.shape)};"
                " expected one batch size and one number of channels"
            )
        lines = F.normalize(
            torch.randn(directions, wanted.shape[1], generator=rng, device="cpu", dtype=torch.float32), dim=1
        ).to(wanted.device)
        ours, theirs = (_sorted(lines, f) for f in (found, wanted))
        if ours.shape[2] != theirs.shape[2]:
            theirs = F.interpolate(theirs, ours.shape[2], mode="linear", align_corners=True)
        relative = (ours - theirs).square().mean((1, 2)) / theirs.square().mean((1, 2)).clamp_min(1e-8)
        losses.append((relative + _SMOOTH).sqrt().mean() - math.sqrt(_SMOOTH))
    return torch.stack(losses).mean()


def _sorted(lines: Tensor, features: Tensor) -> Tensor:
    """`(B, directions, H W)`: the features along each line, in order."""
    return (lines @ features.flatten(2).float()).sort(dim=2).values
