"""Contrastive content: a patch of the result should know its own place in the photo."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["patch_nce_loss"]


def patch_nce_loss(
    features: Tensor, target: Tensor, *, patches: int = 64, temperature: float = 0.07, seed: int = 0
) -> Tensor:
    """Cross-entropy of finding, among the photo's patches, the one at the same place as the result's.

    Paper: Park et al., "Contrastive learning for unpaired image-to-image translation", ECCV 2020.

    Args:
        features: `(B, C, H, W)` of the result.
        target: `(B, C, H, W)` of the photo.
        patches: how many places are compared, at most H * W.
        temperature: of the softmax.
        seed: of the choice of places.

    Example:
        >>> f = torch.randn(1, 16, 4, 4)
        >>> bool(patch_nce_loss(f, f) < patch_nce_loss(f, f.flip(3)))
        True
    """
    places = features.shape[2] * features.shape[3]
    chosen = torch.randperm(places, generator=torch.Generator().manual_seed(seed), device="cpu")[:patches].to(
        features.device
    )
    query, key = (F.normalize(f.flatten(2)[:, :, chosen], dim=1) for f in (features, target.detach()))
    logits = query.mT @ key / temperature
    answer = torch.arange(len(chosen), device=logits.device).expand(logits.shape[0], -1)
    return F.cross_entropy(logits.flatten(0, 1), answer.flatten())
