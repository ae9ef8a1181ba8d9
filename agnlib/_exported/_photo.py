"""A picture's pixels for a program, and what is needed to give a painting back in kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agnlib._exported._planes import Planes, continued, reduced
from agnlib.image import reduced_size

__all__ = ["Pixels"]


@dataclass(frozen=True)
class Pixels:
    """What `agnlib.image.Picture` is to torch, of one picture that was read from a file.

    Attributes:
        color: `(3, H, W)` in [-1, 1]; what is hidden under fully transparent pixels is a continuation of what is not.
        alpha: `(1, H, W)` in [0, 1], or None.
        kind: of the numbers in the file, and of the result.
    """

    color: Planes
    alpha: Planes | None
    kind: np.dtype[Any]

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> Pixels:
        """Of `(H, W, C)`, uint8 or uint16, C from 1 to 4: gray, color, and each with alpha."""
        peak = np.iinfo(array.dtype).max
        values = array.transpose(2, 0, 1).astype(np.float32)
        channels = 3 if len(values) >= 3 else 1
        color = values[:channels] * np.float32(2 / peak) - 1
        alpha = values[-1:] / np.float32(peak) if len(values) in (2, 4) else None
        return cls._visible(color if channels == 3 else color.repeat(3, axis=0), alpha, array.dtype)

    @classmethod
    def _visible(cls, color: Planes, alpha: Planes | None, kind: np.dtype[Any]) -> Pixels:
        if alpha is not None:
            visible = (alpha > 0).astype(np.float32)
            color = continued(color * visible, visible)
        return cls(color, alpha, kind)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.color.shape[1:]
        return height, width

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the result."""
        return (*self.size, 3 if self.alpha is None else 4)

    def at(self, size: tuple[int, int]) -> Planes:
        """The color at another size."""
        return self.color if size == self.size else reduced(self.color, size).clip(-1, 1)

    def reduced(self, longer: int) -> Pixels:
        """With at most so many pixels along the longer side."""
        size = reduced_size(self.size, longer=longer)
        if size == self.size:
            return self
        alpha = None if self.alpha is None else reduced(self.alpha, size).clip(0, 1)
        return self._visible(self.at(size), alpha, self.kind)

    def encoded(self, painted: Planes, rows: slice) -> npt.NDArray[Any]:
        """Painted rows in [-1, 1], with their alpha, as the result has them: `(h, W, 3 or 4)`."""
        values = ((painted + 1) * np.float32(0.5)).clip(0, 1)
        if self.alpha is not None:
            values = np.concatenate([values, self.alpha[:, rows]])
        whole = np.rint(values * np.float32(np.iinfo(self.kind).max)).astype(self.kind)
        rows_of_pixels: npt.NDArray[Any] = whole.transpose(1, 2, 0)
        return rows_of_pixels
