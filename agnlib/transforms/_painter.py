"""The networks behind a transform: loaded where and when they first paint, and left behind when it is pickled."""

from __future__ import annotations

import math
import os
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from agnlib.engines._device import placed
from agnlib.errors import InputError
from agnlib.image import Picture
from agnlib.image._resizing import resized
from agnlib.models import pretrained
from agnlib.painting._painted_windows import OVERVIEW_PIXELS
from agnlib.styles.code import StyleCode
from agnlib.stylizer import Stylizer

__all__ = ["Painter"]

_CPU = torch.device("cpu")


class Painter:
    """Paints pictures in style codes, with a stylizer that is given or with weights that each process loads for itself.

    Args:
        weights: a name or a folder.
        stylizer: in place of the weights; pictures go to its device. Else they are painted where they are.
        size: of the longer side that the network sees, or None.

    Raises:
        WeightsError: no such weights.
    """

    def __init__(self, weights: str | os.PathLike[str], stylizer: Stylizer | None, size: int | None) -> None:
        self._weights = weights if stylizer is not None else pretrained.find(weights)
        self._given, self._size = stylizer, size
        self._class_names: tuple[str, ...] = ()
        self._loaded: dict[torch.device, Stylizer] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": {}}

    @property
    def name(self) -> str:
        """Of the weights, for messages."""
        return (self._given.name if self._given is not None else str(self._weights)) or "the stylizer given"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the styles that the weights know; a stylizer has none."""
        self.at(_CPU)
        return self._class_names

    def at(self, device: torch.device = _CPU) -> Stylizer:
        """What paints a picture of this device."""
        if self._given is not None:
            if get_worker_info() is not None and self._given.device.type != "cpu":
                raise InputError(
                    f"the stylizer is on {self._given.device}, which a DataLoader's worker cannot share; give one on"
                    " the CPU, or use RandomStyleBatch in the main process"
                )
            return self._given
        if device not in self._loaded:
            with torch.random.fork_rng(
                devices=[]
            ):  # networks draw their first weights; the caller's random state stays
                bundle = pretrained.load(self._weights)
            self._class_names = bundle.class_names
            self._loaded[device] = Stylizer(bundle.generator, bundle.extractor, device=device)
        return self._loaded[device]

    @torch.no_grad()  # inference_mode would make results that no later layer can differentiate
    def repaint(self, images: Tensor, codes: Tensor, strengths: Tensor) -> Tensor:
        """`(3, H, W)` or `(B, 3, H, W)` in codes `(1 or B, style_dim)`, as far as strengths `(1 or B,)` say."""
        picture = Picture.take(images, "the picture")
        pixels = picture.pixels
        size = self._painted_size(picture.size)
        stylizer = self.at(images.device)
        codes = codes.to(stylizer.device).expand(len(pixels), -1)
        painted = _painted(stylizer, picture.resized(size), codes).to(pixels)
        if size != picture.size:
            painted = resized(painted, picture.size).clamp_(-1, 1)
        result: Tensor = picture.restore(torch.lerp(pixels, painted, strengths.to(pixels)[:, None, None, None]))
        return result

    def _painted_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of what the network paints for a picture of this size."""
        if self._size is None:
            return size
        height, width = (max(1, round(side * self._size / max(size))) for side in size)
        return height, width


def _painted(stylizer: Stylizer, pixels: Tensor, codes: Tensor) -> Tensor:
    """In one go, or one by one in tiles where that would take much memory."""
    if math.prod(pixels.shape[2:]) <= OVERVIEW_PIXELS:
        painted: Tensor = stylizer.generator(None, codes, content=placed(pixels, stylizer.device))
        return painted
    wholes = pixels.add(1).mul_(0.5).clamp_(0, 1)
    return torch.stack([stylizer(each, StyleCode(code)) for each, code in zip(wholes, codes, strict=True)]) * 2 - 1
