"""Which of Pillow's readers opens a file, by what that begins with; HEIC by pillow-heif, where it is installed."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from agnlib._shared.optional import require
from agnlib.errors import ImageError, MissingDependencyError
from agnlib.image._color_tags import note_nclx
from agnlib.image._encoded import Encoded, Source
from agnlib.image._messages import reason
from agnlib.image._suffixes import foreign_kind, is_raw, remedy
from agnlib.image._tiff import Tiff

__all__ = ["opened"]

_READERS: dict[str, tuple[tuple[bytes, ...], Callable[[Any], Image.Image]]] = {
    "JPEG": ((b"\xff\xd8\xff",), JpegImagePlugin.jpeg_factory),
    "PNG": ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    "WebP": ((b"RIFF",), WebPImagePlugin.WebPImageFile),
    "TIFF": (tuple(TiffImagePlugin.PREFIXES), Tiff),
    "BMP": ((b"BM",), BmpImagePlugin.BmpImageFile),
}
_READABLE_TEXT = "JPEG, PNG, WebP, TIFF, BMP, HEIC or AVIF"
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_AVIF = (b"avif", b"avis")
_START = 64 * 2**10  # bytes, in which a container of HEIC or AVIF describes the colors
_DNG_VERSION = 50706


def opened(source: Source, shown: str) -> Image.Image:
    """The file with its header read.

    `Image.open` does the same and then applies `Image.MAX_IMAGE_PIXELS`, which is one for the whole process: limits
    above it could not be given for a single file.
    """
    start = _start(source)
    name, reader = _reader(start, shown)
    _refuse_raw(source, start, shown)
    if reader is None:
        kind = foreign_kind(start)
        raise ImageError(
            f"{shown} is not a picture that can be read; expected {_READABLE_TEXT}{f', got {kind}' if kind else ''}: "
            f"{remedy(kind)}"
        )
    try:
        image: Image.Image = reader(io.BytesIO(source.data) if isinstance(source, Encoded) else os.fspath(source))
    except SyntaxError as error:
        raise ImageError(
            f"{shown} is a {name} file of a kind that is not read, or damaged ({reason(error)}); save it as "
            "8-bit or 16-bit RGB, or get it again from its source"
        ) from error
    if isinstance(image, Tiff) and _DNG_VERSION in image.tag_v2:
        image.close()
        raise _raw(shown)
    if name in ("HEIC", "AVIF"):
        note_nclx(image, start, shown)
    return image


def _start(source: Source) -> bytes:
    if isinstance(source, Encoded):
        return source.data[:_START]
    with Path(source).open("rb") as file:
        start = file.read(32)
        return start + file.read(_START) if start[4:8] == b"ftyp" else start


def _reader(start: bytes, shown: str) -> tuple[str, Callable[[Any], Any] | None]:
    """The name of the format, and what opens it."""
    for name, (marks, reader) in _READERS.items():
        if start.startswith(marks) and (name != "WebP" or start[8:12] == b"WEBP"):
            return name, reader
    brands = _brands(start)
    if any(brand in brands for brand in _AVIF):
        return "AVIF", _avif(shown)
    if any(brand in brands for brand in _HEIC):
        return "HEIC", _heif(shown)
    return "", None


def _brands(start: bytes) -> list[bytes]:
    """What a container of ISO's kind says that it may be read as; of others nothing."""
    if start[4:8] != b"ftyp":
        return []
    listed = start[8 : max(16, int.from_bytes(start[:4], "big"))]
    return [listed[place : place + 4] for place in range(0, len(listed), 4)]


def _heif(shown: str) -> Callable[[Any], Any]:
    try:
        plugin = require("pillow_heif", extra="heif", purpose="HEIC")
    except MissingDependencyError as error:
        raise ImageError(f'{shown} is HEIC; to read it, pip install "agnlib[heif]", or convert it to JPEG') from error
    reader: Callable[[Any], Any] = plugin.HeifImageFile
    return reader


def _avif(shown: str) -> Callable[[Any], Any]:
    from PIL import features

    if not features.check("avif"):
        raise ImageError(f"{shown} is AVIF; to read it, pip install --upgrade pillow, or convert it to PNG")
    from PIL.AvifImagePlugin import AvifImageFile

    return AvifImageFile


def _refuse_raw(source: Source, start: bytes, shown: str) -> None:
    """Many begin as TIFFs do, whose first picture is a thumbnail."""
    if foreign_kind(start) == "raw" or (not isinstance(source, Encoded) and is_raw(os.fspath(source))):
        raise _raw(shown)


def _raw(shown: str) -> ImageError:
    return ImageError(f"{shown} is a raw file of a camera, which is not read; {remedy('raw')}")
