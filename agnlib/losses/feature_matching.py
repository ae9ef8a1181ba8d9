"""Feature matching: generated pictures should look to the discriminator, on average, as real ones do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["FeatureMatchingLoss", "feature_matching_loss"]


def feature_matching_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Euclidean distance of the batches' mean features, in units of a root mean square, averaged over layers.

    Paper: Salimans et al., "Improved techniques for training GANs", NeurIPS 2016.

    Args:
        real, fake: features of the layers, `(B, ...)` each; the batches may differ in size.

    Example:
        >>> feature_matching_loss([torch.zeros(4, 9)], [torch.full((2, 9), 3.0)])
        tensor(3.)
    """
    distances = []
    for r, f in zip(real, fake, strict=True):
        apart = r.mean(0) - f.mean(0)
        distances.append(torch.linalg.vector_norm(apart) / apart.numel() ** 0.5)
    return torch.stack(distances).mean()


class FeatureMatchingLoss(nn.Module):
    """`feature_matching_loss` as a module.

    Example:
        >>> FeatureMatchingLoss()([torch.zeros(4, 9)], [torch.full((2, 9), 3.0)])
        tensor(3.)
    """

    def forward(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        return feature_matching_loss(real, fake)
