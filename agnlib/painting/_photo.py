"""A picture file on its way to a painted one: opened, painted by rows, written; each step may run in its own thread."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from agnlib.errors import ImageError
from agnlib.image import DEFAULT_LIMITS, Limits, Picture, holds_16_bits, kept_exif, read, writing
from agnlib.image._header import header
from agnlib.image._metadata import add_recipe
from agnlib.image._writing import check_exif

__all__ = ["Photo", "Rows", "write_rows"]


@dataclass(frozen=True)
class Photo:
    """A decoded picture file.

    Attributes:
        picture: its pixels.
        exif: the part of its EXIF that is written along with its painting.
        further: "frames" or "pages" where the file has more than the one that is painted, else empty.
    """

    picture: Picture
    exif: Image.Exif
    further: str

    @classmethod
    def open(
        cls,
        content: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        metadata: Literal["none", "no-gps", "all"] = "none",
        limits: Limits = DEFAULT_LIMITS,
    ) -> Photo:
        """Decode `content`, at 16 bits a channel if it has them and the format of `target` holds them.

        Raises:
            ImageError: the content cannot be read, or the target's format is unknown or has no room for its EXIF.
            InputError: an unknown word for `metadata`.
        """
        exif = kept_exif(content, metadata, limits=limits)
        check_exif(exif, target)
        pixels = read(content, deep=holds_16_bits(target), limits=limits)
        return cls(Picture.owning(pixels, "content"), exif, header(content, limits=limits).further)

    def note(self, recipe: Mapping[str, Any], target: str | os.PathLike[str]) -> None:
        """Have the painting's file say what it was made with, where its format has room for it."""
        without = self.exif.tobytes() if len(self.exif) else b""
        add_recipe(self.exif, recipe)
        try:
            check_exif(self.exif, target)
        except ImageError:
            alone = Image.Exif()
            alone.load(without)
            object.__setattr__(self, "exif", alone)


@dataclass(frozen=True)
class Rows:
    """A painting as a file takes it.

    Attributes:
        shape: `(H, W, C)`.
        kind: uint8 or uint16.
        parts: `(h, W, C)` from the top, each painted when it is asked for.
    """

    shape: tuple[int, int, int]
    kind: np.dtype[Any]
    parts: Iterator[npt.NDArray[Any]]


def write_rows(
    target: str | os.PathLike[str], rows: Rows, parts: Iterable[npt.NDArray[Any]], *, quality: int, exif: Image.Exif
) -> None:
    """Write the parts of a painting, which may come from elsewhere than `rows`; whole or not at all.

    Raises:
        ImageError: see `agnlib.image.save`.
    """
    with writing(target, rows.shape, rows.kind, quality=quality, exif=exif) as write:
        for part in parts:
            write(part)
