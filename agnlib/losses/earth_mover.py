"""Style as a set of local features: everything painted is found in the reference, and everything there is painted."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib.errors import InputError

__all__ = ["relaxed_earth_mover_loss"]


def relaxed_earth_mover_loss(
    features: Mapping[str, Tensor], target: Mapping[str, Tensor], *, samples: int = 1024, seed: int = 0
) -> Tensor:
    """Relaxed earth mover's distance between two sets of feature vectors, averaged over layers.

    It is 0 where the sets agree and all of both are compared.

    The cost of a pair of positions is 1 - cosine, after the mean of the reference's features is taken away. The larger
    of two means counts: of every position's cost to its nearest in the reference, and of the reference's positions to
    their nearest here. So a texture that the reference does not have costs something, and so does leaving one out; no
    gradient goes through the choice of the nearest.
    Paper: Kolkin et al., "Style transfer by relaxed optimal transport and self-similarity", CVPR 2019.

    Args:
        features: `{tap: (B, C, H, W)}` of the result.
        target: `{tap: (B, C, H', W')}` of the reference.
        samples: how many positions of each are compared, at most all of them.
        seed: of the choice of positions.

    Raises:
        InputError: no taps, batches or channels that differ, or fewer than one sample.

    Example:
        >>> f = {"a": torch.randn(1, 8, 6, 6)}
        >>> bool(relaxed_earth_mover_loss(f, {"a": f["a"].flip(3)}) < 1e-5)  # places do not matter
        True
    """
    if not target or samples < 1:
        raise InputError(
            f"relaxed_earth_mover_loss: {len(target)} taps, {samples} samples; expected at least one of each"
        )
    rng = torch.Generator().manual_seed(seed)
    losses = []
    for tap, wanted in target.items():
        if tap not in features:
            raise InputError(f"relaxed_earth_mover_loss: the features have no {tap!r}; they have {', '.join(features)}")
        found = features[tap]
        if found.shape[:2] != wanted.shape[:2]:
            raise InputError(
                f"relaxed_earth_mover_loss: {tap} of shape {tuple(found.shape)} and {tuple(wanted.shape)};"
                " expected one batch size and one number of channels"
            )
        mean = wanted.flatten(2).mean(2)[:, :, None]
        ours, theirs = (F.normalize(_some(f, samples, rng) - mean, dim=1) for f in (found, wanted))
        cosine = (ours.mT @ theirs).float()
        nearest = [1 - cosine.amax(axis).mean(1) for axis in (1, 2)]
        losses.append(torch.maximum(*nearest).mean())
    return torch.stack(losses).mean()


def _some(features: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """`(B, C, count)`: the features at positions drawn at random, or all of them."""
    rows = features.flatten(2)
    if rows.shape[2] <= count:
        return rows
    return rows[:, :, torch.randperm(rows.shape[2], generator=rng, device="cpu")[:count].to(rows.device)]
