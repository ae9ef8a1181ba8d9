"""Picture files, read within limits; needs no torch."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from agnlib.errors import ImageError
from agnlib.image._deep import array_of, deep_pixels, is_deep
from agnlib.image._srgb import upright_srgb
from agnlib.image._words import quoted, reason

__all__ = ["DEFAULT_LIMITS", "Limits", "load", "open_file", "probe", "read"]

_READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_READABLE_TEXT = "JPEG, PNG, WebP, TIFF or BMP"


@dataclass(frozen=True)
class Limits:
    """What a picture file may claim before it is decoded.

    Args:
        pixels: width times height; the default, 64 Mi, lets a 64-megapixel camera through.
        side: pixels along the longer side.
        bytes: size of the file.

    Example:
        >>> Limits(pixels=1_000_000).side
        16384
    """

    pixels: int = 64 * 2**20
    side: int = 16_384
    bytes: int = 256 * 2**20


DEFAULT_LIMITS = Limits()


def probe(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Width and height of a picture file as stored, from its header alone: nothing is decoded.

    Raises:
        ImageError: the file is missing, not a file, empty, no picture, or larger than `limits`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (4, 3)).save(f"{folder}/a.png")
        ...     probe(f"{folder}/a.png")
        (4, 3)
    """
    with open_file(path, limits) as image:
        width, height = image.size
    return width, height


def load(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Read a picture file as 8-bit sRGB: mode RGB, or RGBA where the file has transparency.

    EXIF orientation is applied to the pixels, an ICC profile is converted to sRGB, and no metadata is kept. Of a file
    with several frames the first is read. A colour profile that cannot be understood is ignored.

    Args:
        path: a JPEG, PNG, WebP, TIFF or BMP file.
        limits: checked before decoding.

    Raises:
        ImageError: the file is missing, not a file, empty, no picture, damaged, or larger than `limits`; one line that
            names the file and the remedy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (4, 3), 128).save(f"{folder}/grey.png")
        ...     load(f"{folder}/grey.png").mode
        'RGB'
    """
    with open_file(path, limits) as image:
        converted = upright_srgb(image, quoted(path))
        plain = converted.copy() if converted is image else converted
    plain.info = {}
    return plain


def read(
    path: str | os.PathLike[str], *, deep: bool = True, limits: Limits = DEFAULT_LIMITS
) -> np.ndarray[Any, np.dtype[Any]]:
    """Read a picture file as an array in sRGB: uint8, or uint16 where the file has more than 8 bits a channel.

    Pillow cannot hold colour of 16 bits, so `load` reduces it; an array can. Otherwise as `load`.

    Args:
        path: a JPEG, PNG, WebP, TIFF or BMP file.
        deep: False reduces to 8 bits.
        limits: checked before decoding.

    Returns:
        `(H, W, 3)`, or `(H, W, 4)` where the file has transparency; grey of 16 bits `(H, W, 1)` or `(H, W, 2)`.

    Raises:
        ImageError: as `load`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.fromarray(np.full((3, 4), 40_000, np.uint16)).save(f"{folder}/deep.png")
        ...     read(f"{folder}/deep.png").max()
        np.uint16(40000)
    """
    shown = quoted(path)
    if deep:
        with open_file(path, limits) as image:
            if is_deep(image):
                pixels = deep_pixels(image, lambda: open_file(path, limits), shown)
                if pixels is not None:
                    return pixels
    with open_file(path, limits) as image:
        return array_of(upright_srgb(image, shown))


def _check_file(path: str | os.PathLike[str], limits: Limits) -> None:
    """A regular, non-empty file of acceptable length, or an `ImageError`."""
    shown = quoted(path)
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        raise ImageError(f"{shown} does not exist; check the name and the folder") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{shown} cannot be reached ({reason(error)}); check the name and the permissions") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{shown} is a folder, expected a picture file; name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{shown} is not a regular file; copy the picture to a file first")
    if status.st_size == 0:
        raise ImageError(f"{shown} is empty (0 bytes); get the picture again from its source")
    if status.st_size > limits.bytes:
        raise ImageError(
            f"{shown} has {status.st_size:,} bytes, more than the limit of {limits.bytes:,}; reduce the picture first"
        )


def open_file(path: str | os.PathLike[str], limits: Limits) -> Image.Image:
    """The file with its header read and checked, its pixels not yet decoded."""
    _check_file(path, limits)
    shown = quoted(path)
    try:
        image = Image.open(path, formats=_READABLE)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{shown} claims too many pixels ({reason(error)}); reduce the picture first") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{shown} is not a picture that can be read; expected {_READABLE_TEXT}, convert it to one of these"
        ) from error
    except Exception as error:  # a hostile header makes Pillow's readers fail in many ways, not only with OSError
        closed = isinstance(error, OSError) and error.errno is not None  # the system says no, not the decoder
        remedy = "check its permissions" if closed else "it is damaged, get it again from its source"
        raise ImageError(f"{shown} cannot be read ({reason(error)}); {remedy}") from error
    width, height = image.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        image.close()
        raise ImageError(
            f"{shown} is {width} x {height} pixels, more than the limit of {limits.pixels:,} pixels and "
            f"{limits.side:,} a side; reduce the picture first"
        )
    return image
