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
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from benchmarks._common import CHECKOUT

HEIGHT, WIDTH, RATE = 360, 640, 25
SCENES = ("still", "pan", "zoom", "object", "head")
_PHOTOS = {"still": "castle", "pan": "city", "zoom": "mountain", "object": "mackerel", "head": "astronaut"}
_GRAIN = 4.0  # deviation, of 255
_PAN = (1.7, 0.3)  # pixels to a frame, to the right and downwards
_ZOOM = math.log(1.3) / 100  # of the magnification's logarithm, to a frame
_HEAD, _MOUTH = (285.0, 110.0, 100.0), (285.0, 135.0, 20.0)  # column, row and radius
_DISC, _MARGIN = 56, 16  # radius of the shape that moves, and what is left out around its rim
_TICK, _SAMPLES = Fraction(1, 12800), 48000
_NOWHERE = 10.0 * WIDTH  # a flow that leads out of the picture


@dataclass(frozen=True)
class Moment:
    """A frame of a scene, by its number in it."""

    scene: str
    number: int

    def disc(self) -> tuple[float, float]:
        """The middle of the shape that moves: column and row."""
        if self.scene == "head":
            return -_NOWHERE, -_NOWHERE  # there is none
        angle = 2 * math.pi * self.number / (2 * RATE)
        return WIDTH / 2 + 150 * math.sin(angle / 2), HEIGHT / 2 + 60 * math.sin(angle)

    def seen(self, places: Tensor) -> Tensor:
        """Where the photo shows what is at these places of the frame; `(2, H, W)` each, columns and rows."""
        if self.scene == "pan":
            return places + self.number * torch.tensor(_PAN)[:, None, None]
        if self.scene == "zoom":
            middle = torch.tensor([WIDTH / 2, HEIGHT / 2])[:, None, None]
            return middle + (places - middle) * math.exp(-_ZOOM * self.number)
        if self.scene == "head":  # it sways, and the mouth opens and closes
            turn = 2 * math.pi * self.number / RATE
            sway = torch.tensor([7 * math.sin(0.6 * turn), 3 * math.sin(0.9 * turn)])[:, None, None]
            return (
                places
                - _near(places, _HEAD) * sway
                - _near(places, _MOUTH) * torch.tensor([0, 4 * math.sin(2 * turn)]).view(2, 1, 1)
            )
        return places

    def flow(self) -> Tensor:
        """From each place of this frame to that of the same thing in the frame before, `(1, 2, H, W)` in pixels.

        What was covered, and the rim of the shape that moves, lead out of the picture, so that `agnlib.metrics.flicker`
        leaves them out; the shape itself, too, but in the scene that is about it.
        """
        here, before = _places(), Moment(self.scene, self.number - 1)
        there, seen = here, self.seen(here)
        for _ in range(20):  # a fixed point: neighboring frames show nearly the same
            there = there + seen - before.seen(there)
        flow = there - here
        inside = [torch.hypot(*(here - torch.tensor(each.disc()).view(2, 1, 1))) for each in (self, before)]
        moves = torch.tensor(before.disc()) - torch.tensor(self.disc())
        flow = torch.where(inside[0] < _DISC, moves.view(2, 1, 1), flow)
        rim = [(distance - _DISC).abs() < _MARGIN for distance in inside]
        hidden = (inside[1] < _DISC) & (inside[0] > _DISC)
        if self.scene != "object":
            hidden = hidden | (inside[0] < _DISC)
        return torch.where(rim[0] | rim[1] | hidden, torch.tensor(_NOWHERE), flow)[None]


def _near(places: Tensor, circle: tuple[float, float, float]) -> Tensor:
    """1 in the middle of a circle, and next to nothing at twice its radius."""
    column, row, radius = circle
    return torch.exp(-((places[0] - column) ** 2 + (places[1] - row) ** 2) / (2 * (radius / 1.5) ** 2))


def _places() -> Tensor:
    """Of the middles of the pixels, `(2, H, W)`: columns and rows."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return torch.stack([columns, rows])


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
    cat = _pixels("chelsea", 2 * _DISC + 2, 2 * _DISC + 2)
    for shot in shots:
        frame = _sampled(photos[shot.scene], shot.seen(_places()))
        shape = _places() - torch.tensor(shot.disc()).view(2, 1, 1)
        frame = torch.where(torch.hypot(*shape) < _DISC, _sampled(cat, shape + _DISC + 1), frame)
        noisy = frame.permute(1, 2, 0).numpy() + rng.normal(0, _GRAIN, (HEIGHT, WIDTH, 3))
        yield np.rint(noisy).clip(0, 255).astype(np.uint8)


def _photo(scene: str, longest: int) -> Tensor:
    """Just as large as the camera needs on its way."""
    right, down = (math.ceil(longest * speed) + 2 if scene == "pan" else 0 for speed in _PAN)
    return _pixels(_PHOTOS[scene], WIDTH + right, HEIGHT + down)


def _pixels(name: str, width: int, height: int) -> Tensor:
    """The middle of a photograph, `(3, height, width)`."""
    with Image.open(CHECKOUT / "examples" / "images" / f"{name}.jpg") as opened:
        fitted = ImageOps.fit(opened.convert("RGB"), (width, height), Image.Resampling.LANCZOS, centering=(0.5, 0.2))
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).float()


def _sampled(photo: Tensor, places: Tensor) -> Tensor:
    """A photo at some places, bicubic."""
    grid = (2 * places / torch.tensor(photo.shape[:0:-1]).view(2, 1, 1) - 1).permute(1, 2, 0)[None]
    return F.grid_sample(photo[None], grid, mode="bicubic", padding_mode="border", align_corners=False)[0]


def _tone(seconds: float) -> Iterator[Any]:
    for start in range(0, round(seconds * _SAMPLES), 1024):
        times = (start + np.arange(1024)) / _SAMPLES
        wave = (0.2 * np.sin(2 * np.pi * (220 + 40 * times) * times)).astype(np.float32)[None]
        samples = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
        samples.sample_rate, samples.pts, samples.time_base = _SAMPLES, start, Fraction(1, _SAMPLES)
        yield samples
