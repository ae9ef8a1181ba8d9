"""A style code learned for one reference: the weights stay, the code moves until the paintings have its statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from agnlib._shared.gradients import with_gradients
from agnlib._shared.numbers import is_count, is_number
from agnlib._shared.progress import Told
from agnlib.errors import InputError
from agnlib.losses import content_loss, normalize_features, palette_loss
from agnlib.models import Generator, StyleExtractor

__all__ = ["drawing_of", "refined"]

_NEAR = 0.02  # what a squared step away from the first code costs: far from all codes the network paints nonsense
_NOBODY = Told(None)
_MOST = 3.0  # deviations by which a statistic counts at most: one outlier should not decide


def drawing_of(extractor: StyleExtractor, photos: Tensor) -> dict[str, Tensor]:
    """What is where in photos `(B, 3, H, W)`, as the extractor's trunk sees it: a target for `content_loss`."""
    return {tap: normalize_features(features) for tap, features in extractor.features(photos).items()}


@with_gradients()
def refined(
    generator: Generator,
    extractor: StyleExtractor,
    photos: Sequence[Tensor],
    reference: Tensor,
    *,
    steps: int,
    rate: float = 0.05,
    drawing: float = 4.0,
    told: Told = _NOBODY,
) -> tuple[Tensor, Tensor]:
    """The code `(style_dim,)` with the least distance met on the way, and the distances, `(steps + 1,)`.

    The distance of a painting is that of the extractor's statistics in deviations (Gatys et al., CVPR 2016, for
    moments), that of the palette, and what it loses of the photo's drawing beyond what the first code's painting does.
    A step looks at all photos.

    Args:
        photos: `(1, 3, h, w)` each, in [-1, 1].
        reference: `(1, 3, h, w)` in [-1, 1].
        steps: of Adam, from the extractor's own code.
        rate: of Adam.
        drawing: weight of what is lost of the drawing.
        told: how many steps were taken, of `steps`; where there are none, of 1.

    Raises:
        InputError: steps below 0, no photo, or a weight below 0.
    """
    if not is_count(steps):
        raise InputError(f"steps must be a whole number from 0, got {steps!r}")
    if not photos:
        raise InputError("content: expected at least one photo, got none")
    if not is_number(drawing, 0, math.nextafter(math.inf, 0)):
        raise InputError(f"drawing must be a number from 0, got {drawing!r}")
    photos, reference = [photo.clone() for photo in photos], reference.clone()  # those of inference_mode have no use
    with torch.no_grad():
        wanted = extractor.statistics(reference)
        first = extractor.encode(wanted)
        kept = [_Drawing.between(extractor, photo, generator(None, first, content=photo)) for photo in photos]
    code = first.clone().requires_grad_()
    adam = torch.optim.Adam([code], lr=rate)
    best, distances = first, []
    total = max(1, steps)
    told(0, total)
    for step in range(steps + 1):
        apart = torch.zeros((), device=code.device, dtype=code.dtype)
        slope = 2 * _NEAR * (code.detach() - first) / code.numel()
        for photo, own in zip(photos, kept, strict=True):  # one by one, for the memory
            painted = generator(None, code, content=photo)
            features = extractor.features(painted)
            standard = (extractor.statistics(painted, features) - wanted) / extractor.scale
            each = standard.abs().clamp_max(_MOST).mean() + palette_loss(painted, reference) / 10
            each = each + drawing * own.lost(features)
            if step < steps:  # for the code alone, since the weights may be shared
                slope += torch.autograd.grad(each, code)[0] / len(photos)
            apart = apart + each.detach() / len(photos)
        distances.append(apart)
        if apart <= torch.stack(distances).min():
            best = code.detach().clone()
        if step < steps:
            code.grad = slope
            adam.step()
            told(step + 1, total)
    told.end(total)
    return best[0], torch.stack(distances)


class _Drawing(NamedTuple):
    """A photo's drawing, and how much of it the first painting loses."""

    target: Mapping[str, Tensor]
    allowed: Tensor

    @classmethod
    def between(cls, extractor: StyleExtractor, photo: Tensor, painted: Tensor) -> _Drawing:
        target = drawing_of(extractor, photo)
        return cls(target, content_loss(extractor.features(painted), target))

    def lost(self, features: Mapping[str, Tensor]) -> Tensor:
        """What a painting loses beyond that."""
        return F.relu(content_loss(features, self.target) - self.allowed)
