"""The first mapping network: an affine fit of the training styles' codes, which cannot collapse."""

from __future__ import annotations

import torch
from torch import Tensor

from agnlib.models import Generator

__all__ = ["fit_mapping"]


@torch.no_grad()
def fit_mapping(generator: Generator, codes: Tensor, labels: Tensor, *, prior: bool = False) -> None:
    """Set `generator.sample_style` so that z ~ N(0, I) gives codes with the mean and covariance of the codes given.

    One map for all codes together (no label) and one for each class, by its `latent_dim` principal directions. A class
    without codes keeps the map of all.

    Args:
        generator: whose mapping is replaced.
        codes: `(N, style_dim)` of real pictures.
        labels: int64 `(N,)`.
        prior: leave the codes without a label to the prior N(0, I) of a variational extractor: the code is z itself,
            and 0 in the places beyond z where z is shorter.
    """
    config = generator.config
    maps = generator.mapping.weight.view(-1, config.style_dim, config.latent_dim + 1)
    maps.copy_(_affine(codes, config.latent_dim).expand_as(maps))
    for label in range(config.num_classes):
        members = codes[labels == label]
        if len(members) > 1:
            maps[label + 1] = _affine(members, config.latent_dim)
    if prior:
        maps[0] = torch.eye(config.style_dim, config.latent_dim + 1).to(maps)
        maps[0, :, -1] = 0


def _affine(codes: Tensor, latent_dim: int) -> Tensor:
    """`(style_dim, latent_dim + 1)`: principal directions scaled by their deviations, then the mean."""
    mean = codes.mean(0)
    _, spread, directions = torch.linalg.svd(codes - mean, full_matrices=False)
    scaled = directions[:latent_dim].T * spread[:latent_dim] / max(1, len(codes) - 1) ** 0.5
    result = codes.new_zeros(codes.shape[1], latent_dim + 1)
    result[:, : scaled.shape[1]] = scaled
    result[:, -1] = mean
    return result
