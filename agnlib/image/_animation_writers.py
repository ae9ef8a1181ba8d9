"""Animated GIF and WebP, written frame by frame: Pillow encodes each, and here they are put one after the other.

Pillow's own `save_all` holds all frames until the last. Specifications: GIF89a, CompuServe, 1990; "WebP container
specification", Google, 2024.
"""

from __future__ import annotations

import io
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import GifImagePlugin, Image, ImageChops

__all__ = ["AnimationWriter", "GifWriter", "WebpWriter"]

Pixels = npt.NDArray[np.uint8]

_PALETTE_SIDE = 96  # of what a palette is chosen for: a larger one takes a second and is no better
_HIDDEN = 255  # the number of the color that is none
_WEBP_QUALITY = 90


class AnimationWriter(ABC):
    """Takes frames and when each begins, and then the end; what would be shown too shortly is left out.

    Attributes:
        shortest: milliseconds that viewers show as they are; what is shorter they make longer.
        most_ticks: of a frame that the format can hold.
        longest: pixels a side.
        count: frames written.
    """

    shortest: int
    most_ticks: int
    longest: int

    def __init__(self, file: BinaryIO, plays: int) -> None:
        self._file, self._plays = file, plays
        self.count = 0
        self._waiting: tuple[Pixels, int] | None = None
        self._before: Pixels | None = None  # what stays on the canvas, where all of it is known

    def write(self, pixels: Pixels, start: int) -> bool:
        """Take a frame `(H, W, 3 or 4)` that begins at so many milliseconds; whether it is not left out."""
        if self._waiting is not None:
            if self._ticks(start) - self._ticks(self._waiting[1]) < self._ticks(self.shortest):
                return False
            self._write_waiting(start, pixels)
        self._waiting = pixels, start
        return True

    def close(self, end: int) -> None:
        """Write what is left; the last frame is shown until so many milliseconds."""
        assert self._waiting is not None
        self._write_waiting(max(end, self._waiting[1] + self.shortest), None)
        self._finish()

    def _write_waiting(self, until: int, following: Pixels | None) -> None:
        assert self._waiting is not None
        pixels, start = self._waiting
        ticks = min(self._ticks(until) - self._ticks(start), self.most_ticks)
        self._before = self._encode(pixels, ticks, following)
        self.count += 1

    def _changed(self, pixels: Pixels) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of what is not as it was."""
        height, width = pixels.shape[:2]
        if self._before is None or self._before.shape != pixels.shape:
            return 0, 0, width, height
        difference = ImageChops.difference(Image.fromarray(pixels), Image.fromarray(self._before))
        return difference.getbbox(alpha_only=False) or (0, 0, 1, 1)

    @staticmethod
    @abstractmethod
    def _ticks(milliseconds: int) -> int:
        """As the format counts time."""

    @abstractmethod
    def _encode(self, pixels: Pixels, ticks: int, following: Pixels | None) -> Pixels | None:
        """Write a frame; what is on the canvas then, or None where that is to be painted over in full."""

    @abstractmethod
    def _finish(self) -> None:
        """Write the end of the file."""


class GifWriter(AnimationWriter):
    """GIF: 255 colors a frame, chosen for it and dithered; a pixel is there or not."""

    shortest, longest, most_ticks = 20, 65_535, 2**16 - 1

    @staticmethod
    def _ticks(milliseconds: int) -> int:
        return round(milliseconds / 10)

    def _encode(self, pixels: Pixels, ticks: int, following: Pixels | None) -> Pixels | None:
        cleared = following is not None and _has_holes(following)  # else what is there now would show through
        holes = _has_holes(pixels)
        box = (0, 0, pixels.shape[1], pixels.shape[0]) if cleared or holes else self._changed(pixels)
        left, top, right, bottom = box
        picture = _with_palette(pixels[top:bottom, left:right])
        options = {"duration": 10 * ticks, "disposal": 2 if cleared else 1, "interlace": 0}
        if holes or cleared:  # cleared to nothing, not to a color
            options["transparency"] = _HIDDEN
        if self.count == 0:
            again = {} if self._plays == 1 else {"loop": max(0, self._plays - 1)}
            self._file.write(b"".join(GifImagePlugin.getheader(picture, info={"duration": 10, **again})[0]))
        options["include_color_table"] = self.count > 0
        self._file.write(b"".join(GifImagePlugin.getdata(picture, (left, top), **options)))
        return None if cleared or holes else pixels

    def _finish(self) -> None:
        self._file.write(b";")


class WebpWriter(AnimationWriter):
    """WebP: each frame lossy, of quality 90, with all of its alpha."""

    shortest, longest, most_ticks = 11, 16_383, 2**24 - 1

    def __init__(self, file: BinaryIO, plays: int) -> None:
        super().__init__(file, plays)
        self._alpha, self._size = False, (0, 0)

    @staticmethod
    def _ticks(milliseconds: int) -> int:
        return milliseconds

    def _encode(self, pixels: Pixels, ticks: int, following: Pixels | None) -> Pixels:
        left, top, right, bottom = self._changed(pixels)
        left, top = left // 2 * 2, top // 2 * 2  # it counts places by two
        if self.count == 0:
            self._size = pixels.shape[:2]
            self._file.write(bytes(30))  # the header, when all is known
            self._chunk(b"ANIM", struct.pack("<IH", 0, self._plays if self._plays < 2**16 else 0))
        chunks = b"".join(_webp_chunks(pixels[top:bottom, left:right]))
        self._alpha |= b"ALPH" in chunks[:4] or pixels.shape[2] == 4
        place = (left // 2, top // 2, right - left - 1, bottom - top - 1, ticks)
        self._chunk(b"ANMF", b"".join(map(_three_bytes, place)) + b"\x02" + chunks)  # in place of what is there
        return pixels

    def _finish(self) -> None:
        length = self._file.tell()
        height, width = self._size
        flags = 0x02 | (0x10 if self._alpha else 0)
        size = _three_bytes(width - 1) + _three_bytes(height - 1)
        self._file.seek(0)
        self._file.write(b"RIFF" + struct.pack("<I", length - 8) + b"WEBP")
        self._file.write(b"VP8X" + struct.pack("<IB3x", 10, flags) + size)
        self._file.seek(length)

    def _chunk(self, name: bytes, data: bytes) -> None:
        self._file.write(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2))


def _has_holes(pixels: Pixels) -> bool:
    return pixels.shape[2] == 4 and bool((pixels[..., 3] < 128).any())


def _with_palette(pixels: Pixels) -> Image.Image:
    """A picture of 255 colors, and one more that is none."""
    color = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    sample = color.copy()
    sample.thumbnail((_PALETTE_SIDE, _PALETTE_SIDE), Image.Resampling.NEAREST)
    palette = sample.quantize(255, Image.Quantize.MAXCOVERAGE)
    found = (palette.getpalette() or [0, 0, 0])[: 3 * 255]
    palette.putpalette(found + found[:3] * (256 - len(found) // 3))
    numbers = np.array(color.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))
    numbers[numbers == _HIDDEN] = 0  # the same color
    if pixels.shape[2] == 4:
        numbers[pixels[..., 3] < 128] = _HIDDEN
    picture = Image.fromarray(numbers, "P")
    picture.putpalette(palette.getpalette() or found)
    return picture


def _webp_chunks(pixels: Pixels) -> Iterator[bytes]:
    """What a still WebP has of picture and alpha, as an animation has it of a frame."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "WEBP", quality=_WEBP_QUALITY)
    data, place = file.getvalue(), 12
    while place < len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        end = place + 8 + length + length % 2
        if name in (b"ALPH", b"VP8 ", b"VP8L"):
            yield data[place:end]
        place = end


def _three_bytes(number: int) -> bytes:
    return struct.pack("<I", number)[:3]
