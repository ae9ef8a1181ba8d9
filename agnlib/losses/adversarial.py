"""What the two adversaries minimize: five pairs of losses on logits, each a discriminator's and a generator's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnlib.errors import InputError

__all__ = [
    "AdversarialLoss",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "least_squares_discriminator_loss",
    "least_squares_generator_loss",
    "logistic_discriminator_loss",
    "logistic_generator_loss",
    "relativistic_discriminator_loss",
    "relativistic_generator_loss",
    "wasserstein_discriminator_loss",
    "wasserstein_generator_loss",
]

Logits = Tensor | Sequence[Tensor]


def logistic_discriminator_loss(real: Logits, fake: Logits) -> Tensor:
    """The mean over maps of `-log D(x) - log(1 - D(G(z)))`, where D is the sigmoid of the logits.

    Paper: Goodfellow et al., "Generative adversarial nets", NeurIPS 2014.

    Args:
        real, fake: logits of any shape, or one tensor for each scale.

    Example:
        >>> logistic_discriminator_loss(torch.zeros(4), torch.zeros(4))  # 2 log 2: it cannot tell
        tensor(1.3863)
    """
    return _over_maps(lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean(), real, fake)


def logistic_generator_loss(fake: Logits) -> Tensor:
    """The mean over maps of `-log D(G(z))`, the non-saturating form.

    Paper: Goodfellow et al., NeurIPS 2014.

    Example:
        >>> logistic_generator_loss(torch.zeros(4))
        tensor(0.6931)
    """
    return _over_maps(lambda f: F.softplus(-f).mean(), fake)


def hinge_discriminator_loss(real: Logits, fake: Logits) -> Tensor:
    """The mean over maps of `relu(1 - real) + relu(1 + fake)`.

    Paper: Lim and Ye, "Geometric GAN", 2017.

    Args:
        real, fake: logits of any shape, or one tensor for each scale.

    Example:
        >>> hinge_discriminator_loss([torch.tensor([2.0])], [torch.tensor([0.0])])
        tensor(1.)
    """
    return _over_maps(lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(), real, fake)


def hinge_generator_loss(fake: Logits) -> Tensor:
    """The mean over maps of `-fake`.

    Example:
        >>> hinge_generator_loss([torch.tensor([3.0, 1.0])])
        tensor(-2.)
    """
    return _over_maps(lambda f: -f.mean(), fake)


def least_squares_discriminator_loss(real: Logits, fake: Logits) -> Tensor:
    """The mean over maps of `((real - 1)^2 + fake^2) / 2`.

    Paper: Mao et al., "Least squares generative adversarial networks", ICCV 2017, with a = 0 and b = c = 1.

    Args:
        real, fake: logits of any shape, or one tensor for each scale.

    Example:
        >>> least_squares_discriminator_loss(torch.tensor([1.0]), torch.tensor([2.0]))
        tensor(2.)
    """
    return _over_maps(lambda r, f: ((r - 1).square().mean() + f.square().mean()) / 2, real, fake)


def least_squares_generator_loss(fake: Logits) -> Tensor:
    """The mean over maps of `(fake - 1)^2 / 2`.

    Example:
        >>> least_squares_generator_loss(torch.tensor([3.0]))
        tensor(2.)
    """
    return _over_maps(lambda f: (f - 1).square().mean() / 2, fake)


def wasserstein_discriminator_loss(real: Logits, fake: Logits) -> Tensor:
    """The mean over maps of `fake - real`; it needs `gradient_penalty`, or the logits grow without end.

    Paper: Arjovsky et al., "Wasserstein GAN", ICML 2017.

    Args:
        real, fake: logits of any shape, or one tensor for each scale.

    Example:
        >>> wasserstein_discriminator_loss(torch.tensor([3.0]), torch.tensor([1.0]))
        tensor(-2.)
    """
    return _over_maps(lambda r, f: f.mean() - r.mean(), real, fake)


def wasserstein_generator_loss(fake: Logits) -> Tensor:
    """The mean over maps of `-fake`.

    Example:
        >>> wasserstein_generator_loss(torch.tensor([3.0, 1.0]))
        tensor(-2.)
    """
    return _over_maps(lambda f: -f.mean(), fake)


def relativistic_discriminator_loss(real: Logits, fake: Logits) -> Tensor:
    """The mean over maps of `softplus(fake - real)`, each real picture against the generated one in its place.

    It goes with `r1_penalty` on real and on generated pictures ("R1 + R2").
    Papers: Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019; Huang et al., "The GAN is dead; long live
    the GAN! A modern GAN baseline", NeurIPS 2024.

    Args:
        real, fake: logits of one shape, or one tensor for each scale.

    Example:
        >>> relativistic_discriminator_loss(torch.tensor([5.0]), torch.tensor([5.0]))
        tensor(0.6931)
    """
    return _over_maps(lambda r, f: F.softplus(f - r).mean(), real, fake)


def relativistic_generator_loss(fake: Logits, real: Logits) -> Tensor:
    """The mean over maps of `softplus(real - fake)`: the discriminator's loss with the roles exchanged.

    Example:
        >>> relativistic_generator_loss(torch.tensor([9.0]), torch.tensor([9.0]))
        tensor(0.6931)
    """
    return _over_maps(lambda f, r: F.softplus(r - f).mean(), fake, real)


class AdversarialLoss(nn.Module):
    """A pair of losses by name: calling it is the discriminator's, `generator` is the other.

    Args:
        loss: "logistic", "hinge", "least_squares", "wasserstein" or "relativistic".

    Raises:
        InputError: an unknown name; or `generator` of the relativistic pair without the real logits.

    Example:
        >>> loss = AdversarialLoss("logistic")
        >>> loss(torch.zeros(4), torch.zeros(4)), loss.generator(torch.zeros(4))
        (tensor(1.3863), tensor(0.6931))
    """

    def __init__(self, loss: str = "logistic") -> None:
        super().__init__()
        if loss not in _DISCRIMINATOR:
            raise InputError(f"AdversarialLoss: unknown loss {loss!r}; expected one of {', '.join(_DISCRIMINATOR)}")
        self.loss = loss

    @property
    def is_relative(self) -> bool:
        """Whether the generator's loss needs the real logits too."""
        return self.loss == "relativistic"

    def forward(self, real: Logits, fake: Logits) -> Tensor:
        return _DISCRIMINATOR[self.loss](real, fake)

    def generator(self, fake: Logits, real: Logits | None = None) -> Tensor:
        """The generator's loss; `real` is used by the relativistic pair alone."""
        if not self.is_relative:
            return _GENERATOR[self.loss](fake)
        if real is None:
            raise InputError("AdversarialLoss: the relativistic generator's loss got no real logits; give real=...")
        return relativistic_generator_loss(fake, real)

    def extra_repr(self) -> str:
        return repr(self.loss)


_DISCRIMINATOR: dict[str, Callable[[Logits, Logits], Tensor]] = {
    "logistic": logistic_discriminator_loss,
    "hinge": hinge_discriminator_loss,
    "least_squares": least_squares_discriminator_loss,
    "wasserstein": wasserstein_discriminator_loss,
    "relativistic": relativistic_discriminator_loss,
}
_GENERATOR: dict[str, Callable[[Logits], Tensor]] = {
    "logistic": logistic_generator_loss,
    "hinge": hinge_generator_loss,
    "least_squares": least_squares_generator_loss,
    "wasserstein": wasserstein_generator_loss,
}


def _over_maps(loss: Callable[..., Tensor], *logits: Logits) -> Tensor:
    """The mean of a loss over the scales."""
    scales = zip(*([each] if isinstance(each, Tensor) else each for each in logits), strict=True)
    return torch.stack([loss(*maps) for maps in scales]).mean()
