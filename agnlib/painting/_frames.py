"""The frames of one clip being painted, batch after batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agnlib.image import Picture
from agnlib.painting._painted_windows import Painting
from agnlib.painting._rendering import tiles
from agnlib.painting._temporal_denoising import Steadying
from agnlib.painting._temporal_smoothing import Smoothing

__all__ = ["FramePainter"]


@dataclass(frozen=True)
class FramePainter:
    """Paints a clip's frames, which are to be given in order; see `agnlib.video.repainting`.

    Args:
        painting: makes the painting of some frames, with the clip's `smoothing`; called with the frames that are
            painted, and with those that are seen where the effect leaves the photo.
        steadying: of the frames that are painted.
        smoothing: of what is measured on them.
        device: where the painting is done.
    """

    painting: Callable[[Picture, Picture], Painting]
    steadying: Steadying
    smoothing: Smoothing
    device: torch.device

    def __call__(self, frames: Tensor, elapsed: Sequence[float]) -> Tensor:
        """Frames `(B, 3, H, W)`, uint8, painted; `elapsed` is in seconds since the frame before each."""
        self.smoothing.advance(elapsed)
        photo = frames.to(self.device)
        steady = self.steadying(photo, elapsed)
        painting = self.painting(Picture.take(steady, "frames"), Picture.take(photo, "frames"))
        result = frames.new_empty(len(frames), *painting.size, 3).permute(0, 3, 1, 2)
        for box, pixels in tiles(painting):
            result[box.slices] = painting.picture.encoded(pixels, box)
        return result
