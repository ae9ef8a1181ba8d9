"""Painted frames and the sound of the clip they came from, into a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from agnlib._shared.atomic import replacing
from agnlib._shared.optional import require
from agnlib.errors import VideoError
from agnlib.image._messages import reason
from agnlib.video._frames import AnyClip, Chunk, Frame, Pixels, with_alpha
from agnlib.video._names import check_target

__all__ = ["Writer", "writing"]

# By the first that this PyAV has; constant quality, about what the eye cannot tell from the painting.
_H264: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "18"},
    "libopenh264": {"rc_mode": "quality"},
    "mpeg4": {"flags": "+qscale", "global_quality": str(3 * 118)},
}
_VP9 = {"libvpx-vp9": {"crf": "24", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}}
_BT709, _LIMITED = 1, 1  # in every numbering of FFmpeg's: matrix, primaries, transfer; AVCOL_RANGE_MPEG
_FINEST = {"mpeg4": 65535}  # ticks a second that a format can tell apart


class Writer:
    """A file that takes a clip's chunks, painted.

    Attributes:
        count: frames written.
        size: height and width of what was written.
    """

    def __init__(self, name: str, container: Any, clip: AnyClip) -> None:
        self.name, self._container, self._clip = name, container, clip
        self.count, self.size = 0, (0, 0)
        self._early: list[Any] = []  # packets of sound from before the first frame
        self._video: Any = None
        av = require("av", extra="video", purpose="video")
        self._frame_of = av.VideoFrame.from_numpy_buffer
        self._convert = av.video.reformatter.VideoReformatter()
        self._sounds: dict[int, Any] = {}
        self._layout = "yuva420p" if clip.has_alpha and container.format.name == "webm" else "yuv420p"

    def write(self, painted: Tensor | None, chunk: Chunk) -> None:
        """Write frames `(B, 3, H, W)`, uint8, at the times of the chunk's, and its sound.

        Raises:
            VideoError: they cannot be written.
        """
        with _errors(self.name):
            if painted is not None and self._video is None:
                self._begin((painted.shape[2], painted.shape[3]))
            if painted is not None:
                for pixels, frame in zip(painted.permute(0, 2, 3, 1).numpy(), chunk.frames, strict=True):
                    self._encode(pixels, frame)
            self._early += chunk.packets
            if self._video is not None:
                for packet in self._early:
                    packet.stream = self._sounds[packet.stream.index]
                    self._container.mux_one(packet)
                self._early.clear()

    def finish(self) -> None:
        """Write what the encoder has kept back, and the end of the file."""
        with _errors(self.name):
            self._container.mux(self._video.encode(None))
            self._container.close()

    def _begin(self, size: tuple[int, int]) -> None:
        self.size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._video = self._encoder()
        try:
            for sound in self._clip.sounds:
                self._sounds[sound.index] = _copied(self._container, sound)
            self._container.start_encoding()
        except ValueError as error:  # of PyAV's own, or FFmpeg's "invalid argument"
            if not self._clip.sounds:
                raise
            kinds = " and ".join(sorted({sound.codec_context.name for sound in self._clip.sounds}))
            raise VideoError(
                f"{self.name}: this format does not take the clip's sound, which is {kinds}; give a name that ends in"
                " .mkv"
            ) from error

    def _encoder(self) -> Any:
        codec, options = _available(self.name, self._container.format.name)
        clip, finest = self._clip, _FINEST.get(codec)
        if finest is not None and clip.time_base.denominator > finest:
            raise VideoError(
                f"{self.name}: this PyAV has only the encoder {codec!r}, which has no time stamps as fine as those of"
                f" {clip.name}; install a PyAV with libx264"
            )
        rate = Fraction(clip.rate).limit_denominator(1001)
        stream = self._container.add_stream(codec, rate=rate, options=dict(options), time_base=clip.time_base)
        stream.height, stream.width = self.size
        stream.pix_fmt = self._layout
        if self._layout == "yuva420p":
            stream.metadata["alpha_mode"] = "1"
        context = stream.codec_context
        context.sample_aspect_ratio = clip.aspect
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        if clip.uneven:
            context.max_b_frames = 0  # with them the time of the last frame is lost
        context.flags |= require("av.codec.context", extra="video", purpose="video").Flags.frame_duration
        stream.set_display_matrix(clip.matrix)
        return stream

    def _stored(self, pixels: Pixels, frame: Frame) -> Pixels:
        """Of even sides, with alpha or without as all frames are.

        Raises:
            VideoError: there is transparency, and the format has none.
        """
        if self._layout == "yuva420p":
            whole = np.full(pixels.shape[:2], 255, np.uint8)
            pixels = with_alpha(pixels, whole if frame.alpha is None else frame.alpha)
        elif frame.alpha is not None:
            raise VideoError(
                f"{self.name}: {self._clip.name} has transparency, which this format is written without; give a name"
                " that ends in .webm or .webp, or in .gif, where a pixel is there or not"
            )
        height, width = pixels.shape[:2]
        if (height, width) != self.size:
            pixels = np.pad(pixels, ((0, self.size[0] - height), (0, self.size[1] - width), (0, 0)), mode="edge")
        return np.ascontiguousarray(pixels)

    def _encode(self, pixels: Pixels, frame: Frame) -> None:
        stored = self._stored(pixels, frame)
        picture = self._convert.reformat(
            self._frame_of(stored, "rgba" if stored.shape[2] == 4 else "rgb24"),
            format=self._layout,
            dst_colorspace=_BT709,
            dst_color_range=_LIMITED,
            dst_color_trc=_BT709,
            dst_color_primaries=_BT709,
            threads=1,
        )
        picture.pts, picture.duration, picture.time_base = frame.pts, frame.duration, self._clip.time_base
        self._container.mux(self._video.encode(picture))
        self.count += 1


@contextmanager
def writing(target: str | os.PathLike[str], clip: AnyClip) -> Iterator[Writer]:
    """A file for the painted clip, whole or not there at all; what is there is replaced.

    Raises:
        VideoError: it cannot be written.
    """
    av = require("av", extra="video", purpose="video")
    form, name = check_target(target), repr(os.fspath(target))
    options = {"movflags": "+faststart"} if form in ("mp4", "mov") else {}
    body: list[BaseException] = []  # what goes wrong in the caller's block is not for us to explain
    with _errors(name, body), replacing(Path(target)) as file:
        container = av.open(f"file:{file.name}", "w", format=form, container_options=options)
        try:
            writer = Writer(name, container, clip)
            try:
                yield writer
            except BaseException as error:
                body.append(error)
                raise
            writer.finish()
        finally:
            container.close()


def _available(name: str, form: str) -> tuple[str, dict[str, str]]:
    """The encoder that this PyAV has, and its options."""
    av = require("av", extra="video", purpose="video")
    wanted = _VP9 if form == "webm" else _H264
    for codec, options in wanted.items():
        try:
            av.Codec(codec, "w")
        except ValueError:
            continue
        return codec, options
    raise VideoError(f"{name}: this PyAV has none of the encoders {', '.join(wanted)}; install another build of it")


def _copied(container: Any, sound: Any) -> Any:
    stream = container.add_stream_from_template(sound)
    if sound.language:
        stream.metadata["language"] = sound.language
    return stream


@contextmanager
def _errors(name: str, but: Sequence[BaseException] = ()) -> Iterator[None]:
    """What PyAV and the file system raise, as a `VideoError`; not what is in `but` by then."""
    ffmpeg = require("av", extra="video", purpose="video").FFmpegError
    try:
        yield
    except VideoError:
        raise
    except (OSError, ValueError, ffmpeg) as error:
        if any(error is each for each in but):
            raise
        why = getattr(error, "strerror", None) or reason(error)
        raise VideoError(f"{name} could not be written: {why}; nothing was changed") from error
