"""Content as normalized features: what is where, whatever its color and contrast."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["content_loss", "normalize_features"]


def normalize_features(features: Tensor) -> Tensor:
    """Features `(B, C, H, W)` with mean 0 and deviation 1 in every channel of every picture; 0 where H = W = 1."""
    if features.shape[2] * features.shape[3] == 1:  # torch refuses to normalize a single value
        return features.float() - features.float()
    return F.instance_norm(features.float(), eps=1e-5)


def content_loss(features: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
    """Mean squared error of normalized features, averaged over layers: 0 is the same drawing, 2 an unrelated one.

    Paper: Gatys et al., CVPR 2016; normalized as proposed by Li et al., "Demystifying neural style transfer", 2017.

    Args:
        features: `{tap: (B, C, H, W)}` of the result.
        target: `{tap: (B, C, H, W)}` of the content, normalized already (`normalize_features`).

    Example:
        >>> f = torch.randn(1, 3, 8, 8)
        >>> bool(content_loss({"a": 2 * f + 1}, {"a": normalize_features(f)}) < 1e-4)
        True
    """
    return torch.stack([F.mse_loss(normalize_features(features[tap]), t.float()) for tap, t in target.items()]).mean()
