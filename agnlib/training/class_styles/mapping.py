"""Styles by chance and by name: an affine fit of the training styles' codes, which cannot collapse."""

from __future__ import annotations

import torch
from torch import Tensor

from agnlib.models import Generator

__all__ = ["fit_mapping"]

_MOST = 3.0  # times as far from the middle as its pictures' mean: what a class can be exaggerated


@torch.no_grad()
def fit_mapping(
    generator: Generator,
    codes: Tensor,
    labels: Tensor,
    *,
    prior: bool = False,
    spread: float = 0.75,
    shrinkage: float = 0.5,
) -> None:
    """Set `generator.sample_style` so that z ~ N(0, I) gives codes like those given.

    One map for all codes together (no label), of their mean and covariance by its `latent_dim` principal directions,
    and one for each class. A class without codes keeps the map of all.

    Args:
        generator: whose mapping is replaced.
        codes: `(N, style_dim)` of real pictures.
        labels: int64 `(N,)`.
        prior: leave the codes without a label to the prior N(0, I) of a variational extractor: the code is z itself,
            and 0 in the places beyond z where z is shorter.
        spread: of a class's deviations, how much its map keeps, above 0 to 1. What is given up moves the class's mean
            away from the middle of all classes, so that codes are as far from there as real ones, but more of one kind:
            averaged codes are weak, and a class painted by them is hard to tell from others. 0.75 is the least whose
            paintings differ nine tenths as much as those after real works of a class. A class by itself keeps all.
        shrinkage: how much of a class's covariance is taken from all classes' (Friedman, "Regularized Discriminant
            Analysis", 1989), since a class has few pictures for it: from 0 to 1.
    """
    config = generator.config
    maps = generator.mapping.weight.view(-1, config.style_dim, config.latent_dim + 1)
    maps.copy_(_affine(codes.mean(0), _covariance(codes), config.latent_dim).expand_as(maps))
    groups = {label: codes[labels == label] for label in range(config.num_classes)}
    groups = {label: members for label, members in groups.items() if len(members) > 1}
    several = len(groups) > 1
    if groups:
        middle = torch.stack([members.mean(0) for members in groups.values()]).mean(0)
        pooled = _covariance(torch.cat([members - members.mean(0) for members in groups.values()]))
    for label, members in groups.items():
        covariance = torch.lerp(_covariance(members), pooled, shrinkage if several else 0.0)
        mean, kept = _exaggerated(members.mean(0), middle, covariance, spread if several else 1.0)
        maps[label + 1] = _affine(mean, kept, config.latent_dim)
    if prior:
        maps[0] = torch.eye(config.style_dim, config.latent_dim + 1, device="cpu", dtype=torch.float32).to(maps)
        maps[0, :, -1] = 0


def _covariance(codes: Tensor) -> Tensor:
    centered = (codes - codes.mean(0)).double()
    return centered.T @ centered / max(1, len(codes) - 1)


def _exaggerated(mean: Tensor, middle: Tensor, covariance: Tensor, spread: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance with less deviation and as much mean square distance from the middle."""
    offset = mean - middle
    given_up = (1 - spread**2) * covariance.trace() / offset.square().sum().clamp_min(1e-12)
    return middle + offset * (1 + given_up).sqrt().clamp_max(_MOST).to(offset), covariance * spread**2


def _affine(mean: Tensor, covariance: Tensor, latent_dim: int) -> Tensor:
    """`(style_dim, latent_dim + 1)`: principal directions scaled by their deviations, then the mean."""
    variances, directions = torch.linalg.eigh(covariance)
    scaled = (directions * variances.clamp_min(0).sqrt()).flip(1)[:, :latent_dim]
    result = mean.new_zeros(len(mean), latent_dim + 1)
    result[:, : scaled.shape[1]] = scaled.to(result)
    result[:, -1] = mean
    return result
