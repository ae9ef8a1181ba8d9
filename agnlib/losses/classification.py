"""Losses on a discriminator with K real classes and one for generated pictures, the last ("K + 1")."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.errors import InputError

__all__ = [
    "ClassLoss",
    "UniformityLoss",
    "class_discriminator_loss",
    "class_generator_loss",
    "class_log_odds",
    "uniformity_loss",
]


def class_log_odds(logits: Tensor, label: Tensor | None = None) -> Tensor:
    """Log-odds `(B,)` of a picture being real, or of it being a real picture of class `label`, against all the rest.

    Their sigmoid is the sum of the softmax over the real classes, or the softmax of the class.

    Args:
        logits: `(B, K + 1)`.
        label: int64 `(B,)` in 0..K - 1, or None.

    Example:
        >>> import torch
        >>> class_log_odds(torch.zeros(1, 4)).sigmoid()  # three real classes of four
        tensor([0.7500])
        >>> class_log_odds(torch.zeros(1, 4), torch.tensor([2])).sigmoid()
        tensor([0.2500])
    """
    if label is None:
        return logits[:, :-1].logsumexp(1) - logits[:, -1]
    own = F.one_hot(label, logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -math.inf).logsumexp(1)


def class_discriminator_loss(real: Tensor, fake: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy over K + 1 classes: real pictures belong to their class, generated ones to the last.

    Papers: Salimans et al., "Improved techniques for training GANs", NeurIPS 2016; Odena, "Semi-supervised learning
    with generative adversarial networks", 2016.

    Args:
        real, fake: `(B, K + 1)` class logits.
        label: int64 `(B,)` of the real pictures, in 0..K - 1.

    Raises:
        InputError: logits that are not `(B, K + 1)`, or a label outside 0..K - 1.

    Example:
        >>> import torch
        >>> class_discriminator_loss(torch.zeros(2, 11), torch.zeros(2, 11), torch.tensor([3, 7]))  # 2 log 11
        tensor(4.7958)
    """
    _check(real, label)
    _check(fake, None)
    return F.cross_entropy(real, label) - F.log_softmax(fake, 1)[:, -1].mean()


def class_generator_loss(fake: Tensor, label: Tensor | None = None) -> Tensor:
    """Cross-entropy of generated pictures with the classes asked for; without labels, of being of any real class.

    Args:
        fake: `(B, K + 1)` class logits.
        label: int64 `(B,)` in 0..K - 1, or None for a generator that is not asked for classes.

    Raises:
        InputError: logits that are not `(B, K + 1)`, or a label outside 0..K - 1.

    Example:
        >>> import torch
        >>> class_generator_loss(torch.zeros(2, 11), torch.tensor([3, 7]))  # log 11
        tensor(2.3979)
    """
    _check(fake, label)
    if label is None:
        return F.softplus(-class_log_odds(fake)).mean()
    return F.cross_entropy(fake, label)


def uniformity_loss(logits: Tensor) -> Tensor:
    """Cross-entropy of a discriminator's output with the uniform distribution: log(number of outputs) at its least.

    Args:
        logits: `(B, K)` of K exclusive outputs, or `(B,)` of the two outputs real and generated.

    Raises:
        InputError: logits of another rank.

    Example:
        >>> import torch
        >>> uniformity_loss(torch.zeros(5, 2)), uniformity_loss(torch.zeros(5))
        (tensor(0.6931), tensor(0.6931))
    """
    if logits.ndim == 1:
        return (F.softplus(logits) + F.softplus(-logits)).mean() / 2
    if logits.ndim != 2:
        raise InputError(f"uniformity_loss: logits have shape {tuple(logits.shape)}; expected (B, K) or (B,)")
    return -F.log_softmax(logits, 1).mean()


class ClassLoss(nn.Module):
    """`class_discriminator_loss`; `generator` is `class_generator_loss`.

    Example:
        >>> import torch
        >>> ClassLoss()(torch.zeros(2, 11), torch.zeros(2, 11), torch.tensor([3, 7]))
        tensor(4.7958)
    """

    def forward(self, real: Tensor, fake: Tensor, label: Tensor) -> Tensor:
        return class_discriminator_loss(real, fake, label)

    def generator(self, fake: Tensor, label: Tensor | None = None) -> Tensor:
        """The generator's loss."""
        return class_generator_loss(fake, label)


class UniformityLoss(nn.Module):
    """`uniformity_loss` as a module.

    Example:
        >>> import torch
        >>> UniformityLoss()(torch.zeros(5))
        tensor(0.6931)
    """

    def forward(self, logits: Tensor) -> Tensor:
        return uniformity_loss(logits)


def _check(logits: Tensor, label: Tensor | None) -> None:
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise InputError(f"class loss: logits have shape {tuple(logits.shape)}; expected (B, K + 1), K at least 1")
    classes = logits.shape[1] - 1
    if label is None:
        return
    if label.shape != logits.shape[:1]:
        raise InputError(f"class loss: label has shape {tuple(label.shape)}; expected ({logits.shape[0]},)")
    if label.numel() and not 0 <= int(label.min()) <= int(label.max()) < classes:
        raise InputError(f"class loss: label has values outside 0..{classes - 1}: {label.tolist()}")
