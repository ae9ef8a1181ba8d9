"""A clip's frames as RGB with their times, and the packets of its sound as they are."""

from __future__ import annotations

import math
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import Any, cast

from agnlib._shared.optional import require
from agnlib.errors import VideoError
from agnlib.image import DEFAULT_LIMITS
from agnlib.image._messages import reason
from agnlib.video._cuts import THUMBNAIL_SIDE, is_cut
from agnlib.video._frames import Chunk, Frame, Pixels
from agnlib.video._names import check_source

__all__ = ["Clip", "opened"]

_ITU601, _ITU709, _FULL_RANGE = 5, 1, 2  # as swscale calls them
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_HDR = {16: "PQ", 18: "HLG"}  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
_SD_HEIGHT, _SD_WIDTH = 576, 1024  # larger clips that do not say their matrix have that of HD, as players take it
_MOST_PACKETS = 512  # of sound, that are held back for a frame
_MISSING = 0.25  # seconds that may be missing at the end, with two frames: what containers say is not exact


class Clip:
    """An open clip; see `AnyClip`."""

    plays, uneven = 0, False

    def __init__(self, name: str, container: Any) -> None:
        self.name, self._container = name, container
        self._video, self.sounds = _streams(name, container)
        self._decoder = _decoder_of_alpha(name, self._video)
        self.has_alpha = self._decoder is not None or _holds_alpha(container, self._video)
        self.time_base: Fraction = self._video.time_base
        self.rate: Fraction = self._video.average_rate or self._video.guessed_rate or Fraction(25)
        self.aspect: Fraction = self._video.sample_aspect_ratio or Fraction(1)
        self.count = self._video.frames or (self._seconds and round(self._seconds * self.rate)) or None
        reformatter = require("av.video.reformatter", extra="video", purpose="video").VideoReformatter
        self._convert, self._reduce = reformatter(), reformatter()
        self._items = self._decoded()
        self._first = self._up_to_a_frame()

    def chunks(self, batch: int) -> Iterator[Chunk]:
        """All of the clip, once, by so many frames.

        Raises:
            VideoError: it cannot be decoded, or ends before it should.
        """
        chunk, end, longest, thumbnail = Chunk(), -math.inf, 0.0, None
        last: Frame | None = None
        for item in chain(self._first, self._items):
            if not _is_frame(item):
                end = max(end, _end(item, item.time_base))
                chunk.packets.append(item)
            else:
                small = self._small(item)
                new_scene = thumbnail is None or is_cut(thumbnail, small)
                frame = self._frame(item, last)
                elapsed = math.inf if new_scene or last is None else float((frame.pts - last.pts) * self.time_base)
                chunk.frames.append(replace(frame, elapsed=elapsed))
                end = max(end, float((frame.pts + frame.duration) * self.time_base))
                longest = max(longest, float(frame.duration * self.time_base))
                thumbnail, last = small, frame
            if len(chunk.frames) == batch or len(chunk.packets) == _MOST_PACKETS:
                yield chunk
                chunk = Chunk()
        self._check_end(end, longest)
        yield chunk

    @property
    def _seconds(self) -> float | None:
        """How long it says that it is."""
        if self._video.duration is not None:
            return float(self._video.duration * self.time_base)
        return None if self._container.duration is None else float(self._container.duration / 1e6)

    def _up_to_a_frame(self) -> list[Any]:
        items = []
        for item in self._items:
            items.append(item)
            if _is_frame(item):
                self.size = (item.height, item.width)
                self.matrix: Sequence[int] | None = _matrix(item)
                if item.color_trc in _HDR:
                    warnings.warn(
                        f"{self.name} is HDR ({_HDR[item.color_trc]}) and is painted as if it were not:"
                        " its colors will look flat",
                        stacklevel=2,
                    )
                return items
        raise VideoError(f"{self.name} has no frame that can be decoded")

    def _decoded(self) -> Iterator[Any]:
        """Frames and packets of sound, in the order of the file."""
        try:
            for packet in self._container.demux(self._video, *self.sounds):
                if packet.stream is self._video and self._decoder is not None:
                    yield from self._decoder.decode(packet if packet.size else None)
                elif packet.stream is self._video:
                    yield from packet.decode()
                elif packet.dts is not None:
                    yield packet
        except (OSError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
            raise _broken(self.name, error) from error

    def _frame(self, decoded: Any, last: Frame | None) -> Frame:
        step = decoded.duration or max(1, round(1 / (self.rate * self.time_base)))
        pts = decoded.pts
        if last is not None:
            pts = last.pts + last.duration if pts is None else max(pts, last.pts + 1)
        pixels = self._convert.reformat(
            decoded,
            width=self.size[1],
            height=self.size[0],
            format="rgba" if self.has_alpha else "rgb24",
            src_colorspace=_matrix_of(decoded),
            dst_color_range=_FULL_RANGE,
            threads=1,
        ).to_ndarray()
        return Frame.of(pixels, pts or 0, step, math.inf)

    def _small(self, decoded: Any) -> Pixels:
        side = THUMBNAIL_SIDE
        small = self._reduce.reformat(decoded, side, side, "rgb24", interpolation="AREA", threads=1)
        return cast("Pixels", small.to_ndarray())

    def _check_end(self, end: float, longest: float) -> None:
        """A file that was cut off has headers that tell of more than there is."""
        seconds = self._seconds
        if seconds is None:
            return
        start = (self._video.start_time or 0) * self.time_base
        missing = float(start) + seconds - end
        if missing > _MISSING + 2 * longest:
            raise VideoError(
                f"{self.name} breaks off {missing:.1f} seconds before its end, after {end - start:.1f}; "
                "get the whole file, or cut it there with a tool that repairs it"
            )


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Clip]:
    """Open a clip for one reading.

    Raises:
        MissingDependencyError: PyAV is not installed.
        VideoError: the file is missing, not the clip that its name says, has no frames, or too large ones.
    """
    av = require("av", extra="video", purpose="video")
    form, name = check_source(path), repr(os.fspath(path))
    try:
        container = av.open(f"file:{os.fspath(path)}", format=form, metadata_errors="replace")
    except (OSError, ValueError, RuntimeError, LookupError, av.FFmpegError) as error:
        raise _broken(name, error) from error
    with container:
        yield Clip(name, container)


