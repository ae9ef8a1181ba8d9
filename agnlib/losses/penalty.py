"""Penalties on the discriminator's gradient, which keep it smooth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agnlib.errors import InputError

__all__ = ["GradientPenalty", "R1Penalty", "gradient_penalty", "interpolate", "r1_penalty"]


def r1_penalty(logits: Tensor, image: Tensor) -> Tensor:
    """The mean over pictures of the squared gradient of their logits, differentiable itself.

    On real pictures it is R1, on generated ones R2.
    Paper: Mescheder et al., "Which training methods for GANs do actually converge?", ICML 2018.

    Args:
        logits: `(B,)`, computed from `image`.
        image: `(B, C, H, W)` that requires a gradient.

    Example:
        >>> x = torch.zeros(2, 3, 4, 4, requires_grad=True)
        >>> r1_penalty((2 * x).sum((1, 2, 3)), x)
        tensor(192.)
    """
    return _gradient(logits, image).square().sum((1, 2, 3)).mean()


def gradient_penalty(logits: Tensor, image: Tensor) -> Tensor:
    """The mean over pictures of `(|gradient| - 1)^2`, differentiable itself; it goes with the Wasserstein losses.

    Paper: Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017.

    Args:
        logits: `(B,)`, computed from `image`.
        image: `(B, C, H, W)` between real and generated pictures (`interpolate`), requires a gradient.

    Example:
        >>> x = torch.zeros(2, 1, 2, 2, requires_grad=True)
        >>> gradient_penalty((2 * x).sum((1, 2, 3)), x)  # the gradient's length is 4
        tensor(9.)
    """
    squared = _gradient(logits, image).square().sum((1, 2, 3))
    return ((squared + 1e-12).sqrt() - 1).square().mean()  # the root's own slope is infinite at zero


def interpolate(real: Tensor, fake: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Pictures at random places on the lines between real and generated ones, detached and requiring a gradient.

    Args:
        real, fake: `(B, C, H, W)`.
        generator: of the random places, on the CPU.

    Raises:
        InputError: shapes that differ.

    Example:
        >>> interpolate(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
    """
    if real.shape != fake.shape:
        raise InputError(f"interpolate: real {tuple(real.shape)} and fake {tuple(fake.shape)}; expected one shape")
    place = torch.rand(real.shape[0], generator=generator, device="cpu", dtype=torch.float32).to(real).view(-1, 1, 1, 1)
    return torch.lerp(real.detach(), fake.detach(), place).requires_grad_()


class R1Penalty(nn.Module):
    """`r1_penalty` as a module.

    Example:
        >>> x = torch.zeros(2, 3, 4, 4, requires_grad=True)
        >>> R1Penalty()((2 * x).sum((1, 2, 3)), x)
        tensor(192.)
    """

    def forward(self, logits: Tensor, image: Tensor) -> Tensor:
        return r1_penalty(logits, image)


class GradientPenalty(nn.Module):
    """`gradient_penalty` as a module.

    Example:
        >>> x = torch.zeros(2, 1, 2, 2, requires_grad=True)
        >>> GradientPenalty()((2 * x).sum((1, 2, 3)), x)
        tensor(9.)
    """

    def forward(self, logits: Tensor, image: Tensor) -> Tensor:
        return gradient_penalty(logits, image)


def _gradient(logits: Tensor, image: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
    return gradient
