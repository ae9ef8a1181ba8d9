"""Frames of a clip on their way to the painter and on to the file, and what a clip is to both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from agnlib.image import Picture

__all__ = ["AnyClip", "Chunk", "Frame", "Pixels", "with_alpha"]

Pixels: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """A frame `(H, W, 3)`, when it is shown and for how long, in the clip's time base, and seconds since the last.

    `alpha` is `(H, W)`, or None where all of it is there.
    """

    pixels: Pixels
    pts: int
    duration: int
    elapsed: float
    alpha: Pixels | None = None

    @classmethod
    def of(cls, pixels: Pixels, pts: int, duration: int, elapsed: float) -> Frame:
        """From pixels with or without alpha; what is hidden gets the colors around it."""
        if pixels.shape[2] == 3 or pixels[..., 3].min() == 255:
            return cls(np.ascontiguousarray(pixels[..., :3]), pts, duration, elapsed)
        filled = Picture.owning(pixels).pixels[0].permute(1, 2, 0).add(1).mul(127.5).round().to(torch.uint8)
        return cls(filled.contiguous().numpy(), pts, duration, elapsed, pixels[..., 3].copy())


@dataclass
class Chunk:
    """Frames that are painted at once, and the packets of sound that came before the last of them."""

    frames: list[Frame] = field(default_factory=list)
    packets: list[Any] = field(default_factory=list)

    def pixels(self) -> Tensor:
        """The frames `(B, 3, H, W)`, uint8, each stored as it is shown: channels last."""
        if len(self.frames) == 1:
            stacked = self.frames[0].pixels[None]
        else:
            stacked = np.stack([frame.pixels for frame in self.frames])
        return torch.from_numpy(stacked).permute(0, 3, 1, 2)


class AnyClip(Protocol):
    """An open clip.

    Attributes:
        name: the file's, in quotes.
        size: height and width of its frames.
        time_base: seconds to a tick of its time stamps.
        rate: frames a second on average.
        count: of frames, roughly; None where it is not known.
        aspect: width of a pixel over its height.
        matrix: nine numbers that say how it is turned when it is shown; None for not at all.
        sounds: its streams of sound.
        has_alpha: whether its frames may be transparent.
        plays: how often it is shown, 0 for ever.
        uneven: whether each frame has a time of its own, the last one, too.
    """

    name: str
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction
    count: int | None
    aspect: Fraction
    matrix: Sequence[int] | None
    sounds: list[Any]
    has_alpha: bool
    plays: int
    uneven: bool

    def chunks(self, batch: int) -> Iterator[Chunk]: ...


def with_alpha(pixels: Pixels, alpha: Pixels | None) -> Pixels:
    """Painted pixels `(h, w, 3)` with their frame's alpha, `(h, w, 4)`; as they are where it has none."""
    if alpha is None:
        return pixels
    height, width = pixels.shape[:2]
    if alpha.shape != (height, width):
        alpha = np.asarray(Image.fromarray(alpha).resize((width, height), Image.Resampling.BOX))
    return np.concatenate([pixels, alpha[..., None]], axis=2)
