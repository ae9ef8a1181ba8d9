"""Animated GIF and WebP, frame by frame: read through Pillow, without ever holding more than a frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import GifImagePlugin, Image, WebPImagePlugin

from agnlib.errors import ImageError, TooLargeError
from agnlib.image._file_checks import check_file
from agnlib.image._messages import quoted, reason
from agnlib.image._to_srgb import upright_srgb
from agnlib.image.files import Limits

__all__ = ["Animation", "animation", "is_animated"]

Pixels = npt.NDArray[np.uint8]

_READERS: dict[str, Any] = {".gif": GifImagePlugin.GifImageFile, ".webp": WebPImagePlugin.WebPImageFile}
_MARKS = {".gif": (b"GIF87a", b"GIF89a"), ".webp": (b"RIFF",)}
_SHORTEST, _INSTEAD = 11, 100  # milliseconds: what is shorter, browsers show so long


class Animation:
    """An open animation.

    Attributes:
        name: the file's, in quotes.
        size: height and width.
        count: of frames.
        plays: how often it is shown, 0 for ever.
    """

    def __init__(self, name: str, opened: Any) -> None:
        self.name, self._opened = name, opened
        self.size: tuple[int, int] = opened.size[::-1]
        self.count: int = opened.n_frames
        again = opened.info.get("loop")
        if isinstance(opened, WebPImagePlugin.WebPImageFile):
            self.plays = int(again or 0)
        else:  # of a GIF it is how often it is shown once more
            self.plays = 1 if again is None else int(again) + bool(again)

    def frames(self) -> Iterator[tuple[Pixels, int]]:
        """Each frame as it is seen, `(H, W, 4)` in sRGB, and for how many milliseconds.

        Raises:
            ImageError: it is damaged.
        """
        for number in range(self.count):
            try:
                self._opened.seek(number)
                self._opened.load()
                shown = int(self._opened.info.get("duration") or 0)
                pixels = self._seen(self._opened)
            except Exception as error:  # decoders of damaged data raise OSError, EOFError, SyntaxError, struct.error...
                raise ImageError(
                    f"{self.name} cannot be decoded ({reason(error)}); it is damaged or incomplete, get it again from"
                    " its source"
                ) from error
            yield pixels, shown if shown >= _SHORTEST else _INSTEAD

    def _seen(self, frame: Image.Image) -> Pixels:
        whole = frame.convert("RGBA") if isinstance(frame, GifImagePlugin.GifImageFile) else frame.copy()
        plain = upright_srgb(whole, self.name).convert("RGBA")
        height, width = self.size
        if plain.size != (width, height):  # a frame that reaches beyond the canvas makes Pillow's larger
            plain = plain.crop((0, 0, width, height))
        return np.array(plain)  # of its own: the tensors made of it may be written to


@contextmanager
def animation(path: str | os.PathLike[str], limits: Limits) -> Iterator[Animation]:
    """Open a GIF or WebP file, of one frame or more.

    Raises:
        ImageError: the file is missing, none of these, damaged, or larger than `limits`.
    """
    shown, suffix = quoted(path), Path(path).suffix.lower()
    check_file(path, limits.bytes)
    if not _start(path).startswith(_MARKS[suffix]):
        raise ImageError(f"{shown} is no {suffix[1:].upper()} file, as its name says; rename it, or get it again")
    try:
        opened = _READERS[suffix](os.fspath(path))
        found = Animation(shown, opened)
    except Exception as error:  # as of frames
        raise ImageError(f"{shown} cannot be read ({reason(error)}); get it again from its source") from error
    with opened:
        height, width = found.size
        if width * height > limits.pixels or max(found.size) > limits.side:
            raise TooLargeError(
                f"{shown} is {width} x {height} pixels, more than the limit of {limits.pixels:,} pixels and"
                f" {limits.side:,} a side; reduce it first"
            )
        yield found


def is_animated(path: str | os.PathLike[str]) -> bool:
    """Whether a WebP file says, in the beginning, that it has several frames; of what cannot be read False."""
    start = _start(path)  # RIFF, length, WEBP, VP8X, length, flags
    return start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8X" and len(start) > 20 and bool(start[20] & 2)


def _start(path: str | os.PathLike[str]) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(21)
    except (OSError, ValueError):
        return b""
