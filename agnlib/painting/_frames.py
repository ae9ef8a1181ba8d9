"""The frames of one clip being painted, one after the other."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agnlib.errors import MissingDependencyError
from agnlib.image import Picture
from agnlib.painting._camera import Camera
from agnlib.painting._optical_flow import Motion, OpticalFlow
from agnlib.painting._painted_windows import Painting
from agnlib.painting._rendering import tiles
from agnlib.painting._temporal_denoising import Denoising, Flow
from agnlib.painting._temporal_smoothing import Smoothing

__all__ = ["FramePainter", "Steadying"]

_log = logging.getLogger("agnlib.video")


class Steadying:
    """What keeps a clip's painting steady while the camera moves.

    Args:
        seconds: time constant of what is averaged over the frames.
        flow: from a frame to the one before, as of `OpticalFlow`.

    Attributes:
        camera: of the frame that is painted.
    """

    def __init__(self, seconds: float, flow: Flow) -> None:
        self._denoising, self.camera = Denoising(seconds, flow), Camera(seconds)
        self._ahead: deque[tuple[Tensor, Motion | None]] = deque()

    @classmethod
    def chosen(cls, seconds: float, *, required: bool) -> Steadying | None:
        """None for 0 seconds, and where it is not required and OpenCV is not installed."""
        if not seconds:
            return None
        try:
            return cls(seconds, OpticalFlow())
        except MissingDependencyError as error:
            if required:
                raise
            _log.info("frames are painted each by itself: %s", error)
            return None

    def look_ahead(self, frame: Tensor, elapsed: float) -> None:
        """What of the work on a frame needs no painting: any number of frames ahead, in order, in another thread."""
        self._ahead.append(self._denoising(frame, elapsed))

    def __call__(self, frame: Tensor, elapsed: float) -> Tensor:
        """A frame `(1, 3, H, W)`, uint8, as it is to be painted."""
        steady, motion = self._ahead.popleft() if self._ahead else self._denoising(frame, elapsed)
        self.camera.advance(motion, elapsed)
        return steady


@dataclass(frozen=True)
class FramePainter:
    """Paints a clip's frames, which are to be given in order; see `agnlib.video.repainting`.

    Args:
        painting: makes the painting of some frames, with the clip's `smoothing` and camera; called with the frames that
            are painted, and with those that are seen where the effect leaves the photo.
        steadying: of the frames that are painted; None to paint them as they are.
        smoothing: of what is measured on them.
        device: where the painting is done.
    """

    painting: Callable[[Picture, Picture], Painting]
    steadying: Steadying | None
    smoothing: Smoothing
    device: torch.device

    def look_ahead(self, frames: Tensor, elapsed: Sequence[float]) -> None:
        """See `agnlib.video.repainting`."""
        if self.steadying is not None:
            for frame, seconds in zip(frames, elapsed, strict=True):
                self.steadying.look_ahead(frame[None], seconds)

    def __call__(self, frames: Tensor, elapsed: Sequence[float]) -> Tensor:
        """Frames `(B, 3, H, W)`, uint8, painted; `elapsed` is in seconds since the frame before each."""
        if self.steadying is None:
            return self._painted(frames, frames, elapsed)
        parts = [
            self._painted(self.steadying(frame[None], seconds), frame[None], [seconds])
            for frame, seconds in zip(frames, elapsed, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _painted(self, steady: Tensor, frames: Tensor, elapsed: Sequence[float]) -> Tensor:
        self.smoothing.advance(elapsed)
        painting = self.painting(*(Picture.take(each.to(self.device), "frames") for each in (steady, frames)))
        result = frames.new_empty(len(frames), *painting.size, 3).permute(0, 3, 1, 2)
        for box, pixels in tiles(painting):
            result[box.slices] = painting.picture.encoded(pixels, box)
        return result
