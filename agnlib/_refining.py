"""A style code learned for one reference: the weights stay, the code moves until the paintings have its statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agnlib.errors import InputError
from agnlib.losses import palette_loss
from agnlib.models import Generator, StyleExtractor

__all__ = ["refined"]

_NEAR = 0.02  # what a squared step away from the first code costs: far from all codes the network paints nonsense
_MOST = 3.0  # deviations by which a statistic counts at most: one outlier should not decide


def refined(
    generator: Generator,
    extractor: StyleExtractor,
    photos: Sequence[Tensor],
    reference: Tensor,
    *,
    steps: int,
    rate: float = 0.05,
) -> tuple[Tensor, Tensor]:
    """The code `(style_dim,)` with the least distance met on the way, and the distances, `(steps + 1,)`.

    The distance of a painting is that of the extractor's statistics in deviations (Gatys et al., CVPR 2016, for
    moments), and of the palette. A step looks at all photos.

    Args:
        photos: `(1, 3, h, w)` each, in [-1, 1].
        reference: `(1, 3, h, w)` in [-1, 1].
        steps: of Adam, from the extractor's own code.

    Raises:
        InputError: steps below 0, or no photo.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise InputError(f"steps must be a whole number from 0, got {steps!r}")
    if not photos:
        raise InputError("content: expected at least one photo, got none")
    with torch.no_grad():
        wanted = extractor.statistics(reference)
        first = extractor.encode(wanted)
    code = first.clone().requires_grad_()
    adam = torch.optim.Adam([code], lr=rate)
    best, distances = first, []
    for step in range(steps + 1):
        apart = torch.zeros((), device=code.device)
        slope = 2 * _NEAR * (code.detach() - first) / code.numel()
        for photo in photos:  # one by one, for the memory; and for the code alone, since the weights may be shared
            painted = generator(None, code, content=photo)
            standard = (extractor.statistics(painted) - wanted) / extractor.scale
            each = standard.abs().clamp_max(_MOST).mean() + palette_loss(painted, reference) / 10
            if step < steps:
                slope += torch.autograd.grad(each, code)[0] / len(photos)
            apart = apart + each.detach() / len(photos)
        distances.append(apart)
        if apart <= torch.stack(distances).min():
            best = code.detach().clone()
        if step < steps:
            code.grad = slope
            adam.step()
    return best[0], torch.stack(distances)
