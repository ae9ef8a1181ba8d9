"""A clip that is made by rule, so that it is known how everything in it moves: photographs, shapes, grain and sound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks._common import CHECKOUT

HEIGHT, WIDTH, RATE = 360, 640, 25
SCENES = ("still", "pan", "zoom")
_PHOTOS = {"still": "castle", "pan": "city", "zoom": "mountain"}
_GRAIN = 4.0  # deviation, of 255
_PAN = 2  # pixels to a frame
_ZOOM = math.log(1.3) / 100  # of the magnification's logarithm, to a frame
_DISC, _MARGIN = 40, 16  # radius of the shape that moves, and what is left out around it
_TICK, _SAMPLES = Fraction(1, 12800), 48000
_NOWHERE = 10.0 * WIDTH  # a flow that leads out of the picture


@dataclass(frozen=True)
class Moment:
    """A frame of a scene, by its number in it."""

    scene: str
    number: int

    def disc(self) -> tuple[float, float]:
        """The middle of the shape that moves: row and column."""
        angle = 2 * math.pi * self.number / (2 * RATE)
        return HEIGHT / 2 + 90 * math.sin(angle), WIDTH / 2 + 200 * math.sin(angle / 2)

    def flow(self) -> Tensor:
        """From each place of this frame to that of the same thing in the frame before, `(1, 2, H, W)` in pixels.

        The shape and what it uncovers lead out of the picture, so that `agnlib.metrics.flicker` leaves them out.
        """
        rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
        flow = torch.zeros(2, HEIGHT, WIDTH)
        if self.scene == "pan":
            flow[0] = _PAN
        elif self.scene == "zoom":
            flow = torch.stack([columns - WIDTH / 2, rows - HEIGHT / 2]) * (math.exp(-_ZOOM) - 1)
        for moment in (self, Moment(self.scene, self.number - 1)):
            row, column = moment.disc()
            flow[:, torch.hypot(rows - row, columns - column) < _DISC + _MARGIN] = _NOWHERE
        return flow[None]


def moments(count: int) -> list[Moment]:
    """Of a clip of so many frames: the scenes one after the other, equally long."""
    length = math.ceil(count / len(SCENES))
    return [Moment(SCENES[frame // length], frame % length) for frame in range(count)]


def make_clip(path: Path, count: int) -> None:
    """Write so many frames as H.264 (crf 15), with a tone as AAC."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "15"}, time_base=_TICK)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.colorspace = 1  # BT.709
        sound = container.add_stream("aac", rate=_SAMPLES)
        sound.layout = "mono"
        for number, pixels in enumerate(_frames(count)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts, frame.time_base = number * int(1 / (RATE * _TICK)), _TICK
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for samples in _tone(count / RATE):
            container.mux(sound.encode(samples))
        container.mux(sound.encode(None))


def decoded(path: Path) -> Iterator[Any]:
    """The frames of a file, `(H, W, 3)`, uint8; by PyAV alone."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def _frames(count: int) -> Iterator[Any]:
    rng = np.random.default_rng(0)
    shots = moments(count)
    longest = max(shot.number for shot in shots)
    photos = {scene: _photo(scene, longest) for scene in SCENES}
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for shot in shots:
        frame = _seen(photos[shot.scene], shot)
        row, column = shot.disc()
        frame[np.hypot(rows - row, columns - column) < _DISC] = (220, 60, 40)
        yield np.rint(frame + rng.normal(0, _GRAIN, frame.shape)).clip(0, 255).astype(np.uint8)


def _photo(scene: str, longest: int) -> Image.Image:
    """Just as large as the camera needs on its way."""
    with Image.open(CHECKOUT / "examples" / "images" / f"{_PHOTOS[scene]}.jpg") as opened:
        photo = opened.convert("RGB")
    wide = WIDTH + (_PAN * longest if scene == "pan" else 0)
    scale = max(wide / photo.width, HEIGHT / photo.height)
    return photo.resize((math.ceil(photo.width * scale), math.ceil(photo.height * scale)), Image.Resampling.LANCZOS)


def _seen(photo: Image.Image, shot: Moment) -> Any:
    """`(H, W, 3)`; in whole pixels, where the camera does not zoom, so that no resampling differs between frames."""
    left, top = (photo.width - WIDTH) // 2, (photo.height - HEIGHT) // 2
    box: tuple[float, ...] = (left, top, left + WIDTH, top + HEIGHT)
    if shot.scene == "pan":
        box = (_PAN * shot.number, top, _PAN * shot.number + WIDTH, top + HEIGHT)
    elif shot.scene == "zoom":
        x, y = (1 - math.exp(-_ZOOM * shot.number)) * WIDTH / 2, (1 - math.exp(-_ZOOM * shot.number)) * HEIGHT / 2
        box = (left + x, top + y, left + WIDTH - x, top + HEIGHT - y)
    return np.array(photo.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box), dtype=np.float64)


def _tone(seconds: float) -> Iterator[Any]:
    for start in range(0, round(seconds * _SAMPLES), 1024):
        times = (start + np.arange(1024)) / _SAMPLES
        wave = (0.2 * np.sin(2 * np.pi * (220 + 40 * times) * times)).astype(np.float32)[None]
        samples = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
        samples.sample_rate, samples.pts, samples.time_base = _SAMPLES, start, Fraction(1, _SAMPLES)
        yield samples
