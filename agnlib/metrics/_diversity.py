"""How far apart the pictures of a set are, to the eye."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agnlib.errors import InputError
from agnlib.metrics._checks import check_image, features_of
from agnlib.metrics._content import lpips_heads, shared_taps, unit_length
from agnlib.ops._precision import in_full_precision

if TYPE_CHECKING:
    from agnlib.models.encoders import PerceptualEncoder


@in_full_precision
def diversity(images: Tensor, encoder: PerceptualEncoder, heads: Mapping[str, Tensor] | None = None) -> Tensor:
    """The mean of `content_distance` (LPIPS) over all pairs of a set of pictures, such as one photo in many styles.

    Read it beside that of as many real ones: random styles that are all alike lie far below. The distance is a weighted
    square of differences, so its mean over pairs is twice the features' variance, and no pair is looked at by itself.

    Args:
        images: float `(B, 3, H, W)` in [-1, 1], two or more.
        encoder: as for `content_distance`.
        heads: likewise; `lpips_heads()` when left out, which needs the package `lpips`. With
            `even_heads(encoder)` any encoder will do, if only such numbers are compared.

    Returns:
        One number of no dimension, 0 for pictures that are all the same.

    Raises:
        InputError: not float RGB in [-1, 1], a single picture, or the encoder has no tap that a head fits.
        MissingDependencyError: `heads` was left out and `lpips` is not installed.

    Example:
        >>> import torch
        >>> class Pixels:
        ...     channels, min_size = {"pixels": 3}, 1
        ...     def __call__(self, image):
        ...         return {"pixels": image}
        >>> gray = torch.full((1, 3, 8, 8), 0.5)
        >>> diversity(torch.cat([gray, gray, -gray]), Pixels(), {"pixels": torch.ones(1, 3, 1, 1)}).round(decimals=3)
        tensor(2.6670)
    """
    check_image("images", images, min_size=encoder.min_size)
    if len(images) < 2:
        raise InputError("diversity: got a single picture, expected at least two.")
    heads = lpips_heads() if heads is None else heads
    features = features_of(encoder, images)
    taps = [_tap_variance(features[tap], heads[tap]) for tap in shared_taps(encoder, heads)]
    return 2 * torch.stack(taps).sum()


def _tap_variance(features: Tensor, head: Tensor) -> Tensor:
    variance = unit_length(features).var(dim=0, keepdim=True)
    return (variance * head.to(variance)).sum(dim=1).mean()
