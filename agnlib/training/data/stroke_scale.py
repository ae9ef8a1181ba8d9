"""From how far the losses look at a painting: at strokes as large as the reference's, or at its pixels."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from agnlib.training.data.pairs import Batch

__all__ = ["close_up", "from_afar"]

_GOLDEN = (0.7548776662, 0.5698402910)  # the plane's most even sequence: Roberts' generalized golden ratio


def from_afar(batch: Batch, fake: Tensor) -> tuple[Batch, Tensor]:
    """Painting and photo reduced to the size of the reference.

    A reference of 160 pixels beside a painting of 240 that is looked at so asks for strokes that are one and a half
    times as broad, since people see both as large.

    Args:
        batch: its photos as large as the painting, or none.
        fake: the painting, at least as large as the references.
    """
    size = (batch.style.shape[2], batch.style.shape[3])
    content = None if batch.content is None else _reduced(batch.content, size)
    return replace(batch, content=content), _reduced(fake, size)


def close_up(batch: Batch, fake: Tensor) -> tuple[Batch, Tensor]:
    """A part of the painting at full size, with the same part of the photo and of the enlarged reference.

    What `from_afar` blurs away is judged here: grids, dots and noise of a pixel or two, which no enlarged picture has.
    The part is another one in every step. Nothing of it is kept in a cache.
    """
    rows, columns = batch.style.shape[2:]
    height, width = fake.shape[2:]
    top = round((batch.step * _GOLDEN[0]) % 1 * (height - rows))
    left = round((batch.step * _GOLDEN[1]) % 1 * (width - columns))

    def part(picture: Tensor) -> Tensor:
        return picture[:, :, top : top + rows, left : left + columns]

    enlarged = F.interpolate(batch.style, (height, width), mode="bicubic", antialias=True).clamp(-1, 1)
    content = None if batch.content is None else part(batch.content)
    seen = replace(batch, content=content, style=part(enlarged), content_keys=(), style_keys=())
    return seen, part(fake)


def _reduced(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(picture, size, mode="bilinear", antialias=True)
