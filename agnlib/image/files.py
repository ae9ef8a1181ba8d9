"""Picture files, read within limits; needs no torch."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from agnlib._shared.numbers import is_count
from agnlib.errors import ImageError, InputError, TooLargeError
from agnlib.image._encoded import Encoded, PictureFile, Source, held, is_encoded
from agnlib.image._file_checks import RAISE_LIMIT, check_file, check_length
from agnlib.image._messages import quoted, reason
from agnlib.image._readers import opened
from agnlib.image._sixteen_bits import DEEP_GRAY, array_of, deep_pixels, is_deep, needs_all_bits, shallow
from agnlib.image._to_srgb import upright_srgb

__all__ = ["DEFAULT_LIMITS", "Limits", "all_bits", "load", "open_file", "probe", "read"]

_REDUCED_AT_MOST = 16  # times the limit of pixels: decoding costs time, if not memory


@dataclass(frozen=True)
class Limits:
    """What a picture file may claim before it is decoded; nothing else limits it, Pillow's own ceiling neither.

    Args:
        pixels: width times height; the default, 64 Mi, lets a 64-megapixel camera through.
        side: pixels along the longer side.
        bytes: size of the file.
        reduced_to: of a picture whose longer side will be reduced to so many pixels anyway: a baseline JPEG that claims
            more than the limits, up to 16 times the pixels, is decoded at a half, quarter or eighth of its size, which
            has to keep to them.

    Raises:
        InputError: one of them is no whole number from 1 on.

    Example:
        >>> Limits(pixels=1_000_000).side
        16384
    """

    pixels: int = 64 * 2**20
    side: int = 16_384
    bytes: int = 256 * 2**20
    reduced_to: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (is_count(value, 1) or (name == "reduced_to" and value is None)):
                raise InputError(f"Limits: {name} must be a whole number, at least 1, got {value!r}")


DEFAULT_LIMITS = Limits()


def probe(path: PictureFile, *, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Width and height of a picture file as stored, from its header alone: nothing is decoded.

    Args:
        path: see `load`.
        limits: see `load`.

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


def load(path: PictureFile, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Read a picture file as 8-bit sRGB: mode RGB, or RGBA where the file has transparency.

    EXIF orientation is applied to the pixels, and no metadata is kept. Of a file with several frames the first is read,
    and of a phone's neither depth nor gain map. Colors are converted to sRGB, from an ICC profile, from what HEIC, AVIF
    or EXIF (Adobe RGB) say, or from a PNG's chunks: cICP before iCCP before sRGB before gAMA and cHRM. A profile that
    leaves colors within 2 of 255 is sRGB, whatever its name is, and so is a gAMA within 5% of 1/2.2. What cannot be
    understood is taken for sRGB.

    Args:
        path: a JPEG, PNG, WebP, TIFF, BMP, AVIF or HEIC file (which needs the extra `heif`), its bytes, or a binary
            file object. That is read from its beginning to its end and left as it was; one that cannot seek, a socket's
            stream, is read from where it is. Messages call them "<bytes>" and "<file object>".
        limits: checked before decoding; of a file object no more bytes are read.

    Raises:
        InputError: no path, bytes or binary file object, or one that is closed.
        ImageError: the file is missing, not a file, empty, no picture, damaged, larger than `limits`, or of high
            dynamic range (PQ or HLG); one line that names the file and the remedy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (4, 3), 128).save(f"{folder}/gray.png")
        ...     with open(f"{folder}/gray.png", "rb") as file:
        ...         load(f"{folder}/gray.png") == load(file) == load(file.read())
        True
    """
    source = held(path, limits)
    with open_file(source, limits) as image:
        if not needs_all_bits(image):
            return _plain(image, source)
    if (pixels := _all_bits(source, limits)) is not None:
        return Image.fromarray(shallow(pixels))
    with open_file(source, limits) as image:
        return _plain(image, source)


def _plain(image: Image.Image, source: Source) -> Image.Image:
    converted = upright_srgb(image, quoted(source))
    plain = converted.copy() if converted is image else converted
    plain.info = {}
    return plain


