"""A picture's features part by part, in bounded memory: windows with a margin that they see but do not own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agnlib.neighbors._features import ALIGN, STRIDE, Columns, Encoder, Places, chosen, columns, grid
from agnlib.tiling import Box

__all__ = ["Window", "windows"]

_WINDOW, _MARGIN = 512, 64  # pixels: what is looked at at once, and what it sees around it
_SAMPLE = 1024  # places of a window whose likeness to each other is compared


@dataclass(frozen=True)
class Window:
    """A part of the picture with its margin, and which of the places in it are its own.

    Attributes:
        box: with the margin.
        inside: rows of the window's own places, among those of the box.
        places: the same places, among those of the picture.
        sample: some of `inside`, for self-similarity.
    """

    box: Box
    inside: Places
    places: Tensor
    sample: Tensor

    def rows(self, encoder: Encoder, image: Tensor) -> Columns:
        """The features of its own places in a picture `(1, 3, H, W)`."""
        return chosen(columns(encoder, image[self.box.slices]), self.inside)


def windows(size: Sequence[int]) -> list[Window]:
    """Those of a picture of this height and width, multiples of 16; each of its places is in one of them.

    Example:
        >>> [len(window.places) for window in windows((64, 1024))]
        [1472, 1216, 1408]
    """
    height, width = size
    numbers = torch.arange(grid(size)[0] * grid(size)[1], device="cpu").view(grid(size))
    boxes = Box(0, 0, height, width).split(_WINDOW, align=ALIGN, halo=_MARGIN)
    return [_window(box, (height, width), numbers) for box in boxes]


def _window(box: Box, size: tuple[int, int], numbers: Tensor) -> Window:
    outer = box.grown(_MARGIN, size, align=ALIGN)
    shape = grid((outer.height, outer.width))
    inside = torch.arange(shape[0] * shape[1], device="cpu").view(shape)[_quarter(box.within(outer))].flatten()
    order = torch.randperm(len(inside), generator=torch.Generator().manual_seed(0), device="cpu")[:_SAMPLE]
    every = len(inside) == shape[0] * shape[1]
    return Window(
        outer, slice(None) if every else inside, numbers[_quarter(box)].flatten(), inside[order.sort().values]
    )


def _quarter(box: Box) -> tuple[slice, slice]:
    return slice(box.top // STRIDE, box.bottom // STRIDE), slice(box.left // STRIDE, box.right // STRIDE)
