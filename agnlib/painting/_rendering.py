"""A painting from its first part to its last: tile by tile, or row by row for a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from agnlib._shared.progress import Listener, Told
from agnlib.errors import InputError
from agnlib.memory import freed_memory_kept
from agnlib.painting._painted_windows import Painting
from agnlib.painting._photo import Rows
from agnlib.tiling import Box, bands, is_out_of_memory, paint_tiles

__all__ = ["rows", "tiles", "whole"]

_NOBODY = Told(None)


def tiles(painting: Painting, told: Listener = _NOBODY) -> Iterator[tuple[Box, Tensor]]:
    """The painted parts in reading order, smaller ones where memory runs out and the effect lets them be.

    `told` hears before the first and after each how much of the picture is painted, of 1.
    """
    told(0, 1)
    done, pixels_in_all = 0, math.prod(painting.size)
    for box, pixels in _painted(painting):
        done += box.height * box.width
        told(done / pixels_in_all, 1)
        yield box, pixels


def _painted(painting: Painting) -> Iterator[tuple[Box, Tensor]]:
    tile, (height, width), count = painting.effect.tile, painting.size, len(painting.picture.values)
    boxes = painting.boxes(tile)
    window = freed_memory_kept()(painting.window) if painting.codes.device.type == "cpu" else painting.window
    try:
        yield from paint_tiles(window, boxes, align=painting.generator.stride, divide=tile is not None)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        many = f"a batch of {count} pictures" if count > 1 else "a picture"
        raise InputError(
            f"{many} of {width} x {height} pixels does not fit into the memory of {painting.codes.device};"
            ' use tile="auto", or give a smaller size'
        ) from error


def whole(painting: Painting, told: Listener = _NOBODY) -> Any:
    """The result in what the picture came in; `told` as of `tiles`."""
    picture = painting.picture
    if painting.effect.leaves_the_photo:
        return picture.unchanged()
    result = picture.blank()
    for box, pixels in tiles(painting, told):
        result[box.slices] = painting.encoded(pixels, box)
    return picture.finished(result)


def rows(painting: Painting, told: Listener = _NOBODY) -> Rows:
    """The result as rows for a file, painted while they are taken; `told` as of `tiles`."""
    picture = painting.picture
    if painting.effect.leaves_the_photo:
        same = picture.unchanged()
        return Rows(same.shape, same.dtype, iter([same]))
    encoded = ((box, painting.encoded(pixels, box)) for box, pixels in tiles(painting, told))
    parts = (band[0].permute(1, 2, 0).numpy() for band in bands(encoded, picture.size[1]))
    return Rows(picture.shape, picture.kind, parts)
