"""A picture file on its way to a painted one: opened, painted by rows, written; each step may run in its own thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from agnlib.errors import ImageError
from agnlib.image import DEFAULT_LIMITS, Limits, Picture, PictureFile, kept_exif, read
from agnlib.image._encoded import held
from agnlib.image._header import header
from agnlib.image._messages import quoted
from agnlib.image._metadata import add_recipe
from agnlib.image._targets import DEEP, AnyTarget, Target, check_exif
from agnlib.image._writing import writing_to

__all__ = ["Photo", "Rows", "write_rows"]


@dataclass(frozen=True)
class Photo:
    """A decoded picture file.

    Attributes:
        picture: its pixels.
        exif: the part of its EXIF that is written along with its painting.
        further: "frames" or "pages" where the file has more than the one that is painted, else empty.
        name: what messages call the file.
    """

    picture: Picture
    exif: Image.Exif
    further: str
    name: str = "content"

    @classmethod
    def open(
        cls,
        content: PictureFile,
        target: AnyTarget,
        *,
        metadata: Literal["none", "no-gps", "all"] = "none",
        limits: Limits = DEFAULT_LIMITS,
    ) -> Photo:
        """Decode `content`, at 16 bits a channel if it has them and the format of `target` holds them.

        Raises:
            ImageError: the content cannot be read, or the target's format is unknown or has no room for its EXIF.
            InputError: an unknown word for `metadata`.
        """
        source, target = held(content, limits, "content"), Target.of(target)
        exif = kept_exif(source, metadata, limits=limits)
        check_exif(exif, target)
        pixels = read(source, deep=target.format in DEEP, limits=limits)
        return cls(Picture.owning(pixels, "content"), exif, header(source, limits=limits).further, quoted(source))

    def note(self, recipe: Mapping[str, Any], target: AnyTarget) -> None:
        """Have the painting's file say what it was made with, where its format has room for it."""
        without = self.exif.tobytes() if len(self.exif) else b""
        add_recipe(self.exif, recipe)
        try:
            check_exif(self.exif, Target.of(target))
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
    target: AnyTarget, rows: Rows, parts: Iterable[npt.NDArray[Any]], *, quality: int, exif: Image.Exif
) -> None:
    """Write the parts of a painting, which may come from elsewhere than `rows`; whole or not at all.

    Raises:
        ImageError: see `agnlib.image.save`.
    """
    with writing_to(Target.of(target), rows.shape, rows.kind, quality=quality, exif=exif) as write:
        for part in parts:
            write(part)
