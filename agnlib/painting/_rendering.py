"""A painting from its first part to its last: tile by tile, or row by row for a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from torch import Tensor

from agnlib.errors import InputError
from agnlib.painting._painted_windows import Painting
from agnlib.painting._photo import Rows
from agnlib.tiling import Box, bands, is_out_of_memory, paint_tiles

__all__ = ["rows", "tiles"]


def tiles(painting: Painting) -> Iterator[tuple[Box, Tensor]]:
    """The painted parts in reading order, smaller ones where memory runs out and the effect lets them be."""
    tile, (height, width), count = painting.effect.tile, painting.size, len(painting.picture.values)
    boxes = painting.boxes(tile)
    try:
        yield from paint_tiles(painting.window, boxes, align=painting.generator.stride, divide=tile is not None)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        many = f"a batch of {count} pictures" if count > 1 else "a picture"
        raise InputError(
            f"{many} of {width} x {height} pixels does not fit into the memory of {painting.codes.device};"
            ' use tile="auto", or give a smaller size'
        ) from error


def rows(painting: Painting, told: Callable[[float], None] = lambda share: None) -> Rows:
    """The result as rows for a file, painted while they are taken; `told` hears how much of it is painted, up to 1."""
    picture = painting.picture
    if painting.effect.leaves_the_photo:
        same = picture.unchanged()
        return Rows(same.shape, same.dtype, iter([same]))
    encoded = ((box, painting.encoded(pixels, box)) for box, pixels in _told(tiles(painting), picture.size, told))
    parts = (band[0].permute(1, 2, 0).numpy() for band in bands(encoded, picture.size[1]))
    return Rows(picture.shape, picture.kind, parts)


def _told(
    tiles: Iterator[tuple[Box, Tensor]], size: tuple[int, int], told: Callable[[float], None]
) -> Iterator[tuple[Box, Tensor]]:
    done = 0
    for box, pixels in tiles:
        done += box.height * box.width
        told(done / math.prod(size))
        yield box, pixels
