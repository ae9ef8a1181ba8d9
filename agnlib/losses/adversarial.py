"""The adversaries' losses, and the penalty that keeps the discriminator smooth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["hinge_discriminator_loss", "hinge_generator_loss", "r1_penalty"]


def hinge_discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """The mean over maps of `relu(1 - real) + relu(1 + fake)`.

    Paper: Lim and Ye, "Geometric GAN", 2017.

    Args:
        real, fake: logits of any shape, one tensor for each scale.

    Example:
        >>> hinge_discriminator_loss([torch.tensor([2.0])], [torch.tensor([0.0])])
        tensor(1.)
    """
    losses = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def hinge_generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """The mean over maps of `-fake`.

    Example:
        >>> hinge_generator_loss([torch.tensor([3.0, 1.0])])
        tensor(-2.)
    """
    return -torch.stack([f.mean() for f in fake]).mean()


def r1_penalty(logits: Tensor, image: Tensor) -> Tensor:
    """The mean over pictures of the squared gradient of their logits, differentiable itself.

    Paper: Mescheder et al., "Which training methods for GANs do actually converge?", ICML 2018.

    Args:
        logits: `(B,)`, computed from `image`.
        image: `(B, 3, H, W)` that requires a gradient.

    Example:
        >>> x = torch.zeros(2, 3, 4, 4, requires_grad=True)
        >>> r1_penalty((2 * x).sum((1, 2, 3)), x)
        tensor(192.)
    """
    (gradient,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()