def _streams(name: str, container: Any) -> tuple[Any, list[Any]]:
    """The first stream of moving pictures, checked, and all of sound."""
    still = require("av.stream", extra="video", purpose="video").Disposition.attached_pic
    moving = [each for each in container.streams.video if not each.disposition & still]
    if not moving:
        raise VideoError(f"{name} has no video in it; give a clip")
    video = moving[0]
    if video.codec_context is None:
        raise VideoError(f"{name}: its video is in a format that this PyAV cannot decode; convert it")
    width, height = video.codec_context.width, video.codec_context.height
    if width * height > DEFAULT_LIMITS.pixels or max(width, height) > DEFAULT_LIMITS.side:
        raise VideoError(
            f"{name} has frames of {width} x {height} pixels; expected at most {DEFAULT_LIMITS.pixels:,} pixels"
            f" and {DEFAULT_LIMITS.side:,} a side"
        )
    video.thread_type = "AUTO"
    return video, [each for each in container.streams.audio if each.codec_context is not None]


def _holds_alpha(container: Any, video: Any) -> bool:
    pix_fmt = video.codec_context.pix_fmt
    if pix_fmt is None or (container.format.name == "avi" and video.codec_context.name == "rawvideo"):
        return False  # there the fourth byte is of no use
    layout = require("av", extra="video", purpose="video").VideoFormat(pix_fmt)
    return pix_fmt != "pal8" and any(component.is_alpha for component in layout.components)


def _decoder_of_alpha(name: str, video: Any) -> Any:
    """For VP8 and VP9 with transparency, which FFmpeg's own decoders leave out; else None."""
    said = {key.lower(): value for key, value in video.metadata.items()}
    codec = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(video.codec_context.name)
    if said.get("alpha_mode") != "1" or codec is None:
        return None
    try:
        return require("av", extra="video", purpose="video").CodecContext.create(codec, "r")
    except ValueError as error:
        raise VideoError(
            f"{name} has transparency, which this PyAV cannot decode without {codec}; install another build of it, or"
            " convert the clip to GIF or animated WebP"
        ) from error


def _is_frame(item: Any) -> bool:
    return hasattr(item, "planes")


def _end(packet: Any, time_base: Fraction) -> float:
    return float((packet.dts + (packet.duration or 0)) * time_base)


def _matrix_of(frame: Any) -> int | None:
    """The matrix of its YUV, where it does not say: as players guess it; None for what it says."""
    if frame.colorspace != _UNSPECIFIED:
        return None
    return _ITU601 if frame.height <= _SD_HEIGHT and frame.width <= _SD_WIDTH else _ITU709


def _matrix(frame: Any) -> tuple[int, ...] | None:
    data = frame.side_data.get("DISPLAYMATRIX")
    return None if data is None else struct.unpack("=9i", bytes(data))


def _broken(name: str, error: BaseException) -> VideoError:
    why = getattr(error, "strerror", None) or reason(error)
    return VideoError(f"{name} cannot be decoded as the clip that its name says: {why}; it may be damaged, or cut off")
