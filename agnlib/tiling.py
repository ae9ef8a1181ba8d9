"""Big pictures as overlapping tiles: geometry, resampling and memory; knows no model and no picture format.

A *source* is anything with a `size` and a `window(box)`: a picture on the CPU, its resampled version, or a painting
that is computed window by window. Sources stack, so a 64-megapixel picture is never held as floats.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import EllipsisType
from typing import Protocol

import torch
from torch import Tensor

from agnlib.errors import InputError

__all__ = ["Box", "Computed", "Resampled", "Source", "bands", "is_out_of_memory", "paint_tiles", "window_side"]

_ROWS = 64  # given away at a time, so that those of a wide picture are not held twice
_SMALLEST = 64  # pixels; a tile that does not fit when it is so small will not fit at all


@dataclass(frozen=True)
class Box:
    """A part of a picture: rows `top` to `bottom - 1`, columns `left` to `right - 1`."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def slices(self) -> tuple[EllipsisType, slice, slice]:
        """Rows and columns of the last two axes, to index with."""
        return ..., slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int, size: tuple[int, int], *, align: int = 1) -> Box:
        """The box with so many pixels more on each side, within a picture of `size`, begun at a multiple of `align`.

        Example:
            >>> Box(40, 0, 50, 30).grown(10, (100, 35), align=8)
            Box(top=24, left=0, bottom=60, right=35)
        """
        top, left = (max(0, (edge - margin) // align * align) for edge in (self.top, self.left))
        return Box(top, left, min(size[0], self.bottom + margin), min(size[1], self.right + margin))

    def within(self, outer: Box) -> Box:
        """The box in the coordinates of a box around it."""
        return Box(self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left)

    def split(self, side: int, *, align: int = 1, halo: int = 0) -> list[Box]:
        """Tiles, row by row, begun at multiples of `align`, whose windows are about equal and none longer than `side`.

        A tile's window is the tile with `halo` more pixels towards each neighbor. There are none towards the picture's
        edge, so the outer tiles are larger.

        Example:
            >>> [(box.top, box.left) for box in Box(0, 0, 30, 50).split(32, align=8)]
            [(0, 0), (0, 32)]
            >>> [(box.left, box.right) for box in Box(0, 0, 30, 100).split(50, halo=10)]
            [(0, 37), (37, 64), (64, 100)]
        """
        rows = _cuts(self.top, self.bottom, side, align, halo)
        columns = _cuts(self.left, self.right, side, align, halo)
        return [Box(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def _cuts(start: int, stop: int, side: int, align: int, halo: int) -> list[tuple[int, int]]:
    length = stop - start
    inner = max(side - 2 * halo, align)  # of a window with two neighbors
    count = 1 if length <= side else math.ceil((length - 2 * halo) / inner)
    step = (length - 2 * halo) / max(count, 1)
    inside = (start + math.ceil((halo + i * step) / align) * align for i in range(1, count))
    edges = sorted({start, *(edge for edge in inside if edge < stop), stop})
    return list(itertools.pairwise(edges))


class Source(Protocol):
    """A picture that can be looked at through windows.

    Attributes:
        size: height and width.
    """

    @property
    def size(self) -> tuple[int, int]: ...

    def window(self, box: Box) -> Tensor:
        """The pixels `(B, C, box.height, box.width)`."""
        ...


@dataclass(frozen=True)
class Computed:
    """A source whose windows are computed when they are asked for."""

    size: tuple[int, int]
    window: Callable[[Box], Tensor]


@dataclass(frozen=True)
class Resampled:
    """A source seen at another size: any window of it is the same part of the whole picture resampled.

    Bicubic, antialiased where it shrinks, as `torch.nn.functional.interpolate(mode="bicubic", antialias=True)`.

    Example:
        >>> photo = torch.rand(1, 3, 30, 40)
        >>> half = Resampled(Computed((30, 40), lambda box: photo[box.slices]), (15, 20))
        >>> half.window(Box(2, 0, 10, 20)).shape
        torch.Size([1, 3, 8, 20])
    """

    source: Source
    size: tuple[int, int]

    def window(self, box: Box) -> Tensor:
        top, height, rows = _taps(self.source.size[0], self.size[0], box.top, box.bottom)
        left, width, columns = _taps(self.source.size[1], self.size[1], box.left, box.right)
        seen = self.source.window(Box(top, left, top + height, left + width))
        return _weighed(_weighed(seen.contiguous(), columns, dim=3), rows, dim=2)


@dataclass(frozen=True)
class _Taps:
    """Which old samples, `(n, k)`, each of n new samples is made of, and how much of each."""

    places: Tensor
    weights: Tensor


def _taps(length: int, new_length: int, start: int, stop: int) -> tuple[int, int, _Taps]:
    """Where the old samples for the new ones `start` to `stop - 1` begin, how many they are, and their use."""
    scale = length / new_length
    blur = max(1.0, scale)
    centers = (torch.arange(start, stop, dtype=torch.float64, device="cpu") + 0.5) * scale - 0.5
    places = torch.floor(centers - 2 * blur)[:, None] + torch.arange(1, math.ceil(4 * blur) + 1, device="cpu")
    weights = _cubic((places - centers[:, None]) / blur) * ((places >= 0) & (places < length))
    weights = weights / weights.sum(1, keepdim=True)
    places = places.clamp(0, length - 1).long()
    first, last = int(places.min()), int(places.max())
    return first, last + 1 - first, _Taps(places - first, weights)


def _weighed(x: Tensor, taps: _Taps, *, dim: int) -> Tensor:
    shape = [1, 1, 1, 1]
    shape[dim] = -1
    total: Tensor | None = None
    for places, weights in zip(taps.places.T.to(x.device), taps.weights.T.to(x.device, x.dtype), strict=True):
        part = x.index_select(dim, places).mul_(weights.view(shape))
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -1/2, "Cubic convolution interpolation for digital image processing", 1981."""
    x = x.abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def window_side(pixels: int, halo: int, *, align: int = 1) -> int:
    """The side of a square window of at most so many pixels; it holds at least a small tile with its halo.

    Example:
        >>> window_side(1024**2, 144, align=8)
        1024
    """
    return max(_SMALLEST + 2 * halo, math.isqrt(max(0, pixels)) // align * align)


def paint_tiles(
    paint: Callable[[Box], Tensor], boxes: Iterable[Box], *, align: int = 1, divide: bool = True
) -> Iterator[tuple[Box, Tensor]]:
    """Paint box after box; where memory runs out, the box and all that follow are halved, and it goes on.

    Args:
        paint: gives the pixels of a box.
        boxes: of one picture, in the order in which they are wanted.
        align: tiles begin at multiples of it.
        divide: False raises where memory runs out.

    Raises:
        InputError: not even the smallest tile fits into memory.

    Example:
        >>> tiles = paint_tiles(lambda box: torch.zeros(box.height, box.width), Box(0, 0, 10, 30).split(16))
        >>> [tuple(pixels.shape) for _, pixels in tiles]
        [(10, 15), (10, 15)]
    """
    waiting = deque(boxes)
    limit = max(max(box.height, box.width) for box in waiting)
    while waiting:
        box = waiting.popleft()
        if max(box.height, box.width) > limit:
            waiting.extendleft(reversed(box.split(limit, align=align)))
            continue
        pixels = _attempt(paint, box, divide=divide)
        if pixels is not None:
            yield box, pixels
            continue
        limit = max(box.height, box.width) // 2
        if limit < _SMALLEST:
            raise InputError(
                f"not even a tile of {box.width} x {box.height} pixels fits into memory; give a smaller size"
            )
        waiting.appendleft(box)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _attempt(paint: Callable[[Box], Tensor], box: Box, *, divide: bool) -> Tensor | None:
    """The pixels, or None where memory ran out; the error is gone by then, and with it what its frames held."""
    try:
        return paint(box)
    except (MemoryError, RuntimeError) as error:
        if not divide or not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def bands(tiles: Iterable[tuple[Box, Tensor]], width: int) -> Iterator[Tensor]:
    """Tiles in reading order as full rows `(B, C, rows, width)`, at most 64 at a time, each as soon as it is whole.

    Example:
        >>> boxes = Box(0, 0, 20, 30).split(16)
        >>> rows = bands(((box, torch.zeros(1, 3, box.height, box.width)) for box in boxes), 30)
        >>> [tuple(each.shape) for each in rows]
        [(1, 3, 10, 30), (1, 3, 10, 30)]
    """
    held: list[tuple[Box, Tensor]] = []
    for tile in tiles:
        held.append(tile)
        area = sum(box.height * box.width for box, _ in held)
        whole = Box(held[0][0].top, 0, max(box.bottom for box, _ in held), width)
        if area < whole.height * whole.width:
            continue
        for top in range(whole.top, whole.bottom, _ROWS):
            yield _rows(held, Box(top, 0, min(top + _ROWS, whole.bottom), width))
        held.clear()


def _rows(tiles: Iterable[tuple[Box, Tensor]], rows: Box) -> Tensor:
    """The part of the tiles within these rows; after out of memory they differ in height."""
    pixels: Tensor | None = None
    for box, part in tiles:
        top, bottom = max(box.top, rows.top), min(box.bottom, rows.bottom)
        if top >= bottom:
            continue
        if pixels is None:
            pixels = part.new_empty(*part.shape[:2], rows.height, rows.width)
        shared = Box(top, box.left, bottom, box.right)
        pixels[shared.within(rows).slices] = part[shared.within(box).slices]
    assert pixels is not None
    return pixels
