"""Distance of feature statistics: how much of the reference's style the picture has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agnlib.metrics._checks import check_pair, features_of
from agnlib.ops._precision import in_full_precision

if TYPE_CHECKING:
    from agnlib.models.encoders import PerceptualEncoder


@in_full_precision
def style_distance(image: Tensor, reference: Tensor, encoder: PerceptualEncoder) -> Tensor:
    """Relative distance between the channel means and deviations of two pictures' features.

    For each tap of the encoder the statistics s are the means and the standard deviations of its channels over all
    positions. The tap's distance is the sum of abs(s_image - s_reference) over the sum of abs(s_reference), and the
    taps are averaged. Means and deviations as a description of style are those of Huang & Belongie, "Arbitrary Style
    Transfer in Real-time with Adaptive Instance Normalization" (ICCV 2017). It is not symmetric: the reference is the
    yardstick.
    Judge with an encoder that took no part in training, since a loss is no measure of itself.

    Args:
        image: float `(B, 3, H, W)` in [-1, 1].
        reference: float `(B, 3, H', W')` in [-1, 1], at the same scale (features depend on it).
        encoder: a perceptual network such as `EfficientNetLiteFeatures.pretrained(2, ("block0", "block3", "block6"))`,
            the last blocks at 1/2, 1/4 and 1/8 of the size, which agnlib's tables use.

    Returns:
        `(B,)`, 0 for the same statistics. A plain photograph lies around 0.4 in agnlib's tables.

    Raises:
        InputError: a batch is not float RGB in [-1, 1], too small for the encoder, or the two differ in number.

    Example:
        >>> import torch
        >>> class Pixels:
        ...     channels, min_size = {"pixels": 3}, 1
        ...     def __call__(self, image):
        ...         return {"pixels": image}
        >>> red, gray = torch.tensor([0.8, 0.0, 0.0]), torch.tensor([0.4, 0.4, 0.4])
        >>> paint = lambda color: color.view(1, 3, 1, 1).expand(1, 3, 8, 8)
        >>> round(style_distance(paint(gray), paint(red), Pixels()).item(), 3)
        1.5
    """
    check_pair(("image", "reference"), image, reference, min_size=encoder.min_size)
    of_image, of_reference = features_of(encoder, image), features_of(encoder, reference)
    return torch.stack([_relative(of_image[tap], of_reference[tap]) for tap in encoder.channels]).mean(dim=0)


def _relative(features: Tensor, target: Tensor) -> Tensor:
    wanted = _statistics(target)
    gap = (_statistics(features) - wanted).abs().sum(dim=1)
    return gap / wanted.abs().sum(dim=1).clamp_min(torch.finfo(wanted.dtype).tiny)


def _statistics(features: Tensor) -> Tensor:
    deviations, means = torch.std_mean(features.flatten(2), dim=2, correction=0)
    return torch.cat([means, deviations], dim=1)
