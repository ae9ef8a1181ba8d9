"""Animated GIF and WebP as clips: read, and written from clips of any kind. Needs no PyAV."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from torch import Tensor

from agnlib._shared.atomic import replacing
from agnlib.errors import ImageError, VideoError
from agnlib.image import DEFAULT_LIMITS
from agnlib.image._animation import Animation, animation
from agnlib.image._animation_writers import AnimationWriter, GifWriter, WebpWriter
from agnlib.image._messages import reason
from agnlib.video._cuts import THUMBNAIL_SIDE, is_cut
from agnlib.video._frames import AnyClip, Chunk, Frame, Pixels, with_alpha
from agnlib.video._names import check_source, check_target

__all__ = ["AnimatedClip", "AnimatedWriter", "opened_animation", "writing_animation"]

_WRITERS: dict[str, type[AnimationWriter]] = {"gif": GifWriter, "webp": WebpWriter}


class AnimatedClip:
    """An open GIF or WebP as a clip; see `AnyClip`."""

    has_alpha = uneven = True

    def __init__(self, found: Animation) -> None:
        self._found = found
        self.name, self.size, self.plays = found.name, found.size, found.plays
        self.time_base, self.aspect = Fraction(1, 1000), Fraction(1)
        self.count: int | None = found.count
        self.matrix: Sequence[int] | None = None
        self.sounds: list[Any] = []
        self._frames = found.frames()
        self._first = next(self._frames)
        self.rate = Fraction(1000, self._first[1])

    def chunks(self, batch: int) -> Iterator[Chunk]:
        """All of it, once, by so many frames.

        Raises:
            VideoError: it cannot be decoded.
        """
        chunk, start, before = Chunk(), 0, 0
        last: Pixels | None = None
        for pixels, shown in self._all():
            small = _small(pixels)
            elapsed = math.inf if last is None or is_cut(last, small) else before / 1000
            chunk.frames.append(Frame.of(pixels, start, shown, elapsed))
            start, before, last = start + shown, shown, small
            if len(chunk.frames) == batch:
                yield chunk
                chunk = Chunk()
        yield chunk

    def _all(self) -> Iterator[tuple[Pixels, int]]:
        yield self._first
        while (following := _next(self._frames)) is not None:
            yield following


def _next(frames: Iterator[tuple[Pixels, int]]) -> tuple[Pixels, int] | None:
    try:
        return next(frames, None)
    except ImageError as error:
        raise VideoError(str(error)) from error


@contextmanager
def opened_animation(path: str | os.PathLike[str]) -> Iterator[AnimatedClip]:
    """Open a GIF or WebP for one reading.

    Raises:
        VideoError: the file is missing, not what its name says, damaged, or its frames are too large.
    """
    check_source(path)
    source = animation(path, DEFAULT_LIMITS)
    try:
        clip = AnimatedClip(source.__enter__())
    except ImageError as error:
        raise VideoError(str(error)) from error
    try:
        yield clip
    finally:
        source.__exit__(None, None, None)


class AnimatedWriter:
    """A GIF or WebP that takes a clip's chunks, painted.

    Attributes:
        count: frames written.
        size: height and width of what was written.
    """

    def __init__(self, name: str, writer: AnimationWriter, clip: AnyClip) -> None:
        self.name, self._writer, self._clip = name, writer, clip
        self.size, self._first, self._end = (0, 0), 0, 0

    @property
    def count(self) -> int:
        return self._writer.count

    def write(self, painted: Tensor | None, chunk: Chunk) -> None:
        """Write frames `(B, 3, H, W)`, uint8, with the chunk's times and alpha; its sound has no place.

        Raises:
            VideoError: they cannot be written.
        """
        if painted is None:
            return
        for pixels, frame in zip(painted.permute(0, 2, 3, 1).numpy(), chunk.frames, strict=True):
            seen = self._as_seen(with_alpha(pixels, frame.alpha))
            if self.size == (0, 0):
                self._begin(seen.shape[:2], frame)
            with _errors(self.name):
                self._writer.write(seen, self._milliseconds(frame.pts))
            self._end = self._milliseconds(frame.pts + frame.duration)

    def finish(self) -> None:
        """Write the last frame, and the end of the file."""
        with _errors(self.name):
            self._writer.close(self._end)

    def _begin(self, size: tuple[int, int], frame: Frame) -> None:
        longest = self._writer.longest
        if max(size) > longest:
            raise VideoError(
                f"{self.name}: this format holds at most {longest:,} pixels a side, and the frames are"
                f" {size[1]} x {size[0]}; give --size (size=), or another format"
            )
        self.size, self._first = size, frame.pts

    def _milliseconds(self, pts: int) -> int:
        return round((pts - self._first) * self._clip.time_base * 1000)

    def _as_seen(self, pixels: Pixels) -> Pixels:
        """Upright, and with square pixels: these formats cannot say it."""
        if self._clip.aspect != 1:
            height, width = pixels.shape[:2]
            wide = max(1, round(width * self._clip.aspect))
            pixels = np.asarray(Image.fromarray(pixels).resize((wide, height), Image.Resampling.LANCZOS))
        if self._clip.matrix is not None:
            right, down, left, up = (self._clip.matrix[place] for place in (0, 1, 3, 4))
            if abs(down) > abs(right):  # x and y change places
                pixels, right, up = pixels.swapaxes(0, 1), left, down
            pixels = pixels[:: -1 if up < 0 else 1, :: -1 if right < 0 else 1]
        return np.ascontiguousarray(pixels)


@contextmanager
def writing_animation(target: str | os.PathLike[str], clip: AnyClip) -> Iterator[AnimatedWriter]:
    """A file for the painted clip, whole or not there at all; what is there is replaced.

    Raises:
        VideoError: it cannot be written.
    """
    kind, name = _WRITERS[check_target(target)], repr(os.fspath(target))
    with _opened(Path(target), name) as file:
        writer = AnimatedWriter(name, kind(file, clip.plays), clip)
        yield writer
        writer.finish()


@contextmanager
def _opened(target: Path, name: str) -> Iterator[BinaryIO]:
    """The file; what goes wrong in the caller's block is not for us to explain."""
    body: BaseException | None = None
    try:
        with replacing(target) as file:
            try:
                yield file
            except BaseException as error:
                body = error
                raise
    except OSError as error:
        if error is body:
            raise
        raise _unwritten(name, error) from error


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise _unwritten(name, error) from error


def _unwritten(name: str, error: Exception) -> VideoError:
    why = getattr(error, "strerror", None) or reason(error)
    return VideoError(f"{name} could not be written: {why}; nothing was changed")


def _small(pixels: Pixels) -> Pixels:
    side = THUMBNAIL_SIDE
    color = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    return np.asarray(color.resize((side, side), Image.Resampling.BOX))