def read(path: PictureFile, *, deep: bool = True, limits: Limits = DEFAULT_LIMITS) -> np.ndarray[Any, np.dtype[Any]]:
    """Read a picture file as an array in sRGB: uint8, or uint16 where the file has more than 8 bits a channel.

    Pillow cannot hold color of 16 bits, so `load` reduces it; an array can. Otherwise as `load`.

    Args:
        path: see `load`.
        deep: False reduces to 8 bits.
        limits: see `load`.

    Returns:
        `(H, W, 3)`, or `(H, W, 4)` where the file has transparency; gray of 16 bits `(H, W, 1)` or `(H, W, 2)`.

    Raises:
        ImageError: as `load`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.fromarray(np.full((3, 4), 40_000, np.uint16)).save(f"{folder}/deep.png")
        ...     read(f"{folder}/deep.png").max()
        np.uint16(40000)
    """
    source = held(path, limits)
    if (pixels := _all_bits(source, limits, wanted=deep)) is not None:
        return pixels if deep else shallow(pixels)
    with open_file(source, limits) as image:
        return array_of(upright_srgb(image, quoted(source)))


def all_bits(value: Any, name: str, limits: Limits) -> np.ndarray[Any, np.dtype[Any]] | None:
    """All bits of a file, or of gray in a PIL image, that has more than 8 a channel; None of others.

    Raises:
        ImageError: as `read`.
    """
    if isinstance(value, Image.Image):
        return deep_pixels(value, value.copy, name) if value.mode in DEEP_GRAY else None
    return _all_bits(value, limits, wanted=True)


def _all_bits(source: Source, limits: Limits, *, wanted: bool = False) -> np.ndarray[Any, np.dtype[np.uint16]] | None:
    """All bits of a 16-bit picture, where they are wanted, or needed to reduce it to 8; else None."""
    with open_file(source, limits) as image:
        if not (is_deep(image) if wanted else needs_all_bits(image)):
            return None
        return deep_pixels(image, lambda: open_file(source, limits), quoted(source))


def open_file(path: Any, limits: Limits) -> Image.Image:
    """The file with its header read and checked, its pixels not yet decoded."""
    if not (is_encoded(path) or isinstance(path, (str, os.PathLike))):
        raise InputError(
            f"expected a path as text or pathlib.Path, bytes or a binary file object, got {type(path).__name__}"
        )
    source = held(path, limits)
    shown = quoted(source)
    if isinstance(source, Encoded):
        check_length(len(source.data), limits.bytes, shown)
    else:
        check_file(source, limits.bytes)
    try:
        image = opened(source, shown)
    except ImageError:
        raise
    except Exception as error:  # a hostile header makes Pillow's readers fail in many ways, not only with OSError
        closed = isinstance(error, OSError) and error.errno is not None  # the system says no, not the decoder
        remedy = "check its permissions" if closed else "it is damaged, get it again from its source"
        raise ImageError(f"{shown} cannot be read ({reason(error)}); {remedy}") from error
    width, height = image.size
    if _is_too_large(image, limits):
        _decode_reduced(image, limits)
    if _is_too_large(image, limits):
        image.close()
        raise TooLargeError(
            f"{shown} is {width} x {height} pixels, more than the limit of {limits.pixels:,} pixels and "
            f"{limits.side:,} a side; {RAISE_LIMIT}"
        )
    return image


def _is_too_large(image: Image.Image, limits: Limits) -> bool:
    return image.width * image.height > limits.pixels or max(image.size) > limits.side


def _decode_reduced(image: Image.Image, limits: Limits) -> None:
    """Make a JPEG smaller while it is decoded, if that is asked for; a progressive one is held as a whole for that."""
    claimed = image.width * image.height
    baseline = isinstance(image, JpegImagePlugin.JpegImageFile) and "progressive" not in image.info
    if limits.reduced_to is None or not baseline or claimed > _REDUCED_AT_MOST * limits.pixels:
        return
    share = limits.reduced_to / max(image.size)
    width, height = (max(1, math.ceil(side * share)) for side in image.size)
    image.draft(None, (width, height))
