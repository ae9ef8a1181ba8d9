"""A clip without its noise where nothing moves: the network would paint the noise, too, as flicker."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Steadying"]

# Of 255, mean over 5 x 5 pixels and the channels: less differs between frames by noise alone (of a deviation up to 6),
# more because something moved. Between the two the new frame comes in gradually.
_NOISE, _MOTION = 8.0, 16.0
_SIDE = 5


class Steadying:
    """Each pixel becomes its mean over time, which is given up where the frame shows something else by now.

    Args:
        seconds: time constant of the mean; 0 leaves the frames as they are.

    Example:
        >>> steadying = Steadying(1.0)
        >>> still, flash = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8), torch.full((1, 3, 8, 8), 250).byte()
        >>> noisy = steadying(torch.cat([still, still + 6, flash]), [math.inf, 0.04, 0.04])
        >>> noisy[:, 0, 0, 0].tolist()
        [100, 100, 250]
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._mean: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, frames: Tensor, elapsed: Sequence[float]) -> Tensor:
        """Frames `(B, 3, H, W)`, uint8, in order, steadied; `elapsed` is in seconds since the frame before each."""
        if not self._seconds:
            return frames
        steady = [self._steady(frame[None], seconds) for frame, seconds in zip(frames, elapsed, strict=True)]
        return steady[0] if len(steady) == 1 else torch.cat(steady)

    def _steady(self, frame: Tensor, elapsed: float) -> Tensor:
        mean = self._mean
        if mean is None or not math.isfinite(elapsed):
            self._mean = frame.to(torch.float32)
            return frame
        change = frame - mean
        size = change.abs().mean(1, keepdim=True)
        size = F.avg_pool2d(size, _SIDE, stride=1, padding=_SIDE // 2, count_include_pad=False)
        share = size.sub_(_NOISE).div_(_MOTION - _NOISE).clamp_(1 - math.exp(-elapsed / self._seconds), 1)
        self._mean = mean.addcmul_(change, share)
        return self._mean.round().to(torch.uint8)
