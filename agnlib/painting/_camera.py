"""Paintings of a clip's frames that go along with the camera: their strokes stay on what they paint."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agnlib.layers._border import extend
from agnlib.painting._optical_flow import Floats, Motion, camera
from agnlib.tiling import Box, Source

__all__ = ["Aligned", "Camera", "Placed"]

# Of the time constant of what is measured: so fast a new painting comes into the last one. Longer, and strokes that the
# network does not paint again would melt into each other.
_SHARE = 0.2


class Camera:
    """Where each frame of a clip lies on a canvas that the camera moves over, and what was painted there before.

    Args:
        seconds: time constant of what is measured on the frames.

    Attributes:
        motion: from the frame that is being painted to the one before; None for the first of a scene.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._share = seconds, 1.0
        self._position = np.zeros(2)  # columns and rows
        self._before: dict[float, Floats] = {}
        self._now: dict[float, Floats] = {}
        self.motion: Motion | None = None

    def advance(self, motion: Motion | None, elapsed: float) -> None:
        """Go on to the next frame.

        Args:
            motion: from that to the frame before; None where a new scene begins.
            elapsed: in seconds since the frame before.
        """
        self._before, self._now = ({}, {}) if motion is None else (self._now, {})
        self._position = np.zeros(2) if motion is None else self._position + camera(motion.flow)
        self._share = 1 - math.exp(-elapsed / (_SHARE * self._seconds))
        self.motion = motion

    def position(self, size: tuple[int, int]) -> tuple[int, int]:
        """Row and column of the frame's corner on the canvas, in the pixels of frames of `size`."""
        if self.motion is None:
            return 0, 0
        height, width = self.motion.new.shape
        return round(self._position[1] * size[0] / height), round(self._position[0] * size[1] / width)

    def carried(self, painting: Source, amount: float) -> Source:
        """The painting with what was painted before in it, as a source; `amount` is its strength, one of a few."""
        now = self._now.setdefault(amount, np.empty((*painting.size, 3), dtype=np.float32))
        if self.motion is None or amount not in self._before:
            return _Kept(painting, now)
        motion = self.motion.at(painting.size)
        carried, new = motion.moved(self._before[amount]), np.maximum(motion.new, self._share)
        return _Kept(painting, now, torch.from_numpy(carried), torch.from_numpy(new))


@dataclass(frozen=True)
class _Kept:
    """A painting into what was carried on, each window of which is kept for the next frame."""

    painting: Source
    now: Floats
    carried: Tensor | None = None
    share: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.painting.size

    def window(self, box: Box) -> Tensor:
        """`(1, 3, h, w)`."""
        painted = self.painting.window(box)
        rows, columns = box.slices[1:]
        if self.carried is not None and self.share is not None:
            carried = self.carried[rows, columns].permute(2, 0, 1)[None].to(painted)
            painted = torch.lerp(carried, painted, self.share[rows, columns].to(painted))
        self.now[rows, columns] = painted[0].permute(1, 2, 0).cpu().numpy()
        return painted


@dataclass(frozen=True)
class Aligned:
    """A frame within the cells of the canvas that it lies on, reflected at its borders.

    The network paints by cells of its stride: only if they lie on the same things does it paint them the same again.

    Args:
        frame: the source.
        position: row and column of its corner on the canvas.
        cell: pixels of the canvas's cells.

    Example:
        >>> from agnlib.tiling import Computed
        >>> frame = Computed((8, 8), lambda box: torch.arange(64.0).view(1, 1, 8, 8)[box.slices])
        >>> aligned = Aligned(frame, (0, 10), 8)
        >>> aligned.size, aligned.shift, aligned.origin
        ((16, 16), (0, 2), (0, 8))
        >>> aligned.window(Box(0, 0, 1, 5))
        tensor([[[[2., 1., 0., 1., 2.]]]])
    """

    frame: Source
    position: tuple[int, int]
    cell: int

    @property
    def size(self) -> tuple[int, int]:
        """The frame's where it lies on the cells, else one cell more: so programs for two sizes serve all places."""
        more = self.cell if any(self.shift) else 0
        return self.frame.size[0] + more, self.frame.size[1] + more

    @property
    def shift(self) -> tuple[int, int]:
        """Row and column of the frame's corner within this."""
        return self.position[0] % self.cell, self.position[1] % self.cell

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of this on the canvas, multiples of a cell."""
        return self.position[0] - self.shift[0], self.position[1] - self.shift[1]

    def window(self, box: Box) -> Tensor:
        (top, left), (height, width) = self.shift, self.frame.size
        rows, before_rows, after_rows = _inner(box.top - top, box.bottom - top, height)
        columns, before_columns, after_columns = _inner(box.left - left, box.right - left, width)
        inner = Box(rows.start, columns.start, rows.stop, columns.stop)
        pad = (before_columns, after_columns, before_rows, after_rows)
        return extend(self.frame.window(inner), pad)


@dataclass(frozen=True)
class Placed:
    """A frame's part of a painting that is larger by a border on each side, as of `Aligned`."""

    painting: Source
    shift: tuple[int, int]
    size: tuple[int, int]

    def window(self, box: Box) -> Tensor:
        top, left = self.shift
        inner = Box(box.top + top, box.left + left, box.bottom + top, box.right + left)
        if (box.height, box.width) != self.size:
            return self.painting.window(inner)
        return self.painting.window(Box(0, 0, *self.painting.size))[inner.slices]


def _inner(start: int, stop: int, length: int) -> tuple[range, int, int]:
    """What of some rows is within the picture, and how many are before and behind it."""
    inside = range(max(0, min(start, length - 1)), min(length, max(stop, 1)))
    return inside, inside.start - start, stop - inside.stop
