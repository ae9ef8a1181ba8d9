"""The canvas of a network made smaller, for a file of one style: it would be half of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from agnlib.layers import CanvasNoise

if TYPE_CHECKING:
    from agnlib.models import Generator

__all__ = ["PERIOD", "SEAM", "cut_canvases"]

PERIOD = 2048  # in pixels, after which a file's canvas begins again
SEAM = 256  # in pixels, over which it goes over into its beginning


def cut_canvases(generator: Generator) -> None:
    """Leave each canvas so many cells as `PERIOD` has; as far as the seam they are as they were.

    White noise is no canvas but a line, and small as it is.
    """
    for name, cell in (("noise_eighth", generator.stride), ("noise_quarter", generator.stride // 2)):
        layer = getattr(generator, name, None)
        canvas = getattr(layer, "canvas", None)
        if not (isinstance(layer, CanvasNoise) and isinstance(canvas, Tensor) and canvas.ndim == 2):
            continue
        if layer.side > PERIOD // cell:
            layer.side = PERIOD // cell
            rows = _shortened(canvas, layer.side, SEAM // cell)
            layer.canvas = _shortened(rows.mT, layer.side, SEAM // cell).mT.contiguous()


def _shortened(canvas: Tensor, cells: int, seam: int) -> Tensor:
    """The first rows of a periodic canvas: the last go over into those that stand before it, of the same deviation."""
    angle = torch.linspace(0, math.pi / 2, seam, device=canvas.device, dtype=canvas.dtype)[:, None]
    last, before = canvas[cells - seam : cells], canvas[len(canvas) - seam :]
    return torch.cat([canvas[: cells - seam], angle.cos() * last + angle.sin() * before])
