"""A clip without its noise: the network would paint the noise, too, as flicker."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agnlib.painting._optical_flow import Floats, Motion, moved, opencv, places

__all__ = ["Denoising", "Flow"]

Flow: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Floats]

# Of 255, over 5 x 5 pixels and the channels: less differs between frames by noise alone (of a deviation up to 6), more
# because something else is seen. Between the two the new frame comes in gradually. First the mean of what differs, then
# how far the means are apart, in which noise hardly counts.
_NOISE, _CHANGE = (8.0, 3.0), (16.0, 6.0)
_SIDE = 5


class Denoising:
    """Each thing becomes its mean over time, wherever it moves, which is given up where the frame shows another.

    Args:
        seconds: time constant of the mean.
        flow: from a frame to the one before, as of `OpticalFlow`.
    """

    def __init__(self, seconds: float, flow: Flow) -> None:
        self._seconds, self._flow = seconds, flow
        self._mean: Floats | None = None

    @torch.inference_mode()
    def __call__(self, frame: Tensor, elapsed: float) -> tuple[Tensor, Motion | None]:
        """A frame `(1, 3, H, W)`, uint8, on the CPU, without its noise, and how it moved; None for a new scene.

        Args:
            frame: the next of the clip.
            elapsed: in seconds since the frame before; infinity where a new scene begins.
        """
        pixels = frame[0].permute(1, 2, 0).contiguous()
        if self._mean is None or not math.isfinite(elapsed):
            self._mean = pixels.to(torch.float32).numpy()
            return frame, None
        before = self._mean.round().astype(np.uint8)
        flow = self._flow(before, pixels.numpy())
        carried = moved(self._mean, flow)
        change = pixels.numpy() - carried
        new = _what_is_new(change, flow)
        share = np.maximum(new, np.float32(1 - math.exp(-elapsed / self._seconds)))[..., None]
        mean = torch.addcmul(*(torch.from_numpy(each) for each in (carried, change, share))).clamp_(0, 255)
        self._mean = mean.numpy()
        return mean.round().to(torch.uint8).permute(2, 0, 1)[None], Motion(flow, new)


def _what_is_new(change: Floats, flow: Floats) -> Floats:
    """`(H, W)` in [0, 1], by a change `(H, W, 3)` along a flow; all where the flow comes from outside."""
    cv2, side = opencv(), (_SIDE, _SIDE)
    sizes = cv2.blur(_mean_size(change), side), _mean_size(cv2.blur(change, side))
    shares = [(size - low) / (high - low) for size, low, high in zip(sizes, _NOISE, _CHANGE, strict=True)]
    new: Floats = np.maximum(*shares).clip(0, 1)
    height, width = new.shape
    columns, rows = places(flow)
    new[(columns <= -1) | (columns >= width) | (rows <= -1) | (rows >= height)] = 1
    return new


def _mean_size(change: Floats) -> Floats:
    """How large it is, `(H, W)`: the mean over the channels."""
    size: Floats = opencv().transform(np.abs(change), np.full((1, 3), 1 / 3, dtype=np.float32))
    return size
