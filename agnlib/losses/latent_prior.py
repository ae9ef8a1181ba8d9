"""What a distribution of codes costs where it is not the prior."""

from __future__ import annotations

from torch import Tensor, nn

from agnlib.errors import InputError

__all__ = ["KLDivergence", "kl_divergence"]


def kl_divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """KL(N(mean, deviation^2) || N(0, I)) in nats: the sum over the code, the mean over the batch.

    Papers: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014; Larsen et al., "VAE-GAN", ICML 2016.

    Args:
        mean, deviation: `(B, n)`, deviations positive; those of `StyleExtractor.distribution`.

    Raises:
        InputError: shapes that differ or are not `(B, n)`.

    Example:
        >>> import torch
        >>> kl_divergence(torch.zeros(3, 8), torch.ones(3, 8))
        tensor(0.)
        >>> kl_divergence(torch.full((3, 8), 0.5), torch.ones(3, 8))
        tensor(1.)
    """
    if mean.ndim != 2 or mean.shape != deviation.shape:
        raise InputError(
            f"kl_divergence: mean {tuple(mean.shape)} and deviation {tuple(deviation.shape)}; expected one shape (B, n)"
        )
    variance = deviation.square()
    return (mean.square() + variance - 1 - variance.log()).sum(1).mean() / 2


class KLDivergence(nn.Module):
    """`kl_divergence` as a module.

    Example:
        >>> import torch
        >>> KLDivergence()(torch.full((3, 8), 0.5), torch.ones(3, 8))
        tensor(1.)
    """

    def forward(self, mean: Tensor, deviation: Tensor) -> Tensor:
        return kl_divergence(mean, deviation)
